"""Code releases for tests: one that is really built, and variants of it that misbehave in one way each."""

import hashlib
import json
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

from cifarops.bundle.code import RECORD, CodeRecord
from cifarops.deployment.code import CodeRelease, open_code
from cifarops.deployment.release import Release

ROOT = Path(__file__).parents[2]
_GIT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{
        f"GIT_{who}_{what}": value
        for who in ("AUTHOR", "COMMITTER")
        for what, value in (("NAME", "ada"), ("EMAIL", "ada@example.org"), ("DATE", "2026-01-02T03:04:05Z"))
    },
}


def git(folder: Path, *arguments: str) -> str:
    """Run git with nothing of this machine's configuration; returns its output."""
    done = subprocess.run(
        ["git", "-c", "init.defaultBranch=main", "-C", str(folder), *arguments],
        env={**os.environ, **_GIT},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def checkout(folder: Path) -> str:
    """Make a Git checkout of this project's code as it lies on disk; returns its commit."""
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", ".gitattributes", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "everything")
    return git(folder, "rev-parse", "HEAD")


def variant(base: CodeRelease, file: str, old: str, new: str) -> CodeRelease:
    """Make a code release beside `base` that differs in one file."""
    made = base.path.parent / "variant"
    shutil.copytree(base.path, made)
    wheel = made / base.record.wheel
    with zipfile.ZipFile(base.path / base.record.wheel) as packed, zipfile.ZipFile(wheel, "w") as changed:
        for name in packed.namelist():
            content = packed.read(name)
            if name == f"cifarops/{file}":
                assert old.encode() in content, f"{file} has no {old!r} any more"
                content = content.replace(old.encode(), new.encode(), 1)
                (made / "site" / name).write_bytes(content)
            changed.writestr(zipfile.ZipInfo(name), content)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    commit = hashlib.sha1(digest.encode()).hexdigest()
    record = base.record.model_copy(update={"sha256": digest, "commit": commit})
    (made / RECORD).write_text(json.dumps(record.model_dump(mode="json")))
    return open_code(made.rename(base.path.parent / digest))


def packed_release(releases: Path, commit: str) -> CodeRelease:
    """Make a code release with one file in it, as a build of that commit would leave it."""
    made = releases / "new"
    (made / "site" / "cifarops").mkdir(parents=True)
    (made / "site" / "cifarops" / "__init__.py").write_text("")
    with zipfile.ZipFile(made / "cifarops.whl", "w") as packed:
        packed.writestr(zipfile.ZipInfo("cifarops/__init__.py"), "")
        packed.writestr(zipfile.ZipInfo("cifarops.dist-info/RECORD"), commit)
    digest = hashlib.sha256((made / "cifarops.whl").read_bytes()).hexdigest()
    record = CodeRecord(
        wheel="cifarops.whl", sha256=digest, commit=commit, built_at="2026-01-02T03:04:05+00:00"
    )
    (made / RECORD).write_text(record.model_dump_json())
    return open_code(made.rename(releases / digest))


def release_of(code: CodeRelease, bundle: str, version: str = "1.0.0") -> Release:
    """Pin a model and a code release."""
    return Release(
        version=version,
        commit=code.commit,
        bundle=bundle,
        code=code.sha256,
        made_at="2026-01-02T03:04:05+00:00",
        made_by="ada",
    )
