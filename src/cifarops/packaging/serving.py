"""Which of the two packaged models answers requests: int8 where it is clearly faster and loses next to nothing."""

import numpy as np
from numpy.typing import NDArray

from cifarops.bundle.manifest import Serving
from cifarops.evaluation.compare import difference_interval

_MAX_LOSS = 0.003
_MAX_LOSS_LIKELY = 0.01
_MIN_FACTOR = 1.2
_ALPHA = 0.025


def choose_served(
    float32: NDArray[np.float32],
    int8: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    factor: float,
    supported: bool,
) -> Serving:
    """Decide which model answers, from the answers of both on `valid`.

    Args:
        float32: Logits of the float32 model, (N, C).
        int8: Logits of the int8 model, (N, C).
        labels: True classes, (N,).
        factor: How many times as fast int8 is. What is recorded is only whether that is enough: the exact number
            differs from one measurement to the next, and the same run is to give the same bundle.
        supported: Whether the processor that measured has instructions for int8.
    """
    predicted, rounded = float32.argmax(axis=1), int8.argmax(axis=1)
    gained = int(((rounded == labels) & (predicted != labels)).sum())
    lost = int(((rounded != labels) & (predicted == labels)).sum())
    interval = difference_interval(gained, lost, len(labels), _ALPHA)
    reasons = []
    if not supported:
        reasons.append("it was packaged on a processor without instructions for int8")
    if not np.isfinite(int8).all():
        reasons.append("int8 answers NaN or infinity")
    if -interval.value > _MAX_LOSS:
        reasons.append(
            f"int8 loses {-100 * interval.value:.2f} points of accuracy, more than {100 * _MAX_LOSS:g}"
        )
    if -interval.low > _MAX_LOSS_LIKELY:
        reasons.append(
            f"{len(labels)} images don't rule out that int8 loses {100 * _MAX_LOSS_LIKELY:g} point"
        )
    if factor < _MIN_FACTOR:
        reasons.append(f"int8 is not {_MIN_FACTOR:g} times as fast")
    enough = f"int8 is {_MIN_FACTOR:g} times as fast or more, and loses no more than {100 * _MAX_LOSS:g} points of accuracy"
    return Serving(
        precision="float32" if reasons else "int8",
        reason="; ".join(reasons) or enough,
        images=len(labels),
        equal_predictions=float((predicted == rounded).mean()),
        difference=interval.value,
        difference_low=interval.low,
        difference_high=interval.high,
    )
