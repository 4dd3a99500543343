"""Images and containers of tests: a storage of their own, and what deploy/compose.yaml says as podman understands it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose.yaml"
_PROGRAMS = ("buildah", "debootstrap", "podman", "runc")
_SOURCES = (
    "ci",
    "deploy",
    "src",
    ".dockerignore",
    ".gitignore",
    "constraints.txt",
    "pyproject.toml",
    "README.md",
)
# What makes podman run inside a container, without systemd and without a network of its own.
_HERE = (
    *("--network", "host", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file"),
    *("--ulimit", "nofile=1024:1024", "--ulimit", "nproc=4096:4096", "--no-healthcheck"),
)


def need_programs() -> None:
    """Fail where a program is missing, saying how to install it."""
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)} not found. Install what builds and runs images: ci/apt.sh")


class Images:
    """A storage of images and containers that nothing else uses.

    Args:
        folder: An empty directory on a local disk; the path must be short, because sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self._graph = folder / "graph"
        configuration = folder / "storage.conf"
        self.environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(configuration),
            "BUILDAH_ISOLATION": "chroot",
        }
        for driver in ("overlay", "vfs"):  # the first where the kernel lets us; the other copies every layer
            configuration.write_text(
                f'[storage]\ndriver = "{driver}"\ngraphroot = "{self._graph}"\nrunroot = "{folder}/run"\n'
            )
            if subprocess.run(["buildah", "info"], env=self.environment, capture_output=True).returncode == 0:
                break

    def __call__(self, *command: str, cwd: Path | None = None) -> str:
        """Run a program on this storage; returns what it printed, without blanks at the ends."""
        done = subprocess.run(
            command,
            cwd=cwd,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout[-1500:]}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def remove(self) -> None:
        """Remove everything; the storage keeps a mount on itself."""
        subprocess.run(["umount", str(self._graph / "overlay")], capture_output=True, check=False)
        shutil.rmtree(self._graph.parent)


def committed_copy(folder: Path, environment: Mapping[str, str]) -> Path:
    """Return a checkout whose one commit is the project as it stands here, changes included."""
    folder.mkdir()
    for name in _SOURCES:
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "node_modules")
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    for command in (
        ["init", "--quiet"],
        ["add", "--all"],
        ["commit", "--quiet", "--message", "chore: as it stands"],
    ):
        subprocess.run(["git", *command], cwd=folder, env=environment, check=True, capture_output=True)
    return folder


@dataclass(frozen=True)
class Service:
    """One service of deploy/compose.yaml, on a port of this machine instead of a network of its own.

    Attributes:
        name: Of the service, and of the environment that it answers for.
        port: On loopback.
    """

    name: str
    port: int
    variables: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def health_check(self) -> list[str]:
        """The command that says whether it is healthy."""
        kind, *command = self._read()["healthcheck"]["test"]
        assert kind == "CMD"
        return [word.replace(":8080", f":{self.port}") for word in command]

    def run(self, container: str) -> list[str]:
        """Return podman's command line for what compose would run."""
        service = self._read()
        options = {
            "--user": [service["user"]],
            "--tmpfs": service["tmpfs"],
            "--volume": service["volumes"],
            "--cap-drop": service["cap_drop"],
            "--security-opt": service["security_opt"],
        }
        return [
            *("podman", "run", "--detach", "--name", container, *_HERE),
            *(["--read-only", "--read-only-tmpfs=false"] if service["read_only"] else []),
            *(word for option, values in options.items() for value in values for word in (option, value)),
            service["image"],
            *self._command(service["command"]),
        ]

    def _command(self, words: Sequence[str]) -> list[str]:
        here = {"--port": str(self.port), "--announce": self.url}
        return [here.get(before, word) for before, word in zip(["", *words], words, strict=False)]

    def _read(self) -> dict[str, Any]:
        text = re.sub(r"\$\{(\w+):[^}]*\}", lambda found: self.variables[found[1]], COMPOSE.read_text())
        service: dict[str, Any] = yaml.safe_load(text)["services"][self.name]
        return service


def pipeline_environment(images: Images, workspace: Path, copy: Path) -> dict[str, str]:
    """Return the environment in which a job of the pipeline finds the programs of this one."""
    return {
        **images.environment,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(copy / "src"),
        "CIFAROPS_WORKSPACE": str(workspace),
        "GIT_CONFIG_GLOBAL": "/dev/null",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ada",
        "GIT_AUTHOR_EMAIL": "ada@example.org",
        "GIT_COMMITTER_NAME": "Ada",
        "GIT_COMMITTER_EMAIL": "ada@example.org",
    }
