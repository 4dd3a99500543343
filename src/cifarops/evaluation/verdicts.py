"""Verdicts on disk: one JSON file for each judgement, found again by the bundle's digest."""

from pathlib import Path

from pydantic import ValidationError

from cifarops.errors import IntegrityError
from cifarops.evaluation.gate import Verdict
from cifarops.files import write_atomic

_SHORT = 12


def write_verdict(root: Path, verdict: Verdict) -> Path:
    """Write a verdict in one step and return the file; judging the same bundles again replaces it."""
    incumbent = verdict.incumbent[:_SHORT] if verdict.incumbent else "none"
    path = root / f"{verdict.candidate[:_SHORT]}-{incumbent}-{verdict.snapshot}.json"
    write_atomic(path, verdict.model_dump_json(indent=2).encode() + b"\n")
    return path


def read_verdict(path: Path) -> Verdict:
    """Read a verdict.

    Raises:
        IntegrityError: The file is missing or no verdict.
    """
    try:
        return Verdict.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise IntegrityError(
            f"{path} holds no verdict: {error}", fix="Judge the bundle again: cifarops evaluate gate."
        ) from error


def newest_verdict(root: Path, digest: str) -> Verdict | None:
    """Return the latest verdict on a bundle, or None.

    Raises:
        IntegrityError: A verdict file of this bundle is damaged.
    """
    verdicts = [read_verdict(path) for path in root.glob(f"{digest[:_SHORT]}-*.json")]
    return max(
        (each for each in verdicts if each.candidate == digest), key=lambda each: each.at, default=None
    )
