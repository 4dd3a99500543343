"""Making a version again: its commit in a clean worktree, its data, parameters and thread count; then both are compared.

On the same kind of processor, with the same thread count and packages, the digest must be the same: every byte of the
model and of what is said about it. Elsewhere sums are rounded differently, and training magnifies that; there the
accuracy on `valid` may be off by at most `TOLERANCE`.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from cifarops.bundle.manifest import Manifest
from cifarops.bundle.store import Bundle, open_bundle
from cifarops.data.snapshot import Snapshot, open_snapshot
from cifarops.errors import IntegrityError, UsageError
from cifarops.files import sha256_file, staged_directory
from cifarops.flow.git import Git
from cifarops.flow.workshop import Workshop
from cifarops.machine import processor_name
from cifarops.settings import Settings
from cifarops.training.run import WEIGHTS, run_of

TOLERANCE = 0.02
_SHOWN = 5
Outcome = Literal["identical", "within tolerance", "different"]


@dataclass(frozen=True)
class Reproduction:
    """What came of making a bundle again.

    Attributes:
        recorded: Digest of the bundle.
        made: Digest of the one that was made now.
        outcome: How they compare.
        differs: What is not the same: files, or keys of bundle.json.
        elsewhere: Why the bytes need not be the same here; empty where they must be.
        accuracy: Accuracy on `valid` of both, the recorded first.
        commit: The commit that was built.
        seconds: How long it took.
    """

    recorded: str
    made: str
    outcome: Outcome
    differs: tuple[str, ...]
    elsewhere: tuple[str, ...]
    accuracy: tuple[float, float]
    commit: str
    seconds: float

    def told(self) -> str:
        """Return it as a sentence or two."""
        if self.outcome == "identical":
            return f"Identical: commit {self.commit[:12]} makes bundle {self.recorded[:12]} again, byte for byte."
        old, new = self.accuracy
        differ = f"not the same: {', '.join(self.differs)}"
        why = f" Expected here: {'; '.join(self.elsewhere)}." if self.elsewhere else ""
        return (
            f"{self.outcome.capitalize()}: {new:.2%} right on valid instead of {old:.2%} (tolerance"
            f" {TOLERANCE:.0%} elsewhere); {differ}.{why}"
        )


def reproduce(
    bundle: Bundle,
    git: Git,
    *,
    settings: Settings,
    origin: str | None = None,
    announce: Callable[[str], None] = print,
) -> Reproduction:
    """Make a bundle again and compare.

    Args:
        bundle: The recorded one, verified.
        git: A clone that has its commit.
        settings: Of the workspace.
        origin: Where the images are read from if the snapshot is gone, for the sources that need to be told.
        announce: Told of every step.

    Raises:
        UsageError: The bundle is of no commit, or of one that this clone lacks; data or weights are gone and can't be
            made again.
        CifaropsError: A step failed in the commit's own code.
    """
    began = time.monotonic()
    manifest = bundle.manifest
    commit = _clean_commit(manifest, git)
    snapshot = _kept_snapshot(manifest, settings.snapshots, origin)
    start = _start_of(manifest, settings.runs)
    elsewhere = [*_other_processor(manifest)]
    with staged_directory(settings.cache / "reproduce") as folder, _worktree(git, commit, folder) as tree:
        announce(f"Building the code of commit {commit[:12]}")
        shop = Workshop(folder, tree, settings, manifest, forced=bool(elsewhere))
        if snapshot is None:
            announce(f"Reading the images again: {manifest.provenance.source.name}")
            shop.ingest(manifest.snapshot, origin)
        else:
            shop.take_snapshot(snapshot)
        announce(f"Training profile {manifest.profile} with {manifest.provenance.threads} threads")
        run = shop.train(manifest.snapshot, start)
        announce("Packaging")
        made = open_bundle(shop.package(run, run_of(settings.runs, bundle.digest)))
        return compare(bundle, made, commit, tuple(elsewhere), time.monotonic() - began)


def _clean_commit(manifest: Manifest, git: Git) -> str:
    commit, dirty = manifest.code.commit, manifest.code.dirty
    if commit is None or dirty:
        what = "no commit is known" if commit is None else "had changes that no commit holds"
        raise UsageError(
            f"It can't be made again: the code that made it {'has ' if commit is None else ''}{what}"
            f"{f' (on top of {commit[:12]})' if commit else ''}.",
            fix="Commit before training; versions that the pipeline makes are always of a commit.",
        )
    if not git.succeeds("cat-file", "-e", f"{commit}^{{commit}}"):
        raise UsageError(
            f"It was made by commit {commit}, which the clone {git.root} does not have.",
            fix=f"Fetch it: git fetch origin {commit}. Or run this in a clone that has it.",
        )
    return commit


def _kept_snapshot(manifest: Manifest, snapshots: Path, origin: str | None) -> Snapshot | None:
    """Return the snapshot, whole, or None where it has to be made again from its source."""
    try:
        snapshot = open_snapshot(snapshots, manifest.snapshot)
        snapshot.verify()
    except (UsageError, IntegrityError) as error:
        source = manifest.provenance.source
        if source.kind == "retraining":
            raise UsageError(
                f"Snapshot {manifest.snapshot} is gone, and it was made of labelled answers of production: {error.message}",
                fix="Restore it from a copy; it can't be read again from a source.",
            ) from error
        if source.kind == "folder" and origin is None:
            raise UsageError(
                f"Snapshot {manifest.snapshot} is gone, and its images came from {source.name}: {error.message}",
                fix="Name where they are now: --from PATH",
            ) from error
        return None
    return snapshot


def _start_of(manifest: Manifest, runs: Path) -> Path | None:
    """Return the run whose weights the training started from; None where they were drawn."""
    wanted = manifest.provenance.warm_start
    if wanted is None:
        return None
    for weights in sorted(runs.glob(f"*/{WEIGHTS}")):
        if sha256_file(weights) == wanted:
            return weights.parent
    raise UsageError(
        f"It was trained from the weights {wanted[:12]}, and no run under {runs} has them any more.",
        fix="Restore that run, or reproduce the version before it first.",
    )


def _other_processor(manifest: Manifest) -> Iterator[str]:
    recorded, here = manifest.provenance.processor, processor_name()
    if recorded != here:
        yield f"it was trained on {recorded}, this is {here}"


@contextmanager
def _worktree(git: Git, commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out beside the work tree while the block runs; what a killed process left behind goes, too."""
    tree = folder / "tree"
    git("worktree", "prune")
    git("worktree", "add", "--quiet", "--detach", str(tree), commit)
    try:
        yield tree
    finally:
        git.run("worktree", "remove", "--force", str(tree))


def compare(
    recorded: Bundle, made: Bundle, commit: str, elsewhere: tuple[str, ...], seconds: float
) -> Reproduction:
    """Compare a bundle with one that was made of the same commit, data and parameters.

    Args:
        recorded: The bundle.
        made: The other one.
        commit: The commit that both are of.
        elsewhere: Why the bytes need not be the same.
        seconds: How long it took to make.
    """
    if other := sorted({name for name, *_ in _packages(recorded) ^ _packages(made)}):
        elsewhere = (*elsewhere, f"other packages are installed than then: {', '.join(other[:_SHOWN])}")
    accuracy = (recorded.manifest.metrics["accuracy"], made.manifest.metrics["accuracy"])
    outcome: Outcome = "different"
    if recorded.digest == made.digest:
        outcome = "identical"
    elif elsewhere and abs(accuracy[0] - accuracy[1]) <= TOLERANCE:
        outcome = "within tolerance"
    return Reproduction(
        recorded=recorded.digest,
        made=made.digest,
        outcome=outcome,
        differs=tuple(_differences(recorded.manifest, made.manifest)),
        elsewhere=elsewhere,
        accuracy=accuracy,
        commit=commit,
        seconds=seconds,
    )


def _packages(bundle: Bundle) -> set[tuple[str, ...]]:
    """Return what a bill of materials says of each package: name, version, licence, hash of its files."""
    components = json.loads(bundle.sbom_path.read_bytes())["components"]
    return {(each["name"], json.dumps(each)) for each in components if each["type"] == "library"}


def _differences(recorded: Manifest, made: Manifest) -> Iterator[str]:
    old: dict[str, Any] = recorded.model_dump(mode="json")
    new: dict[str, Any] = made.model_dump(mode="json")
    for name in sorted(recorded.files.keys() | made.files.keys()):
        if recorded.files.get(name) != made.files.get(name):
            yield name
    for key in old:
        if key != "files" and old[key] != new[key]:
            yield f"{key} in bundle.json"
