"""What a rehearsal needs on the machine, asked before anything is begun."""

import importlib.util
import shutil
from pathlib import Path

from cifarops.errors import UnavailableError, UsageError
from cifarops.flow.git import Git
from cifarops.flow.interpreter import PIPELINE, Interpreter

# What hooks and jobs start, by the package that brings it.
_PACKAGES = (
    "black",
    "importlinter",
    "mypy",
    "pip",
    "pre_commit",
    "pytest",
    "pytest_cov",
    "ruff",
    "setuptools",
    "xdist",
)


def require_tools(root: Path) -> None:
    """Go on only where everything is installed.

    Raises:
        UnavailableError: A program or a package is missing; says how it is installed.
    """
    if shutil.which("git") is None:
        raise UnavailableError("git is not installed.", fix="Install it: apt-get install git")
    Interpreter(root / "ci" / "tools")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UnavailableError(
            f"The hooks and the jobs need packages that are not installed: {', '.join(missing)}.",
            fix="Install everything, and rehearse with that: make flow-demo",
        )


def head_of(root: Path) -> str:
    """Return the commit that is rehearsed.

    Raises:
        UsageError: There is none, or it holds no pipeline.
    """
    git = Git(root)
    commit = git.commit()
    if not git.succeeds("cat-file", "-e", f"{commit}:{PIPELINE}"):
        raise UsageError(
            f"Commit {commit[:12]} of {root} has no {PIPELINE}.", fix="Rehearse in a clone of this project."
        )
    return commit
