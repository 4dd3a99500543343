"""What the ledger stores."""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from cifarops.settings import ENVIRONMENTS as ENVIRONMENTS
from cifarops.settings import EnvironmentName as EnvironmentName

DecisionKind = Literal[
    "gate",
    "register",
    "promote",
    "rollback",
    "not_taken_up",
    "release",
    "kept",
    "rollback_code",
    "start",
    "stop",
    "test_look",
    "drift_alarm",
    "drift_cleared",
    "accuracy_alarm",
    "accuracy_cleared",
    "retrain",
    "reproduce",
    "accept_breaks",
]


@dataclass(frozen=True)
class Prediction:
    """One answered request.

    Attributes:
        id: Unique id, given to the client.
        at: Seconds since the epoch.
        environment: Where it was answered.
        version: Registry version that answered.
        label: Predicted class index.
        probabilities: Calibrated, float32 (C,).
        image: The network's input before normalisation, uint8 (S, S, 3), or None where images are not kept.
        classes: What the version calls its classes, so that labels can come by name; empty where none will.
    """

    id: str
    at: float
    environment: EnvironmentName
    version: int
    label: int
    probabilities: NDArray[np.float32]
    image: NDArray[np.uint8] | None = None
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Window:
    """A span of predictions, oldest first.

    Attributes:
        ids: (N,) prediction ids.
        at: float64 (N,), seconds since the epoch.
        versions: int64 (N,).
        predicted: int64 (N,), class indices.
        probabilities: float32 (N, C).
        truth: int64 (N,), the true class index, or -1 where no label has come.
    """

    ids: tuple[str, ...]
    at: NDArray[np.float64]
    versions: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class EnvironmentState:
    """What an environment runs.

    Attributes:
        generation: Grows by one with every change; the token of compare-and-swap. 0: nothing was ever promoted.
        version: Registry version, or None at generation 0.
        digest: Digest of its bundle.
        previous_version: What a rollback returns to, or None.
        previous_digest: Digest of that version's bundle.
        since: Seconds since the epoch.
        code: SHA-256 of the code release that its servers run, or None where nobody said which.
        previous_code: What a rollback of the code returns to, or None.
    """

    name: EnvironmentName
    generation: int = 0
    version: int | None = None
    digest: str | None = None
    previous_version: int | None = None
    previous_digest: str | None = None
    since: float = 0.0
    code: str | None = None
    previous_code: str | None = None


@dataclass(frozen=True)
class Decision:
    """An entry of the decision history.

    Attributes:
        seq: Position in the history, from 1 (0 before it is written).
        evidence: Anything JSON can hold.
    """

    kind: DecisionKind
    environment: EnvironmentName | None
    version: int | None
    actor: str
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    at: float = 0.0
    seq: int = 0
