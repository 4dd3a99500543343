"""Which version answers: the one that the ledger says the environment runs, exchanged while requests go on.

Beside the stable version a canary may answer for a share of the clients, and a shadow the same requests to nobody.
"""

import hashlib
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path

from starlette.requests import HTTPConnection

from cifarops.bundle.signature import Signatures
from cifarops.errors import CifaropsError
from cifarops.ledger.records import Canary, EnvironmentName, EnvironmentState, Shadow
from cifarops.ledger.store import Ledger
from cifarops.serving.client import KEY_HEADER
from cifarops.serving.engine import Engine
from cifarops.serving.metrics import Metrics

_POLL_SECONDS = 0.2
_RETRY_SECONDS = 5.0


@dataclass(frozen=True)
class Assignment:
    """Which versions deal with one request.

    Attributes:
        engine: The version that answers.
        fallback: The version that answers where that one fails: a canary's failure costs no request.
        mirror: The version that says what it thinks, to nobody, or None.
        compared: Whether it is noted how the request fared.
    """

    engine: Engine
    fallback: Engine | None = None
    mirror: Engine | None = None
    compared: bool = False


@dataclass(frozen=True)
class Route:
    """What answers now, and what should.

    Attributes:
        engine: The stable version, or None where there is none.
        generation: Generation of the environment that `engine` belongs to; 0 where there is none.
        wanted: Newest generation seen in the ledger.
        error: Why `wanted` is not served, or the ledger not read; None when all is well.
        canary: The version that answers a share of the clients, or None.
        percent: That share.
        shadow: The version that answers beside, to nobody, or None.
        beside_error: Why a canary or shadow that should run does not; the stable version answers all the same.
    """

    engine: Engine | None = None
    generation: int = 0
    wanted: int = 0
    error: str | None = None
    canary: Engine | None = None
    percent: float = 0.0
    shadow: Engine | None = None
    beside_error: str | None = None

    def assign(self, key: str | None) -> Assignment | None:
        """Say who deals with a request; None where nothing runs.

        Args:
            key: Requests with the same key go to the same version; without one to the stable version.
        """
        if self.engine is None:
            return None
        if self.canary is None:
            return Assignment(self.engine, mirror=self.shadow)
        if key is not None and percentile(key, self.canary.digest) < self.percent:
            return Assignment(self.canary, fallback=self.engine, mirror=self.engine, compared=True)
        return Assignment(self.engine, mirror=self.shadow, compared=True)

    def engines(self) -> list[Engine]:
        """Return the versions that are loaded, in any of the roles, the stable one first."""
        return [engine for engine in (self.engine, self.canary, self.shadow) if engine is not None]

    def loaded(self, version: int, digest: str) -> Engine | None:
        """Return a version that is loaded already in any of the roles."""
        return next(
            (found for found in self.engines() if (found.version, found.digest) == (version, digest)), None
        )


def sticky_key(request: HTTPConnection) -> str | None:
    """Return what keeps a client on one version: the key that it sends, or else its address."""
    return request.headers.get(KEY_HEADER) or (request.client.host if request.client else None)


def percentile(key: str, digest: str) -> float:
    """Return where a key stands among all keys, in [0, 100): drawn anew for each canary, and lasting as long as it does."""
    drawn = hashlib.blake2b(f"{digest}:{key}".encode(errors="replace"), digest_size=8).digest()
    return 100 * int.from_bytes(drawn) / 2**64


class Router:
    """Follows an environment in the ledger; a context manager around the thread that does it.

    A new version is verified, loaded and warmed up beside the old one, then takes its place in one assignment:
    requests in flight finish on the version they began with. One that can't be loaded leaves the old one answering.

    Args:
        environment: Which environment.
        ledger: The ledger's file.
        bundles: Directory of bundles.
        signatures: What says which of them the environment may run.
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
        signatures: Signatures,
        metrics: Metrics,
        code: str | None = None,
    ) -> None:
        self.environment = environment
        self.route = Route()
        self.ledger_path = ledger
        self._ledger: Ledger | None = None
        self._bundles = bundles
        self._signatures = signatures
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

    def check(self, version: int, digest: str) -> None:
        """Refuse a version that could not run here; may be called by any thread.

        Raises:
            UsageError: There is no such bundle.
            IntegrityError: It is unsigned, damaged, can't be loaded or doesn't answer as its manifest says.
        """
        self._signatures.verified(digest, self.environment)
        Engine(self._bundles, digest, version)

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
        elif state.generation == self.route.generation and not self._due_again():
            self.route = replace(self.route, wanted=state.generation, error=None)
        elif state.generation != self.route.wanted or time.monotonic() >= self._retry_at:
            self._exchange(state)

    def _due_again(self) -> bool:
        return self.route.beside_error is not None and time.monotonic() >= self._retry_at

    def _exchange(self, state: EnvironmentState) -> None:
        before = self.route
        engine, error = self._load(state.version, state.digest)
        if error:
            self.route = replace(before, wanted=state.generation, error=error)
            return
        canary, canary_error = self._beside("canary", state.canary)
        shadow, shadow_error = self._beside("shadow", state.shadow)
        self.route = Route(
            engine,
            state.generation,
            state.generation,
            canary=canary,
            percent=state.canary.percent if state.canary else 0.0,
            shadow=shadow,
            beside_error=canary_error or shadow_error,
        )
        if engine is not before.engine:
            self._metrics.swapped(engine.version if engine else 0)
        self._metrics.beside(canary.version if canary else 0, shadow.version if shadow else 0)

    def _load(self, version: int | None, digest: str | None) -> tuple[Engine | None, str | None]:
        """Return a version that is ready to answer, and why there is none where one should be."""
        if version is None or digest is None:
            return None, None  # the first promotion was taken back
        try:
            self._signatures.verified(digest, self.environment)
            return (
                self.route.loaded(version, digest)
                or Engine(self._bundles, digest, version, self._metrics.computed),
                None,
            )
        except Exception as error:  # memory, disk, a decoder: none of them may end the thread
            self._retry_at = time.monotonic() + _RETRY_SECONDS
            self._metrics.load_failures.inc()
            return None, error.message if isinstance(error, CifaropsError) else repr(error)

    def _beside(self, role: str, wanted: Canary | Shadow | None) -> tuple[Engine | None, str | None]:
        if wanted is None:
            return None, None
        engine, error = self._load(wanted.version, wanted.digest)
        return engine, f"The {role}, version {wanted.version}, does not run: {error}" if error else None

    def _foreign(self, state: EnvironmentState) -> str:
        wanted = f"code {state.code[:12]}" if state.code else "no code release"
        return f"This server runs code {str(self._code)[:12]}, but {self.environment} is to run {wanted}."

    def _read(self) -> EnvironmentState:
        if self._ledger is None:
            self._ledger = Ledger(self.ledger_path)
        return self._ledger.environment(self.environment)

    def _forget_ledger(self) -> None:
        if self._ledger is not None:
            self._ledger.close()
            self._ledger = None
