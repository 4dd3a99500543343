"""The listening socket: which addresses are allowed, and what to say when one can't be had."""

import errno
import socket
from urllib.parse import urlsplit

from cifarops.errors import UnavailableError, UsageError

BACKLOG = 2048
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def check_reach(host: str, announce: str | None) -> None:
    """Refuse an address that strangers reach, unless something in front of the server decides who does.

    Raises:
        UsageError: `host` is not a loopback address and nothing is announced, or `announce` is no URL.
    """
    if announce is None and host not in _LOOPBACK:
        raise UsageError(
            f"Serving on {host} would let everyone on the network predict and label without a password.",
            fix="Use --host 127.0.0.1 and put a proxy that checks who asks in front of it. In a container, which"
            " decides itself who reaches it, name the address outside: --announce URL",
        )
    if announce is not None:
        parts = urlsplit(announce)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"{announce!r} is no address of a server.",
                fix="Give one like --announce http://127.0.0.1:8081",
            )


def bind(host: str, port: int) -> socket.socket:
    """Listen on an address; port 0 takes a free one.

    Raises:
        UnavailableError: The port is taken or not allowed.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        what = "is taken" if error.errno == errno.EADDRINUSE else f"can't be used ({error.strerror})"
        raise UnavailableError(
            f"Port {port} on {host} {what}.", fix="Choose another with --port, or --port 0 for any free one."
        ) from error
    return listening


def url_of(listening: socket.socket) -> str:
    """Return the URL at which a listening socket is reached."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
