"""Parquet files. pyarrow is as large as everything else together, so it comes with an extra of its own."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from cifarops.errors import DataError, UsageError

_ROWS = 4096


def need_pyarrow() -> None:
    """Refuse early where pyarrow is missing.

    Raises:
        UsageError: It is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ModuleNotFoundError as error:
        raise UsageError(
            "Parquet files need the package pyarrow, which is not installed.",
            fix="Install it: pip install 'cifarops[parquet]' -c constraints.txt. Or use a tar and CSV.",
        ) from error


def open_parquet(path: Path) -> Any:
    """Open a Parquet file for reading.

    Raises:
        UsageError: pyarrow is not installed.
        DataError: It is damaged.
    """
    need_pyarrow()
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(
            f"{path} is no whole Parquet file: {error}.", fix="Fetch or write it again."
        ) from error


def from_json_lines(lines: Path, target: Path, columns: Sequence[str], texts: Sequence[str]) -> None:
    """Write JSON lines, a few at a time, as a Parquet file.

    Args:
        lines: A file with one JSON object a line.
        target: The file to write.
        columns: Keys in the order of the columns.
        texts: Which of them are text; the others are numbers.
    """
    import pyarrow
    from pyarrow import parquet

    kinds = [(name, pyarrow.string() if name in texts else pyarrow.float32()) for name in columns]
    schema = pyarrow.schema(kinds)
    with lines.open(encoding="utf-8") as file, parquet.ParquetWriter(target, schema) as writer:
        while some := list(islice(file, _ROWS)):
            writer.write_table(pyarrow.Table.from_pylist([json.loads(line) for line in some], schema))
