"""Who asks: what the server knows about one request before it reads the body."""

from collections.abc import Callable, Mapping, MutableMapping
from typing import Any

_KEY = "cifarops.caller"


class Caller:
    """The client behind one request.

    Args:
        client: Whom limits and turns are counted for: the name of a token, or an address.
        timeout_s: Seconds that the client waits for an answer once it has sent the whole request.
        token: Name of the token that came with it.
    """

    __slots__ = ("client", "gone", "on_gone", "timeout_s", "token")

    def __init__(self, client: str, timeout_s: float = 30.0, token: str | None = None) -> None:
        self.client = client
        self.token = token
        self.timeout_s = timeout_s
        self.gone = False
        self.on_gone: Callable[[], None] | None = None


def introduce(scope: MutableMapping[str, Any], caller: Caller) -> None:
    """Say who is behind a request."""
    scope[_KEY] = caller


def note_leaving(scope: Mapping[str, object]) -> None:
    """Note that the client behind a request has closed the connection: what waits for it need not be done."""
    caller = scope.get(_KEY)
    if isinstance(caller, Caller):
        caller.gone = True
        if caller.on_gone is not None:
            caller.on_gone()


def caller_of(scope: MutableMapping[str, Any]) -> Caller:
    """Return who is behind a request; where nobody said so, it is known by its address."""
    caller = scope.get(_KEY)
    if not isinstance(caller, Caller):
        address = scope.get("client")
        caller = scope[_KEY] = Caller(address[0] if address else "")
    return caller
