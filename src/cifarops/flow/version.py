"""Version numbers and the changelog, from conventional commits. Pure: no Git."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cifarops.flow.messages import asks_for_tests
from cifarops.flow.policy import Policy

Level = Literal["major", "minor", "patch"]
_HEADER = re.compile(r"(?P<type>[a-z]+)(\((?P<scope>[^)]*)\))?(?P<breaking>!)?: (?P<subject>.+)")
_BREAKING = re.compile(r"^BREAKING[ -]CHANGE: (.+)$", re.MULTILINE)
_SECTIONS = (("feat", "Features"), ("fix", "Fixes"), ("perf", "Faster"), ("revert", "Taken back"))


@dataclass(frozen=True, order=True)
class Version:
    """A version number, `major.minor.patch`."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> "Version | None":
        """Read `1.2.3`; anything else is None."""
        match = re.fullmatch(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)", text, re.ASCII)
        return cls(*map(int, match.groups())) if match else None

    def bump(self, level: Level) -> "Version":
        """Return the next version; before 1.0.0 a breaking change counts as a minor one."""
        if level == "major" and self.major:
            return Version(self.major + 1, 0, 0)
        if level == "patch":
            return Version(self.major, self.minor, self.patch + 1)
        return Version(self.major, self.minor + 1, 0)

    @property
    def tag(self) -> str:
        """Its tag."""
        return f"v{self}"

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


FIRST = Version(0, 1, 0)


@dataclass(frozen=True)
class Change:
    """One commit.

    Attributes:
        commit: Its hash, 40 hex digits.
        type: `feat`, `fix`, …, or "" where the message has no conventional form.
        scope: What it is about, or "".
        subject: What changed.
        breaking: What no longer works as before, or None.
        is_trigger: The commit is there to run tests only.
    """

    commit: str
    type: str
    scope: str
    subject: str
    breaking: str | None
    is_trigger: bool = False


def parse_change(policy: Policy, commit: str, message: str) -> Change:
    """Read a commit's message."""
    header = message.partition("\n")[0].strip()
    match = _HEADER.fullmatch(header)
    if match is None or match["type"] not in policy.messages.types:
        return Change(commit, "", "", header, None, is_trigger=asks_for_tests(policy, message))
    footer = _BREAKING.search(message)
    subject = match["subject"]
    breaking = footer[1] if footer else (subject if match["breaking"] else None)
    return Change(commit, match["type"], match["scope"] or "", subject, breaking)


def next_version(last: Version | None, changes: Sequence[Change], *, only_hotfixes: bool) -> Version:
    """Return the version that follows `last` with these changes.

    Args:
        last: The last release, None before the first.
        changes: What changed since.
        only_hotfixes: Nothing but hotfixes was merged: the patch number grows, whatever the commits say.
    """
    if last is None:
        return FIRST
    if only_hotfixes:
        return last.bump("patch")
    if any(change.breaking for change in changes):
        return last.bump("major")
    return last.bump("minor" if any(change.type == "feat" for change in changes) else "patch")


def changelog(changes: Sequence[Change], *, title: str = "") -> str:
    """Return the changes as Markdown: what breaks first, then features, fixes and the rest.

    Args:
        changes: What changed.
        title: Heading, for example the version; none if empty.
    """
    told = [change for change in changes if not change.is_trigger]
    named = {kind for kind, _ in _SECTIONS}
    sections = [
        ("Breaking", [f"- {change.breaking} ({change.commit[:8]})" for change in told if change.breaking]),
        *((heading, [_line(each) for each in told if each.type == kind]) for kind, heading in _SECTIONS),
        ("Other", [_line(each) for each in told if each.type not in named]),
    ]
    head = [f"## {title}"] if title else []
    body = ["\n".join([f"### {heading}", "", *lines]) for heading, lines in sections if lines]
    return "\n\n".join([*head, *(body or ["No changes."])]) + "\n"


def _line(change: Change) -> str:
    scope = f"**{change.scope}**: " if change.scope else ""
    return f"- {scope}{change.subject} ({change.commit[:8]})"
