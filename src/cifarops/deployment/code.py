"""Code releases: one wheel, built reproducibly from a commit, stored under its SHA-256 with the code unpacked beside it."""

import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from pydantic import ValidationError

from cifarops.bundle.code import RECORD, CodeRecord, Image, read_record
from cifarops.errors import CifaropsError, IntegrityError, UsageError
from cifarops.files import canonical_json, publish_directory, sha256_file, staged_directory, write_atomic

SITE = "site"
_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")
_IMAGE = re.compile(r"(?P<reference>[^@\s]+)@(?P<digest>sha256:[0-9a-f]{64})")
_SHOWN = 5
_OUTPUT_TAIL = 800


@dataclass(frozen=True)
class CodeRelease:
    """A verified code release.

    Attributes:
        path: Its directory; the name is the SHA-256 of the wheel.
        record: Its parsed `code.json`.
    """

    path: Path
    record: CodeRecord

    @property
    def sha256(self) -> str:
        """SHA-256 of the wheel: 64 hex digits."""
        return self.record.sha256

    @property
    def commit(self) -> str:
        """Full id of the commit it was built from."""
        return self.record.commit

    @property
    def site(self) -> Path:
        """Directory that, put on Python's path, makes this the code that runs."""
        return self.path / SITE


def build_code(source: Path, *, releases: Path, image: Image | None = None) -> CodeRelease:
    """Build the commit that `source` is at. The same commit gives the same bytes, and so the same release.

    Nothing is fetched: setuptools and pip must be installed. Of two builds at once one is kept; they are equal.

    Args:
        source: A Git working tree without changes.
        releases: Directory of code releases.
        image: The container image built from the same commit, recorded with the release.

    Raises:
        UsageError: `source` is no Git working tree, has changes that no commit holds, or can't be built.
    """
    commit = _clean_commit(source)
    with staged_directory(releases) as work:
        tree, wheels = work / "tree", work / "wheels"
        _export(source, commit, tree)
        wheel = _build_wheel(tree, wheels, moment=int(_git(source, "show", "-s", "--format=%ct", commit)))
        digest = sha256_file(wheel)
        target = releases / digest
        with suppress(CifaropsError):  # not there yet, or damaged: written anew
            return _with_image(open_code(target), image)
        record = CodeRecord(
            wheel=wheel.name,
            sha256=digest,
            commit=commit,
            image=image,
            built_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        release = work / "release"
        release.mkdir()
        _run(*_PIP, "install", "--no-deps", "--no-index", "--target", str(release / SITE), str(wheel))
        wheel.rename(release / wheel.name)
        (release / RECORD).write_bytes(_content(record))
        if target.exists():
            shutil.rmtree(target)
        publish_directory(release, target)
    return open_code(target)


def open_code(path: Path) -> CodeRelease:
    """Open a code release; verifies the wheel against the directory's name and every unpacked file against the wheel.

    Raises:
        UsageError: There is no such release.
        IntegrityError: Something is missing or altered.
    """
    if not path.is_dir():
        raise UsageError(
            f"There is no code release {path.name[:12]} in {path.parent}.",
            fix="Build it from its commit: cifarops deploy build --source CHECKOUT",
        )
    try:
        record = CodeRecord.model_validate_json((path / RECORD).read_bytes())
        wheel = path / record.wheel
        if wheel.parent != path or record.sha256 != path.name or sha256_file(wheel) != path.name:
            raise _damaged(path, "the wheel does not match the digest")
        with zipfile.ZipFile(wheel) as packed:
            altered = [name for name in packed.namelist() if not _same(packed, name, path / SITE)]
    except (OSError, ValidationError, zipfile.BadZipFile) as error:
        raise _damaged(path, str(error)) from error
    if altered:
        raise _damaged(path, f"{altered[0]} is missing or altered in {SITE}/")
    return CodeRelease(path, record)


def find_code(releases: Path, *, digest: str = "", commit: str = "") -> CodeRelease:
    """Open the only code release whose digest and commit begin with what is given.

    Raises:
        UsageError: There is none, or several.
        IntegrityError: It is damaged.
    """
    found = [
        path
        for path in sorted(releases.glob(f"{digest}*" if digest.isalnum() else "*"))
        if (record := read_record(path)) and record.commit.startswith(commit)
    ]
    if len(found) != 1:
        what = " and ".join(
            part for part in (digest and f"digest {digest}", commit and f"commit {commit}") if part
        )
        raise UsageError(
            f"{len(found) or 'No'} code releases in {releases} have the {what}.",
            fix="Build one: cifarops deploy build. With several, name one by its digest.",
        )
    return open_code(found[0])


def parse_image(text: str) -> Image:
    """Read `REFERENCE@sha256:DIGEST`.

    Raises:
        UsageError: It is something else.
    """
    found = _IMAGE.fullmatch(text)
    if found is None:
        raise UsageError(
            f"{text!r} does not name an image by its digest.",
            fix="Give REFERENCE@sha256:DIGEST; the digest stands in the output of the image build.",
        )
    return Image(reference=found["reference"], digest=found["digest"])


def _clean_commit(source: Path) -> str:
    commit = _git(source, "rev-parse", "--verify", "HEAD^{commit}")
    # What Git ignores or never saw does not go into the build; a new source file that was forgotten would be missed.
    changes = _git(source, "status", "--porcelain", "--untracked-files=no").splitlines()
    changes += _git(source, "status", "--porcelain", "--", "src").splitlines()
    if changes:
        names = ", ".join(dict.fromkeys(line.strip().split(maxsplit=1)[-1] for line in changes[:_SHOWN]))
        raise UsageError(
            f"{source} has changes that no commit holds: {names}.",
            fix="Commit them, or build from a clean checkout: git worktree add DIRECTORY COMMIT",
        )
    return commit


def _export(source: Path, commit: str, tree: Path) -> None:
    """Unpack the files of a commit, with the same modes whatever the umask is."""
    archive = _run("git", "-C", str(source), "-c", "tar.umask=0022", "archive", "--format=tar", commit)
    with tarfile.open(fileobj=io.BytesIO(archive)) as packed:
        # Filters came with Python 3.11.4; Debian 12 has an older one.
        packed.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)
        packed.extractall(tree)  # noqa: S202  # files of a commit of our own


def _build_wheel(tree: Path, wheels: Path, *, moment: int) -> Path:
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(moment), "PYTHONHASHSEED": "0"}
    _run(
        *(*_PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation"),
        *("--wheel-dir", str(wheels), str(tree)),
        environment=environment,
    )
    return next(wheels.glob("*.whl"))


def _with_image(code: CodeRelease, image: Image | None) -> CodeRelease:
    if image is None or image == code.record.image:
        return code
    record = code.record.model_copy(update={"image": image})
    write_atomic(code.path / RECORD, _content(record))
    return CodeRelease(code.path, record)


def _content(record: CodeRecord) -> bytes:
    return canonical_json(record.model_dump(mode="json")) + b"\n"


def _same(packed: zipfile.ZipFile, name: str, site: Path) -> bool:
    # Names in the wheel are ours: its bytes have the digest that was asked for. RECORD lists what pip wrote besides.
    file = site / name
    return name.endswith("/RECORD") or (file.is_file() and file.read_bytes() == packed.read(name))


def _git(source: Path, *arguments: str) -> str:
    return _run("git", "-C", str(source), *arguments).decode().strip()


def _run(*command: str, environment: dict[str, str] | None = None) -> bytes:
    try:
        done = subprocess.run(command, env=environment, capture_output=True, check=False, umask=0o022)
    except OSError as error:
        raise UsageError(f"{command[0]} can't be run: {error}.", fix=f"Install {command[0]}.") from error
    if done.returncode:
        raise UsageError(
            f"{' '.join(command)} failed: {done.stderr.decode(errors='replace').strip()[-_OUTPUT_TAIL:]}",
            fix="A code release is built from a Git checkout of this project, with make install done.",
        )
    return done.stdout


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"Code release {path.name[:12]} is refused: {what}.",
        fix="Build it again from its commit: cifarops deploy build --source CHECKOUT",
    )
