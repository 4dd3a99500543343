"""The gate: may this candidate replace the version in production? Promote, reject, or not enough evidence.

Every requirement is held, broken or open. A broken one rejects; all held promote; else the answer is inconclusive,
with the number of images that would settle it. Why these rules: docs/explanation/gate.md.
"""

from collections.abc import Iterator, Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cifarops.budgets import Budgets
from cifarops.bundle.manifest import Parity, Serving
from cifarops.errors import DataError
from cifarops.evaluation.costs import Costs
from cifarops.evaluation.evidence import Suite, SuiteEvidence, gather
from cifarops.evaluation.requirements import (
    Finding,
    Pair,
    accurate,
    affordable,
    calibrated,
    faithful,
    non_inferior,
    robust,
    superior,
    unharmed,
)
from cifarops.evaluation.robustness import Robustness

Answer = Literal["promote", "reject", "inconclusive"]


class Packaged(BaseModel):
    """What is known of the packaged model besides its answers; each part may be None where it was not measured.

    Attributes:
        robustness: On corrupted images.
        costs: On this machine.
        parity: Between the ONNX file and the trained network.
        serving: Between int8 and float32.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    robustness: Robustness | None = None
    costs: Costs | None = None
    parity: Parity | None = None
    serving: Serving | None = None


class Verdict(BaseModel):
    """The gate's answer on a bundle.

    Attributes:
        answer: What may happen.
        reasons: One plain sentence for each requirement.
        needs: For each suite that left a requirement open, about how many more images would settle it; a suite is
            left out where no number would, because the two models answer equally well.
        evidence: What was measured on each suite.
        packaged: What was measured besides.
        budgets: The levels and budgets it was judged by.
        candidate: Digest of the bundle.
        incumbent: Digest of the bundle in production, or None.
        snapshot: Id of the snapshot that the suites come from.
        synthetic: Whether the program drew the images, so that every number must say so.
        test_looks: How often the ledger's test splits were looked at, this time included.
        at: Seconds since the epoch.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answer: Answer
    reasons: tuple[str, ...]
    needs: dict[str, int]
    evidence: tuple[SuiteEvidence, ...]
    packaged: Packaged
    budgets: Budgets
    candidate: str = ""
    incumbent: str | None = None
    snapshot: str = ""
    synthetic: bool = False
    test_looks: int = 0
    at: float = 0.0

    def advice(self) -> str:
        """Return the answer and what to do next, in a sentence or two."""
        if self.answer == "promote":
            return "Promote. Next: cifarops registry register."
        if self.answer == "reject":
            return "Reject: train another candidate. The reasons stand above; nothing was changed."
        if not self.needs:
            return "Inconclusive, and no number of images would settle it: the reasons say what is open."
        needs = " and ".join(
            f"about {images:,} more images in {suite}" for suite, images in self.needs.items()
        )
        return f"Inconclusive: {needs} would settle it. Gather them, or train a candidate that differs more."


_NOTHING_BESIDES = Packaged()


def judge(suites: Sequence[Suite], budgets: Budgets, packaged: Packaged = _NOTHING_BESIDES) -> Verdict:
    """Judge a candidate on its answers; the same answers always get the same verdict.

    With an incumbent the candidate must be non-inferior on every suite (the difference's lower bound above −margin), and
    surely better on at least one (its lower bound at alpha shared among the suites above 0); no class of `test` may
    lose more than the class margin. Without one its accuracy must surely reach `min_accuracy`. Where there is a
    `confirmation`, `test` has been looked at too often to win on. Always it must be calibrated on `test`, and whatever of
    `packaged` is known must be within its budget.

    Args:
        suites: `test`, and what there is besides; all with an incumbent's answers, or none.
        budgets: Levels and budgets.
        packaged: What else was measured.

    Raises:
        DataError: The answers can't be judged: NaN, other images, different lengths, labels that don't fit or are
            missing, an empty suite.
    """
    _check(suites)
    to_win = [suite.name for suite in suites if not _is_worn(suite, suites)]
    evidence = tuple(
        gather(suite, alpha=budgets.alpha, suites=len(to_win), class_margin=budgets.class_margin)
        for suite in suites
    )
    findings = [*_findings_on_answers(evidence, to_win, budgets), *_findings_besides(packaged, budgets)]
    return Verdict(
        answer=_answer(findings),
        reasons=tuple(finding.reason for finding in findings)
        + tuple(note for suite in evidence for note in suite.notes),
        needs=_needs(findings),
        evidence=evidence,
        packaged=packaged,
        budgets=budgets,
    )


def _check(suites: Sequence[Suite]) -> None:
    names = [suite.name for suite in suites]
    if "test" not in names or len(set(names)) != len(names):
        raise DataError(
            f"The gate needs the suite 'test' and each suite once; it got {names}.",
            fix="Judge on a snapshot that has a test split.",
        )
    if len({suite.incumbent is None for suite in suites}) > 1:
        raise DataError(
            "The incumbent answered some suites and not others.",
            fix="Run it on every suite, or on none for a first model.",
        )


def _is_worn(suite: Suite, suites: Sequence[Suite]) -> bool:
    return suite.name == "test" and any(other.name == "confirmation" for other in suites)


def _findings_on_answers(
    evidence: Sequence[SuiteEvidence], to_win: Sequence[str], budgets: Budgets
) -> Iterator[Finding]:
    test = next(suite for suite in evidence if suite.name == "test")
    pairs = [Pair(suite.name, suite.comparison, suite.alpha) for suite in evidence if suite.comparison]
    if pairs:
        yield superior([pair for pair in pairs if pair.name in to_win])
        for pair in pairs:
            yield non_inferior(pair, budgets.margin)
        yield unharmed(test.name, test.per_class, margin=budgets.class_margin, alpha=test.alpha)
    else:
        for suite in evidence:
            if suite.name != "recent":
                yield accurate(suite, budgets.min_accuracy)
    yield calibrated(test, budgets.max_ece)


def _findings_besides(packaged: Packaged, budgets: Budgets) -> Iterator[Finding]:
    if packaged.robustness:
        yield robust(packaged.robustness, budgets)
    if packaged.costs:
        yield affordable(packaged.costs, budgets.machine)
    if packaged.parity and packaged.serving:
        yield faithful(packaged.parity, packaged.serving)


def _answer(findings: Sequence[Finding]) -> Answer:
    states = {finding.state for finding in findings}
    if "broken" in states:
        return "reject"
    return "inconclusive" if "open" in states else "promote"


def _needs(findings: Sequence[Finding]) -> dict[str, int]:
    needs: dict[str, int] = {}
    for finding in findings:
        for suite, images in finding.needs.items():
            needs[suite] = max(images, needs.get(suite, 0))
    return needs
