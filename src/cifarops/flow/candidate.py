"""The model that goes with a commit: made by its recipe, judged against production, registered. Each once."""

from dataclasses import dataclass
from typing import Any

from cifarops.budgets import Budgets
from cifarops.bundle.store import Bundle, find_bundle
from cifarops.data.snapshot import open_snapshot
from cifarops.errors import CifaropsError, IntegrityError
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.judgement import gate_bundle
from cifarops.flow.judged import judged
from cifarops.flow.recipe import Recipe, follow
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress, silent
from cifarops.registry.registration import register
from cifarops.registry.versions import Registry, Version
from cifarops.settings import Settings


@dataclass(frozen=True)
class Candidate:
    """The model that a release of a commit takes along.

    Attributes:
        commit: The commit.
        recipe: Id of its recipe.
        made: Digest of the bundle that the recipe makes.
        verdict: The gate's answer on it; None where it is what production runs.
        reasons: The gate's reasons.
        version: The version to release: the new bundle's, or production's where the new one is not surely better.
        bundle: Digest of that version's bundle.
    """

    commit: str
    recipe: str
    made: str
    verdict: str | None
    reasons: tuple[str, ...]
    version: int
    bundle: str

    def facts(self) -> dict[str, Any]:
        """Return it for people."""
        return {
            "commit": self.commit[:12],
            "recipe": self.recipe[:12],
            "made bundle": self.made[:12],
            "verdict": self.verdict or "production runs it",
            "reasons": "\n".join(self.reasons),
            "to release": f"version {self.version}, bundle {self.bundle[:12]}",
        }


def make_candidate(
    recipe: Recipe,
    *,
    budgets: Budgets,
    settings: Settings,
    ledger: Ledger,
    registry: Registry,
    progress: Progress = silent,
) -> Candidate:
    """Make, judge and register the model of a commit; whatever was done before is looked up.

    A bundle is judged once against each version that production has run meanwhile. One that is not surely better
    leaves production's version in the release: code alone changes then.

    Raises:
        CifaropsError: The gate rejects the bundle, or nothing is in production that could stay.
    """
    bundle = follow(recipe, settings, progress)
    running = ledger.environment("production").digest
    if running == bundle.digest:
        return _candidate(recipe, bundle, None, _version(registry, running))
    verdict = judged(bundle, running, budgets, settings) or gate_bundle(
        bundle,
        find_bundle(settings.bundles, running) if running else None,
        open_snapshot(settings.snapshots, bundle.manifest.snapshot),
        budgets,
        ledger=ledger,
        verdicts=settings.verdicts,
        actor=settings.actor,
        progress=progress,
    )
    if verdict.answer == "promote":
        version = registry.by_digest(bundle.digest) or register(
            bundle,
            registry=registry,
            ledger=ledger,
            runs=settings.runs,
            verdicts=settings.verdicts,
            actor=settings.actor,
            verdict=verdict,
        )
    elif verdict.answer == "inconclusive" and running:
        version = _version(registry, running)
    else:
        raise CifaropsError(
            f"The gate's verdict on {bundle.digest[:12]}, the model of {recipe.commit[:12]}, is {verdict.answer}:"
            f" {' '.join(verdict.reasons)}",
            fix="Take back what made the model worse, or train longer: see params.yaml. Nothing was registered.",
        )
    return _candidate(recipe, bundle, verdict, version)


def _version(registry: Registry, digest: str) -> Version:
    found = registry.by_digest(digest)
    if found is None:
        raise IntegrityError(
            f"Production runs bundle {digest[:12]}, which the registry does not know.",
            fix="Register it again: cifarops registry register BUNDLE. Or see what happened: cifarops deploy history.",
        )
    return found


def _candidate(recipe: Recipe, bundle: Bundle, verdict: Verdict | None, version: Version) -> Candidate:
    return Candidate(
        commit=recipe.commit,
        recipe=recipe.id,
        made=bundle.digest,
        verdict=verdict.answer if verdict else None,
        reasons=verdict.reasons if verdict else (),
        version=version.number,
        bundle=version.digest,
    )
