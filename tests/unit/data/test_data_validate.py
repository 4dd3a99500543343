import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from cifarops.config import ValidationPolicy
from cifarops.data.duplicates import identical_groups, near_pairs
from cifarops.data.snapshot import Finding, SourceInfo
from cifarops.data.sources.raw import Problem, RawImages
from cifarops.data.validate import Report, validate
from cifarops.errors import DataError
from tests.support.images import encoded, noise

ALL_IN_ALL = 90
LENIENT = ValidationPolicy(max_drop_fraction=1)


def raw_images(
    change: Callable[[np.ndarray, np.ndarray], None] = lambda images, labels: None,
    *,
    classes: tuple[str, ...] = ("cat", "dog"),
    problems: tuple[Problem, ...] = (),
    size: int = 32,
) -> tuple[RawImages, np.ndarray]:
    images, labels = noise(ALL_IN_ALL, size=size).copy(), np.arange(ALL_IN_ALL) % 2
    change(images, labels)
    splits = np.repeat(["train", "valid", "test"], [60, 10, 20])
    source = SourceInfo(kind="folder", name="x", sha256="0" * 64)
    names = [f"{n}.png" for n in range(ALL_IN_ALL)]
    return RawImages(images, labels, names, splits, classes, source, problems), splits


def checked(
    change: Callable[[np.ndarray, np.ndarray], None] = lambda images, labels: None,
    policy: ValidationPolicy = LENIENT,
    problems: tuple[Problem, ...] = (),
) -> Report:
    raw, splits = raw_images(change, problems=problems)
    return validate(raw, splits, policy)


def only(report: Report) -> Finding:
    assert len(report.findings) == 1, report.findings
    return report.findings[0]


def copy(source: int, *targets: int) -> Callable[[np.ndarray, np.ndarray], None]:
    def change(images: np.ndarray, labels: np.ndarray) -> None:
        for target in targets:
            images[target] = images[source]

    return change


def test_good_images_give_no_finding() -> None:
    report = checked()
    assert report.keep.all()
    assert report.findings == ()


def test_a_constant_image_is_dropped() -> None:
    def change(images: np.ndarray, labels: np.ndarray) -> None:
        images[5] = (1, 2, 3)

    report = checked(change)
    assert np.flatnonzero(~report.keep).tolist() == [5]
    finding = only(report)
    assert (finding.check, finding.action, finding.count, finding.examples) == (
        "constant",
        "drop",
        1,
        ("5.png",),
    )


def test_a_repetition_is_told_or_dropped_but_once() -> None:
    report = checked(copy(0, 2, 62))
    assert report.keep.all()
    assert (only(report).check, only(report).severity, only(report).count) == ("duplicate", "warning", 2)
    dropped = checked(copy(0, 2, 62), ValidationPolicy(duplicate="drop", max_drop_fraction=1))
    assert np.flatnonzero(~dropped.keep).tolist() == [2, 62]


def test_a_leak_is_dropped_from_train_and_valid_never_from_test() -> None:
    report = checked(copy(80, 4, 66))
    assert np.flatnonzero(~report.keep).tolist() == [4, 66]
    assert (only(report).check, only(report).count) == ("leak", 2)


def test_a_contradiction_is_dropped_on_both_sides() -> None:
    report = checked(copy(0, 1, 81))
    assert np.flatnonzero(~report.keep).tolist() == [0, 1, 81]
    assert only(report).check == "contradiction"


def test_near_duplicates_across_test_follow_the_policy() -> None:
    def change(images: np.ndarray, labels: np.ndarray) -> None:
        images[4] = np.asarray(Image.fromarray(images[80])).clip(0, 249) + 6
        images[10] = images[12]
        images[10, 0, 0] ^= 1

    report = checked(change)
    assert report.keep.all()
    assert [(f.severity, f.examples) for f in report.findings] == [
        ("warning", ("4.png and 80.png",)),
        ("info", ("10.png and 12.png",)),
    ]
    dropped = checked(change, ValidationPolicy(near_duplicate="drop", max_drop_fraction=1))
    assert np.flatnonzero(~dropped.keep).tolist() == [4]


@pytest.mark.parametrize(
    "check", ["constant", "duplicate", "leak", "contradiction", "too_small", "unreadable"]
)
def test_fail_stops_and_names_finding_and_examples(check: str) -> None:
    def change(images: np.ndarray, labels: np.ndarray) -> None:
        images[5] = 7
        images[8] = images[6]
        images[20] = images[80]
        images[31] = images[30]

    problems = (Problem("too_small", "9.png", "1 × 1 pixels", 9), Problem("unreadable", "bad.png", "damaged"))
    policy = ValidationPolicy.model_validate({check: "fail", "max_drop_fraction": 1})
    with pytest.raises(DataError, match=r"For example: \w+\.png") as caught:
        checked(change, policy, problems)
    assert f"data.validation.{check}" in caught.value.fix


def test_what_reading_noticed_is_reported() -> None:
    problems = (
        Problem("unreadable", "bad.png", "damaged"),
        Problem("too_small", "9.png", "1 × 1 pixels", 9),
        Problem("converted", "3.png", "pixel format L", 3),
        Problem("ignored", "README", "not an image"),
        Problem("checksum", "a.tar.gz", "MD5 0"),
    )
    report = checked(problems=problems)
    assert np.flatnonzero(~report.keep).tolist() == [9]
    assert [(f.check, f.severity, f.action) for f in report.findings] == [
        ("unreadable", "warning", "drop"),
        ("too_small", "warning", "drop"),
        ("converted", "info", "warn"),
        ("ignored", "info", "warn"),
        ("checksum", "warning", "warn"),
    ]
    assert report.findings[0].examples == ("bad.png: damaged",)


def test_examples_are_few_and_printable() -> None:
    problems = tuple(Problem("ignored", f"\x1b[31m\udcff{n}", "odd") for n in range(100))
    finding = only(checked(problems=problems))
    assert finding.count == 100
    assert len(finding.examples) == 5
    assert all(example.isprintable() for example in finding.examples)


def test_too_much_left_out_is_refused_with_the_worst_finding() -> None:
    problems = tuple(Problem("unreadable", f"bad{n}.png", "damaged") for n in range(10))
    with pytest.raises(DataError, match=r"10 of 100 images .* could not be read"):
        checked(policy=ValidationPolicy(max_drop_fraction=0.05), problems=problems)
    assert checked(policy=ValidationPolicy(max_drop_fraction=0.1), problems=problems).keep.all()


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", " "), "printable and not empty"),
        (("cat", ""), "printable and not empty"),
        (("cat", "d\x00g"), "printable and not empty"),
        (("cat", "d\udcffg"), "printable and not empty"),
        (("cat", "Cat"), "only in case or blanks"),
        (("cat", "cat "), "only in case or blanks"),
    ],
)
def test_unusable_class_names_are_refused(classes: tuple[str, ...], message: str) -> None:
    raw, splits = raw_images(classes=classes)
    with pytest.raises(DataError, match=message):
        validate(raw, splits, LENIENT)


def test_a_class_without_training_images_is_refused() -> None:
    raw, splits = raw_images(classes=("cat", "dog", "fox"))
    with pytest.raises(DataError, match="No image is left for train of: fox"):
        validate(raw, splits, LENIENT)


def test_few_images_and_imbalance_are_told() -> None:
    def change(images: np.ndarray, labels: np.ndarray) -> None:
        labels[:] = 0
        labels[[0, 1, 85]] = 1

    found = {(f.check, f.severity): f for f in checked(change).findings}
    assert set(found) == {("class_count", "warning"), ("imbalance", "warning")}
    counts = [f for f in checked(change).findings if f.check == "class_count"]
    assert [f.examples for f in counts] == [("dog",), ("dog: 2",)]
    assert found["imbalance", "warning"].examples == ("cat: 58", "dog: 2")


def test_identical_groups_are_by_pixels() -> None:
    images = noise(50)[[0, 1, 0, 2, 1, 49]]
    assert identical_groups(images).tolist() == [0, 1, 0, 2, 1, 3]


@pytest.mark.parametrize("size", [16, 32, 100])
def test_altered_copies_are_found_and_others_are_not(size: int) -> None:
    images = noise(500, size=size)
    altered = np.stack(
        [np.asarray(Image.open(io.BytesIO(encoded(image, "JPEG", quality=92)))) for image in images[:100]]
    )
    pairs = near_pairs(np.concatenate([images, altered]), np.arange(600))
    expected = {(n, 500 + n) for n in range(100)}
    found = {(int(a), int(b)) for a, b in pairs}
    assert len(found & expected) >= 97
    assert not found - expected


def test_one_image_has_no_pair() -> None:
    images = np.repeat(noise(1), 3, axis=0)
    assert near_pairs(images, np.array([1])).shape == (0, 2)
    assert near_pairs(images, np.array([0, 2])).tolist() == [[0, 2]]
