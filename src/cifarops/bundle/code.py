"""Which code is running: the version, the Git commit where there is one, and the code release where it is one."""

import subprocess
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

import cifarops
from cifarops.bundle.manifest import CodeIdentity

RECORD = "code.json"
# `git archive`, from which code releases are built, writes the commit here (.gitattributes). It makes every commit's
# release its own, and lets installed code say where it came from.
_ARCHIVED_COMMIT = "$Format:%H$"
_PACKAGE = Path(cifarops.__file__).parent


class Image(BaseModel):
    """A container image that was built from a code release.

    Attributes:
        reference: Where it is pulled from, for example `registry.example.org/team/cifarops:1.2.0`.
        digest: `sha256:` and 64 hex digits.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str
    digest: str


class CodeRecord(BaseModel):
    """What `code.json` says about a code release.

    Attributes:
        wheel: Name of the wheel beside it.
        sha256: Of the wheel; also the name of the release's directory.
        commit: Full id of the Git commit it was built from.
        image: The image with the same code, or None where none was built.
        built_at: When, in UTC, as ISO 8601.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)  # a later program may say more

    wheel: str
    sha256: str
    commit: str
    image: Image | None = None
    built_at: str


def read_record(release: Path) -> CodeRecord | None:
    """Return what `code.json` in a directory says, or None where there is none."""
    try:
        return CodeRecord.model_validate_json((release / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def running_release(package: Path = _PACKAGE) -> CodeRecord | None:
    """Return the code release whose `site/` holds `package`, or None where it lies elsewhere."""
    return read_record(package.parent.parent)


def code_identity(package: Path = _PACKAGE) -> CodeIdentity:
    """Identify the code in `package`; the commit is None where neither Git nor the build knows it.

    Only the package itself counts for `dirty`: the pipeline writes pointer files into the checkout, and parameters are
    recorded apart.
    """
    if not _git(package, "ls-files", "--", "__init__.py"):
        archived = None if _ARCHIVED_COMMIT.startswith("$") else _ARCHIVED_COMMIT
        return CodeIdentity(version=cifarops.__version__, commit=archived, dirty=False)
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
