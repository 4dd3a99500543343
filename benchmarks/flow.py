"""What the process costs a person: a commit of one file, a push of it, `cifarops flow status`, in a clone that was set up.

python -m benchmarks.flow [--quick] --out FILE
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, arguments, sample, summary, write
from cifarops.flow.git import Git
from cifarops.flow.install import install
from cifarops.flow.local.create import create_remote
from cifarops.flow.local.forge import USER
from cifarops.flow.policy import POLICY, load_policy

_NAME = "ada"
_PERSON = {
    USER: _NAME,
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{role}_{what}": "bench@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def main() -> None:
    """Measure commits and pushes with hooks, beside them the same without, and the status."""
    options = arguments("Hooks of a commit and of a push, and the status")
    times = 3 if options.quick else 15
    with tempfile.TemporaryDirectory() as folder:
        git = _clone(Path(folder))
        install(git)
        results = {
            "commit": summary(sample(lambda: _commit(git), times, lambda: _change(git)), target_seconds=2),
            "commit_without_hooks": summary(
                sample(lambda: _commit(git, "--no-verify"), times, lambda: _change(git))
            ),
            "push": summary(sample(lambda: _push(git), times, lambda: _change_and_commit(git))),
            "status": summary(sample(lambda: _status(git), times), target_seconds=0.5),
        }
    write(options.out, "flow", results=results)


def _clone(folder: Path) -> Git:
    outside = Git(folder, _PERSON)
    policy = load_policy(ROOT / POLICY)
    forge = create_remote(folder / "remote.git", policy, {_NAME: "maintainer"}, user=_NAME)
    outside("clone", "--quiet", str(ROOT), "clone")
    git = Git(folder / "clone", _PERSON)
    git("remote", "set-url", "origin", str(forge.root))
    git("push", "--quiet", "origin", *(f"HEAD:refs/heads/{branch}" for branch in policy.protected))
    git("fetch", "--quiet", "--prune", "origin")
    git("switch", "--quiet", "--create", "feature/measured")
    return git


def _change(git: Git) -> None:
    module = git.root / "src" / "cifarops" / "files.py"
    module.write_text(module.read_text() + "\n\n# One more line.\n")
    git("add", str(module))


def _commit(git: Git, *flags: str) -> None:
    git("commit", "--quiet", "--message", "feat: one more line", *flags)


def _change_and_commit(git: Git) -> None:
    _change(git)
    _commit(git, "--no-verify")


def _status(git: Git) -> None:
    subprocess.run(
        [sys.executable, "-m", "cifarops", "flow", "status", "--json"],
        cwd=git.root,
        env=git.environment,
        stdout=subprocess.DEVNULL,
        check=True,
    )


def _push(git: Git) -> None:
    git("push", "--quiet", "origin", "feature/measured")


if __name__ == "__main__":
    main()
