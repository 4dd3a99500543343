"""Make a local forge: a bare repository, its state and its hooks."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

from cifarops.errors import UsageError
from cifarops.files import write_atomic
from cifarops.flow.git import Git
from cifarops.flow.local.forge import LocalForge
from cifarops.flow.local.state import ForgeState, Store
from cifarops.flow.policy import Policy, Role

_HOOKS = ("pre-receive", "post-receive")


def create_remote(path: Path, policy: Policy, members: Mapping[str, Role], *, user: str = "") -> LocalForge:
    """Make a bare repository that enforces the policy; a maintainer's first push begins the protected branches.

    Args:
        path: A directory that is empty or does not exist.
        policy: What is enforced; later changes of the file in the repository change nothing here.
        members: Role by login. Who pushes says so in `CIFAROPS_FLOW_USER`.
        user: Login for which the forge is returned.

    Raises:
        UsageError: There is something in the directory already, or nobody is a maintainer.
    """
    if path.exists() and any(path.iterdir()):
        raise UsageError(f"{path} is not empty.", fix="Name a directory that does not exist.")
    if "maintainer" not in members.values():
        raise UsageError(
            "A project needs a maintainer, and none of its members is one.",
            fix="Give one of them the role maintainer.",
        )
    path.mkdir(parents=True, exist_ok=True)
    git = Git(path)
    git("init", "--quiet", "--bare", "--initial-branch", policy.freeze.branch)
    git("config", "receive.advertisePushOptions", "true")
    for hook in _HOOKS:
        _write_hook(path / "hooks" / hook)
    Store(path).write(ForgeState(policy=policy, members=dict(members)))
    return LocalForge(path, user)


def _write_hook(path: Path) -> None:
    command = shlex.join([sys.executable, "-m", "cifarops.flow.local.hook", path.name])
    write_atomic(path, f"#!/bin/sh\nexec {command}\n".encode())
    path.chmod(0o755)
