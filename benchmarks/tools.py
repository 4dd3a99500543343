"""Programs of others that tests and benchmarks run beside the server: pinned, installed by whoever needs them first.

They are kept out of the project's own environment: they bring a hundred megabytes that nothing of ours imports.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from benchmarks.harness import ROOT
from cifarops.errors import UnavailableError
from cifarops.files import locked, publish_directory, staged_directory

_CACHE = ROOT / ".cache" / "tools"
_INSTALL_SECONDS = 240


def installed(name: str = "tools") -> Path:
    """Return the directory of the packages that `benchmarks/NAME.txt` pins.

    Raises:
        UnavailableError: They can't be installed.
    """
    pins = ROOT / "benchmarks" / f"{name}.txt"
    target = _CACHE / f"{name}-{hashlib.sha256(pins.read_bytes()).hexdigest()[:16]}"
    _CACHE.mkdir(parents=True, exist_ok=True)
    with locked(_CACHE / "lock"):
        if not target.is_dir():
            with staged_directory(_CACHE) as staged:
                _install(pins, staged)
                publish_directory(staged, target)
    return target


def environment() -> dict[str, str]:
    """Return the environment variables with which Python finds the tools, besides what is installed anyway."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (installed(), ROOT / "src", ROOT)))}


def _install(pins: Path, target: Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    done = subprocess.run(
        [*command, "--target", str(target), "--requirement", str(pins)],
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
    )
    if done.returncode:
        raise UnavailableError(
            f"The packages of {pins.name} can't be installed: {done.stderr[-2000:]}",
            fix="See that a package index is reached: pip download --no-deps tritonclient",
        )
