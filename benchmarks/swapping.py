"""Replacing models and code of a running server in every way, good and bad, while clients check every answer."""

import itertools
import random
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from benchmarks.clients import Reign, Seen, expected_answers, watched
from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import Bundle
from cifarops.deployment.code import CodeRelease
from cifarops.deployment.deploy import deploy_release, stop
from cifarops.deployment.rollout import promote, rollback
from cifarops.deployment.settle import settle
from cifarops.errors import IntegrityError, UnavailableError
from cifarops.ledger.records import Decision, EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.serving.client import Client
from cifarops.settings import Settings
from tests.support.bundles import colour_bundle, unloadable_bundle
from tests.support.registry import register
from tests.support.releases import release_of

ENVIRONMENT: EnvironmentName = "staging"
_GOOD = 8
_SLOW_NODES = 4000
_WATCH_SECONDS = 0.2
_SETTLE_SECONDS = 30.0


class Swapper:
    """One environment with a server, versions of every kind, and code releases.

    Args:
        settings: Of an empty workspace with the code releases.
        codes: Good ones; the first is started.
        bad_code: One whose server never gets ready.
        seed: Of the choice of what comes next.
    """

    def __init__(
        self, settings: Settings, codes: Sequence[CodeRelease], bad_code: CodeRelease, seed: int = 0
    ) -> None:
        self.settings = settings
        self.ledger = Ledger(settings.ledger)
        self.reigns: list[Reign] = []
        self.counts: dict[str, int] = {}
        self._registry = Registry.of(settings)
        self._random = random.Random(seed)
        self._codes, self._bad_code = list(codes), bad_code
        self._versions = {}
        for n in range(_GOOD):
            ballast = _SLOW_NODES if n % 4 == 3 else 0
            bundle = colour_bundle(settings.bundles, rotation=n % 3, sharpness=2 + n / 4, ballast=ballast)
            self._versions[register(self._registry, bundle)] = bundle
        self._bad = self._bad_versions()
        self._expected = expected_answers(self._versions)
        models: list[Callable[[], None]] = [self._promote] * 6 + [self._roll_back] * 2 + [self._refused]
        models += [partial(self._force, name) for name in self._bad]
        self._random.shuffle(models)
        self._model_swaps = itertools.cycle(models)
        self._code_swaps = itertools.cycle([self._release_other, self._release_bad, self._release_other])
        first = min(self._versions)
        self._reign(first)
        self._release(self._codes[0], first)

    def close(self) -> None:
        """Stop the server."""
        stop(ENVIRONMENT, ledger=self.ledger, settings=self.settings, reason="end")
        self.ledger.close()

    @property
    def url(self) -> str:
        """Where the server answers."""
        return self.ledger.servers(ENVIRONMENT)[-1]

    @property
    def pid(self) -> int:
        """Process id of whoever answers."""
        return Client(self.url).version().pid

    def swap_model(self) -> None:
        """Put another good version to work, go back, or try one that can't work; every kind in its turn."""
        next(self._model_swaps)()

    def swap_code(self) -> None:
        """Put another code release and another model to work, or try a code release whose server never gets ready."""
        next(self._code_swaps)()

    def watched(self) -> AbstractContextManager[Seen]:
        """Let clients ask all the time while the block runs; no request is tried again."""
        return watched(self.url, self._expected)

    def _promote(self) -> None:
        before, version = self._current(), self._other()
        self._count("model, slow to load" if (version - 1) % 4 == 3 else "model")
        self._reign(version)
        promote(
            ENVIRONMENT,
            version,
            ledger=self.ledger,
            registry=self._registry,
            actor="benchmark",
            reason="swap",
            timeout_s=_SETTLE_SECONDS,
        )
        self._end(before)

    def _roll_back(self) -> None:
        before, state = self._current(), self.ledger.environment(ENVIRONMENT)
        if state.previous_version is None:
            self._promote()
            return
        self._count("model, rolled back")
        self._reign(state.previous_version)
        rollback(
            ENVIRONMENT,
            ledger=self.ledger,
            registry=self._registry,
            actor="benchmark",
            reason="swap",
            timeout_s=_SETTLE_SECONDS,
        )
        self._end(before)

    def _force(self, name: str) -> None:
        """Let the server see a version that a preflight would refuse, as where its copy was damaged afterwards."""
        self._count(f"model, {name}")
        version, bundle = self._bad[name]
        seen = self.ledger.environment(ENVIRONMENT)
        why = Decision("promote", ENVIRONMENT, version, "benchmark", name)
        state = self.ledger.swap(seen, seen.taking(version, bundle.digest), why)
        settled = settle(state, self.ledger, timeout_s=_SETTLE_SECONDS)
        assert settled.problem, f"a version that is {name} was taken up"
        back = Decision("not_taken_up", ENVIRONMENT, version, "benchmark", name)
        settle(self.ledger.swap(state, seen, back), self.ledger, timeout_s=_SETTLE_SECONDS)

    def _refused(self) -> None:
        """Ask for a version that the preflight refuses."""
        self._count("model, refused")
        version, _ = self._bad["corrupt"]
        try:
            promote(
                ENVIRONMENT,
                version,
                ledger=self.ledger,
                registry=self._registry,
                actor="benchmark",
                reason="swap",
            )
        except IntegrityError:
            return
        raise AssertionError("a damaged version was promoted")

    def _release_other(self) -> None:
        self._count("code and model")
        before, version = self._current(), self._other()
        running = self.ledger.environment(ENVIRONMENT).code
        self._reign(version)
        self._release(self._random.choice([each for each in self._codes if each.sha256 != running]), version)
        self._end(before)

    def _release_bad(self) -> None:
        self._count("code, never ready")
        try:
            self._release(self._bad_code, self._current())
        except UnavailableError:
            return
        raise AssertionError("a code release that can't start was taken up")

    def _release(self, code: CodeRelease, version: int) -> None:
        deploy_release(
            release_of(code, self._versions[version].digest),
            ENVIRONMENT,
            ledger=self.ledger,
            registry=self._registry,
            settings=self.settings,
            reason="swap",
            watch_s=_WATCH_SECONDS,
        )

    def _bad_versions(self) -> dict[str, tuple[int, Bundle]]:
        bundles = self.settings.bundles
        made = {
            "corrupt": colour_bundle(bundles, sharpness=20),
            "unloadable": unloadable_bundle(bundles),
            "crashing": colour_bundle(bundles, sharpness=21, crashing=True),
            "of another shape": colour_bundle(bundles, sharpness=22, outputs=4),
        }
        signatures = Signatures.of(self.settings)
        found = {}
        for name, bundle in made.items():
            found[name] = register(self._registry, bundle), bundle
            signatures.sign(bundle.digest, ENVIRONMENT)
        damaged = made["corrupt"].model_path
        damaged.write_bytes(damaged.read_bytes() + b"\0")
        return found

    def _current(self) -> int:
        return int(self.ledger.environment(ENVIRONMENT).version or 0)

    def _other(self) -> int:
        current = self._current()
        return self._random.choice([version for version in self._versions if version != current])

    def _reign(self, version: int) -> None:
        self.reigns.append(Reign(version, time.time()))

    def _end(self, version: int) -> None:
        for reign in self.reigns[:-1]:
            if reign.version == version and reign.end == float("inf"):
                reign.end = time.time()

    def _count(self, kind: str) -> None:
        self.counts[kind] = self.counts.get(kind, 0) + 1


def resident_bytes(pid: int) -> int:
    """Return how much memory a process holds."""
    line = next(
        line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    return int(line.split()[1]) * 1024
