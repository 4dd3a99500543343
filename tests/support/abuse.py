"""What a server must be after an attack: alive, right to everyone else meanwhile, and no larger than before."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarops.deployment.process import ServerProcess
from cifarops.serving.client import Client
from tests.support.bundles import colour_image
from tests.support.serving import Connection

_COLOURS = ("red", "green")
_PAUSE_SECONDS = 0.005
# A busy server's allocator keeps some of what it used; an attack that is let through costs hundreds of megabytes.
_GROWTH_BYTES = 100 * 2**20
_STATUS_FIELD_OF_PEAK = "VmHWM"


class Bystander:
    """A client that asks all the time on one connection, knows the answers, and asks nothing twice.

    Args:
        url: Whom it asks.
        token: What it shows, where the server wants a token.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.answers = 0
        self.wrong: list[str] = []
        self._url = url
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._images = {colour: colour_image(colour) for colour in _COLOURS}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="bystander")

    def __enter__(self) -> "Bystander":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _ask(self) -> None:
        connection = Connection(self._url)
        try:
            # At least once, however short the attack was.
            while not self._stop.is_set() or not self.answers:
                for colour, image in self._images.items():
                    status, answer = connection.predict(image, **self._headers)
                    if status != 200 or answer["label"] != colour:
                        self.wrong.append(f"{colour}: {status} {answer}")
                    self.answers += 1
                self._stop.wait(_PAUSE_SECONDS)
        except Exception as error:
            self.wrong.append(repr(error))
        finally:
            connection.close()


@contextmanager
def survived(
    server: ServerProcess, *, growth_bytes: int = _GROWTH_BYTES, token: str | None = None
) -> Iterator[Bystander]:
    """Let the block attack a server whose model names colours, then say what the attack has done, if anything.

    Args:
        server: The server; it must answer already.
        growth_bytes: By how much its resident memory may exceed, at any moment, what it was before.
        token: What the bystander shows, where the server wants a token.

    Raises:
        AssertionError: A bystander got a wrong answer or none, memory grew further, or the server is not ready any more.
    """
    before = _reset_peak(server.pid)
    with Bystander(server.url, token) as bystander:
        yield bystander
    assert not bystander.wrong, bystander.wrong[:3]
    assert Client(server.url).ready(), "it is not ready any more"
    growth = peak_bytes(server.pid) - before
    assert growth <= growth_bytes, f"its memory grew by {growth / 2**20:.0f} MiB"


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has had resident since it began, or since `survived` began."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(_STATUS_FIELD_OF_PEAK))


def _reset_peak(pid: int) -> int:
    """Let the kernel measure the peak anew; returns what is resident now."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pid)
