import os
import socket
import threading
from pathlib import Path

import pytest

from cifarops.errors import ConflictError, UnavailableError
from cifarops.serving.channel import Channel, Word, control_path, listen
from cifarops.serving.handover import receive_socket


@pytest.fixture(params=[0, 120], ids=["short", "deep"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Where a control socket is, also deeper than a socket's address may be long."""
    return control_path(tmp_path / ("d" * request.param) / "run", "production", os.getpid())


def pair(path: Path) -> tuple[Channel, Channel]:
    with listen(path) as control:
        control.setblocking(True)
        near = Channel.connect(path)
        return near, Channel(control.accept()[0])


def test_words_and_descriptors_arrive_one_by_one(path: Path, tmp_path: Path) -> None:
    near, far = pair(path)
    file = tmp_path / "file"
    file.write_text("content")
    with file.open() as opened:
        assert near.say(Word.TAKE_OVER)
        assert near.say(Word.CONNECTION, opened.fileno())
        assert near.say(Word.DONE)
    assert far.hear() == (Word.TAKE_OVER, None)
    heard = far.hear()
    assert heard is not None
    word, descriptor = heard
    assert word is Word.CONNECTION
    assert descriptor is not None
    with os.fdopen(descriptor) as received:
        assert received.read() == "content"
    assert far.hear() == (Word.DONE, None)
    near.close()
    assert far.hear() is None
    assert not far.say(Word.DONE)
    far.close()


def test_only_the_user_reaches_a_control_socket_and_leftovers_are_removed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = path.with_name("staging-1.sock")
    path.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as left:
        monkeypatch.chdir(path.parent)
        left.bind(dead.name)
    with listen(path):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert not dead.exists()
        with listen(control_path(path.parent, "staging", 2)):
            assert path.exists()  # it answers


def test_nobody_at_the_control_socket(path: Path) -> None:
    with pytest.raises(UnavailableError, match="No server listens on the control socket"):
        Channel.connect(path)


@pytest.mark.parametrize(
    ("word", "error", "message"),
    [(Word.BUSY, ConflictError, "taking over already"), (Word.DONE, UnavailableError, "does not hand over")],
)
def test_a_server_that_does_not_give_its_socket(
    path: Path, word: Word, error: type[Exception], message: str
) -> None:
    near, far = pair(path)
    assert far.say(word)
    with pytest.raises(error, match=message):
        receive_socket(near)
    near.close()
    far.close()


def test_the_listening_socket_arrives_alive(path: Path) -> None:
    near, far = pair(path)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = listening.getsockname()
        far.say(Word.LISTENING, listening.fileno())
    with receive_socket(near) as received:
        assert received.getsockname() == address
        socket.create_connection(address).close()
    near.close()
    far.close()


def test_waiting_for_the_end_of_a_server(path: Path) -> None:
    near, far = pair(path)
    assert not near.ended(0.05)
    closing = threading.Timer(0.05, far.close)
    closing.start()
    assert near.ended(10)
    near.close()
