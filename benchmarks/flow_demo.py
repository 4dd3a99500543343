"""How long the whole branch process takes to rehearse, once: `cifarops flow rehearse`, as `make flow-demo` runs it.

python -m benchmarks.flow_demo [--quick] --out FILE
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, arguments, sample, summary, write

_TARGET_SECONDS = 360


def main() -> None:
    """Measure one rehearsal, in a workspace of its own; what its steps took stands beside it."""
    options = arguments("The whole branch process")
    with tempfile.TemporaryDirectory() as workspace:
        samples = sample(lambda: _rehearse(workspace), 1)
        told = json.loads((Path(workspace) / "flow-demo" / "summary.json").read_text())
    write(
        options.out,
        "flow_demo",
        results={"rehearsal": summary(samples, target_seconds=_TARGET_SECONDS)},
        steps={step["name"]: step["seconds"] for step in told["steps"]},
        requests=told["requests"],
    )


def _rehearse(workspace: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "cifarops", "flow", "rehearse"],
        cwd=ROOT,
        env={**os.environ, "CIFAROPS_WORKSPACE": workspace},
        check=True,
    )


if __name__ == "__main__":
    main()
