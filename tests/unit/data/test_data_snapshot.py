import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cifarops.data.extend import extend_snapshot
from cifarops.data.snapshot import Snapshot, list_snapshots, open_snapshot
from cifarops.errors import DataError, IntegrityError, UsageError
from tests.support.snapshots import colour_arrays, colour_snapshot


def test_same_input_same_id_and_bytes(tmp_path: Path) -> None:
    first, second = colour_snapshot(tmp_path / "a"), colour_snapshot(tmp_path / "b")
    assert first.id == second.id
    files = sorted(path.name for path in first.path.iterdir())
    assert files == sorted(path.name for path in second.path.iterdir())
    assert all((first.path / name).read_bytes() == (second.path / name).read_bytes() for name in files)


def test_what_was_written_comes_back_and_verifies(tmp_path: Path) -> None:
    snapshot = open_snapshot(tmp_path, colour_snapshot(tmp_path).id[:6])
    images, labels = colour_arrays(600, wrong=0.1, size=snapshot.meta.preprocessing.size, seed=2)
    assert np.array_equal(snapshot.images("test"), images)
    assert np.array_equal(snapshot.labels("test"), labels)
    assert snapshot.meta.splits["test"].per_class == tuple(np.bincount(labels))
    snapshot.verify()


def use_train(snapshot: Snapshot) -> None:
    snapshot.images("train")


def use_test(snapshot: Snapshot) -> None:
    snapshot.labels("test")


@pytest.mark.parametrize(("name", "use"), [("train.images.npy", use_train), ("test.labels.npy", use_test)])
def test_changed_and_missing_arrays_are_found_before_they_are_used(
    tmp_path: Path, name: str, use: Callable[[Snapshot], None]
) -> None:
    snapshot = colour_snapshot(tmp_path)
    path = snapshot.path / name
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    for look in (Snapshot.verify, use):
        with pytest.raises(IntegrityError, match=name):
            look(snapshot)
    path.unlink()
    for look in (Snapshot.verify, use):
        with pytest.raises(IntegrityError, match=name):
            look(snapshot)


def test_a_changed_description_is_found_and_not_listed(tmp_path: Path) -> None:
    good, bad = colour_snapshot(tmp_path), colour_snapshot(tmp_path, test=60)
    path = bad.path / "snapshot.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"seed": 5}))
    with pytest.raises(IntegrityError, match="does not match its id"):
        open_snapshot(tmp_path, bad.id)
    assert [snapshot.id for snapshot in list_snapshots(tmp_path)] == [good.id]


@pytest.mark.parametrize("wrong", ["zzzz", "", "../x", "*"])
def test_an_unknown_id_is_refused(tmp_path: Path, wrong: str) -> None:
    colour_snapshot(tmp_path)
    colour_snapshot(tmp_path, test=60)
    with pytest.raises(UsageError, match="begin with"):
        open_snapshot(tmp_path, wrong)


@pytest.fixture
def base(tmp_path: Path) -> Snapshot:
    return colour_snapshot(tmp_path)


def extended(base: Snapshot, count: int = 100, seed: int = 1) -> Snapshot:
    images, labels = colour_arrays(count, size=base.meta.preprocessing.size, seed=99)
    return extend_snapshot(base.path.parent, base, images, labels, seed=seed, name="march")


def counts(snapshot: Snapshot) -> dict[str, int]:
    return {name: info.count for name, info in snapshot.meta.splits.items()}


def test_new_images_join_train_valid_and_recent(base: Snapshot) -> None:
    grown = extended(base)
    old, new = counts(base), counts(grown)
    assert sum(new.values()) == sum(old.values()) + 100
    assert new["test"] == old["test"]
    assert abs(new["recent"] - 40) <= len(base.classes)
    assert abs(new["valid"] - old["valid"] - 6) <= len(base.classes)
    assert np.array_equal(grown.images("train")[: old["train"]], base.images("train"))
    assert np.array_equal(grown.images("test"), base.images("test"))
    held_out = {image.tobytes() for image in grown.images("recent")}
    assert not held_out & {image.tobytes() for name in ("train", "valid") for image in grown.images(name)}


def test_new_images_stand_in_train_as_often_as_asked_and_nowhere_else_twice(base: Snapshot) -> None:
    images, labels = colour_arrays(100, size=base.meta.preprocessing.size, seed=99)
    once, thrice = (
        extend_snapshot(base.path.parent, base, images, labels, seed=1, repeat=repeat, name="march")
        for repeat in (1, 3)
    )
    old = counts(base)["train"]
    new = once.images("train")[old:]
    assert np.array_equal(thrice.images("train")[old:], np.concatenate([new] * 3))
    assert {**counts(thrice), "train": 0} == {**counts(once), "train": 0}


def test_lineage_and_preprocessing_are_kept(base: Snapshot) -> None:
    grown = extended(base)
    again = extended(grown, seed=2)
    assert (grown.meta.parent, again.meta.parent) == (base.id, grown.id)
    assert grown.meta.preprocessing == base.meta.preprocessing
    assert grown.meta.source.name == again.meta.source.name == "march + synthetic"
    assert again.is_synthetic
    assert counts(again)["train"] >= counts(grown)["train"] + counts(grown)["recent"]


def test_the_seed_decides_what_is_held_out(base: Snapshot) -> None:
    assert extended(base).id == extended(base).id
    assert extended(base).id != extended(base, seed=2).id


@pytest.mark.parametrize(
    ("shape", "labels", "message"),
    [
        ((9, 8, 8, 3), [0] * 9, "Only 9"),
        ((20, 7, 8, 3), [0] * 20, r"\(7, 8, 3\)"),
        ((20, 8, 8, 3), [0] * 19, "19 labels"),
        ((20, 8, 8, 3), [0] * 19 + [99], "to 99"),
        ((20, 8, 8, 3), [0] * 19 + [-1], "from -1"),
    ],
)
def test_images_that_do_not_fit_are_refused(
    tmp_path: Path, shape: tuple[int, ...], labels: list[int], message: str
) -> None:
    base = colour_snapshot(tmp_path, size=8)
    with pytest.raises(DataError, match=message):
        extend_snapshot(tmp_path, base, np.zeros(shape, np.uint8), np.array(labels), seed=0, name="x")
    assert [snapshot.id for snapshot in list_snapshots(tmp_path)] == [base.id]
