"""The model of a commit, with real trainings: made once, judged once for each question, registered once."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from cifarops.bundle.store import find_bundle
from cifarops.config import load_params
from cifarops.errors import CifaropsError
from cifarops.flow.candidate import Candidate, make_candidate
from cifarops.flow.recipe import Recipe, follow
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from tests.support.clones import ROOT
from tests.support.gate import budgets
from tests.support.serving import set_version, settings_of

pytestmark = [pytest.mark.integration, pytest.mark.promise("A1", "A5")]
TRAIN = {"epochs": 2, "widths": [16, 16, 16], "precision": "float32"}
EASY = {"min_accuracy": 0.1, "max_ece": 0.9, "class_margin": 1.0}


def recipe(commit: str, *, seed: int = 0) -> Recipe:
    overrides: dict[str, Any] = {
        "data": {"synthetic": {"train": 600, "test": 400}},
        "train": {**TRAIN, "seed": seed},
    }
    return Recipe(commit * 40, load_params(ROOT / "params.yaml", "smoke", overrides), None, ("makers",))


@dataclass(frozen=True)
class Count:
    """What was done so far, so that doing something twice shows."""

    trainings: int
    test_looks: int
    versions: int


class Workspace:
    """A workspace in which candidates are made."""

    def __init__(self, root: Path) -> None:
        self.settings = settings_of(root)

    def candidate(self, wanted: Recipe, **changes: float) -> Candidate:
        with Ledger(self.settings.ledger) as ledger:
            registry = Registry.of(self.settings)
            return make_candidate(
                wanted,
                budgets=budgets(**{**EASY, **changes}),
                settings=self.settings,
                ledger=ledger,
                registry=registry,
            )

    def count(self) -> Count:
        with Ledger(self.settings.ledger) as ledger:
            looks = ledger.count_decisions("test_look")
        versions = Registry.of(self.settings).versions()
        return Count(len(list(self.settings.runs.glob("*/run.json"))), looks, len(versions))


def test_each_thing_is_done_once_on_the_way_to_production(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    first = workspace.candidate(recipe("a"))
    assert (first.verdict, first.version) == ("promote", 1)
    assert first.made == first.bundle
    assert workspace.count() == Count(1, 1, 1)

    # A second pipeline for the commit, and a later commit with the same recipe.
    assert workspace.candidate(recipe("a")) == first
    assert workspace.candidate(recipe("b")) == replace(first, commit="b" * 40)
    assert workspace.count() == Count(1, 1, 1)

    # What production runs is not judged against itself.
    set_version(workspace.settings.ledger, 1, find_bundle(workspace.settings.bundles, first.bundle))
    running = workspace.candidate(recipe("c"))
    assert (running.verdict, running.version) == (None, 1)
    assert workspace.count() == Count(1, 1, 1)

    # Another model, not surely better: production's stays in the release, and is not judged a second time.
    other = recipe("d", seed=1)
    kept = workspace.candidate(other, alpha=1e-12, margin=0.49)
    assert (kept.verdict, kept.version) == ("inconclusive", 1)
    assert kept.made != kept.bundle == first.bundle
    assert workspace.count() == Count(2, 2, 1)
    assert workspace.candidate(other, alpha=1e-12, margin=0.49) == kept
    assert workspace.count() == Count(2, 2, 1)


def test_of_two_jobs_that_follow_one_recipe_at_once_one_trains(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with ThreadPoolExecutor(2) as pool:
        made = pool.map(lambda commit: follow(recipe(commit), workspace.settings).digest, "ab")
    assert len(set(made)) == 1
    assert workspace.count() == Count(1, 0, 0)


def test_a_model_that_the_gate_rejects_is_not_registered_and_a_lost_one_is_made_again(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    with pytest.raises(CifaropsError, match="the model of aaaaaaaaaaaa, is reject"):
        workspace.candidate(recipe("a"), min_accuracy=0.999)
    assert workspace.count() == Count(1, 1, 0)

    bundle = follow(recipe("a"), workspace.settings)
    (bundle.path / "model.onnx").unlink()
    assert follow(recipe("a"), workspace.settings).digest == bundle.digest
    assert workspace.count() == Count(2, 1, 0)
