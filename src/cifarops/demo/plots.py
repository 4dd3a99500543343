"""The report's plots, as SVG text, and sample images, as PNG data."""

import base64
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cifarops.demo.scene import Check, Phase
from cifarops.evaluation.metrics import Interval
from cifarops.simulation.traffic import encode_png

_SMOOTH = 200
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2")


def timeline(phases: Sequence[Phase], checks: Sequence[Check]) -> str:
    """Draw the rolling accuracy of production over its requests, by answering version, with alarms marked."""
    answers = [answer for phase in phases for answer in phase.log.answered]
    right = np.array([answer.label == answer.truth for answer in answers], dtype=float)
    versions = np.array([answer.version for answer in answers])
    kernel = min(_SMOOTH, max(len(right), 1))
    rolling = np.convolve(right, np.ones(kernel) / kernel, mode="valid")
    position = np.arange(kernel, len(right) + 1)
    svg = io.StringIO()
    with _axes(svg, 9, 3.2) as axes:
        for number, colour in zip(np.unique(versions), _COLOURS, strict=False):
            mine = versions[kernel - 1 :] == number
            axes.plot(
                position, np.where(mine, rolling, np.nan), color=colour, lw=1.6, label=f"version {number}"
            )
        start = 0
        named = ""
        for phase in phases:
            axes.axvline(start, color="#9ca3af", lw=0.6, ls=":")
            if phase.name != named:
                axes.text(start, 1.02, phase.name, fontsize=6, color="#6b7280", rotation=30, va="bottom")
                named = phase.name
            start += len(phase.log.answered)
        for check in checks:
            if check.report.alarms:
                axes.axvline(check.requests, color="#dc2626", lw=0.8, alpha=0.6)
        axes.set(xlabel="production requests", ylabel=f"right, last {kernel}", ylim=(0, 1))
        axes.legend(frameon=False, loc="lower left")
    return _element(svg)


def confusion(matrix: NDArray[np.int64], classes: Sequence[str]) -> str:
    """Draw a confusion matrix, rows true, columns predicted."""
    svg = io.StringIO()
    with _axes(svg, 5, 4.4) as axes:
        shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(*matrix.shape):
            if matrix[row, column] and len(classes) <= 20:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axes.text(
                    column, row, str(matrix[row, column]), ha="center", va="center", fontsize=6, color=colour
                )
        axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true")
    return _element(svg)


def bars(values: Sequence[tuple[str, Interval]], xlabel: str) -> str:
    """Draw horizontal bars with their intervals."""
    svg = io.StringIO()
    with _axes(svg, 5, 0.34 * len(values) + 0.9) as axes:
        names = [name for name, _ in values][::-1]
        centre = np.array([interval.value for _, interval in values][::-1])
        low = centre - [interval.low for _, interval in values][::-1]
        high = [interval.high for _, interval in values][::-1] - centre
        axes.barh(names, centre, xerr=np.abs(np.stack([low, high])), color=_COLOURS[0], alpha=0.75, capsize=2)
        axes.set(xlabel=xlabel, xlim=(0, 1))
    return _element(svg)


def step_times(names: Sequence[str], seconds: Sequence[float]) -> str:
    """Draw how long each step took."""
    svg = io.StringIO()
    with _axes(svg, 5, 0.24 * len(names) + 0.9) as axes:
        axes.barh(list(names)[::-1], list(seconds)[::-1], color=_COLOURS[2], alpha=0.75)
        axes.set(xlabel="seconds")
    return _element(svg)


def png_data(image: NDArray[np.uint8]) -> str:
    """Return uint8 (S, S, 3) as a data address for an <img>."""
    return "data:image/png;base64," + base64.b64encode(encode_png(image)).decode()


@contextmanager
def _axes(svg: io.StringIO, width: float, height: float) -> Iterator[Axes]:
    """Give axes to draw on, `width` × `height` inches, and write them to `svg` when the block ends."""
    # Text stays text, and the same data give the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "cifarops", "font.size": 9}):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        yield axes
        figure.savefig(svg, format="svg", metadata={"Date": None})


def _element(svg: io.StringIO) -> str:
    """Return the <svg> element without the file's header, to stand inside a page."""
    text = svg.getvalue()
    return text[text.index("<svg") :]
