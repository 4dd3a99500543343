"""What GitLab's tiers differ in, which promises hang on it, and what stands in where a tier lacks it."""

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Gap:
    """What a server without a feature leaves open.

    Attributes:
        feature: What Premium has and Free lacks.
        promises: Ids of docs/reference/process.md that GitLab then does not enforce by itself.
        lost: What GitLab then lets pass.
        stand_in: What keeps the promise instead.
    """

    feature: str
    promises: tuple[str, ...]
    lost: str
    stand_in: str


class Feature(Enum):
    """A feature that not every tier has."""

    APPROVALS = Gap(
        "approval rules and code owners",
        ("B6", "B12"),
        "merges without approval, and keeps an approval when new commits follow",
        "`cifarops flow gitlab approved`, run as a job, counts the approvals and fails without them, and nothing merges"
        " without a green pipeline; who may merge is still limited by role",
    )
    PUSH_RULES = Gap(
        "push rules",
        ("B1",),
        "takes a push of a badly named branch",
        "the hooks refuse it on the developer's machine, and its pipeline is the failing job `policy` alone, so that it"
        " never merges",
    )
    ENVIRONMENTS = Gap(
        "protected environments",
        ("B11", "B13"),
        "lets everyone who may run a job of a branch deploy from it",
        "jobs that deploy exist in pipelines of protected branches only, and those are run by who may merge there",
    )

    @property
    def gap(self) -> Gap:
        """Return what its absence leaves open."""
        return self.value
