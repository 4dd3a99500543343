"""What the demo leaves behind as numbers."""

from dataclasses import dataclass, field
from typing import Any

from cifarops.story import Step


@dataclass
class Summary:
    """The whole story, as `summary.json` holds it.

    Attributes:
        complete: Whether the last step was reached.
    """

    source: str
    profile: str
    complete: bool = False
    seconds: float = 0.0
    requests_sent: int = 0
    requests_failed: int = 0
    steps: list[Step] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return the document."""
        return {
            "source": self.source,
            "profile": self.profile,
            "complete": self.complete,
            "seconds": round(self.seconds, 2),
            "requests": {"sent": self.requests_sent, "failed": self.requests_failed},
            "steps": [step.as_json() for step in self.steps],
        }
