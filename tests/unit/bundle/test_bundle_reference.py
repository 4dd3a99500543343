from pathlib import Path

import numpy as np
import pytest

from cifarops.bundle.reference import DIRECTIONS, Sketch, load_reference, load_sketch
from cifarops.bundle.store import REFERENCE, Bundle, write_bundle
from cifarops.data.statistics import STATISTICS
from cifarops.errors import IntegrityError
from tests.support.bundles import colour_bundle


def features(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (rng.normal(0, 1, (count, 40)) * np.arange(40, 0, -1) + 3).astype(np.float32)


def test_a_sketch_keeps_lengths_and_the_directions_of_most_variance() -> None:
    seen = features(500)
    sketched = Sketch.fitted(seen)(seen).astype(float)
    assert sketched.shape == (500, DIRECTIONS + 1)
    centred = seen - seen.mean(axis=0)
    np.testing.assert_allclose((sketched**2).sum(axis=1), (centred**2).sum(axis=1), rtol=1e-2)
    singular = np.linalg.svd(centred, compute_uv=False)[:DIRECTIONS]
    np.testing.assert_allclose(np.linalg.norm(sketched[:, :-1], axis=0), singular, rtol=1e-2)


def test_the_same_features_give_the_same_sketch_and_few_features_a_short_one() -> None:
    first, again = (Sketch.fitted(features(50)) for _ in range(2))
    np.testing.assert_array_equal(first.directions, again.directions)
    few = features(50)[:, :3]
    assert Sketch.fitted(few)(few).shape == (50, 4)


def test_a_reference_comes_back_as_it_was_written(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path)
    reference = load_reference(bundle)
    assert reference.trait_names == ("feature 1", "feature 2", "feature 3", "feature rest", *STATISTICS)
    assert len(reference) == len(reference.logits) == len(reference.traits)
    np.testing.assert_array_equal(load_sketch(bundle).directions, reference.sketch.directions)


def _rewritten(bundle: Bundle, reference: bytes) -> Bundle:
    files = {name: (bundle.path / name).read_bytes() for name in bundle.manifest.files} | {
        REFERENCE: reference
    }
    return write_bundle(
        bundle.path.parent, files, lambda entries: bundle.manifest.model_copy(update={"files": entries})
    )


def test_a_reference_that_lacks_something_is_refused_with_the_remedy(tmp_path: Path) -> None:
    bundle = _rewritten(colour_bundle(tmp_path), b"nothing")
    for load in (load_reference, load_sketch):
        with pytest.raises(IntegrityError, match="can't be read") as caught:
            load(bundle)
        assert "cifarops package" in caught.value.fix
