"""SIGKILL at random moments of promotions and rollbacks: what ledger, registry and server say afterwards.

python -m benchmarks.kills [--quick] --out FILE
"""

import multiprocessing
import random
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.harness import arguments, write
from cifarops.deployment.process import ServerProcess
from cifarops.deployment.rollout import promote, rollback
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.serving.client import Client
from cifarops.settings import Settings
from tests.support.bundles import COLOURS, colour_bundle, colour_image
from tests.support.registry import register

_VERSIONS = 4
_ENVIRONMENT: EnvironmentName = "staging"
_FOLLOW_SECONDS = 20.0


@dataclass
class Killed:
    """What was found.

    Attributes:
        before: Kills after which the old version ran.
        after: Kills after which the new one did.
        finished: Changes that were done before the signal came.
        problems: What should not be.
    """

    before: int = 0
    after: int = 0
    finished: int = 0
    problems: list[str] = field(default_factory=list)


def main() -> None:
    """Kill two hundred changes."""
    options = arguments("Promotions and rollbacks killed at random moments")
    with tempfile.TemporaryDirectory() as folder:
        found = kill_changes(Path(folder), 20 if options.quick else 200)
    write(
        options.out,
        "kills",
        what="kills after which ledger, registry and server agreed on a version that answers; problems must be 0",
        kills=found.before + found.after,
        **vars(found),
    )


def kill_changes(workspace: Path, kills: int, *, seed: int = 0) -> Killed:
    """Begin changes beside a live server and kill each at a random moment, until so many were killed."""
    settings, chance, found = _settings(workspace), random.Random(seed), Killed()
    registry = Registry.of(settings)
    for n in range(_VERSIONS):
        register(registry, colour_bundle(settings.bundles, rotation=n % 3, sharpness=2 + n))
    # A fresh process for each change costs seconds of imports, a fork of one that has them costs nothing.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.kills"])
    _timed(context, workspace, 1)  # starts the process that is forked
    longest = max(_timed(context, workspace, version) for version in (2, 3))
    with ServerProcess(_ENVIRONMENT, workspace=workspace) as server, Ledger(settings.ledger) as ledger:
        while found.before + found.after < kills and not found.problems:
            seen = ledger.environment(_ENVIRONMENT)
            goes_back = seen.previous_version is not None and chance.random() < 0.3
            version = (
                None
                if goes_back
                else chance.choice([v for v in range(1, _VERSIONS + 1) if v != seen.version])
            )
            process = context.Process(target=_change, args=(workspace, version))
            process.start()
            time.sleep(chance.uniform(0, longest))
            process.kill()
            process.join()
            if process.exitcode == 0:
                found.finished += 1
            elif ledger.environment(_ENVIRONMENT).generation == seen.generation:
                found.before += 1
            else:
                found.after += 1
            if problem := _disagreement(ledger, registry, Client(server.url)):
                found.problems.append(problem)
    return found


def _timed(context: multiprocessing.context.ForkServerContext, workspace: Path, version: int) -> float:
    process = context.Process(target=_change, args=(workspace, version))
    begun = time.perf_counter()
    process.start()
    process.join()
    return time.perf_counter() - begun


def _change(workspace: Path, version: int | None) -> None:
    settings = _settings(workspace)
    with Ledger(settings.ledger) as ledger:
        registry = Registry.of(settings)
        if version is None:
            rollback(_ENVIRONMENT, ledger=ledger, registry=registry, actor="benchmark", reason="to be killed")
        else:
            promote(
                _ENVIRONMENT,
                version,
                ledger=ledger,
                registry=registry,
                actor="benchmark",
                reason="to be killed",
            )


def _disagreement(ledger: Ledger, registry: Registry, client: Client) -> str | None:
    """Return what does not fit together, once everyone has looked: as `cifarops registry list` does, and the server."""
    ledger.check_history()
    state = ledger.environment(_ENVIRONMENT)
    registry.sync_aliases(ledger)
    aliased = [version for version in registry.versions() if _ENVIRONMENT in version.aliases]
    if [(each.number, each.digest) for each in aliased] != [(state.version, state.digest)]:
        return f"the registry says {aliased}, the ledger version {state.version}"
    deadline = time.monotonic() + _FOLLOW_SECONDS
    while (running := client.version()).generation != state.generation:
        if time.monotonic() > deadline:
            return f"the server runs version {running.model_version}, not {state.version}: {running.error}"
        time.sleep(0.02)
    answer = client.predict(colour_image("red"))
    expected = COLOURS[((state.version or 0) - 1) % 3]
    if (answer.model_version, answer.label) != (state.version, expected):
        return (
            f"version {answer.model_version} answers {answer.label}, not version {state.version} {expected}"
        )
    return None


def _settings(workspace: Path) -> Settings:
    return Settings.from_environment({"CIFAROPS_WORKSPACE": str(workspace), "CIFAROPS_ACTOR": "benchmark"})


if __name__ == "__main__":
    main()
