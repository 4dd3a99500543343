"""The budgets that tests judge by: easy to reach, with nothing measured besides the answers."""

from pathlib import Path
from typing import Any

from cifarops.budgets import POLICY, Budgets, load_budgets
from cifarops.strict import merged

ROOT = Path(__file__).parents[2]
_EASY = {
    "margin": 0.01,
    "class_margin": 0.05,
    "min_accuracy": 0.8,
    "max_ece": 0.2,
    "reuse": {"kept": 0.0, "confirm_after": 20},
    "robustness": {"images": 0},
    "machine": {"latency_ms": 10_000.0, "memory_mb": 10_000.0},  # the machine of the tests may be busy
}


def budgets(**changes: Any) -> Budgets:
    """Return the project's own budgets with these changes, and no robustness suite and no kept part by default."""
    own = load_budgets(ROOT / POLICY, "fast").model_dump()
    return Budgets.model_validate(merged(merged(own, _EASY), changes))
