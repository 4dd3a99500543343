"""One turn of the loop on real rooms: train, promote, see labelled images come in, retrain."""

import uuid
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarops.config import Params, load_params
from cifarops.data.ingest import ingest
from cifarops.data.sources.synthetic import render
from cifarops.errors import DataError, UsageError
from cifarops.evaluation.judgement import gate_bundle
from cifarops.ledger.records import Decision, Prediction
from cifarops.ledger.store import Ledger
from cifarops.packaging.export import package
from cifarops.registry.versions import Registry
from cifarops.retraining.retrain import retrain
from cifarops.settings import Settings
from cifarops.training.trainer import train
from tests.support.gate import budgets

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
BUDGETS = budgets(margin=0.2, class_margin=0.6, min_accuracy=0.2, max_ece=0.3)


@pytest.fixture(scope="module")
def params() -> Params:
    quick = {
        "train": {"epochs": 6},
        "retrain": {"epochs": 8, "min_images": 300, "repeat": 2},
    }
    return load_params(ROOT / "params.yaml", "smoke", quick)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings.from_environment({"CIFAROPS_WORKSPACE": str(tmp_path_factory.mktemp("loop"))})


@pytest.fixture(scope="module")
def registry(settings: Settings, params: Params) -> Registry:
    """A registry whose version 1 is in production."""
    snapshot = ingest(
        params.data,
        origin=None,
        snapshots=settings.snapshots,
        downloads=settings.downloads,
        cache=settings.cache,
        cifar10_url=settings.cifar10_url,
    ).snapshot
    run = train(
        snapshot, params, runs=settings.runs, tracking_uri=settings.tracking_uri, cache=settings.cache
    )
    bundle = package(run, snapshot, bundles=settings.bundles)
    registry = Registry.of(settings)
    with Ledger(settings.ledger) as ledger:
        verdict = gate_bundle(
            bundle, None, snapshot, BUDGETS, ledger=ledger, verdicts=settings.verdicts, actor="test"
        )
        version = registry.register(bundle, run_id=run.id, verdict=verdict)
        seen = ledger.environment("production")
        ledger.swap(
            seen,
            replace(seen, version=version.number, digest=bundle.digest),
            Decision("promote", "production", version.number, "test", "first"),
        )
    return registry


def _answer(ledger: Ledger, count: int, *, seed: int) -> None:
    """Put labelled, foggy predictions into the ledger, as production would."""
    labels = np.arange(count) % 10
    images = render(labels, seed=seed, shift="fog", severity=0.7)
    for image, label in zip(images, labels, strict=True):
        key = uuid.uuid4().hex
        prediction = Prediction(key, 0.0, "production", 1, 0, np.full(10, 0.1, np.float32), image)
        ledger.add_predictions([prediction])
        ledger.add_feedback(key, int(label))


def test_an_environment_that_runs_nothing_has_nothing_to_retrain(
    settings: Settings, params: Params, registry: Registry
) -> None:
    with Ledger(settings.ledger) as ledger, pytest.raises(UsageError, match="runs no version"):
        retrain("staging", params, budgets=BUDGETS, settings=settings, ledger=ledger, registry=registry)


def test_too_few_labelled_images_are_refused(settings: Settings, params: Params, registry: Registry) -> None:
    with Ledger(settings.ledger) as ledger, pytest.raises(DataError) as caught:
        retrain("production", params, budgets=BUDGETS, settings=settings, ledger=ledger, registry=registry)
    assert "0 labelled images kept; a retraining needs 300" in caught.value.message
    assert "--keep-images" in caught.value.fix


def test_the_loop_learns_from_production_and_says_so(
    settings: Settings, params: Params, registry: Registry
) -> None:
    with Ledger(settings.ledger) as ledger:
        _answer(ledger, 1000, seed=77)
        looks = ledger.count_decisions("test_look")
        outcome = retrain(
            "production", params, budgets=BUDGETS, settings=settings, ledger=ledger, registry=registry
        )
        (decision,) = [each for each in ledger.decisions() if each.kind == "retrain"]
        assert ledger.count_decisions("test_look") == looks + 1
        assert ledger.environment("production").version == 1
    meta = outcome.snapshot.meta
    assert meta.parent is not None
    assert outcome.snapshot.is_synthetic
    assert meta.splits["recent"].count == 400
    recent = next(suite for suite in outcome.verdict.evidence if suite.name == "recent")
    assert recent.comparison is not None
    assert recent.comparison.difference.low > 0
    assert outcome.verdict.answer == "promote"
    assert outcome.version is not None
    assert decision.evidence["bundle"] == outcome.bundle.digest
