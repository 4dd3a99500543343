"""What every command shares: `--json`, tables for people, and one place where errors become messages."""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBars
from rich.table import Table
from rich.text import Text

from cifarops.errors import UsageError
from cifarops.files import write_atomic
from cifarops.progress import Progress

JsonFlag = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
ParamsFile = Annotated[Path, typer.Option("--params", help="The parameter file.")]
ProfileName = Annotated[
    str | None, typer.Option("--profile", help="smoke, demo, fast or best; by default the file's own.")
]
PolicyFile = Annotated[Path, typer.Option("--policy", help="The policy, for the budgets of the gate.")]
PARAMS = Path("params.yaml")

# Everything that is not the result goes to stderr, so that a pipe sees the result only.
notes = Console(stderr=True)


def group(help_text: str) -> typer.Typer:
    """Make a command group whose commands are listed when none is named."""
    return typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)


def emit(document: Any, *, as_json: bool, human: Any = None) -> None:
    """Print a command's result: `document` as JSON, or `human` (text or a rich renderable) for people."""
    if as_json:
        sys.stdout.write(json.dumps(document, indent=2, allow_nan=False, default=str) + "\n")
    elif isinstance(human, str):  # as it is, whatever the terminal: scripts read it
        sys.stdout.write(f"{human}\n")
    elif human is not None:
        Console().print(human, markup=False)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> Table:
    """Make a table for people."""
    result = Table(title=title, title_justify="left")
    for place, column in enumerate(columns):  # folded, not cut off: half an id is of no use
        result.add_column(column, overflow="fold", no_wrap=place == 0)
    for row in rows:
        result.add_row(*(_text(value) for value in row))
    return result


def facts(title: str, values: Mapping[str, Any]) -> Table:
    """Make a two-column table of names and values."""
    return table(title, ("", ""), values.items())


def _text(value: Any) -> str | Text:
    if value is None:
        return "–"
    if isinstance(value, Text):  # with a colour of its own
        return value
    return f"{value:.4g}" if isinstance(value, float) else str(value)


class _Bars:
    """Progress bars on stderr, one line for each kind of work under way; what is done makes room."""

    def __init__(self, bars: ProgressBars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, what: str, done: int, total: int, note: str = "") -> None:
        task = self._tasks.get(what)
        if task is None:
            task = self._tasks[what] = self._bars.add_task(what, note=note)
        self._bars.update(task, completed=done, total=total, note=note)
        if done >= total:
            self._bars.remove_task(self._tasks.pop(what))


@contextmanager
def progress_bars() -> Iterator[Progress]:
    """Show the progress of long work on stderr while the block runs."""
    with ProgressBars(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=notes,
    ) as bars:
        yield _Bars(bars)


def write_pointer(path: Path | None, document: Mapping[str, Any]) -> None:
    """Write what a stage made as a small JSON file, for the next stage and for DVC; None writes nothing."""
    if path is not None:
        write_atomic(path, json.dumps(document, indent=2, allow_nan=False).encode() + b"\n")


def pointed(value: str | None, key: str) -> str | None:
    """Return `value`, or what the pointer file that it names says under `key`."""
    if value is None or not value.endswith(".json"):
        return value
    try:
        return str(json.loads(Path(value).read_text())[key])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{value} does not say which {key} is meant: {error!r}.",
            fix=f"Give the {key}'s id itself, or run the stage before this one again.",
        ) from error
