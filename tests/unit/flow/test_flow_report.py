"""What a change does to the model: measured on small real bundles."""

import json
import re
from pathlib import Path

import pytest

from cifarops.bundle.store import Bundle
from cifarops.data.snapshot import Snapshot
from cifarops.errors import DataError
from cifarops.evaluation.gate import Answer, Packaged, Verdict
from cifarops.flow.report import ModelReport, report
from tests.support.bundles import COLOURS, colour_bundle
from tests.support.gate import budgets
from tests.support.snapshots import colour_snapshot

COMMIT = "0123456789abcdef0123456789abcdef01234567"
pytestmark = pytest.mark.promise("A6")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def snapshot(root: Path) -> Snapshot:
    return colour_snapshot(root / "snapshots")


@pytest.fixture(scope="module")
def right(root: Path) -> Bundle:
    return colour_bundle(root / "bundles")


@pytest.fixture(scope="module")
def wrong(root: Path) -> Bundle:
    return colour_bundle(root / "bundles", rotation=1)


def test_a_worse_model_is_called_surely_worse_and_a_better_one_better(
    snapshot: Snapshot, right: Bundle, wrong: Bundle
) -> None:
    better = report(COMMIT, right, wrong, snapshot)
    worse = report(COMMIT, wrong, right, snapshot)
    assert better.finding().startswith("Surely better: accuracy changes by +80.00 points (+")
    assert worse.finding().startswith("Surely worse: accuracy changes by -80.00 points (-")
    assert worse.comparison is not None
    assert worse.incumbent is not None
    assert (worse.comparison.only_candidate, worse.comparison.only_incumbent) == (30, 270)
    assert worse.candidate.accuracy.value == pytest.approx(0.1)
    assert worse.incumbent.accuracy.value == pytest.approx(0.9)


def test_an_unchanged_model_is_called_unchanged(snapshot: Snapshot, right: Bundle) -> None:
    assert "leaves the model as it is" in report(COMMIT, right, right, snapshot).finding()


def test_two_models_that_answer_alike_show_no_difference(
    snapshot: Snapshot, right: Bundle, root: Path
) -> None:
    sharper = colour_bundle(root / "bundles", sharpness=5.0)
    found = report(COMMIT, sharper, right, snapshot).finding()
    assert found.startswith("No difference shown: accuracy changes by +0.00 points (-")


def test_without_a_version_in_production_there_is_nothing_to_compare(
    snapshot: Snapshot, right: Bundle
) -> None:
    alone = report(COMMIT, right, None, snapshot)
    assert (alone.production, alone.incumbent, alone.comparison) == (None, None, None)
    assert "| accuracy | 90.0% (86.1% to 92.9%) | – |" in alone.markdown()


@pytest.mark.parametrize(
    ("answer", "beside", "words"),
    [
        ("promote", True, "The gate has let it pass: a release takes it along."),
        ("inconclusive", True, "a release keeps production's model."),
        ("inconclusive", False, "no release can be made of this."),
        ("reject", True, "no release can be made of this."),
    ],
)
def test_a_model_that_the_gate_knows_is_reported_with_its_verdict(
    snapshot: Snapshot, right: Bundle, wrong: Bundle, answer: Answer, beside: bool, words: str
) -> None:
    verdict = Verdict(
        answer=answer, reasons=(), needs={}, evidence=(), packaged=Packaged(), budgets=budgets()
    )
    found = report(COMMIT, right, wrong if beside else None, snapshot, verdict=verdict)
    assert found.verdict == answer
    assert words in found.markdown()
    assert "The gate " not in report(COMMIT, right, wrong, snapshot).markdown()


def test_the_test_split_is_not_looked_at(root: Path, right: Bundle) -> None:
    snapshot = colour_snapshot(root / "untested")
    for file in snapshot.path.glob("test*"):
        file.unlink()
    assert report(COMMIT, right, None, snapshot).candidate.images == 300


def test_it_says_that_images_are_synthetic_and_that_production_may_know_them(
    snapshot: Snapshot, right: Bundle, wrong: Bundle
) -> None:
    text = report(COMMIT, right, wrong, snapshot).markdown()
    assert "300 synthetic images of `valid`, with 95 % intervals" in text
    # Neither bundle names this snapshot as its own.
    assert "Production was trained on another snapshot" in text
    assert all(f"| {colour} | " in text for colour in COLOURS)


def test_the_files_hold_the_same_numbers(
    snapshot: Snapshot, right: Bundle, wrong: Bundle, tmp_path: Path
) -> None:
    made = report(COMMIT, right, wrong, snapshot)
    made.write(tmp_path / "out")
    document = json.loads((tmp_path / "out" / "report.json").read_text())
    assert ModelReport.model_validate(document) == made
    assert (tmp_path / "out" / "report.md").read_text() == made.markdown()
    lines = (tmp_path / "out" / "metrics.txt").read_text().splitlines()
    assert lines[0] == 'accuracy{bound="value",images="synthetic"} 0.900000'
    assert len(lines) == 9
    # OpenMetrics text, as GitLab's metrics report reads it.
    assert all(re.fullmatch(r'[a-z]+\{[a-z]+="\w+",images="\w+"\} -?\d+\.\d+', line) for line in lines)


def test_other_classes_are_refused(root: Path, right: Bundle) -> None:
    other = colour_snapshot(root / "other", classes=("cat", "dog", "owl"))
    with pytest.raises(DataError, match="knows the classes red, green, blue; this change's model knows cat"):
        report(COMMIT, right, right, other)
