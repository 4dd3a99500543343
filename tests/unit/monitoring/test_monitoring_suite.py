from pathlib import Path

import numpy as np
import pytest

from cifarops.bundle.store import Bundle
from cifarops.data.broken import DEFECTS, break_images
from cifarops.data.corruptions import CORRUPTIONS
from cifarops.data.snapshot import Snapshot
from cifarops.errors import DataError, UsageError
from cifarops.monitoring.suite import Suite, load_suite, measure_suite
from tests.support.bundles import colour_bundle
from tests.support.snapshots import colour_snapshot


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("suite")


@pytest.fixture(scope="module")
def snapshot(root: Path) -> Snapshot:
    return colour_snapshot(root / "snapshots")


@pytest.fixture(scope="module")
def bundle(root: Path) -> Bundle:
    return colour_bundle(root / "bundles")


@pytest.fixture(scope="module")
def suite(root: Path, snapshot: Snapshot, bundle: Bundle) -> Suite:
    return measure_suite(bundle, snapshot, folder=root / "monitoring")


def test_every_corruption_and_defect_is_shown_in_every_severity(suite: Suite) -> None:
    names = [(each.name, each.severity) for each in suite.shown]
    assert len(set(names)) == len(names) == 5 * len(CORRUPTIONS) + len(DEFECTS)
    assert all(np.isfinite(each.moved).all() for each in suite.shown)
    accuracy = {(each.name, each.severity): each.accuracy for each in suite.shown}
    assert accuracy["gaussian_noise", 1] >= accuracy["gaussian_noise", 5] - 0.1


def test_a_defect_moves_the_view_that_it_is_about(suite: Suite, bundle: Bundle, root: Path) -> None:
    constant = next(each for each in suite.shown if each.name == "constant")
    flatness = constant.moved[-3]  # of the pixel statistics, the last but two
    assert flatness > 3
    assert load_suite(root / "monitoring", bundle) == suite


def test_errors_are_those_of_the_corruptions(suite: Suite) -> None:
    mean, worst = suite.errors("cbpe")
    found = [abs(each.estimate.cbpe - each.accuracy) for each in suite.shown if each.severity is not None]
    assert mean == pytest.approx(np.mean(found))
    assert worst == max(found)


def test_what_is_damaged_or_of_another_bundle_is_measured_again(
    suite: Suite, bundle: Bundle, tmp_path: Path
) -> None:
    assert load_suite(tmp_path, bundle) is None
    path = tmp_path / f"suite-{bundle.digest[:12]}.json"
    for content in ("", suite.model_copy(update={"digest": "0" * 64}).model_dump_json()):
        path.write_text(content)
        assert load_suite(tmp_path, bundle) is None


def test_a_snapshot_of_other_classes_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    other = colour_snapshot(tmp_path, classes=("a", "b", "c"))
    with pytest.raises(DataError, match="has other classes"):
        measure_suite(bundle, other, folder=tmp_path)


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_changes_the_content_and_nothing_about_the_form(name: str) -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 18, 18, 3)).astype(np.uint8)
    broken = break_images(images, name)
    assert broken.shape == images.shape
    assert broken.dtype == np.uint8
    assert not np.array_equal(broken, images)


def test_an_unknown_defect_is_refused_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="no defect 'rust'"):
        break_images(np.zeros((1, 8, 8, 3), np.uint8), "rust")
