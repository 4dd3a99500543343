"""What the machine has: cores, memory, number formats, programs and packages, and what each is needed for."""

import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from cifarops.machine import usable_cores
from cifarops.settings import Settings

_GIB = 2**30
_PACKAGES = {
    "onnxruntime": "serving and the gate",
    "fastapi": "serving",
    "torch": "training",
    "mlflow-skinny": "tracking and the registry",
    "dvc": "dvc repro",
    "matplotlib": "the demo's report",
}
_PROGRAMS = {
    "git": ("code identity on every run", True),
    "make": ("make demo, make test", False),
    "nvidia-smi": ("training on a GPU", False),
    "podman": ("running container images", False),
    "buildah": ("building container images", False),
    "promtool": ("testing alert rules", False),
    "node": ("rehearsing the pipeline", False),
}


@dataclass(frozen=True)
class Check:
    """One line of the examination.

    Attributes:
        state: `ok`; `missing`: the main job can't run without it; `absent`: only what `purpose` says needs it.
    """

    name: str
    state: Literal["ok", "missing", "absent"]
    found: str
    purpose: str


def examine(settings: Settings) -> list[Check]:
    """Look at the machine; starts nothing that lasts."""
    return [*_hardware(), *_workspace(settings.workspace), *_packages(), *_programs()]


def _hardware() -> Iterator[Check]:
    python = platform.python_version()
    yield Check(
        "Python", "ok" if sys.version_info >= (3, 11) else "missing", python, "everything (3.11 or later)"
    )
    yield Check("cores", "ok", str(usable_cores()), "training time")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    yield Check("memory", "ok" if memory >= 3 else "missing", f"{memory:.1f} GiB", "the demo (3 GiB)")
    flags = _cpu_flags()
    bfloat16 = sorted(flags & {"avx512_bf16", "amx_bf16"})
    yield Check(
        "bfloat16",
        "ok" if bfloat16 else "absent",
        ", ".join(bfloat16) or "no",
        "training about twice as fast",
    )
    vnni = sorted(flags & {"avx512_vnni", "avx_vnni"})
    yield Check(
        "int8 (VNNI)", "ok" if vnni else "absent", ", ".join(vnni) or "no", "serving int8 models fast"
    )


def _cpu_flags() -> set[str]:
    """The processor's features as Linux names them; empty where that can't be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _workspace(workspace: Path) -> Iterator[Check]:
    existing = next(path for path in (workspace, *workspace.parents) if path.exists())
    free = shutil.disk_usage(existing).free / _GIB
    writable = os.access(existing, os.W_OK)
    found = f"{workspace}, {free:.1f} GiB free" + ("" if writable else ", not writable")
    yield Check("workspace", "ok" if writable and free >= 1 else "missing", found, "all results (1 GiB)")


def _packages() -> Iterator[Check]:
    for package, purpose in _PACKAGES.items():
        try:
            yield Check(package, "ok", version(package), purpose)
        except PackageNotFoundError:
            yield Check(package, "missing", "not installed: make install", purpose)


def _programs() -> Iterator[Check]:
    for program, (purpose, required) in _PROGRAMS.items():
        if shutil.which(program):
            yield Check(program, "ok", _version_of(program), purpose)
        else:
            yield Check(program, "missing" if required else "absent", "not found", purpose)


def _version_of(program: str) -> str:
    try:
        answer = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=5, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return "found, but does not answer"
    return (
        (answer.stdout or answer.stderr).strip().splitlines()[0]
        if answer.stdout or answer.stderr
        else "found"
    )
