"""Is this data set fit to train on? Findings, and what the policy does about each."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from cifarops.config import Action, ValidationPolicy
from cifarops.data.duplicates import identical_groups, near_pairs
from cifarops.data.snapshot import Finding
from cifarops.data.sources.raw import RawImages
from cifarops.errors import DataError

FEW_IMAGES = 20
STRONG_IMBALANCE = 10
_EXAMPLES = 5
_FROM_READING = {
    "unreadable": "Files that could not be read as images",
    "too_small": "Images of fewer than 8 pixels on a side",
    "converted": "Images of another pixel format, converted to RGB",
    "ignored": "Files left out",
    "checksum": "Archives that are not, byte for byte, the official one",
}

Severity = Literal["error", "warning", "info"]


@dataclass(frozen=True)
class Report:
    """What validation found.

    Attributes:
        keep: bool (N,), false for images that are left out.
        findings: One for each kind of problem that occurs.
    """

    keep: NDArray[np.bool_]
    findings: tuple[Finding, ...]


def validate(raw: RawImages, splits: NDArray[np.str_], policy: ValidationPolicy) -> Report:
    """Check images and labels, and decide which images stay.

    Args:
        raw: The images, and what was noticed while reading them.
        splits: `train`, `valid` or `test` for each.
        policy: What to do with each kind of finding.

    Raises:
        DataError: A finding whose action is `fail`, labels that can't be used, a class without training images, an
            empty split, or more images left out than the policy allows.
    """
    _require_label_names(raw.classes)
    checks = _Checks(raw, splits, policy)
    checks.reading()
    checks.constant()
    checks.same_pixels()
    checks.almost_same_pixels()
    checks.dropped_share()
    checks.class_counts()
    return Report(checks.keep, tuple(checks.findings))


class _Checks:
    """Runs the checks one after the other; an image left out by one is not looked at by the next."""

    def __init__(self, raw: RawImages, splits: NDArray[np.str_], policy: ValidationPolicy) -> None:
        self._raw = raw
        self._splits = splits
        self._in_test = splits == "test"
        self._groups = identical_groups(raw.images)
        self._policy = policy
        self.keep = np.ones(len(raw.labels), dtype=bool)
        self.findings: list[Finding] = []

    def reading(self) -> None:
        """Report what the source noticed."""
        for check, what in _FROM_READING.items():
            problems = [problem for problem in self._raw.problems if problem.check == check]
            images = np.array(
                [problem.index for problem in problems if problem.index is not None], dtype=np.int64
            )
            examples = (f"{problem.name}: {problem.detail}" for problem in problems)
            if check in ValidationPolicy.model_fields:
                self._apply(check, what, images, examples, count=len(problems))
            else:
                self._note(check, what, len(problems), examples, "warning" if check == "checksum" else "info")

    def constant(self) -> None:
        """Look for images without content."""
        images = self._raw.images
        suspects = np.flatnonzero((images[:, 0, 0] == images[:, -1, -1]).all(axis=1) & self.keep)
        constant = suspects[(images[suspects] == images[suspects, :1, :1]).all(axis=(1, 2, 3))]
        self._apply("constant", "Images of one colour all over", constant, self._names(constant))

    def same_pixels(self) -> None:
        """Look for contradicting labels, then for leaks into `test`, then for repetitions."""
        groups, labels = self._groups, self._raw.labels
        kept = np.flatnonzero(self.keep)
        seen = np.unique(np.stack([groups[kept], labels[kept]], axis=1), axis=0)[:, 0]
        contradicting = kept[np.isin(groups[kept], seen[1:][seen[1:] == seen[:-1]])]
        what = "Images with the same pixels as another of another class"
        self._apply("contradiction", what, contradicting, self._names(contradicting))

        tested = groups[self._in_test & self.keep]
        leaking = np.flatnonzero(np.isin(groups, tested) & ~self._in_test & self.keep)
        what = "Images of train or valid that are in test, too"
        self._apply("leak", what, leaking, self._names(leaking))

        kept = np.flatnonzero(self.keep)
        _, first = np.unique(groups[kept] * 2 + self._in_test[kept], return_index=True)
        repeated = np.delete(kept, first)
        what = "Images that repeat another, within train and valid or within test"
        self._apply("duplicate", what, repeated, self._names(repeated))

    def almost_same_pixels(self) -> None:
        """Look for near duplicates: across `test` the policy decides, elsewhere they are only reported."""
        kept = np.flatnonzero(self.keep)
        kept = kept[np.unique(self._groups[kept], return_index=True)[1]]
        pairs = near_pairs(self._raw.images, np.sort(kept))
        crosses = self._in_test[pairs].sum(axis=1) == 1
        outside = np.unique(pairs[crosses][~self._in_test[pairs[crosses]]])
        what = "Images of train or valid that are almost the same as one in test"
        self._apply("near_duplicate", what, outside, self._pairs(pairs[crosses]))
        what = "Pairs within train and valid, or within test, that are almost the same"
        self._note("near_duplicate", what, int((~crosses).sum()), self._pairs(pairs[~crosses]), "info")

    def dropped_share(self) -> None:
        """Refuse if so much had to be left out that the source itself must be wrong."""
        unreadable = sum(problem.check == "unreadable" for problem in self._raw.problems)
        total = len(self.keep) + unreadable
        dropped = int((~self.keep).sum()) + unreadable
        if dropped <= self._policy.max_drop_fraction * total:
            return
        worst = max((f for f in self.findings if f.action == "drop"), key=lambda finding: finding.count)
        raise DataError(
            f"{dropped:,} of {total:,} images would be left out, more than max_drop_fraction ="
            f" {self._policy.max_drop_fraction:g} allows. Most of all: {_describe(worst)}",
            fix="Correct the images, or raise data.validation.max_drop_fraction in params.yaml.",
        )

    def class_counts(self) -> None:
        """Look for classes with few images or none, and for a strong imbalance."""
        classes, labels = self._raw.classes, self._raw.labels
        for split in ("train", "valid", "test"):
            counts = np.bincount(labels[(self._splits == split) & self.keep], minlength=len(classes))
            missing = [classes[label] for label in np.flatnonzero(counts == 0)]
            if missing and (split == "train" or len(missing) == len(classes)):
                raise DataError(
                    f"No image is left for {split} of: {', '.join(missing[:_EXAMPLES])}.",
                    fix="Add images (three a class at least, so that each split gets one), or remove the class.",
                )
            self._note(
                "class_count", f"Classes without an image in {split}", len(missing), missing, "warning"
            )
        train = np.bincount(labels[(self._splits == "train") & self.keep], minlength=len(classes))
        few = [f"{classes[label]}: {train[label]}" for label in np.flatnonzero(train < FEW_IMAGES)]
        what = f"Classes with fewer than {FEW_IMAGES} training images"
        self._note("class_count", what, len(few), few, "warning")
        if train.max() > STRONG_IMBALANCE * train.min():
            extremes = [f"{classes[label]}: {train[label]}" for label in (train.argmax(), train.argmin())]
            what = f"Classes with more than {STRONG_IMBALANCE} times the training images of another"
            count = int((train > STRONG_IMBALANCE * train.min()).sum())
            self._note("imbalance", what, count, extremes, "warning")

    def _apply(
        self,
        check: str,
        what: str,
        images: NDArray[np.int64],
        examples: Iterable[str],
        count: int | None = None,
    ) -> None:
        """Do with `images` what the policy says about `check`; `count` where there are more findings than images."""
        action: Action = getattr(self._policy, check)
        count = len(images) if count is None else count
        if not count:
            return
        finding = _finding(check, "error" if action == "fail" else "warning", action, count, what, examples)
        if action == "fail":
            raise DataError(
                _describe(finding),
                fix=f"Correct them, or set data.validation.{check} to drop or warn in params.yaml.",
            )
        if action == "drop":
            self.keep[images] = False
        self.findings.append(finding)

    def _note(self, check: str, what: str, count: int, examples: Iterable[str], severity: Severity) -> None:
        if count:
            self.findings.append(_finding(check, severity, "warn", count, what, examples))

    def _names(self, images: NDArray[np.int64]) -> Iterable[str]:
        return (self._raw.names[image] for image in images)

    def _pairs(self, pairs: NDArray[np.int64]) -> Iterable[str]:
        return (f"{self._raw.names[first]} and {self._raw.names[second]}" for first, second in pairs)


def _finding(
    check: str, severity: Severity, action: Action, count: int, what: str, examples: Iterable[str]
) -> Finding:
    return Finding(
        check=check,
        severity=severity,
        action=action,
        count=count,
        message=f"{what}: {count:,}.",
        examples=tuple(_printable(example) for example in islice(examples, _EXAMPLES)),
    )


def _describe(finding: Finding) -> str:
    return f"{finding.message} For example: {'; '.join(example.rstrip('.') for example in finding.examples)}."


def _printable(text: str) -> str:
    """Escape what a terminal or JSON can't show: control characters, and bytes that are no UTF-8."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _require_label_names(classes: tuple[str, ...]) -> None:
    unusable = [name for name in classes if not name.strip() or not name.isprintable()]
    if unusable:
        raise DataError(
            f"Class names must be printable and not empty; these are not: {', '.join(map(ascii, unusable))}.",
            fix="Rename the class folders.",
        )
    by_key: dict[str, list[str]] = {}
    for name in classes:
        by_key.setdefault(name.strip().casefold(), []).append(name)
    alike = [names for names in by_key.values() if len(names) > 1]
    if alike:
        raise DataError(
            f"Class names differ only in case or blanks: {', '.join(map(repr, alike[0]))}.",
            fix="Merge these class folders, or rename one.",
        )
