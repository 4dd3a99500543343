"""A model trained by a commit is made again from nothing but that commit and what the bundle says of itself."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from cifarops.bundle.store import Bundle, open_bundle, write_bundle
from cifarops.deployment.code import build_code
from cifarops.flow.git import Git
from cifarops.flow.reproduce import Reproduction, reproduce
from cifarops.settings import Settings
from tests.support.clones import ROOT
from tests.support.releases import checkout, git
from tests.support.serving import settings_of

pytestmark = [pytest.mark.integration, pytest.mark.promise("A1")]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Git:
    folder = tmp_path_factory.mktemp("clone") / "project"
    checkout(folder)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["profiles"]["smoke"]["data"] = {"synthetic": {"train": 600, "test": 200}}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "feat: parameters")
    return Git(folder)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_of(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def bundle(clone: Git, settings: Settings) -> Bundle:
    """The bundle of a training by the clone's own code, installed as a release is, in processes of their own."""
    site = build_code(clone.root, releases=settings.releases).site

    def cifarops(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cifarops", *words, "--json"],
            cwd=clone.root,
            env={
                **os.environ,
                "PYTHONPATH": str(site),
                "CIFAROPS_WORKSPACE": str(settings.workspace),
                "OMP_NUM_THREADS": "2",
            },
            stdout=subprocess.PIPE,
            check=True,
        )
        return str(json.loads(done.stdout).get("bundle"))

    cifarops("data", "ingest", "--profile", "smoke")
    cifarops("train", "--profile", "smoke")
    return open_bundle(settings.bundles / cifarops("package"))


def again(bundle: Bundle, clone: Git, settings: Settings) -> Reproduction:
    steps: list[str] = []
    found = reproduce(bundle, clone, settings=settings, announce=steps.append)
    assert [step.split()[0] for step in steps][-2:] == ["Training", "Packaging"]
    assert list((settings.cache / "reproduce").iterdir()) == []
    assert len(clone("worktree", "list").splitlines()) == 1
    return found


def test_the_digest_is_identical_also_after_the_work_went_on_and_everything_else_is_gone(
    bundle: Bundle, clone: Git, settings: Settings
) -> None:
    assert bundle.manifest.code.commit == clone.commit()
    assert bundle.manifest.provenance.threads == 2
    (clone.root / "params.yaml").write_text("changed since\n")
    (clone.root / "src" / "cifarops" / "training" / "loop.py").write_text("broken since\n")
    git(clone.root, "commit", "--quiet", "--all", "--message", "feat: something else")
    for gone in (settings.snapshots, settings.workspace / "mlflow.db"):
        shutil.rmtree(gone) if gone.is_dir() else gone.unlink()
    found = again(bundle, clone, settings)
    assert (found.outcome, found.made, found.differs) == ("identical", bundle.digest, ())
    assert "byte for byte" in found.told()


def test_parameters_that_were_not_the_ones_give_another_model(
    bundle: Bundle, clone: Git, settings: Settings
) -> None:
    provenance = bundle.manifest.provenance
    train = {**provenance.params["train"], "seed": 7}
    other = provenance.model_copy(update={"params": {**provenance.params, "train": train}})
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files}
    manifest = bundle.manifest.model_copy(update={"provenance": other})
    found = again(write_bundle(settings.bundles, files, lambda _: manifest), clone, settings)
    assert found.outcome == "different"
    assert "model.onnx" in found.differs
