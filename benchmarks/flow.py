"""What the hooks cost: a commit of one file, and a push of it, in a clone that `cifarops flow install` set up.

python -m benchmarks.flow [--quick] --out FILE
"""

import tempfile
from pathlib import Path

from benchmarks.harness import ROOT, arguments, sample, summary, write
from cifarops.flow.git import Git
from cifarops.flow.install import install

_PERSON = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{role}_{what}": "bench@example.org"
        for role in ("AUTHOR", "COMMITTER")
        for what in ("NAME", "EMAIL")
    },
}


def main() -> None:
    """Measure commits and pushes with hooks, and beside them the same without."""
    options = arguments("Hooks of a commit and of a push")
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
        }
    write(options.out, "flow", results=results)


def _clone(folder: Path) -> Git:
    outside = Git(folder, _PERSON)
    outside("clone", "--quiet", "--bare", str(ROOT), "remote.git")
    outside("clone", "--quiet", "remote.git", "clone")
    git = Git(folder / "clone", _PERSON)
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


def _push(git: Git) -> None:
    git("push", "--quiet", "origin", "feature/measured")


if __name__ == "__main__":
    main()
