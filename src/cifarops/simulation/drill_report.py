"""A drill's table and plot."""

import io
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from cifarops.files import write_atomic
from cifarops.simulation.drill import DrillReport, Played

_STEP = 100
COLUMNS = ("scenario", "truth", "delay", "false alarm", "named", "looks like", "accuracy", "estimated")


def row(played: Played) -> tuple[str, ...]:
    """Return a scenario's cells, in the order of `COLUMNS`."""
    return (
        played.name,
        played.truth,
        "–" if played.delay is None else f"{played.delay:,}",
        "yes" if played.false_alarm else "no",
        played.diagnosed_later or "–",
        (played.cause or "–").replace("_", " "),
        f"{played.accuracy:.1%}",
        f"{played.estimated:.1%}",
    )


def write_drill(report: DrillReport, folder: Path) -> list[Path]:
    """Write `drill.json`, `drill.md` and `drill.svg` and return their paths."""
    rows = [COLUMNS, ("---",) * len(COLUMNS), *map(row, report.played)]
    synthetic = " (synthetic images)" if report.synthetic else ""
    lines = [
        f"# Drill of bundle {report.bundle[:12]}{synthetic}",
        "",
        *(f"| {' | '.join(each)} |" for each in rows),
    ]
    contents = {
        "drill.json": report.model_dump_json(indent=2) + "\n",
        "drill.md": "\n".join(lines) + "\n",
        "drill.svg": _plot(report),
    }
    for name, content in contents.items():
        write_atomic(folder / name, content.encode())
    return [folder / name for name in contents]


def _plot(report: DrillReport) -> str:
    """Draw the evidence over the requests of every scenario, with onset and limit."""
    svg = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cifarops", "font.size": 8}):
        figure = Figure(figsize=(7, 0.9 * len(report.played) + 0.6), layout="constrained")
        for axes, played in zip(
            figure.subplots(len(report.played), 1, squeeze=False)[:, 0], report.played, strict=True
        ):
            requests = [_STEP * (k + 1) for k in range(len(played.evidence))]
            axes.semilogy(requests, played.evidence, color="#2563eb", lw=1.2)
            axes.axhline(1 / report.alpha, color="#dc2626", lw=0.7, ls=":")
            if played.onset is not None:
                axes.axvline(played.onset, color="#9ca3af", lw=0.8)
            axes.set_title(played.name.replace("_", " "), loc="left", fontsize=8)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(svg, format="svg", metadata={"Date": None})
    return svg.getvalue()
