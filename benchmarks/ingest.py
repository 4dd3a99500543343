"""From archive to snapshot: how long, with nothing cached and with everything cached.

python -m benchmarks.ingest [--quick] --out FILE

Runs the command itself, as a user does. Needs the JPEG copy of CIFAR-10: the archive that
CIFAROPS_TEST_DATA names, or the one in ../shared/data.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness
from benchmarks.official_layout import write_python_archive
from cifarops.data.sources.folder import read_folder

_DEFAULT_JPEGS = harness.ROOT.parent / "shared" / "data" / "cifar10-jpeg.tar.gz"
_TARGETS = {"jpeg archive": 12.0, "jpeg archive, cached": 0.5, "official python archive": 5.0}


def main() -> None:
    """Measure and write the document."""
    options = harness.arguments(str(__doc__))
    times = 1 if options.quick else 5
    jpegs = Path(os.environ.get("CIFAROPS_TEST_DATA") or _DEFAULT_JPEGS)
    with tempfile.TemporaryDirectory() as folder:
        official = _official_copy(jpegs, Path(folder) / "cifar-10-python.tar.gz")
        workspace = Path(folder) / "workspace"
        results = {
            "jpeg archive": _measure(workspace, times, "folder", jpegs, cached=False),
            "jpeg archive, cached": _measure(workspace, times, "folder", jpegs, cached=True),
            "official python archive": _measure(workspace, times, "cifar10", official, cached=False),
            "official python archive, cached": _measure(workspace, times, "cifar10", official, cached=True),
            "synthetic, 30,000 images": _measure(workspace, times, "synthetic", None, cached=False),
        }
    harness.write(options.out, "ingest", targets_seconds=_TARGETS, results=results)


def _official_copy(jpegs: Path, path: Path) -> Path:
    """Write the official layout, at its full size, from the JPEG copy."""
    raw = read_folder(jpegs, 32)
    in_test = raw.splits == "test"
    train, test = ((raw.images[part], raw.labels[part]) for part in (~in_test, in_test))
    return write_python_archive(path, train, test, raw.classes)


def _measure(
    workspace: Path, times: int, source: str, origin: Path | None, *, cached: bool
) -> dict[str, Any]:
    command = [
        str(Path(sys.executable).with_name("cifarops")),
        "data",
        "ingest",
        "--json",
        "--source",
        source,
    ]
    command += ["--from", str(origin)] if origin else []
    environment = {**os.environ, "CIFAROPS_WORKSPACE": str(workspace)}

    def run() -> None:
        subprocess.run(command, cwd=harness.ROOT, env=environment, check=True, capture_output=True)

    def forget() -> None:
        shutil.rmtree(workspace, ignore_errors=True)

    if cached:
        run()
    samples = harness.sample(run, times, before=None if cached else forget)
    return harness.summary(samples, source=source, bytes=origin.stat().st_size if origin else 0)


if __name__ == "__main__":
    main()
