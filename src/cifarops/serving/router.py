"""Which version answers: the one that the ledger says the environment runs, exchanged while requests go on."""

import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from cifarops.errors import CifaropsError
from cifarops.ledger.records import EnvironmentName, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.serving.engine import Engine
from cifarops.serving.metrics import Metrics

_POLL_SECONDS = 0.2
_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Route:
    """What answers now, and what should.

    Attributes:
        engine: The version that answers, or None where there is none.
        generation: Generation of the environment that `engine` belongs to; 0 where there is none.
        wanted: Newest generation seen in the ledger.
        error: Why `wanted` is not served, or the ledger not read; None when all is well.
    """

    engine: Engine | None = None
    generation: int = 0
    wanted: int = 0
    error: str | None = None


class Router:
    """Follows an environment in the ledger; a context manager around the thread that does it.

    A new version is verified, loaded and warmed up beside the old one, then takes its place in one assignment:
    requests in flight finish on the version they began with. One that can't be loaded leaves the old one answering.

    Args:
        environment: Which environment.
        ledger: The ledger's file.
        bundles: Directory of bundles.
        metrics: Where swaps and failures are counted.
        code: SHA-256 of the code release that this process runs. It then follows only what the environment is to run
            with that code: a model and the code that goes with it change together. None follows everything.
    """

    def __init__(
        self,
        environment: EnvironmentName,
        *,
        ledger: Path,
        bundles: Path,
        metrics: Metrics,
        code: str | None = None,
    ) -> None:
        self.environment = environment
        self.route = Route()
        self._ledger_path = ledger
        self._ledger: Ledger | None = None
        self._bundles = bundles
        self._metrics = metrics
        self._code = code
        self._retry_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="router", daemon=True)

    def __enter__(self) -> "Router":
        self._follow()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._forget_ledger()

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            self._follow()

    def _follow(self) -> None:
        """Look once, and load what is new. Never raises: whatever goes wrong, the old version answers."""
        try:
            state = self._read()
        except CifaropsError as error:
            self._forget_ledger()
            self.route = replace(self.route, error=error.message)
            return
        if self._code not in (None, state.code):
            self.route = replace(self.route, wanted=state.generation, error=self._foreign(state))
        elif state.generation == self.route.generation:
            self.route = replace(self.route, wanted=state.generation, error=None)
        elif state.generation != self.route.wanted or time.monotonic() >= self._retry_at:
            self._exchange(state)

    def _exchange(self, state: EnvironmentState) -> None:
        try:
            engine = self._load(state)
        except Exception as error:  # memory, disk, a decoder: none of them may end the thread
            message = error.message if isinstance(error, CifaropsError) else repr(error)
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self.route = replace(self.route, wanted=state.generation, error=message)
            self._metrics.load_failures.inc()
        else:
            self.route = Route(engine, state.generation, state.generation)
            self._metrics.swapped(engine.version if engine else 0)

    def _load(self, state: EnvironmentState) -> Engine | None:
        if state.version is None or state.digest is None:
            return None  # the first promotion was taken back
        return Engine(self._bundles, state.digest, state.version)

    def _foreign(self, state: EnvironmentState) -> str:
        wanted = f"code {state.code[:12]}" if state.code else "no code release"
        return f"This server runs code {str(self._code)[:12]}, but {self.environment} is to run {wanted}."

    def _read(self) -> EnvironmentState:
        if self._ledger is None:
            self._ledger = Ledger(self._ledger_path)
        return self._ledger.environment(self.environment)

    def _forget_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
