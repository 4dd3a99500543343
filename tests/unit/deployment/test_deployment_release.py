import json
from pathlib import Path
from typing import TypedDict

import pytest

from cifarops.deployment.code import parse_image
from cifarops.deployment.lock import locked
from cifarops.deployment.release import load_release, pin
from cifarops.errors import ConflictError, UsageError
from cifarops.registry.versions import Registry
from tests.support.bundles import colour_bundle
from tests.support.registry import register
from tests.support.releases import packed_release

COMMIT = "c" * 40


class Where(TypedDict):
    registry: Registry
    releases: Path
    pins: Path
    actor: str


RELEASE = {
    "version": "1.2.0",
    "commit": COMMIT,
    "bundle": "b" * 64,
    "model_version": 3,
    "code": "d" * 64,
    "image": None,
    "made_at": "2026-01-02T03:04:05+00:00",
    "made_by": "ada",
}


def test_a_release_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "release.json"
    file.write_text(json.dumps(RELEASE))
    assert load_release(file).model_dump() == RELEASE


@pytest.mark.parametrize(
    ("key", "value"),
    [("version", "1.2"), ("code", "d" * 63), ("bundle", "B" * 64), ("image", "latest"), ("colour", "red")],
)
def test_what_is_no_release_is_refused_by_the_key(tmp_path: Path, key: str, value: str) -> None:
    file = tmp_path / "release.json"
    file.write_text(json.dumps({**RELEASE, key: value}))
    with pytest.raises(UsageError, match=key) as caught:
        load_release(file)
    assert "deploy pin" in caught.value.fix


def test_a_missing_release_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no release"):
        load_release(tmp_path / "release.json")


@pytest.mark.parametrize("text", ["image:latest", "@sha256:" + "0" * 64, "image@sha256:12"])
def test_an_image_is_named_by_its_digest(text: str) -> None:
    with pytest.raises(UsageError, match="does not name an image by its digest"):
        parse_image(text)


def test_one_deployment_at_a_time(tmp_path: Path) -> None:
    with (
        locked(tmp_path, "staging"),
        locked(tmp_path, "production"),
        pytest.raises(ConflictError, match="changing the servers of staging"),
        locked(tmp_path, "staging"),
    ):
        pass
    with locked(tmp_path, "staging"):
        pass


@pytest.mark.promise("A1", "A5")
def test_pinning_finds_what_a_commit_made(registry: Registry, tmp_path: Path) -> None:
    releases, bundles = tmp_path / "releases", tmp_path / "bundles"
    first = colour_bundle(bundles, commit=COMMIT)
    register(registry, first)
    second = colour_bundle(bundles, rotation=1, commit="a" * 40)
    register(registry, second)
    code, hotfix = packed_release(releases, COMMIT), packed_release(releases, "e" * 40)
    where: Where = {
        "registry": registry,
        "releases": releases,
        "pins": tmp_path / "pins",
        "actor": "ada",
    }
    found = pin("1.2.0", COMMIT[:8], **where)
    assert (found.commit, found.bundle, found.model_version, found.code) == (
        COMMIT,
        first.digest,
        1,
        code.sha256,
    )
    # A hotfix of the code alone keeps the model; one of the model alone keeps the code.
    with pytest.raises(
        UsageError, match=f"No model that passed the gate was made from commit {hotfix.commit[:12]}"
    ):
        pin("1.2.1", hotfix.commit, **where)
    only_code = pin("1.2.1", hotfix.commit, **where, bundle=first.digest[:12])
    assert (only_code.bundle, only_code.code) == (first.digest, hotfix.sha256)
    only_model = pin("1.2.2", "a" * 40, **where, code=code.sha256)
    assert (only_model.bundle, only_model.code, only_model.commit) == (second.digest, code.sha256, "a" * 40)
    for version, commit, message in (("1.2", COMMIT, "version = '1.2'"), ("1.2.3", "c" * 6, "too short")):
        with pytest.raises(UsageError, match=message):
            pin(version, commit, **where)
    with pytest.raises(UsageError, match="No code releases"):
        pin("1.2.3", "a" * 40, **where)


@pytest.mark.promise("A1")
def test_the_same_pinned_again_by_somebody_else_is_the_same_document(
    registry: Registry, tmp_path: Path
) -> None:
    register(registry, colour_bundle(tmp_path / "bundles", commit=COMMIT))
    packed_release(tmp_path / "releases", COMMIT)
    where: Where = {
        "registry": registry,
        "releases": tmp_path / "releases",
        "pins": tmp_path / "pins",
        "actor": "ada",
    }
    first = pin("1.2.0", COMMIT, **where)
    by_bob: Where = {**where, "actor": "bob"}
    assert pin("1.3.0", COMMIT, **by_bob).made_by == "bob"
    assert pin("1.2.0", COMMIT, **by_bob) == first
