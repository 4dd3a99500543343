"""`release.json`: the one model and the one code that go together from develop to production, named by digest."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from cifarops.deployment.code import CodeRelease, find_code
from cifarops.errors import IntegrityError, UsageError
from cifarops.files import canonical_json, write_atomic

if TYPE_CHECKING:  # MLflow takes seconds to import
    from cifarops.registry.versions import Registry, Version

_Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Commit = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")]
_Number = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+\.\d+$")]
_SHORTEST_COMMIT = 7
_WHEN_AND_WHO = {"made_at", "made_by"}


class Release(BaseModel):
    """What a release consists of.

    Attributes:
        version: Semantic version, for example `1.2.0`.
        commit: Full id of the commit that is released.
        bundle: Digest of the model's bundle.
        model_version: Its number in the registry, or None where it was not known there.
        code: SHA-256 of the code release.
        image: Digest of the container image with that code, or None where none was built.
        made_at: When it was pinned first, in UTC, as ISO 8601.
        made_by: Who did that.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    version: _Number
    commit: _Commit
    bundle: _Digest
    model_version: int | None = None
    code: _Digest
    image: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    made_at: str
    made_by: str


def load_release(path: Path) -> Release:
    """Read `release.json`.

    Raises:
        UsageError: It is missing or no release.
    """
    try:
        return Release.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UsageError(
            f"{path} is no release: {error}",
            fix="Make one: cifarops deploy pin --version X.Y.Z --commit SHA --out release.json",
        ) from error


def pin(
    version: str,
    commit: str,
    *,
    registry: "Registry",
    releases: Path,
    pins: Path,
    actor: str,
    bundle: str | None = None,
    code: str | None = None,
) -> Release:
    """Find the model and the code that were made from a commit. Nothing is built or trained.

    The same pinned again is the same document, whoever asks and when: a version is published once.

    Args:
        version: Semantic version of the release.
        commit: Which commit, by its first seven digits or more.
        registry: Where the model was registered after it passed the gate.
        releases: Directory of code releases.
        pins: Directory of what was pinned before.
        actor: Who is recorded.
        bundle: Digest of another model, where the commit trained none: a hotfix of the code alone.
        code: Digest of another code release, where the commit built none.

    Raises:
        UsageError: The commit has no model or no code here, or `version` or `commit` can't be read.
        IntegrityError: What was found is damaged.
    """
    if len(commit) < _SHORTEST_COMMIT:
        raise UsageError(f"The commit {commit!r} is too short.", fix="Give seven digits of it or more.")
    chosen = _code(releases, commit, code)
    model = _named_model(registry, bundle) if bundle else _model_of(registry, commit)
    whole = chosen.commit if chosen.commit.startswith(commit) else commit
    try:
        release = Release(
            version=version,
            commit=whole,
            bundle=model.digest,
            model_version=model.number,
            code=chosen.sha256,
            image=chosen.record.image.digest if chosen.record.image else None,
            made_at=datetime.now(UTC).isoformat(timespec="seconds"),
            made_by=actor,
        )
    except ValidationError as error:
        found = error.errors()[0]
        raise UsageError(
            f"{found['loc'][0]} = {found['input']!r} can't be released: {found['msg']}.",
            fix="Give a version like 1.2.0; with --code, give the whole commit.",
        ) from error
    return _first(release, pins)


def _first(release: Release, pins: Path) -> Release:
    """Return a release as it was pinned the first time."""
    what = canonical_json(release.model_dump(exclude=_WHEN_AND_WHO))
    path = pins / f"{release.version}-{hashlib.sha256(what).hexdigest()[:16]}.json"
    if path.exists():
        return load_release(path)
    write_atomic(path, release.model_dump_json(indent=2).encode() + b"\n")
    return release


def _code(releases: Path, commit: str, digest: str | None) -> CodeRelease:
    return find_code(releases, digest=digest) if digest else find_code(releases, commit=commit)


def _model_of(registry: "Registry", commit: str) -> "Version":
    for version in reversed(registry.versions()):
        try:
            code = registry.bundle(version).manifest.code
        except (UsageError, IntegrityError):
            continue  # of another workspace, or damaged: not what is looked for
        if code.commit is not None and code.commit.startswith(commit) and not code.dirty:
            return version
    raise UsageError(
        f"No model that passed the gate was made from commit {commit[:12]}.",
        fix="Train, judge and register one there. A hotfix of the code alone keeps the model that runs: name it with"
        " --bundle DIGEST (cifarops deploy status)",
    )


def _named_model(registry: "Registry", digest: str) -> "Version":
    found = [version for version in registry.versions() if version.digest.startswith(digest)]
    if len(found) != 1:
        raise UsageError(
            f"{len(found) or 'No'} registered bundles begin with {digest!r}.",
            fix="List them with: cifarops registry list",
        )
    return found[0]
