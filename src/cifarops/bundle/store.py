"""Bundles on disk: written in one step under their digest, verified whenever they are opened."""

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from pydantic import ValidationError

from cifarops.bundle.manifest import FileEntry, Manifest
from cifarops.errors import IntegrityError, UsageError
from cifarops.files import canonical_json, publish_directory, sha256_file, staged_directory

MANIFEST = "bundle.json"
MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
REFERENCE = "reference.npz"
CARD = "card.md"
SBOM = "sbom.cdx.json"
_NEEDED = frozenset({MODEL, INT8_MODEL, REFERENCE, CARD, SBOM})


class Bundle:
    """A verified bundle.

    Args:
        path: Its directory; the name is the digest.
        manifest: Its parsed `bundle.json`.
    """

    def __init__(self, path: Path, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest

    @property
    def digest(self) -> str:
        """SHA-256 of `bundle.json`, which holds the hash of every other file: 64 hex digits."""
        return self.path.name

    @property
    def model_path(self) -> Path:
        """The float32 ONNX file."""
        return self.path / MODEL

    @property
    def int8_path(self) -> Path:
        """The int8 ONNX file; same input and output."""
        return self.path / INT8_MODEL

    @property
    def sbom_path(self) -> Path:
        """The bill of materials, CycloneDX as JSON."""
        return self.path / SBOM

    @property
    def reference_path(self) -> Path:
        """What monitoring compares with; see `bundle.reference`."""
        return self.path / REFERENCE


def write_bundle(
    root: Path, files: dict[str, bytes], describe: Callable[[dict[str, FileEntry]], Manifest]
) -> Bundle:
    """Write a bundle under `root` in one step; the same content gives the same directory, and mends a damaged one.

    Args:
        root: Directory of bundles.
        files: Content by file name, without `bundle.json`.
        describe: Makes the manifest from the files' entries.
    """
    entries = {
        name: FileEntry(sha256=hashlib.sha256(content).hexdigest(), size=len(content))
        for name, content in sorted(files.items())
    }
    manifest = canonical_json(describe(entries).model_dump(mode="json"))
    target = root / hashlib.sha256(manifest).hexdigest()
    with suppress(IntegrityError):  # not there yet, or damaged: written anew
        return open_bundle(target)
    with staged_directory(root) as staged:
        for name, content in {**files, MANIFEST: manifest}.items():
            (staged / name).write_bytes(content)
        if target.exists():
            shutil.rmtree(target)
        publish_directory(staged, target)
    return open_bundle(target)


def find_bundle(root: Path, digest: str) -> Bundle:
    """Open the bundle under `root` whose digest is, or uniquely begins with, `digest`.

    Raises:
        UsageError: There is none, or several.
        IntegrityError: It is damaged.
    """
    matches = sorted(root.glob(f"{digest}*")) if digest.isalnum() else []
    if len(matches) != 1:
        raise UsageError(
            f"{len(matches) or 'No'} bundles under {root} begin with {digest!r}.",
            fix="List versions with: cifarops registry list. Make a bundle with: cifarops package.",
        )
    return open_bundle(matches[0])


def choose_bundle(root: Path, digest: str | None) -> Bundle:
    """Open the bundle that `find_bundle` finds, or the one under `root` that was written last.

    Raises:
        UsageError: There is none, or several.
        IntegrityError: It is damaged.
    """
    if digest is not None:
        return find_bundle(root, digest)
    manifests = sorted(root.glob(f"*/{MANIFEST}"), key=lambda path: path.stat().st_mtime_ns)
    if not manifests:
        raise UsageError(f"There is no bundle under {root}.", fix="Make one with: cifarops package.")
    return open_bundle(manifests[-1].parent)


def open_bundle(path: Path) -> Bundle:
    """Open a bundle and verify every file against the manifest, and the manifest against the directory's name.

    Raises:
        IntegrityError: Something is missing, altered or does not belong there.
    """
    try:
        content = (path / MANIFEST).read_bytes()
        manifest = Manifest.model_validate_json(content)
    except (OSError, ValidationError) as error:
        raise _damaged(path, f"{MANIFEST} can't be read ({error})") from error
    if hashlib.sha256(content).hexdigest() != path.name:
        raise _damaged(path, f"{MANIFEST} does not match the digest")
    if unlisted := _NEEDED - set(manifest.files):
        raise _damaged(path, f"{MANIFEST} does not list {', '.join(sorted(unlisted))}")
    for name, entry in manifest.files.items():
        file = path / name
        if file.parent != path or file.is_symlink():
            raise _damaged(path, f"{name} lies outside it")
        if not file.is_file() or sha256_file(file) != entry.sha256:
            raise _damaged(path, f"{name} is missing or altered")
    strangers = {found.name for found in path.iterdir()} - {*manifest.files, MANIFEST}
    if strangers:
        raise _damaged(path, f"{', '.join(sorted(strangers))} does not belong to it")
    return Bundle(path, manifest)


def _damaged(path: Path, what: str) -> IntegrityError:
    return IntegrityError(
        f"Bundle {path.name[:12]} is refused: {what}.",
        fix="Use another version (cifarops registry list), or package the run again.",
    )
