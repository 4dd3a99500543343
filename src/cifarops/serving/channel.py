"""How two servers on one machine talk while one replaces the other: single bytes and descriptors over a Unix socket."""

import asyncio
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from cifarops.errors import UnavailableError

# Linux allows 108 bytes for the path of a Unix socket, other systems 104.
_LONGEST_PATH = 100
_PATIENCE_SECONDS = 10.0
_PROBE_SECONDS = 1.0


class Word(Enum):
    """What can be said. One byte each, so that no message is ever cut in two.

    Attributes:
        TAKE_OVER: The successor asks for the listening socket.
        LISTENING: Here it is; the descriptor comes along.
        BUSY: Someone else is taking over.
        READY: The successor answers from now on; stop accepting.
        YIELDED: The predecessor accepts nothing any more.
        CONNECTION: An idle connection; the descriptor comes along.
        BACK: The successor gives up; accept again.
        DONE: The successor stands; the predecessor may end.
        STOP: End for good, and a predecessor that stands by as well.
    """

    TAKE_OVER = b"T"
    LISTENING = b"L"
    BUSY = b"B"
    READY = b"R"
    YIELDED = b"Y"
    CONNECTION = b"C"
    BACK = b"K"
    DONE = b"D"
    STOP = b"S"


class Channel:
    """One end of a connection between two servers, or between a server and whoever stops it.

    Args:
        connection: A connected Unix stream socket; owned by the channel from now on.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection

    @classmethod
    def connect(cls, path: Path) -> "Channel":
        """Connect to the control socket of a server.

        Raises:
            UnavailableError: Nobody listens there.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(_PATIENCE_SECONDS)
        try:
            with _short(path) as address:
                connection.connect(address)
        except OSError as error:
            connection.close()
            raise UnavailableError(
                f"No server listens on the control socket {path} ({error.strerror or error}).",
                fix="See what runs: cifarops deploy status. Start one: cifarops deploy start",
            ) from error
        return cls(connection)

    def say(self, word: Word, descriptor: int | None = None) -> bool:
        """Send a word and, for some, a descriptor; the other side gets a copy. Returns whether it went out.

        Never waits: it is called where requests are answered, and one byte always fits unless the other side hangs.
        """
        descriptors = [] if descriptor is None else [descriptor]
        try:
            socket.send_fds(self._socket, [word.value], descriptors, socket.MSG_DONTWAIT)
        except OSError:
            return False
        return True

    def hear(self) -> tuple[Word, int | None] | None:
        """Wait for the next word and its descriptor; None when the other side is gone, or silent for ten seconds."""
        try:
            return self._read()
        except OSError:
            return None

    def ended(self, limit_s: float) -> bool:
        """Wait until the server at the other side has finished; returns whether it has, within `limit_s` seconds."""
        self._socket.settimeout(limit_s)
        try:
            return not self._socket.recv(1)
        except TimeoutError:
            return False
        except OSError:
            return True

    async def listen(self) -> tuple[Word, int | None] | None:
        """Wait for the next word beside other work, for as long as it takes; None when the other side is gone."""
        loop = asyncio.get_running_loop()
        self._socket.setblocking(False)
        while True:
            try:
                return self._read()
            except BlockingIOError:
                readable = loop.create_future()
                loop.add_reader(self._socket, _settle, readable)
                try:
                    await readable
                finally:
                    loop.remove_reader(self._socket)
            except OSError:
                return None

    def close(self) -> None:
        """Close this end; the other side hears that."""
        self._socket.close()

    def _read(self) -> tuple[Word, int | None] | None:
        content, descriptors, _, _ = socket.recv_fds(self._socket, 1, 1)
        for descriptor in descriptors:
            os.set_inheritable(descriptor, False)
        try:
            return Word(content), (descriptors[0] if descriptors else None)
        except ValueError:  # closed, or a program that speaks otherwise
            return None


def control_path(run: Path, environment: str, pid: int) -> Path:
    """Return where the server with that process id listens for its successor."""
    return run / f"{environment}-{pid}.sock"


def listen(path: Path) -> socket.socket:
    """Make a control socket that only this user can reach; leftovers of servers that are gone are removed.

    Raises:
        OSError: It can't be made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(stat.S_IRWXU)
    for other in path.parent.glob("*.sock"):
        _remove_if_dead(other)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    # It gets its name once it listens: until then it looks like a leftover.
    unnamed = path.with_suffix(".new")
    unnamed.unlink(missing_ok=True)
    try:
        with _short(unnamed) as address:
            listening.bind(address)
        unnamed.chmod(stat.S_IRUSR | stat.S_IWUSR)
        listening.listen()
        unnamed.rename(path)
    except OSError:
        listening.close()
        raise
    listening.setblocking(False)
    return listening


def _remove_if_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, suppress(OSError):
        probe.settimeout(_PROBE_SECONDS)
        try:
            with _short(path) as address:
                probe.connect(address)
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)


@contextmanager
def _short(path: Path) -> Iterator[str]:
    """Yield a name of `path` that fits into a socket's address, however deep the workspace lies."""
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)


def _settle(readable: "asyncio.Future[None]") -> None:
    if not readable.done():
        readable.set_result(None)
