import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarops.bundle.runtime import OnnxModel, softmax
from cifarops.bundle.store import (
    MANIFEST,
    MODEL,
    Bundle,
    choose_bundle,
    find_bundle,
    open_bundle,
    write_bundle,
)
from cifarops.errors import IntegrityError, UsageError
from tests.support.bundles import colour_bundle, unloadable_bundle
from tests.support.snapshots import colour_arrays


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return colour_bundle(tmp_path / "bundles")


def resealed(bundle: Bundle, change: Callable[[dict[str, Any]], None]) -> Path:
    """A copy with an altered manifest under the digest that fits it, as an attacker would make it."""
    document = json.loads((bundle.path / MANIFEST).read_bytes())
    change(document)
    content = json.dumps(document).encode()
    path = bundle.path.parent / hashlib.sha256(content).hexdigest()
    shutil.copytree(bundle.path, path)
    (path / MANIFEST).write_bytes(content)
    return path


def test_the_same_content_gives_the_same_directory(tmp_path: Path, bundle: Bundle) -> None:
    again = colour_bundle(tmp_path / "bundles")
    assert again.path == bundle.path
    assert colour_bundle(tmp_path / "elsewhere").digest == bundle.digest
    assert colour_bundle(tmp_path / "bundles", rotation=1).digest != bundle.digest
    assert not list((tmp_path / "bundles").glob(".tmp-*"))


def test_digest_is_the_manifests_hash(bundle: Bundle) -> None:
    assert (
        hashlib.sha256((bundle.path / MANIFEST).read_bytes()).hexdigest() == bundle.digest == bundle.path.name
    )


def test_every_region_of_every_file_is_protected(bundle: Bundle) -> None:
    for file in sorted(bundle.path.iterdir()):
        content = file.read_bytes()
        for position in {*range(0, len(content), max(1, len(content) // 40)), len(content) - 1}:
            file.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            with pytest.raises(IntegrityError):
                open_bundle(bundle.path)
        for altered in (b"", content[:-1], content + b"\0"):
            file.write_bytes(altered)
            with pytest.raises(IntegrityError):
                open_bundle(bundle.path)
        file.unlink()
        with pytest.raises(IntegrityError):
            open_bundle(bundle.path)
        file.write_bytes(content)
    assert open_bundle(bundle.path).digest == bundle.digest


def test_a_stranger_in_the_directory_is_refused(bundle: Bundle) -> None:
    (bundle.path / "extra.py").touch()
    with pytest.raises(IntegrityError, match=r"extra\.py does not belong"):
        open_bundle(bundle.path)


def test_a_link_instead_of_a_file_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    shutil.move(bundle.model_path, tmp_path / "outside")
    bundle.model_path.symlink_to(tmp_path / "outside")
    with pytest.raises(IntegrityError, match="lies outside"):
        open_bundle(bundle.path)


def test_a_file_name_that_leads_outside_is_refused(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "secret").write_bytes(b"")
    empty = {"sha256": hashlib.sha256(b"").hexdigest(), "size": 0}
    for name in ("../../secret", str(tmp_path / "secret")):
        path = resealed(bundle, lambda document, name=name: document["files"].update({name: empty}))  # type: ignore[misc]
        with pytest.raises(IntegrityError, match="lies outside"):
            open_bundle(path)


def test_a_bundle_without_a_model_is_refused(bundle: Bundle) -> None:
    path = resealed(bundle, lambda document: document["files"].pop(MODEL))
    with pytest.raises(IntegrityError, match=r"does not list model\.onnx"):
        open_bundle(path)


def test_an_unknown_key_in_the_manifest_is_refused(bundle: Bundle) -> None:
    path = resealed(bundle, lambda document: document.update(run="rm -rf"))
    with pytest.raises(IntegrityError, match="can't be read"):
        open_bundle(path)


def test_writing_again_mends_a_damaged_bundle(tmp_path: Path, bundle: Bundle) -> None:
    bundle.model_path.write_bytes(b"damaged")
    assert open_bundle(colour_bundle(tmp_path / "bundles").path).digest == bundle.digest


def test_bundles_are_found_by_a_unique_beginning(tmp_path: Path, bundle: Bundle) -> None:
    root = tmp_path / "bundles"
    assert find_bundle(root, bundle.digest[:8]).digest == bundle.digest
    for digest in ("", "../..", "*", "0" * 64):
        with pytest.raises(UsageError):
            find_bundle(root, digest)
    newer = unloadable_bundle(root)
    assert choose_bundle(root, None).digest == newer.digest
    assert choose_bundle(root, bundle.digest).digest == bundle.digest
    with pytest.raises(UsageError, match="There is no bundle"):
        choose_bundle(tmp_path / "empty", None)


def test_a_failure_while_writing_leaves_nothing(tmp_path: Path) -> None:
    def fail(_: object) -> Any:
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError):
        write_bundle(tmp_path / "bundles", {MODEL: b"x"}, fail)
    assert not list(tmp_path.glob("bundles/*"))


def test_the_model_answers_alone_as_in_a_batch(bundle: Bundle) -> None:
    images, labels = colour_arrays(300)
    model = OnnxModel(bundle, threads=2)
    together = model.logits(images)
    assert together.dtype == np.float32
    assert (together.argmax(axis=1) == labels).all()
    logits, features = zip(*model.outputs_in_batches(images, batch=7), strict=True)
    np.testing.assert_allclose(np.concatenate(logits), together, atol=1e-5)
    np.testing.assert_allclose(np.concatenate(features) @ np.eye(3) * 4, together, atol=1e-5)
    np.testing.assert_allclose(model.probabilities(images).sum(axis=1), 1, atol=1e-6)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="can't load bundle"):
        OnnxModel(unloadable_bundle(tmp_path))


def test_softmax_does_not_overflow() -> None:
    np.testing.assert_allclose(softmax(np.array([[1e4, 0.0, -1e4]], np.float32)), [[1, 0, 0]])
