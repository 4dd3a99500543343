"""Programs of others that tests run against the server: installed beside, at pinned versions, by whoever needs them first."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cifarops.files import locked, publish_directory, staged_directory

ROOT = Path(__file__).parents[2]
_PINS = ROOT / "tests" / "tools.txt"
_INSTALL_SECONDS = 240


def tools() -> Path:
    """Return the directory of installed packages; fails, saying why, where they can't be had."""
    cache = ROOT / ".cache" / "test-tools"
    target = cache / hashlib.sha256(_PINS.read_bytes()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / "lock"):
        if not target.is_dir():
            with staged_directory(cache) as staged:
                _install(staged)
                publish_directory(staged, target)
    return target


def run_python(*arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run Python with the tools at hand, besides what the tests themselves can import."""
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=_environment(),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def _install(target: Path) -> None:
    # Without dependencies: those that we have are shared, the others are listed too. Nothing here is imported by us.
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile"]
    done = subprocess.run(
        [*command, "--target", str(target), "--requirement", str(_PINS)],
        capture_output=True,
        text=True,
        timeout=_INSTALL_SECONDS,
    )
    if done.returncode:
        pytest.fail(f"what tests need can't be installed: {done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tools()), str(ROOT / "src"), str(ROOT)])}
