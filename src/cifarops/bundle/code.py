"""Which code is running: the version, and the Git commit where there is one."""

import subprocess
from pathlib import Path

import cifarops
from cifarops.bundle.manifest import CodeIdentity

_PACKAGE = Path(cifarops.__file__).parent


def code_identity(package: Path = _PACKAGE) -> CodeIdentity:
    """Identify the code in `package`; the commit is None where Git does not track it, for example once installed.

    Only the package itself counts for `dirty`: the pipeline writes pointer files into the checkout, and parameters are
    recorded apart.
    """
    if not _git(package, "ls-files", "--", "__init__.py"):
        return CodeIdentity(version=cifarops.__version__, commit=None, dirty=False)
    return CodeIdentity(
        version=cifarops.__version__,
        commit=_git(package, "rev-parse", "HEAD"),
        dirty=bool(_git(package, "status", "--porcelain", "--", ".")),
    )


def _git(directory: Path, *arguments: str) -> str | None:
    """Return what git answers, or None where there is no git, no checkout or no commit yet."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(directory), *arguments], capture_output=True, text=True, check=True, timeout=30
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip() or None
