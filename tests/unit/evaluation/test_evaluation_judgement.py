from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cifarops.errors import DataError, IntegrityError
from cifarops.evaluation.judgement import gate_bundle, incumbent_digest
from cifarops.evaluation.score import evaluate_split
from cifarops.evaluation.verdicts import newest_verdict, read_verdict
from cifarops.ledger.records import EnvironmentState
from cifarops.ledger.store import Ledger
from tests.support.bundles import colour_bundle
from tests.support.gate import budgets
from tests.support.snapshots import colour_snapshot

BUDGETS = budgets()
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
        BUDGETS,
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
            bundle, None, snapshot, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada"
        ).test_looks
        for _ in range(3)
    ]
    assert looks == [1, 2, 3]


def test_the_same_question_keeps_its_place_and_another_candidate_takes_the_next(
    tmp_path: Path, ledger: Ledger
) -> None:
    snapshot = colour_snapshot(tmp_path)

    def look(sharpness: float) -> tuple[int, float]:
        bundle = colour_bundle(tmp_path / "b", sharpness=sharpness)
        verdict = gate_bundle(
            bundle, None, snapshot, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada"
        )
        return verdict.evidence[0].look, verdict.evidence[0].alpha

    (first, wide), again, (second, narrow) = look(2.0), look(2.0), look(2.1)
    assert again == (first, wide) == (1, wide)
    assert second == 2
    assert narrow < wide


def test_the_kept_part_is_looked_at_only_when_the_rest_is_worn_and_the_candidate_wins(
    tmp_path: Path, ledger: Ledger
) -> None:
    snapshot = colour_snapshot(tmp_path)
    careful = budgets(reuse={"kept": 0.3, "confirm_after": 1})

    def suites(sharpness: float, least: float = 0.8) -> dict[str, int]:
        bundle = colour_bundle(tmp_path / "b", sharpness=sharpness)
        asked = careful.model_copy(update={"min_accuracy": least})
        verdict = gate_bundle(
            bundle, None, snapshot, asked, ledger=ledger, verdicts=tmp_path / "v", actor="ada"
        )
        return {suite.name: suite.candidate.images for suite in verdict.evidence}

    assert suites(2.0) == {"test": 420}
    assert suites(2.1, least=0.99) == {"test": 420}
    assert suites(2.2) == {"test": 420, "confirmation": 180}


def test_corrupted_images_and_costs_are_part_of_the_verdict(tmp_path: Path, ledger: Ledger) -> None:
    bundle, snapshot = colour_bundle(tmp_path / "b", sharpness=CALIBRATED), colour_snapshot(tmp_path)
    wanted = budgets(robustness={"images": 30})
    verdict = gate_bundle(
        bundle, bundle, snapshot, wanted, ledger=ledger, verdicts=tmp_path / "v", actor="ada"
    )
    robustness, costs = verdict.packaged.robustness, verdict.packaged.costs
    assert robustness is not None
    assert costs is not None
    assert robustness.images == 30
    assert robustness.error == robustness.incumbent_error
    assert any("Mean corruption error" in reason for reason in verdict.reasons)


def test_both_models_answer_test_and_recent(tmp_path: Path, ledger: Ledger) -> None:
    good, bad = colour_bundle(tmp_path / "b", sharpness=CALIBRATED), colour_bundle(tmp_path / "b", rotation=1)
    snapshot = colour_snapshot(tmp_path, recent=300)
    up = gate_bundle(good, bad, snapshot, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    down = gate_bundle(bad, good, snapshot, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    assert [suite.name for suite in up.evidence] == ["test", "recent"]
    assert (up.answer, down.answer) == ("promote", "reject")
    assert up.evidence[0].comparison is not None
    assert up.evidence[0].comparison.difference.value == pytest.approx(0.8)


def test_an_image_of_another_size_is_brought_to_the_models_own(tmp_path: Path, ledger: Ledger) -> None:
    bundle, snapshot = colour_bundle(tmp_path / "b", sharpness=CALIBRATED), colour_snapshot(tmp_path, size=16)
    verdict = gate_bundle(
        bundle, None, snapshot, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada"
    )
    assert verdict.evidence[0].candidate.accuracy.value == pytest.approx(0.9)


def test_other_classes_are_refused_by_name_before_the_test_split_is_looked_at(
    tmp_path: Path, ledger: Ledger
) -> None:
    bundle = colour_bundle(tmp_path / "b")
    snapshot = colour_snapshot(tmp_path, classes=("red", "green", "violet"))
    with pytest.raises(DataError, match="it lacks violet and it has blue besides"):
        gate_bundle(bundle, None, snapshot, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
    reordered = colour_snapshot(tmp_path, classes=("green", "red", "blue"))
    with pytest.raises(DataError, match="they stand in another order"):
        gate_bundle(bundle, None, reordered, BUDGETS, ledger=ledger, verdicts=tmp_path / "v", actor="ada")
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
