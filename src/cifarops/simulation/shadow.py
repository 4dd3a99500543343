"""Shadow traffic: what an environment's server answers, next to what production's model would have answered.

Production's model runs in this process. Its server and its ledger never see the requests: monitoring judges real ones.
"""

from typing import Any

import numpy as np

from cifarops.bundle.store import find_bundle
from cifarops.errors import CifaropsError
from cifarops.evaluation.compare import compare
from cifarops.evaluation.score import answers
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress, silent
from cifarops.settings import EnvironmentName, Settings
from cifarops.simulation.play import open_stage
from cifarops.simulation.traffic import send

_ALPHA = 0.05


def shadow(
    environment: EnvironmentName,
    *,
    settings: Settings,
    requests: int,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Send requests to an environment's server and compare its answers with production's model on the same images.

    Returns:
        What was sent and how both answered, JSON-able; `difference` is None where production runs nothing.

    Raises:
        UsageError: The environment runs nothing.
        UnavailableError: No server of the environment is running.
        CifaropsError: A request failed, or the environment answers surely worse than production.
    """
    stage = open_stage(environment, settings=settings, seed=seed)
    images, labels = stage.stream.draw(requests)
    classes = stage.manifest.classes
    log = send(stage.client, (images, labels), classes, progress=progress)
    if log.failures:
        raise CifaropsError(
            f"{len(log.failures)} of {log.sent} requests to {environment} failed, the first: {log.failures[0]}",
            fix="See the server's log and: cifarops deploy status.",
        )
    with Ledger(settings.ledger) as ledger:
        running = ledger.environment("production").digest
    found = {
        "environment": environment,
        "synthetic": stage.manifest.synthetic,
        "sent": log.sent,
        "accuracy": log.accuracy(),
        "production": running,
        "agreement": None,
        "difference": None,
    }
    if running is None:
        return found
    answered = np.array([classes.index(each.label) for each in log.answered])
    bundle = find_bundle(settings.bundles, running)
    shadowed = answers(bundle, images, "production's model answers", progress).argmax(axis=1)
    right, production_right = answered == labels, shadowed == labels
    comparison = compare(
        int((right & ~production_right).sum()),
        int((production_right & ~right).sum()),
        len(labels),
        _ALPHA,
    )
    if comparison.difference.high < 0:
        raise CifaropsError(
            f"{environment} is surely worse than production: its accuracy differs by {100 * comparison.difference.value:+.1f}"
            f" points ({100 * comparison.difference.low:+.1f} to {100 * comparison.difference.high:+.1f}).",
            fix="Don't release it. Compare both bundles: cifarops evaluate report BUNDLE.",
        )
    return {
        **found,
        "agreement": float((answered == shadowed).mean()),
        "difference": comparison.difference.model_dump(),
    }
