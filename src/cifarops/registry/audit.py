"""Licences and known vulnerabilities of what a bundle was made with, from its bill of materials.

Nothing is fetched. Vulnerabilities are looked up in advisories that lie on disk, in the OSV format, for example the
export of osv.dev for PyPI. Without them the answer is "unknown", which is not "none".
"""

import json
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from cifarops.bundle.store import Bundle
from cifarops.errors import IntegrityError, UsageError

UNKNOWN = "unknown"
_ECOSYSTEM = "PyPI"


@dataclass(frozen=True)
class Audited:
    """One package.

    Attributes:
        licence: What it says itself: an SPDX expression or names; `unknown` where it says nothing.
        vulnerabilities: Ids of the advisories about this version; None where none could be looked up.
    """

    name: str
    version: str
    licence: str
    vulnerabilities: tuple[str, ...] | None


@dataclass(frozen=True)
class Audit:
    """What was looked up.

    Attributes:
        advisories: How many advisories about Python packages were searched; None where there were none to search.
        newest: When the newest of them was changed, as ISO 8601.
    """

    packages: tuple[Audited, ...]
    advisories: int | None
    newest: str | None

    @property
    def vulnerable(self) -> tuple[Audited, ...]:
        """The packages that an advisory is about."""
        return tuple(each for each in self.packages if each.vulnerabilities)


def audit(bundle: Bundle, advisories: Path | None = None) -> Audit:
    """Look up the packages of a bundle.

    Args:
        bundle: A verified bundle.
        advisories: Directory or zip of OSV advisories as JSON; None looks up licences only.

    Raises:
        IntegrityError: The bill of materials can't be read.
        UsageError: There are no advisories.
    """
    libraries = list(_libraries(bundle))
    if advisories is None:
        return Audit(tuple(Audited(*each, None) for each in libraries), None, None)
    wanted = {canonicalize_name(name): _version(version) for name, version, _ in libraries}
    found: dict[str, set[str]] = {}
    count, newest = 0, ""
    for advisory in _read(advisories):
        about = list(_about_python(advisory))
        count += bool(about)
        newest = max(newest, str(advisory.get("modified", "")))
        if advisory.get("withdrawn"):
            continue
        for affected in about:
            name = canonicalize_name(affected["package"]["name"])
            version = wanted.get(name)
            if version is not None and _is_affected(version, affected):
                found.setdefault(name, set()).add(str(advisory.get("id")))
    if not count:
        raise UsageError(
            f"{advisories} holds no advisories about Python packages.",
            fix="Give a directory or zip of OSV JSON files: the export for PyPI of https://osv.dev",
        )
    packages = (
        Audited(*each, tuple(sorted(found.get(canonicalize_name(each[0]), ())))) for each in libraries
    )
    return Audit(tuple(packages), count, newest or None)


def _libraries(bundle: Bundle) -> Iterator[tuple[str, str, str]]:
    try:
        components = json.loads(bundle.sbom_path.read_bytes())["components"]
        for each in components:
            if each["type"] == "library":
                yield each["name"], each["version"], _licence(each.get("licenses", []))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(
            f"The bill of materials of bundle {bundle.digest[:12]} can't be read: {error!r}.",
            fix="Package the run again: cifarops package",
        ) from error


def _licence(choices: Iterable[dict[str, Any]]) -> str:
    names = [
        each["expression"] if "expression" in each else each["license"].get("id") or each["license"]["name"]
        for each in choices
    ]
    return ", ".join(names) or UNKNOWN


def _read(place: Path) -> Iterator[dict[str, Any]]:
    try:
        if place.is_dir():
            for path in sorted(place.rglob("*.json")):
                yield json.loads(path.read_bytes())
            return
        with zipfile.ZipFile(place) as packed:
            for name in packed.namelist():
                if name.endswith(".json"):
                    yield json.loads(packed.read(name))
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"The advisories in {place} can't be read: {error}",
            fix="Give a directory or zip of OSV JSON files.",
        ) from error


def _about_python(advisory: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for affected in advisory.get("affected", []):
        if affected.get("package", {}).get("ecosystem") == _ECOSYSTEM:
            yield affected


def _is_affected(version: Version, affected: dict[str, Any]) -> bool:
    """Return whether a version is listed, or lies in a range; what OSV calls its evaluation algorithm."""
    if any(_version(each) == version for each in affected.get("versions", [])):
        return True
    ranges = (each["events"] for each in affected.get("ranges", []) if each.get("type") == "ECOSYSTEM")
    return any(_in_range(version, events) for events in ranges)


def _in_range(version: Version, events: list[dict[str, str]]) -> bool:
    inside = False
    timed = [(_version(moment), kind) for event in events for kind, moment in event.items()]
    for moment, kind in sorted(timed, key=lambda each: each[0]):
        if kind == "introduced" and version >= moment:
            inside = True
        elif (kind == "fixed" and version >= moment) or (kind == "last_affected" and version > moment):
            inside = False
    return inside


def _version(text: str) -> Version:
    """Read a version without its local part; one that is no version lies before all others."""
    try:
        return Version(Version(text).public)
    except InvalidVersion:
        return Version("0.dev0")
