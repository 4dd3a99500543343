"""Every package that a user gets is the one that was tested."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _name(requirement: str) -> str:
    return re.sub(r"[-_.]+", "-", re.split(r"[\[=<>!~; ]", requirement)[0]).lower()


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return {_name(line): line.split("==")[1] for line in lines if not line.startswith("#")}


def _asked_for() -> Iterator[str]:
    yield from PROJECT["project"]["dependencies"]
    for extra in PROJECT["project"]["optional-dependencies"].values():
        yield from extra


def test_whatever_is_asked_for_is_pinned() -> None:
    assert {_name(requirement) for requirement in _asked_for()} - {"cifarops"} <= _pins().keys()


def test_a_version_named_twice_is_the_same() -> None:
    pins = _pins()
    for requirement in (*PROJECT["build-system"]["requires"], *_asked_for()):
        if "==" in requirement:
            assert requirement.split("==")[1] == pins[_name(requirement)], requirement


def test_the_build_requirement_is_pinned() -> None:
    assert [_name(requirement) for requirement in PROJECT["build-system"]["requires"]] == ["setuptools"]
    assert all("==" in requirement for requirement in PROJECT["build-system"]["requires"])
