"""The listening socket: which addresses are allowed, and what to say when one can't be had."""

import errno
import socket
import ssl
from urllib.parse import urlsplit

from cifarops.errors import UnavailableError, UsageError
from cifarops.serving.options import TLS

BACKLOG = 2048
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
# What listens everywhere is reached here.
_NEAR = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # nothing is bound here


def check_reach(host: str, announce: str | None, *, guarded: bool) -> None:
    """Refuse an address that strangers reach, unless tokens or something in front of the server keep them out.

    Raises:
        UsageError: `host` is not a loopback address, `guarded` is false and nothing is announced, or `announce` is no
            URL.
    """
    if announce is None and host not in _LOOPBACK and not guarded:
        raise UsageError(
            f"Serving on {host} would let everyone on the network predict and label without a token.",
            fix="Make a token first: cifarops serve token make NAME --role predict. In a container, which decides itself"
            " who reaches it, name the address outside: --announce URL",
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


def url_of(listening: socket.socket, *, secure: bool) -> str:
    """Return the URL at which a listening socket is reached from this machine."""
    host, port = listening.getsockname()[:2]
    host = _NEAR.get(host, host)
    return f"{'https' if secure else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"


def load_certificate(tls: TLS) -> ssl.SSLContext:
    """Read the files of a certificate.

    Raises:
        UsageError: They can't be used.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(tls.certificate, tls.key, password=_no_password)
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        raise UsageError(
            f"The certificate {tls.certificate} with the key {tls.key} can't be used: {error}.",
            fix="Name PEM files that belong together, the key without a password, under `tls` in serving.yaml.",
        ) from error
    return context


def _no_password() -> str:
    """Answer instead of a person: a server that waits for one at its terminal would never start."""
    return ""
