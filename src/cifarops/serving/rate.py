"""How often each client may ask: the generic cell rate algorithm, one number for each client (ITU-T I.371, annex A)."""

from collections import OrderedDict

_CLIENTS = 10_000


class Rate:
    """A bound on each client's requests a second.

    Args:
        per_second: On average.
        burst: How many may come at once.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._interval = 1 / per_second
        self._tolerance = (burst - 1) * self._interval
        # When each client's next request would come if it kept to the average; the one unheard of for longest goes first.
        self._expected: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, client: str, now: float) -> float:
        """Count a request, or return in how many seconds one will be allowed (0: this one is)."""
        expected = max(self._expected.get(client, now), now)
        early = expected - now - self._tolerance
        if early > 1e-9:
            return early
        self._expected[client] = expected + self._interval
        self._expected.move_to_end(client)
        if len(self._expected) > _CLIENTS:
            self._expected.popitem(last=False)
        return 0.0
