"""What the gate has said already of the model of a recipe."""

from cifarops.bundle.store import Bundle
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.verdicts import newest_verdict
from cifarops.flow.recipe import Recipe
from cifarops.settings import Settings


def judged(bundle: Bundle, running: str | None, recipe: Recipe, settings: Settings) -> Verdict | None:
    """Return the gate's verdict on the same question, if there is one; every look at the test split counts.

    Args:
        bundle: What the recipe makes.
        running: Digest of the bundle in production, or None.
        recipe: The recipe, whose gate asks.
        settings: Where verdicts lie.
    """
    found = newest_verdict(settings.verdicts, bundle.digest)
    asked = (running, recipe.params.gate, bundle.manifest.snapshot)
    return found if found and (found.incumbent, found.params, found.snapshot) == asked else None
