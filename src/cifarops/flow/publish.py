"""What the pipeline does last on main: give the version its number, its tag and its release, once."""

import json
from dataclasses import dataclass
from pathlib import Path

from cifarops.errors import ConflictError, UsageError
from cifarops.flow.forge import Forge
from cifarops.flow.git import Git
from cifarops.flow.history import changes, is_on_line, last_release, releases, version_tags
from cifarops.flow.line import Line
from cifarops.flow.numbering import upcoming
from cifarops.flow.policy import Policy
from cifarops.flow.ready import require_history
from cifarops.flow.steps import Listener, Step, Taken, nobody, take
from cifarops.flow.version import Version, changelog

RELEASE_FILE = "release.json"


@dataclass(frozen=True)
class Published:
    """A release that is out.

    Attributes:
        version: Its number.
        tag: Its tag.
        commit: What the tag marks.
        url: Where a person sees it; None in a dry run.
        notes: The release notes, Markdown.
        steps: What was done.
    """

    version: str
    tag: str
    commit: str
    url: str | None
    notes: str
    steps: tuple[Taken, ...]


def publish(
    git: Git,
    policy: Policy,
    forge: Forge,
    *,
    commit: str,
    release_file: bytes | None = None,
    dry_run: bool = False,
    listener: Listener = nobody,
) -> Published:
    """Tag a commit of `main` with the next version and make a release of it; the same commit again changes nothing.

    Args:
        git: The clone.
        policy: The policy.
        forge: What holds the remote.
        commit: The commit that production runs now.
        release_file: Content of release.json: which model and which code. Its `version` is set to the number given here.
        dry_run: Only say what would be done.
        listener: Told of each step.

    Raises:
        UsageError: The commit is not on `main`, or release.json is none.
        CifaropsError: The clone is shallow.
        ConflictError: A later commit was released already, or somebody took the number.
        UnavailableError: The remote does not answer.
    """
    require_history(git)
    git.fetch()
    commit = git.commit(commit)
    version, since = _number(git, policy, commit)
    files = {} if release_file is None else {RELEASE_FILE: _completed(release_file, version)}
    notes = changelog(changes(git, policy, commit, since=since))
    urls: list[str] = []
    steps = [
        Step(
            f"tag {commit[:12]} as {version.tag}",
            lambda: releases(git, policy).get(version) is None,
            lambda: _tag(git, policy, forge, version, commit, notes),
        ),
        Step(
            f"publish {version.tag}",
            lambda: True,
            lambda: urls.append(forge.publish(version.tag, title=str(version), notes=notes, files=files)),
        ),
    ]
    taken = take(steps, dry_run=dry_run, listener=listener)
    return Published(str(version), version.tag, commit, next(iter(urls), None), notes, taken)


def read_release_file(path: Path) -> bytes:
    """Return the content of a release.json.

    Raises:
        UsageError: There is no such file.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(
            f"There is no release file {path}.", fix="Make it: cifarops deploy pin --out release.json"
        ) from error


def _number(git: Git, policy: Policy, commit: str) -> tuple[Version, str | None]:
    """Return the version of a commit and the commit of the release before it."""
    main = Line.of(policy).main
    if not is_on_line(git, main, commit):
        raise UsageError(
            f"{commit[:12]} is not on {main}: only what production runs is released.",
            fix=f"Merge it into {main} first: cifarops flow release finish.",
        )
    known = releases(git, policy)
    here = next((version for version, at in known.items() if at == commit), None)
    if here is not None:
        earlier = [at for version, at in known.items() if version < here and git.is_ancestor(at, commit)]
        return here, earlier[-1] if earlier else None
    later = next((version for version, at in known.items() if git.is_ancestor(commit, at)), None)
    if later is not None:
        raise ConflictError(
            f"{commit[:12]} is part of {later.tag} already.",
            fix=f"There is nothing to do; see {later.tag}: git show {later.tag}",
        )
    last = last_release(git, policy, commit)
    version = upcoming(git, policy, commit)
    _require_free(version_tags(git, policy), version, commit)
    return version, last[1] if last else None


def _tag(git: Git, policy: Policy, forge: Forge, version: Version, commit: str, notes: str) -> None:
    try:
        forge.create_tag(version.tag, commit, f"{version}\n\n{notes}")
    except ConflictError:  # somebody was first; with the same commit, that is as good
        git.fetch()
        known = version_tags(git, policy)
        if version not in known:
            raise
        _require_free(known, version, commit)
    git.fetch()


def _require_free(known: dict[Version, str], version: Version, commit: str) -> None:
    at = known.get(version, commit)
    if at != commit:
        raise ConflictError(
            f"The tag {version.tag} exists and marks {at[:12]}, not {commit[:12]}.",
            fix=f"See what it is: git show {version.tag}. A release is never moved: merge on and take the next number. A tag"
            " that somebody made by hand is deleted on the server; then run this again.",
        )


def _completed(content: bytes, version: Version) -> bytes:
    try:
        document = json.loads(content)
        document["version"] = str(version)
    except (ValueError, TypeError) as error:
        raise UsageError(
            f"{RELEASE_FILE} is no JSON object: {error}.", fix="Make it again: cifarops deploy pin."
        ) from error
    return json.dumps(document, indent=2, sort_keys=True, allow_nan=False).encode() + b"\n"
