"""What can't be made again is refused before anything is built; what was made is held to the right measure."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from cifarops.bundle.store import Bundle, write_bundle
from cifarops.data.snapshot import SourceInfo
from cifarops.errors import UsageError
from cifarops.flow.git import Git
from cifarops.flow.reproduce import TOLERANCE, compare, reproduce
from tests.support.bundles import PROVENANCE, colour_bundle
from tests.support.releases import git
from tests.support.serving import settings_of


@pytest.fixture
def clone(tmp_path: Path) -> Git:
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "begin")
    return Git(folder)


def changed(bundle: Bundle, files: dict[str, bytes] | None = None, **manifest: Any) -> Bundle:
    """Write a bundle that differs in some of its files and its description."""
    contents = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files} | (files or {})
    return write_bundle(
        bundle.path.parent,
        contents,
        lambda entries: bundle.manifest.model_copy(update={**manifest, "files": entries}),
    )


def refusal(bundle: Bundle, clone: Git) -> UsageError:
    settings = settings_of(bundle.path.parents[1])
    with pytest.raises(UsageError) as caught:
        reproduce(bundle, clone, settings=settings, announce=lambda what: None)
    worktrees = subprocess.run(
        ["git", "worktree", "list"], cwd=clone.root, capture_output=True, text=True, check=True
    )
    assert len(worktrees.stdout.splitlines()) == 1
    return caught.value


def test_code_without_a_commit_is_refused(tmp_path: Path, clone: Git) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    assert "no commit is known" in refusal(bundle, clone).message
    dirty = bundle.manifest.code.model_copy(update={"commit": clone.commit(), "dirty": True})
    assert "changes that no commit holds" in refusal(changed(bundle, code=dirty), clone).message


def test_a_commit_that_the_clone_lacks_is_refused_with_how_to_fetch_it(tmp_path: Path, clone: Git) -> None:
    error = refusal(colour_bundle(tmp_path / "bundles", commit="a" * 40), clone)
    assert "does not have" in error.message
    assert f"git fetch origin {'a' * 40}" in error.fix


def test_data_that_can_not_be_read_again_are_refused(tmp_path: Path, clone: Git) -> None:
    bundle = colour_bundle(tmp_path / "bundles", commit=clone.commit())
    for kind, message in (
        ("retraining", "labelled answers of production"),
        ("folder", "its images came from"),
    ):
        source = SourceInfo(kind=kind, name="photos.tar", sha256="0" * 64)
        provenance = PROVENANCE.model_copy(update={"source": source})
        error = refusal(changed(bundle, provenance=provenance), clone)
        assert message in error.message
    assert "--from PATH" in error.fix


def test_weights_that_are_gone_are_refused(tmp_path: Path, clone: Git) -> None:
    bundle = colour_bundle(tmp_path / "bundles", commit=clone.commit())
    provenance = PROVENANCE.model_copy(update={"warm_start": "b" * 64})
    assert f"the weights {'b' * 12}" in refusal(changed(bundle, provenance=provenance), clone).message


def test_the_same_bytes_are_asked_for_here_and_a_like_accuracy_elsewhere(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    other = {"model.onnx": b"another"}
    near = changed(bundle, other, metrics={"accuracy": 1.0 - TOLERANCE / 2})
    far = changed(bundle, other, metrics={"accuracy": 1.0 - TOLERANCE * 2})
    foreign = ("another processor",)

    def outcome(made: Bundle, elsewhere: tuple[str, ...]) -> str:
        return compare(bundle, made, "c" * 40, elsewhere, 1.0).outcome

    assert outcome(bundle, ()) == outcome(bundle, foreign) == "identical"
    assert (outcome(near, ()), outcome(near, foreign)) == ("different", "within tolerance")
    assert (outcome(far, ()), outcome(far, foreign)) == ("different", "different")
    found = compare(bundle, near, "c" * 40, (), 1.0)
    assert found.differs == ("model.onnx", "metrics in bundle.json")
    assert "99.00% right on valid instead of 100.00%" in found.told()


def test_other_packages_need_not_give_the_same_bytes(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    sbom = b'{"components": [{"type": "library", "name": "numpy", "version": "1"}]}'
    made = changed(bundle, {"sbom.cdx.json": sbom})
    found = compare(bundle, made, "c" * 40, (), 1.0)
    assert (found.outcome, found.differs) == ("within tolerance", ("sbom.cdx.json",))
    assert "other packages are installed than then: numpy" in found.told()
    hashes = b'{"components": [{"type": "machine-learning-model", "name": "model.onnx"}]}'
    assert compare(bundle, changed(bundle, {"sbom.cdx.json": hashes}), "c" * 40, (), 1.0).elsewhere == ()
