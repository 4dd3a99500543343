"""A training on real images, from the archive to the gate on the test split.

python -m benchmarks.training [--data ARCHIVE] [--quick] --out FILE

Runs the commands as a user does, in a workspace of its own, so the test split is looked at once, by the gate. `--quick`
trains half an epoch.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import harness
from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import find_bundle

_PROFILE = "fast"
_JPEGS = harness.ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.gz"
_TARGETS = {"test_accuracy": 0.88, "training_seconds": 600}


def main() -> None:
    """Measure and write the document."""
    options = harness.arguments(str(__doc__), data=Path(os.environ.get("CIFAROPS_TEST_DATA") or _JPEGS))
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        ingest = ["data", "ingest", "--profile", _PROFILE, "--source", "folder", "--from", str(options.data)]
        _cifarops(workspace, *ingest)
        run, command = _cifarops(
            workspace, "train", "--profile", _PROFILE, *(["--epochs", "0.5"] if options.quick else [])
        )
        bundle, _ = _cifarops(workspace, "package")
        verdict, _ = _cifarops(workspace, "evaluate", "gate", "--against", "none")
        latency = _milliseconds(workspace / "bundles", bundle["bundle"])
        (points,) = (json.loads(path.read_text()) for path in workspace.glob("runs/*/curve.json"))
    (test,) = (suite["candidate"] for suite in verdict["evidence"] if suite["name"] == "test")
    harness.write(
        options.out,
        "training",
        targets=_TARGETS,
        profile=_PROFILE,
        quick=options.quick,
        data=options.data.name,
        test_accuracy=test["accuracy"],
        test_ece=test["ece"],
        test_images=test["images"],
        verdict=verdict["answer"],
        valid_accuracy=bundle["accuracy"],
        training_seconds=run["seconds"],
        images_per_second=run["images_per_second"],
        training_command=command,
        milliseconds_an_image=latency,
        curve=points,
    )


def _cifarops(workspace: Path, *arguments: str) -> tuple[dict[str, Any], dict[str, float]]:
    """Run a command and return its answer and what it cost."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "cifarops.cli.main", *arguments, "--json"],
        cwd=harness.ROOT,
        env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace)},
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.perf_counter() - started
    answer = json.loads(done.stdout)
    if "error" in answer:
        sys.exit(f"{' '.join(arguments)}: {answer['error']} {answer['fix']}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return answer, {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes_so_far": after.ru_maxrss * 1024}


def _milliseconds(bundles: Path, digest: str, times: int = 500) -> float:
    """Return the median time of one answer with one thread, preprocessing included."""
    model = OnnxModel(find_bundle(bundles, digest))
    size = model.manifest.preprocessing.size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    samples = harness.sample(lambda: model.logits(image), times)
    return 1000 * float(np.median([each.seconds for each in samples]))


if __name__ == "__main__":
    main()
