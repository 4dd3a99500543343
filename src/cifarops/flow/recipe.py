"""What a commit makes of the model, and the bundle that comes of it: the same recipe is followed once.

A commit that touches neither the parameters, nor the code that makes models, nor the packages has the recipe of the
commit before it, and so the same bundle. Git knows already whether code has changed: by the ids of folders and files.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.bundle.store import Bundle, find_bundle
from cifarops.config import Params
from cifarops.data.snapshot import open_snapshot
from cifarops.errors import CifaropsError, UsageError
from cifarops.files import canonical_json, locked, write_atomic
from cifarops.flow.git import Git
from cifarops.progress import Progress, silent
from cifarops.settings import Settings

# What decides the bytes of a bundle. The gate, serving and the rest of the program may change without a training.
MAKERS = (
    "constraints.txt",
    "src/cifarops/bundle",
    "src/cifarops/data",
    "src/cifarops/evaluation/calibration.py",
    "src/cifarops/evaluation/metrics.py",
    "src/cifarops/packaging",
    "src/cifarops/training",
)


@dataclass(frozen=True)
class Recipe:
    """How a commit makes a model.

    Attributes:
        commit: The commit, 40 hex digits.
        params: The profile; its sections `data` and `train` count.
        origin: Where the images are read from; None for the synthetic source.
        makers: Git's id of everything in `MAKERS`, at that commit.
    """

    commit: str
    params: Params
    origin: str | None
    makers: tuple[str, ...]

    @property
    def id(self) -> str:
        """SHA-256 of everything but the commit: 64 hex digits."""
        parts = {
            "data": self.params.data.model_dump(mode="json"),
            "train": self.params.train.model_dump(mode="json"),
            "origin": self.origin,
            "makers": self.makers,
        }
        return hashlib.sha256(canonical_json(parts)).hexdigest()


class Made(BaseModel):
    """What a recipe made, as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    snapshot: str
    run: str
    bundle: str


def recipe_of(git: Git, params: Params, origin: str | None) -> Recipe:
    """Return the recipe of the commit that is checked out.

    Raises:
        UsageError: The work tree has changes that no commit holds, or lacks a maker.
    """
    if git.is_dirty():
        raise UsageError(
            f"{git.root} has changes that no commit holds, so the model would be of no commit.",
            fix="Commit them, or set them aside: git stash",
        )
    commit = git.commit()
    missing = [path for path in MAKERS if not git.succeeds("cat-file", "-e", f"{commit}:{path}")]
    if missing:
        raise UsageError(
            f"{commit[:12]} has no {', '.join(missing)}.", fix="Check out a commit of this project."
        )
    makers = git("rev-parse", *(f"{commit}:{path}" for path in MAKERS)).split()
    return Recipe(commit, params, origin, tuple(makers))


def follow(recipe: Recipe, settings: Settings, progress: Progress = silent) -> Bundle:
    """Return the bundle of a recipe: ingested, trained and packaged now, or looked up when that was done before.

    Of two that follow one recipe at once, the second waits and gets what the first made.

    Raises:
        CifaropsError: A stage refused; what the earlier ones made is kept.
    """
    note = settings.workspace / "recipes" / f"{recipe.id}.json"
    note.parent.mkdir(parents=True, exist_ok=True)
    with locked(note.with_suffix(".lock")):
        return _known(note, settings) or _make(recipe, note, settings, progress)


def _make(recipe: Recipe, note: Path, settings: Settings, progress: Progress) -> Bundle:
    # Most jobs look a model up, and what makes one takes seconds to import.
    from cifarops.data.ingest import ingest
    from cifarops.packaging.export import package
    from cifarops.training.trainer import train

    snapshot = ingest(
        recipe.params.data,
        origin=recipe.origin,
        snapshots=settings.snapshots,
        downloads=settings.downloads,
        cache=settings.cache,
        cifar10_url=settings.cifar10_url,
        progress=progress,
    ).snapshot
    run = train(
        snapshot,
        recipe.params,
        runs=settings.runs,
        tracking_uri=settings.tracking_uri,
        cache=settings.cache,
        progress=progress,
    )
    bundle = package(run, snapshot, bundles=settings.bundles, progress=progress)
    made = Made(snapshot=snapshot.id, run=run.id, bundle=bundle.digest)
    write_atomic(note, made.model_dump_json(indent=2).encode() + b"\n")
    return bundle


def _known(note: Path, settings: Settings) -> Bundle | None:
    """Return the bundle that a note names, if both it and its snapshot are there and whole."""
    try:
        made = Made.model_validate_json(note.read_bytes())
        open_snapshot(settings.snapshots, made.snapshot)
        return find_bundle(settings.bundles, made.bundle)
    except (OSError, ValidationError, CifaropsError):
        return None
