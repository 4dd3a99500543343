"""HTTP by hand over a socket, for what no client library would send."""

import contextlib
import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit


def address_of(url: str) -> tuple[str, int]:
    """Return host and port of a URL."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 80)


@contextlib.contextmanager
def connected(url: str, *, source: str = "127.0.0.1", timeout: float = 20) -> Iterator[socket.socket]:
    """Connect from an address of this machine: servers take each for another client."""
    with socket.create_connection(address_of(url), timeout, (source, 0)) as connection:
        yield connection


def head(method: str, path: str, *headers: str) -> bytes:
    """Write the first lines of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]).encode("latin-1")


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Write a whole request with a body."""
    return head("POST", path, f"Content-Length: {len(body)}", *headers) + body


def read_until_closed(connection: socket.socket) -> bytes:
    """Read until the server ends the connection, in whatever way."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def read_status(connection: socket.socket) -> int:
    """Read one answer, whose length is declared; returns its status, or 0 where the connection has ended."""
    received = b""
    try:
        while b"\r\n\r\n" not in received:
            if not (piece := connection.recv(65536)):
                return 0
            received += piece
        top, _, body = received.partition(b"\r\n\r\n")
        length = int(top.lower().partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        while len(body) < length:
            if not (piece := connection.recv(65536)):
                return 0
            body += piece
    except ConnectionError:
        return 0
    return int(top.split()[1])


def cut_off(connection: socket.socket, most_bytes: int) -> bool:
    """Send without end; returns whether the server ended the connection before it had got `most_bytes`."""
    piece, sent = b"a" * 2**16, 0
    try:
        while sent < most_bytes:
            sent += connection.send(piece)
    except ConnectionError:
        return True
    return False


def dribble(connection: socket.socket, content: bytes, *, every_s: float, seconds: float) -> bool:
    """Send a byte at a time; returns whether the server ended the connection before `seconds` were over."""
    end = time.monotonic() + seconds
    connection.settimeout(every_s)
    try:
        for k in range(len(content)):
            connection.sendall(content[k : k + 1])
            with contextlib.suppress(TimeoutError):
                if not connection.recv(65536):
                    return True
            if time.monotonic() > end:
                return False
    except ConnectionError:
        return True
    return False
