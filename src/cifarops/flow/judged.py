"""What the gate has said already of the model of a recipe."""

from cifarops.budgets import Budgets
from cifarops.bundle.store import Bundle
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.verdicts import newest_verdict
from cifarops.settings import Settings


def judged(bundle: Bundle, running: str | None, budgets: Budgets, settings: Settings) -> Verdict | None:
    """Return the gate's verdict on the same question, if there is one; every look at the test split counts.

    Args:
        bundle: What the recipe makes.
        running: Digest of the bundle in production, or None.
        budgets: What the gate requires.
        settings: Where verdicts lie.
    """
    found = newest_verdict(settings.verdicts, bundle.digest)
    asked = (running, budgets, bundle.manifest.snapshot)
    return found if found and (found.incumbent, found.budgets, found.snapshot) == asked else None
