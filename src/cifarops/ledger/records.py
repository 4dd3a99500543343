"""What the ledger stores."""

from dataclasses import dataclass, field, replace
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
    "canary",
    "canary_stopped",
    "shadow",
    "shadow_stopped",
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
        image: The network's input before normalisation, uint8 (S, S, 3), or None.
        classes: What the version calls its classes, so that labels can come by name; empty where none will.
        keep_image: Whether the image itself is stored.
        traits: What monitoring keeps of the image, float16 (T,), as `bundle.reference` names them, or None.
    """

    id: str
    at: float
    environment: EnvironmentName
    version: int
    label: int
    probabilities: NDArray[np.float32]
    image: NDArray[np.uint8] | None = None
    classes: tuple[str, ...] = ()
    keep_image: bool = True
    traits: NDArray[np.float16] | None = None


@dataclass(frozen=True)
class Feedback:
    """What somebody said about a prediction.

    Attributes:
        label: The true class index.
        at: Seconds since the epoch.
        actor: Who said so, or None where that is not known.
    """

    label: int
    at: float
    actor: str | None


@dataclass(frozen=True)
class Answered:
    """A prediction as it is remembered; the image itself is left out."""

    prediction: Prediction
    image_kept: bool
    feedback: Feedback | None


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
        traits: float16 (N, T), NaN where none were kept; T is 0 where that is so everywhere.
        seqs: int64 (N,), positions in the ledger.
    """

    ids: tuple[str, ...]
    at: NDArray[np.float64]
    versions: NDArray[np.int64]
    predicted: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    truth: NDArray[np.int64]
    traits: NDArray[np.float16]
    seqs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ids)

    def last(self, count: int) -> "Window":
        """Return the newest `count` of them."""
        start = max(0, len(self) - count)
        return Window(
            self.ids[start:],
            self.at[start:],
            self.versions[start:],
            self.predicted[start:],
            self.probabilities[start:],
            self.truth[start:],
            self.traits[start:],
            self.seqs[start:],
        )


@dataclass(frozen=True)
class Attempt:
    """How one version fared with one request while a canary runs.

    Attributes:
        at: Seconds since the epoch.
        environment: Where it was asked.
        version: Registry version that was asked.
        failed: Whether it failed; an image that can't be used is no failure.
        seconds: How long it took, from the image file to the probabilities.
    """

    at: float
    environment: EnvironmentName
    version: int
    failed: bool
    seconds: float


@dataclass(frozen=True)
class Shadowed:
    """What another version says about a request that was answered already; nobody is told.

    Attributes:
        prediction_id: The answered request.
        at: Seconds since the epoch.
        environment: Where it was answered.
        version: Registry version of the shadow.
        label: Index of the class it predicts.
        probabilities: Calibrated, float32 (C,).
    """

    prediction_id: str
    at: float
    environment: EnvironmentName
    version: int
    label: int
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Attempts:
    """How the requests of a span fared, in the order in which they were recorded.

    Attributes:
        versions: int64 (N,).
        failed: bool (N,).
        seconds: float64 (N,).
    """

    versions: NDArray[np.int64]
    failed: NDArray[np.bool_]
    seconds: NDArray[np.float64]


@dataclass(frozen=True)
class Pairs:
    """Requests that two versions answered, in the order in which the second answer was recorded.

    Attributes:
        answered: int64 (N,), class index that the client was told.
        shadowed: int64 (N,), class index that the other version predicts.
        truth: int64 (N,), the true class index, or -1 where no label has come.
    """

    answered: NDArray[np.int64]
    shadowed: NDArray[np.int64]
    truth: NDArray[np.int64]


@dataclass(frozen=True)
class Canary:
    """A version that answers a share of an environment's clients until it is promoted or stopped.

    Attributes:
        digest: Digest of its bundle.
        percent: Share of the clients, above 0 and below 100.
        since: Seconds since the epoch; what was recorded before says nothing about it.
    """

    version: int
    digest: str
    percent: float
    since: float


@dataclass(frozen=True)
class Shadow:
    """A version that answers the same requests as the stable one, to nobody.

    Attributes:
        digest: Digest of its bundle.
        since: Seconds since the epoch.
    """

    version: int
    digest: str
    since: float


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
        canary: Beside the stable version, for a share of the clients, or None.
        shadow: Beside the stable version, for comparison only, or None.
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
    canary: Canary | None = None
    shadow: Shadow | None = None

    def going_back(self) -> "EnvironmentState":
        """Return the state with the previous version as the stable one.

        What was rolled back is no version to return to: a second rollback must be refused, not bring it back.
        """
        back = self.taking(self.previous_version, self.previous_digest)
        return replace(back, previous_version=None, previous_digest=None)

    def taking(self, version: int | None, digest: str | None) -> "EnvironmentState":
        """Return the state with another stable version; the one before is what a rollback returns to.

        A canary ends with the version that it was compared with, a shadow only where it would repeat the new one.
        """
        return replace(
            self,
            version=version,
            digest=digest,
            previous_version=self.version,
            previous_digest=self.digest,
            canary=None,
            shadow=None if self.shadow and self.shadow.digest == digest else self.shadow,
        )


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
