import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarops.bundle.manifest import Parity, Serving
from cifarops.errors import DataError
from cifarops.evaluation.costs import Costs
from cifarops.evaluation.evidence import Answers, Suite, SuiteName
from cifarops.evaluation.gate import Packaged, Verdict, judge
from cifarops.evaluation.robustness import summarise
from tests.support.gate import budgets

CLASSES = ("cat", "dog", "eel")
BUDGETS = budgets(max_ece=0.05, machine={"latency_ms": 25, "memory_mb": 500})


def logits(
    labels: NDArray[np.int64], right: NDArray[np.bool_], confidence: float = 0.9
) -> NDArray[np.float32]:
    """Answers that are right where told, each with the same confidence."""
    predicted = np.where(right, labels, (labels + 1) % len(CLASSES))
    scores = np.zeros((len(labels), len(CLASSES)), np.float32)
    scores[np.arange(len(labels)), predicted] = np.log(confidence / ((1 - confidence) / 2))
    return scores


def pair(
    *,
    won: int,
    lost: int,
    n: int = 10_000,
    name: SuiteName = "test",
    confidence: float | None = None,
    wrong: int = 0,
) -> Suite:
    """A suite where the candidate alone is right on `won` images, the incumbent alone on `lost`, neither on `wrong`."""
    labels = np.arange(n) % len(CLASSES)
    candidate, incumbent = np.ones(n, bool), np.ones(n, bool)
    incumbent[:won] = False
    candidate[won : won + lost] = False
    candidate[won + lost : won + lost + wrong] = incumbent[won + lost : won + lost + wrong] = False
    sure = candidate.mean() - 1e-4 if confidence is None else confidence
    return Suite(
        name,
        CLASSES,
        labels,
        Answers(logits(labels, candidate, sure), images="a"),
        Answers(logits(labels, incumbent), images="a"),
    )


def first(*, right: int, n: int, confidence: float | None = None) -> Suite:
    labels = np.arange(n) % len(CLASSES)
    correct = np.arange(n) < right
    return Suite("test", CLASSES, labels, Answers(logits(labels, correct, confidence or right / n)))


def test_a_better_model_is_promoted() -> None:
    verdict = judge([pair(won=300, lost=200)], BUDGETS)
    assert verdict.answer == "promote"
    assert verdict.needs == {}
    assert "surely better on test" in verdict.reasons[0]
    (suite,) = verdict.evidence
    assert suite.comparison is not None
    assert suite.comparison.difference.value == pytest.approx(0.01)
    assert suite.incumbent is not None
    assert suite.incumbent.accuracy.value == pytest.approx(0.97)


def test_a_surely_worse_model_is_rejected() -> None:
    verdict = judge([pair(won=100, lost=400)], BUDGETS)
    assert verdict.answer == "reject"
    assert any("surely beyond the allowed loss of 1.00 points" in reason for reason in verdict.reasons)


def test_a_model_surely_not_better_anywhere_is_rejected_within_the_margin_too() -> None:
    verdict = judge([pair(won=100, lost=160)], BUDGETS)
    assert verdict.answer == "reject"
    assert "surely not better on any suite" in verdict.reasons[0]


def test_a_small_gain_is_inconclusive_and_says_how_many_images_are_missing() -> None:
    suite = pair(won=110, lost=90, n=4000)
    verdict = judge([suite], BUDGETS)
    assert verdict.answer == "inconclusive"
    missing = verdict.needs["test"]
    factor = (4000 + missing) // 4000 + 1
    assert judge([pair(won=110 * factor, lost=90 * factor, n=4000 * factor)], BUDGETS).answer == "promote"


def test_identical_answers_are_inconclusive_and_no_number_of_images_helps() -> None:
    verdict = judge([pair(won=0, lost=0)], BUDGETS)
    assert verdict.answer == "inconclusive"
    assert verdict.needs == {}


def test_winning_recent_is_enough_when_test_holds() -> None:
    suites = [pair(won=100, lost=100), pair(won=300, lost=50, n=2000, name="recent")]
    verdict = judge(suites, BUDGETS)
    assert verdict.answer == "promote"
    assert "surely better on recent" in verdict.reasons[0]


def test_winning_recent_is_not_enough_when_test_breaks() -> None:
    suites = [pair(won=0, lost=300), pair(won=300, lost=50, n=2000, name="recent")]
    assert judge(suites, BUDGETS).answer == "reject"


def test_two_suites_share_alpha_for_the_claim_of_being_better() -> None:
    # The lower bound is above 0 at what the first look may spend of 5 %, but not at half of it.
    close = pair(won=64, lost=41, n=1000)
    generous = BUDGETS.model_copy(update={"margin": 0.05, "class_margin": 0.1})
    assert judge([close], generous).answer == "promote"
    assert judge([close, pair(won=0, lost=0, n=1000, name="recent")], generous).answer == "inconclusive"


def test_first_model_needs_its_accuracy_surely_above_the_minimum() -> None:
    assert judge([first(right=900, n=1000)], BUDGETS).answer == "promote"
    assert judge([first(right=700, n=1000)], BUDGETS).answer == "reject"
    close = judge([first(right=810, n=1000)], BUDGETS)
    assert close.answer == "inconclusive"
    enough = 1000 + close.needs["test"]
    assert (
        judge([first(right=round(0.81 * enough * 1.2), n=round(enough * 1.2))], BUDGETS).answer == "promote"
    )


def test_overconfidence_is_rejected_when_sure_and_open_when_not() -> None:
    assert judge([first(right=900, n=1000, confidence=0.999)], BUDGETS).answer == "reject"
    open_case = judge([first(right=900, n=1000, confidence=0.955)], BUDGETS)
    assert open_case.answer == "inconclusive"
    assert open_case.needs["test"] > 0


def test_temperature_is_applied_before_calibration_is_judged() -> None:
    overconfident = first(right=900, n=1000, confidence=0.999)
    logit = float(overconfident.candidate.logits.max())
    temperature = logit / float(np.log(0.9 / 0.05))
    cooled = Suite(
        "test", CLASSES, overconfident.labels, Answers(overconfident.candidate.logits, temperature)
    )
    assert judge([cooled], BUDGETS).answer == "promote"


def test_a_class_without_images_is_said_and_does_not_crash() -> None:
    labels = np.zeros(1000, np.int64)
    verdict = judge(
        [Suite("test", CLASSES, labels, Answers(logits(labels, np.arange(1000) < 950, 0.95)))], BUDGETS
    )
    assert verdict.evidence[0].candidate.per_class[1].accuracy is None
    assert "On test there is no image of dog, eel: nothing is known about it." in verdict.reasons


def test_verdict_survives_json() -> None:
    verdict = judge([pair(won=300, lost=200)], BUDGETS)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    json.dumps(verdict.model_dump(mode="json"), allow_nan=False)


def test_the_same_answers_get_the_same_verdict() -> None:
    assert judge([pair(won=110, lost=90)], BUDGETS) == judge([pair(won=110, lost=90)], BUDGETS)


def broken(**changes: Any) -> Suite:
    good = pair(won=5, lost=5, n=30)
    return Suite(**{**vars(good), **changes})


def answered(value: float, count: int = 30, classes: int = 3, *, images: str = "a") -> Answers:
    return Answers(np.full((count, classes), value, np.float32), images=images)


@pytest.mark.parametrize(
    ("suites", "message"),
    [
        ([], "needs the suite 'test'"),
        ([pair(won=1, lost=1, n=9, name="recent")], "needs the suite 'test'"),
        ([pair(won=1, lost=1, n=9)] * 2, "each suite once"),
        ([broken(candidate=answered(np.nan))], "candidate on test: 30 of 30"),
        ([broken(incumbent=answered(np.inf))], "incumbent on test: 30 of 30"),
        ([broken(candidate=answered(0, 29))], "29 rows of scores for 30 labels"),
        ([broken(labels=np.full(30, 3))], "labels run from 3 to 3"),
        ([broken(labels=np.full(30, -1))], "30 of 30 images have no label"),
        ([broken(incumbent=answered(0, images="b"))], "the candidate answered images a and the incumbent b"),
        ([broken(candidate=answered(0, 30, 4))], "4 logits an image for 3 classes"),
        ([broken(labels=np.zeros(0, int), candidate=answered(0, 0))], "0 images"),
        (
            [pair(won=1, lost=1, n=9), broken(name="recent", incumbent=None)],
            "some suites and not others",
        ),
    ],
)
def test_answers_that_cannot_be_judged_are_refused(suites: list[Suite], message: str) -> None:
    with pytest.raises(DataError, match=message):
        judge(suites, BUDGETS)


def harmed(points: int, *, n: int = 9000) -> Suite:
    """A candidate two points better overall that loses `points` in a hundred of the first class's images."""
    labels = np.arange(n) % len(CLASSES)
    of_class = np.flatnonzero(labels == 0)
    others = np.flatnonzero(labels != 0)
    lost = of_class[: len(of_class) * points // 100]
    won = others[: n * 2 // 100 + len(lost)]
    candidate, incumbent = np.ones(n, bool), np.ones(n, bool)
    candidate[lost], incumbent[won] = False, False
    sure = candidate.mean() - 1e-4
    return Suite(
        "test", CLASSES, labels, Answers(logits(labels, candidate, sure)), Answers(logits(labels, incumbent))
    )


def test_a_class_that_pays_for_the_others_stops_the_promotion() -> None:
    assert judge([harmed(2)], BUDGETS).answer == "promote"
    verdict = judge([harmed(10)], BUDGETS)
    assert verdict.answer == "reject"
    assert any(reason.startswith("cat (-10.00 points") for reason in verdict.reasons)
    open_case = judge([harmed(5)], BUDGETS)
    assert open_case.answer == "inconclusive"
    assert any("perhaps lost more than the 5.00 points" in reason for reason in open_case.reasons)
    assert judge([harmed(4, n=900)], BUDGETS).needs["test"] > 900


def test_every_look_at_the_same_images_widens_the_interval() -> None:
    close = pair(won=300, lost=240)
    first_look, tenth = (judge([replace(close, look=look)], BUDGETS) for look in (1, 10))
    assert (first_look.answer, tenth.answer) == ("promote", "inconclusive")
    early, late = first_look.evidence[0].comparison, tenth.evidence[0].comparison
    assert early is not None
    assert late is not None
    assert early.difference.value == late.difference.value
    assert late.difference.low < early.difference.low


def test_where_there_is_a_confirmation_test_is_too_worn_to_win_on() -> None:
    winner = pair(won=300, lost=100)
    confirmed = pair(won=90, lost=30, n=2000, name="confirmation")
    unconfirmed = pair(won=61, lost=59, n=2000, name="confirmation")
    assert judge([winner, confirmed], BUDGETS).answer == "promote"
    verdict = judge([winner, unconfirmed], BUDGETS)
    assert verdict.answer == "inconclusive"
    assert list(verdict.needs) == ["confirmation"]


def test_a_first_model_is_confirmed_by_its_accuracy_there() -> None:
    good, poor = first(right=900, n=1000), replace(first(right=700, n=1000), name="confirmation")
    assert judge([good, replace(good, name="confirmation")], BUDGETS).answer == "promote"
    assert judge([good, poor], BUDGETS).answer == "reject"


@pytest.mark.parametrize(
    ("changes", "answer", "words"),
    [
        ({}, "promote", "within the budgets"),
        ({"median_ms": 30.0}, "inconclusive", "or the machine was busy"),
        ({"median_ms": 30.0, "fastest_ms": 26.0}, "reject", "over the budget for time"),
        ({"size_mb": 60.0, "memory_mb": 900.0}, "reject", "over the budget for size and memory"),
    ],
)
def test_costs_are_held_to_their_budgets(changes: dict[str, float], answer: str, words: str) -> None:
    modest = Costs(
        machine="any", precision="int8", median_ms=2, fastest_ms=1, size_mb=4, memory_mb=150
    ).model_copy(update=changes)
    verdict = judge([pair(won=300, lost=200)], BUDGETS, Packaged(costs=modest))
    assert verdict.answer == answer
    assert any(words in reason for reason in verdict.reasons)


@pytest.mark.parametrize(
    ("mine", "theirs", "answer"),
    [(0.7, 0.7, "promote"), (0.7, 0.8, "reject"), (0.3, 0.3, "reject"), (0.7, None, "promote")],
)
def test_a_loss_on_corrupted_images_rejects(mine: float, theirs: float | None, answer: str) -> None:
    chance = np.random.default_rng(0).random((18, 5, 500))
    robustness = summarise(chance < mine, None if theirs is None else chance < theirs, alpha=0.02)
    verdict = judge([pair(won=300, lost=200)], BUDGETS, Packaged(robustness=robustness))
    assert verdict.answer == answer, verdict.reasons


def test_a_packaged_model_that_is_not_the_trained_one_is_rejected() -> None:
    parity = Parity(images=10, max_logit_difference=0.5, tolerance=0.001, equal_predictions=0.9)
    serving = Serving(
        precision="float32",
        reason="",
        images=10,
        equal_predictions=1,
        difference=0,
        difference_low=0,
        difference_high=0,
    )
    verdict = judge([pair(won=300, lost=200)], BUDGETS, Packaged(parity=parity, serving=serving))
    assert verdict.answer == "reject"
