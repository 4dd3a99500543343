"""The gate: may this candidate replace the version in production? Promote, reject, or not enough evidence.

Every requirement is held, broken or open. A broken one rejects; all held promote; else the answer is inconclusive,
with the number of images that would settle it. Why these rules: docs/explanation/gate.md.
"""

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from cifarops.config import GateParams
from cifarops.errors import DataError
from cifarops.evaluation.evidence import Suite, SuiteEvidence, gather
from cifarops.evaluation.requirements import Finding, accurate, calibrated, non_inferior, superior

Answer = Literal["promote", "reject", "inconclusive"]


class Verdict(BaseModel):
    """The gate's answer on a bundle.

    Attributes:
        answer: What may happen.
        reasons: One plain sentence for each requirement.
        needs: For each suite that left a requirement open, about how many more images would settle it; a suite is
            left out where no number would, because the two models answer equally well.
        evidence: What was measured.
        params: The levels and budgets it was judged by.
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
    params: GateParams
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
            return "Inconclusive: the two models answer equally well, so there is no reason to change."
        needs = " and ".join(
            f"about {images:,} more images in {suite}" for suite, images in self.needs.items()
        )
        return f"Inconclusive: {needs} would settle it. Gather them, or train a candidate that differs more."


def judge(suites: Sequence[Suite], params: GateParams) -> Verdict:
    """Judge a candidate on its answers; the same answers always get the same verdict.

    With an incumbent the candidate must be non-inferior on every suite (the difference's lower bound above −margin),
    surely better on at least one (its lower bound at alpha shared among the suites above 0), and calibrated on `test`.
    Without one its accuracy on `test` must surely reach `min_accuracy`, and it must be calibrated.

    Args:
        suites: `test`, and `recent` where there is one; all with an incumbent's answers, or none.
        params: Levels and budgets.

    Raises:
        DataError: The answers can't be judged: NaN, different lengths, labels that don't fit, an empty suite.
    """
    _check(suites)
    evidence = tuple(gather(suite, alpha=params.alpha, suites=len(suites)) for suite in suites)
    test = next(suite for suite in evidence if suite.name == "test")
    pairs = [(suite.name, suite.comparison) for suite in evidence if suite.comparison]
    findings = (
        [superior(pairs, params), *(non_inferior(name, pair, params) for name, pair in pairs)]
        if pairs
        else [accurate(test.candidate, params)]
    )
    findings.append(calibrated(test.candidate, params))
    return Verdict(
        answer=_answer(findings),
        reasons=tuple(finding.reason for finding in findings)
        + tuple(note for suite in evidence for note in suite.notes),
        needs=_needs(findings),
        evidence=evidence,
        params=params,
    )


def _check(suites: Sequence[Suite]) -> None:
    names = [suite.name for suite in suites]
    if "test" not in names or len(set(names)) != len(names):
        raise DataError(
            f"The gate needs the suite 'test' and each suite once; it got {names}.",
            fix="Judge on a snapshot that has a test split.",
        )
    if len({suite.incumbent_logits is None for suite in suites}) > 1:
        raise DataError(
            "The incumbent answered some suites and not others.",
            fix="Run it on every suite, or on none for a first model.",
        )


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
