"""What stands behind one answer of a million: the command, its JSON, and the verification of a long history.

python -m benchmarks.why [--quick] --out FILE

The ledger is made here: a million predictions of ten classes, a history of two thousand decisions, a version that was
judged, registered and promoted, with a bundle of the size of a good small model.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.harness import ROOT, arguments, sample, summary, write
from benchmarks.network import CLASSES, network_bundle
from cifarops.bundle.signature import Signatures
from cifarops.ledger.records import Decision, Prediction
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings

_BATCH = 10_000
_DECISIONS = 2_000
_TARGET_SECONDS = 0.5


def main() -> None:
    """Make the workspace and measure whole commands, each in a process of its own."""
    options = arguments(str(__doc__))
    predictions, times = (20_000, 3) if options.quick else (1_000_000, 15)
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, "CIFAROPS_WORKSPACE": folder}
        asked = _fill(Settings.from_environment(variables), predictions)
        cifarops = [sys.executable, "-m", "cifarops"]

        def run(*command: str) -> None:
            subprocess.run([*cifarops, *command], cwd=ROOT, env=variables, check=True, capture_output=True)

        results = {
            "why_prediction": summary(
                sample(lambda: run("why", asked), times), target_seconds=_TARGET_SECONDS
            ),
            "why_prediction_json": summary(
                sample(lambda: run("why", asked, "--json"), times), target_seconds=_TARGET_SECONDS
            ),
            "why_version": summary(sample(lambda: run("why", "1"), times), target_seconds=_TARGET_SECONDS),
            "check_history": summary(sample(lambda: _check(Path(folder) / "ledger.db"), times)),
        }
    write(options.out, "why", predictions=predictions, decisions=_DECISIONS, results=results)


def _fill(settings: Settings, predictions: int) -> str:
    """Fill a workspace; returns the id of an answer in the middle of the ledger."""
    bundle = network_bundle(settings.bundles)
    signatures = Signatures.of(settings)
    identity = {"digest": bundle.digest, "run": None}
    with Ledger(settings.ledger) as ledger:
        ledger.record(
            Decision(
                "gate", None, None, "ada", "promote: better", {"candidate": bundle.digest, "verdict": ""}
            )
        )
        ledger.record(Decision("register", None, 1, "ada", "Version 1", identity))
        for environment in ("development", "staging", "production"):
            signatures.sign(bundle.digest, environment)
            ledger.record(Decision("promote", environment, 1, "ada", "better", identity))
        for number in range(ledger.head().seq, _DECISIONS):
            ledger.record(Decision("drift_alarm", "staging", number, "monitor", "drift", {"p": 0.001}))
        for start in range(0, predictions, _BATCH):
            ledger.add_predictions(list(_answers(start, min(_BATCH, predictions - start))))
    return _name(predictions // 2)


def _answers(start: int, count: int) -> Iterator[Prediction]:
    random = np.random.default_rng(start)
    probabilities = random.dirichlet(np.ones(len(CLASSES)), count).astype(np.float32)
    now = time.time()
    for number, row in enumerate(probabilities, start):
        yield Prediction(_name(number), now, "production", 1, int(row.argmax()), row, classes=CLASSES)


def _name(number: int) -> str:
    """Return an id as random as the server's are, so that the index is as deep."""
    return np.random.default_rng(number).bytes(16).hex()


def _check(path: Path) -> None:
    with Ledger(path) as ledger:
        ledger.check_history()


if __name__ == "__main__":
    main()
