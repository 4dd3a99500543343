"""Evaluation reports and verdicts as tables for people. Imported only by commands that have one."""

from collections.abc import Iterator

from rich.console import Group
from rich.table import Table
from rich.text import Text

from cifarops.cli.common import table
from cifarops.evaluation.evidence import Measured, SuiteEvidence
from cifarops.evaluation.gate import Verdict
from cifarops.evaluation.metrics import Interval
from cifarops.evaluation.robustness import Robustness
from cifarops.evaluation.score import EvaluationReport


def report_table(report: EvaluationReport) -> Group:
    """Return one model's measurements: the totals, each class, and what it is mistaken for."""
    measured = report.measured
    where = f"{report.split}, {measured.images:,} {'synthetic ' if report.synthetic else ''}images"
    totals = [
        ("accuracy", percent(measured.accuracy)),
        ("calibration error", decimals(measured.ece)),
        ("negative log likelihood", decimals(measured.nll)),
    ]
    return Group(
        table(f"Bundle {report.bundle[:12]} on {where}", ("", "value, 95 % interval"), totals),
        table("By class", ("class", "images", "accuracy", "most mistaken for"), _class_rows(measured)),
    )


def verdict_tables(verdict: Verdict) -> Group:
    """Return a verdict: the answer with its reasons, what was measured, and each class on each suite."""
    drawn = " Synthetic images." if verdict.synthetic else ""
    title = f"{verdict.answer.upper()}: bundle {verdict.candidate[:12]} against "
    title += f"{verdict.incumbent[:12]} in production." if verdict.incumbent else "nothing: a first model."
    return Group(
        title + drawn,
        *(f"  · {reason}" for reason in verdict.reasons),
        *(_suite_table(suite) for suite in verdict.evidence),
        *(_per_class_table(suite) for suite in verdict.evidence),
        *([_robustness_table(verdict.packaged.robustness)] if verdict.packaged.robustness else []),
        f"Looks at the test split so far: {verdict.test_looks}.",
    )


def _robustness_table(found: Robustness) -> Table:
    """Return a heat map: how often the candidate errs under each corruption, by severity, and production on average."""
    rows = [
        (
            row.name.replace("_", " "),
            *(Text(f"{error:.0%}", style=f"on rgb({int(255 * error)},40,40)") for error in row.candidate),
            f"{sum(row.candidate) / len(row.candidate):.1%}",
            f"{sum(row.incumbent) / len(row.incumbent):.1%}" if row.incumbent else "–",
        )
        for row in (*found.corruptions, *found.shifts)
    ]
    columns = ("wrong under", "1", "2", "3", "4", "5", "mean", "production")
    return table(f"{found.images:,} images, corrupted in five severities", columns, rows)


def percent(interval: Interval | None) -> str:
    """Return a share with its bounds."""
    return f"{interval.value:.2%} ({interval.low:.2%} to {interval.high:.2%})" if interval else "–"


def decimals(interval: Interval) -> str:
    """Return a number with its bounds."""
    return f"{interval.value:.4f} ({interval.low:.4f} to {interval.high:.4f})"


def _suite_table(suite: SuiteEvidence) -> Table:
    old = suite.incumbent
    rows = [
        ("accuracy", percent(suite.candidate.accuracy), percent(old.accuracy if old else None)),
        ("calibration error", decimals(suite.candidate.ece), decimals(old.ece) if old else "–"),
    ]
    if suite.comparison:
        rows += [
            ("difference", percent(suite.comparison.difference), ""),
            ("right alone", str(suite.comparison.only_candidate), str(suite.comparison.only_incumbent)),
            ("McNemar's p", f"{suite.comparison.p_value:.3g}", ""),
        ]
    return table(f"On {suite.name}, {suite.candidate.images:,} images", ("", "candidate", "production"), rows)


def _per_class_table(suite: SuiteEvidence) -> Table:
    old = suite.incumbent.per_class if suite.incumbent else (None,) * len(suite.candidate.per_class)
    rows = [
        (new.name, new.images, percent(new.accuracy), percent(before.accuracy if before else None))
        for new, before in zip(suite.candidate.per_class, old, strict=True)
    ]
    return table(f"By class on {suite.name}", ("class", "images", "candidate", "production"), rows)


def _class_rows(measured: Measured) -> Iterator[tuple[str, int, str, str]]:
    for label, (row, counts) in enumerate(zip(measured.per_class, measured.confusion, strict=True)):
        others = [(count, other) for other, count in enumerate(counts) if other != label]
        count, other = max(others)
        yield row.name, row.images, percent(row.accuracy), (
            f"{measured.per_class[other].name} ({count})" if count else "–"
        )
