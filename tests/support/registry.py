"""Versions in a real registry, without a training behind them."""

import numpy as np

from cifarops.bundle.store import Bundle
from cifarops.evaluation.evidence import Answers, Suite
from cifarops.evaluation.gate import Verdict, judge
from cifarops.registry.versions import Registry
from tests.support.bundles import COLOURS
from tests.support.gate import budgets


def verdict_on(bundle: Bundle) -> Verdict:
    """Let a bundle pass the gate on perfect answers."""
    labels = np.arange(300) % len(COLOURS)
    logits = np.eye(len(COLOURS), dtype=np.float32)[labels] * 4
    verdict = judge([Suite("test", COLOURS, labels, Answers(logits))], budgets(min_accuracy=0.5, max_ece=0.5))
    return verdict.model_copy(update={"candidate": bundle.digest})


def register(registry: Registry, bundle: Bundle) -> int:
    """Register a bundle that has passed the gate; returns the version's number."""
    return registry.register(bundle, run_id=None, verdict=verdict_on(bundle)).number
