"""The unit tests of one commit, on the code of that commit and not on what lies in the work tree."""

import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from cifarops.errors import CifaropsError, UsageError
from cifarops.flow.git import Git
from cifarops.flow.messages import asks_for_tests
from cifarops.flow.policy import Policy

TESTS = "tests/unit"


def run_requested_tests(git: Git, policy: Policy, commits: Iterable[str]) -> None:
    """Run the unit tests of those commits whose message is exactly the one that asks for it.

    Raises:
        CifaropsError: One of them fails.
    """
    for commit in commits:
        if asks_for_tests(policy, git.run("log", "-1", "--format=%B", commit).stdout):
            run_unit_tests(git, commit)


def run_unit_tests(git: Git, commit: str) -> None:
    """Run them; what pytest says goes where this process's output goes.

    Raises:
        CifaropsError: One of them fails.
        UsageError: The commit has none.
    """
    with tempfile.TemporaryDirectory(prefix="cifarops-unit-") as folder:
        root = Path(folder) / "checkout"
        _check_out(git, commit, root)
        if not (root / TESTS).is_dir():
            raise UsageError(f"{commit[:12]} has no folder {TESTS}.", fix="Push a branch of this project.")
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-n", "2", TESTS],
            cwd=root,
            env={**git.environment, "PYTHONPATH": str(root / "src"), "OMP_NUM_THREADS": "1"},
            check=False,
        )
    if result.returncode:
        raise CifaropsError(
            f"The unit tests of {commit[:12]} fail, so nothing was pushed.",
            fix="Correct what pytest names above, commit, and push again.",
        )


def _check_out(git: Git, commit: str, place: Path) -> None:
    # A clone that borrows the objects: a checkout like any other, and nothing of it is left in the repository.
    git("clone", "--quiet", "--shared", "--no-checkout", str(git.root), str(place))
    Git(place, git.environment)("checkout", "--quiet", "--detach", commit)
