import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from cifarops.config import GateParams
from cifarops.errors import DataError
from cifarops.evaluation.evidence import Suite, SuiteName
from cifarops.evaluation.gate import Verdict, judge

CLASSES = ("cat", "dog", "eel")
PARAMS = GateParams(alpha=0.05, margin=0.01, min_accuracy=0.8, max_ece=0.05)


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
        candidate_logits=logits(labels, candidate, sure),
        incumbent_logits=logits(labels, incumbent),
    )


def first(*, right: int, n: int, confidence: float | None = None) -> Suite:
    labels = np.arange(n) % len(CLASSES)
    correct = np.arange(n) < right
    return Suite("test", CLASSES, labels, logits(labels, correct, confidence or right / n))


def test_a_better_model_is_promoted() -> None:
    verdict = judge([pair(won=300, lost=200)], PARAMS)
    assert verdict.answer == "promote"
    assert verdict.needs == {}
    assert "surely better on test" in verdict.reasons[0]
    (suite,) = verdict.evidence
    assert suite.comparison is not None
    assert suite.comparison.difference.value == pytest.approx(0.01)
    assert suite.incumbent is not None
    assert suite.incumbent.accuracy.value == pytest.approx(0.97)


def test_a_surely_worse_model_is_rejected() -> None:
    verdict = judge([pair(won=100, lost=400)], PARAMS)
    assert verdict.answer == "reject"
    assert any("surely beyond the allowed loss of 1.00 points" in reason for reason in verdict.reasons)


def test_a_model_surely_not_better_anywhere_is_rejected_within_the_margin_too() -> None:
    verdict = judge([pair(won=100, lost=160)], PARAMS)
    assert verdict.answer == "reject"
    assert "surely not better on any suite" in verdict.reasons[0]


def test_a_small_gain_is_inconclusive_and_says_how_many_images_are_missing() -> None:
    suite = pair(won=110, lost=90, n=4000)
    verdict = judge([suite], PARAMS)
    assert verdict.answer == "inconclusive"
    missing = verdict.needs["test"]
    factor = (4000 + missing) // 4000 + 1
    assert judge([pair(won=110 * factor, lost=90 * factor, n=4000 * factor)], PARAMS).answer == "promote"


def test_identical_answers_are_inconclusive_and_no_number_of_images_helps() -> None:
    verdict = judge([pair(won=0, lost=0)], PARAMS)
    assert verdict.answer == "inconclusive"
    assert verdict.needs == {}


def test_winning_recent_is_enough_when_test_holds() -> None:
    suites = [pair(won=100, lost=100), pair(won=300, lost=50, n=2000, name="recent")]
    verdict = judge(suites, PARAMS)
    assert verdict.answer == "promote"
    assert "surely better on recent" in verdict.reasons[0]


def test_winning_recent_is_not_enough_when_test_breaks() -> None:
    suites = [pair(won=0, lost=300), pair(won=300, lost=50, n=2000, name="recent")]
    assert judge(suites, PARAMS).answer == "reject"


def test_two_suites_share_alpha_for_the_claim_of_being_better() -> None:
    # The lower bound is above 0 at 5 % but not at 2.5 %.
    close = pair(won=60, lost=41, n=1000)
    generous = PARAMS.model_copy(update={"margin": 0.05})
    assert judge([close], generous).answer == "promote"
    assert judge([close, pair(won=0, lost=0, n=1000, name="recent")], generous).answer == "inconclusive"


def test_first_model_needs_its_accuracy_surely_above_the_minimum() -> None:
    assert judge([first(right=900, n=1000)], PARAMS).answer == "promote"
    assert judge([first(right=700, n=1000)], PARAMS).answer == "reject"
    close = judge([first(right=810, n=1000)], PARAMS)
    assert close.answer == "inconclusive"
    enough = 1000 + close.needs["test"]
    assert judge([first(right=round(0.81 * enough * 1.2), n=round(enough * 1.2))], PARAMS).answer == "promote"


def test_overconfidence_is_rejected_when_sure_and_open_when_not() -> None:
    assert judge([first(right=900, n=1000, confidence=0.999)], PARAMS).answer == "reject"
    open_case = judge([first(right=900, n=1000, confidence=0.955)], PARAMS)
    assert open_case.answer == "inconclusive"
    assert open_case.needs["test"] > 0


def test_temperature_is_applied_before_calibration_is_judged() -> None:
    overconfident = first(right=900, n=1000, confidence=0.999)
    logit = float(overconfident.candidate_logits.max())
    temperature = logit / float(np.log(0.9 / 0.05))
    cooled = Suite("test", CLASSES, overconfident.labels, overconfident.candidate_logits, temperature)
    assert judge([cooled], PARAMS).answer == "promote"


def test_a_class_without_images_is_said_and_does_not_crash() -> None:
    labels = np.zeros(1000, np.int64)
    verdict = judge([Suite("test", CLASSES, labels, logits(labels, np.arange(1000) < 950, 0.95))], PARAMS)
    assert verdict.evidence[0].candidate.per_class[1].accuracy is None
    assert "On test there is no image of dog, eel: nothing is known about it." in verdict.reasons


def test_verdict_survives_json() -> None:
    verdict = judge([pair(won=300, lost=200)], PARAMS)
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict
    json.dumps(verdict.model_dump(mode="json"), allow_nan=False)


def test_the_same_answers_get_the_same_verdict() -> None:
    assert judge([pair(won=110, lost=90)], PARAMS) == judge([pair(won=110, lost=90)], PARAMS)


def broken(**changes: Any) -> Suite:
    good = pair(won=5, lost=5, n=30)
    return Suite(**{**vars(good), **changes})


@pytest.mark.parametrize(
    ("suites", "message"),
    [
        ([], "needs the suite 'test'"),
        ([pair(won=1, lost=1, n=9, name="recent")], "needs the suite 'test'"),
        ([pair(won=1, lost=1, n=9)] * 2, "each suite once"),
        ([broken(candidate_logits=np.full((30, 3), np.nan, np.float32))], "candidate on test: 30 of 30"),
        ([broken(incumbent_logits=np.full((30, 3), np.inf, np.float32))], "incumbent on test: 30 of 30"),
        ([broken(candidate_logits=np.zeros((29, 3), np.float32))], "29 rows of scores for 30 labels"),
        ([broken(labels=np.full(30, 3))], "labels run from 3 to 3"),
        ([broken(candidate_logits=np.zeros((30, 4), np.float32))], "4 logits an image for 3 classes"),
        ([broken(labels=np.zeros(0, int), candidate_logits=np.zeros((0, 3), np.float32))], "0 images"),
        (
            [pair(won=1, lost=1, n=9), broken(name="recent", incumbent_logits=None)],
            "some suites and not others",
        ),
    ],
)
def test_answers_that_cannot_be_judged_are_refused(suites: list[Suite], message: str) -> None:
    with pytest.raises(DataError, match=message):
        judge(suites, PARAMS)
