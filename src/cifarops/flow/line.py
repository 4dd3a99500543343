"""The three persistent branches that a change travels along, as the policy names them."""

from dataclasses import dataclass

from cifarops.flow.policy import Policy


@dataclass(frozen=True)
class Line:
    """The persistent branches, in the order of travel.

    Attributes:
        develop: Where work comes together; what a freeze freezes.
        release: What staging runs.
        main: What production runs.
        urgent: The kind of work branch that goes straight to `main`: `hotfix`.
    """

    develop: str
    release: str
    main: str
    urgent: str

    @classmethod
    def of(cls, policy: Policy) -> "Line":
        """Read it off a policy."""
        return cls(
            develop=policy.freeze.branch,
            release=policy.environments["staging"].branch,
            main=policy.environments["production"].branch,
            urgent=next(kind for kind, work in policy.work.items() if work.is_urgent),
        )
