from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cifarops.config import GateParams
from cifarops.errors import DataError, IntegrityError
from cifarops.evaluation.score import evaluate_split, gate_bundle, incumbent_digest
from cifarops.evaluation.verdicts import newest_verdict, read_verdict
from cifarops.ledger.records import EnvironmentState
from cifarops.ledger.store import Ledger
from tests.support.bundles import colour_bundle
from tests.support.snapshots import colour_snapshot

PARAMS = GateParams(alpha=0.05, margin=0.01, min_accuracy=0.8, max_ece=0.2)
# Sharp enough to be as sure as it is right: nine of ten labels are true.
CALIBRATED = 2.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    with Ledger(tmp_path / "ledger.db") as opened:
        yield opened


def test_first_model_is_judged_recorded_and_written(tmp_path: Path, ledger: Ledger) -> None:
    bundle, snapshot = colour_bundle(tmp_path / "bundles", sharpness=CALIBRATED), colour_snapshot(tmp_path)
    seen: list[tuple[str, int, int]] = []

    def progress(what: str, done: int, total: int, note: str = "") -> None:
        seen.append((what, done, total))

    verdict = gate_bundle(
        bundle,
        None,
        snapshot,
        PARAMS,
        ledger=ledger,
        verdicts=tmp_path / "verdicts",
        actor="ada",
        progress=progress,
    )
    assert verdict.answer == "promote", verdict.reasons
    assert verdict.evidence[0].candidate.accuracy.value == pytest.approx(0.9)
    assert (verdict.candidate, verdict.incumbent, verdict.snapshot) == (bundle.digest, None, snapshot.id)
    assert verdict.synthetic
    assert seen[-1] == ("candidate answers test", 600, 600)
    (file,) = (tmp_path / "verdicts").iterdir()
    assert file.name == f"{bundle.digest[:12]}-none-{snapshot.id}.json"
    assert read_verdict(file) == verdict == newest_verdict(tmp_path / "verdicts", bundle.digest)
    look, gate = ledger.decisions()
    assert (look.kind, look.actor, look.evidence["digest"]) == ("test_look", "ada", bundle.digest)
    assert (gate.kind, gate.evidence["answer"]) == ("gate", "promote")


def test_every_look_at_the_test_split_is_counted(tmp_path: Path, ledger: Ledger) -> None:
    bundle, snapshot = colour_bundle(tmp_path / "bundles"), colour_snapshot(tmp_path)
    looks = [
        gate_bundle(
            bundle, None, snapshot, PARAMS, ledger=ledger, verdicts=tmp_path / "v", actor="ada"
        ).test_looks
        for _ in range(3)
    ]
    assert looks == [1, 2, 3]


def test_both_models_answer_test_and_recent(tmp_path: Path, ledger: Ledger) -> None:
    good, bad = colour_bundle(tmp_path / "b", sharpness=CALIBRATED), colour_bundle(tmp_path / "b", rotation=1)
    snapshot = colour_snapshot(tmp_path, recent=300)
    up = gate_bundle(good, bad, snapshot, PARAMS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    down = gate_bundle(bad, good, snapshot, PARAMS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    assert [suite.name for suite in up.evidence] == ["test", "recent"]
    assert (up.answer, down.answer) == ("promote", "reject")
    assert up.evidence[0].comparison is not None
    assert up.evidence[0].comparison.difference.value == pytest.approx(0.8)


def test_an_image_of_another_size_is_brought_to_the_models_own(tmp_path: Path, ledger: Ledger) -> None:
    bundle, snapshot = colour_bundle(tmp_path / "b", sharpness=CALIBRATED), colour_snapshot(tmp_path, size=16)
    verdict = gate_bundle(bundle, None, snapshot, PARAMS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    assert verdict.evidence[0].candidate.accuracy.value == pytest.approx(0.9)


def test_other_classes_are_refused_by_name_before_the_test_split_is_looked_at(
    tmp_path: Path, ledger: Ledger
) -> None:
    bundle = colour_bundle(tmp_path / "b")
    snapshot = colour_snapshot(tmp_path, classes=("red", "green", "violet"))
    with pytest.raises(DataError, match="it lacks violet and it has blue besides"):
        gate_bundle(bundle, None, snapshot, PARAMS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    reordered = colour_snapshot(tmp_path, classes=("green", "red", "blue"))
    with pytest.raises(DataError, match="they stand in another order"):
        gate_bundle(bundle, None, reordered, PARAMS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    assert ledger.count_decisions("test_look") == 0


def test_what_runs_already_is_judged_against_what_it_replaced() -> None:
    empty = EnvironmentState("production")
    running = replace(empty, generation=2, version=2, digest="b", previous_version=1, previous_digest="a")
    assert incumbent_digest("b", empty) is None
    assert incumbent_digest("c", running) == "b"
    assert incumbent_digest("b", running) == "a"
    assert incumbent_digest("a", replace(empty, generation=1, version=1, digest="a")) is None


def test_report_measures_valid_and_never_test(tmp_path: Path) -> None:
    bundle, snapshot = colour_bundle(tmp_path / "b", sharpness=CALIBRATED), colour_snapshot(tmp_path)
    report = evaluate_split(bundle, snapshot, "valid")
    assert report.measured.images == 300
    assert report.measured.accuracy.value == pytest.approx(0.9)
    assert sum(map(sum, report.measured.confusion)) == 300
    with pytest.raises(DataError, match="for the gate"):
        evaluate_split(bundle, snapshot, "test")


def test_a_damaged_verdict_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "abcdefabcdef-none-x.json").write_text('{"answer": "promote"}')
    with pytest.raises(IntegrityError, match="holds no verdict"):
        newest_verdict(tmp_path, "abcdefabcdef" + "0" * 52)
    assert newest_verdict(tmp_path, "f" * 64) is None
