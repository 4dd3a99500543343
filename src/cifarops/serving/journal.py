"""The log: one JSON object a line, written beside the requests.

Values are escaped to plain ASCII, so whatever a client sends stays inside its quotes; nothing of a body is ever logged.
When lines come faster than they should, the rest is counted and left out.
"""

import json
import logging
import threading
import time
from collections import deque
from typing import Any, TextIO

from cifarops.serving.metrics import Metrics

_CAPACITY = 500
_FLUSH_SECONDS = 0.25
_CLOSE_SECONDS = 2.0
_LONGEST = 300


class Journal:
    """Writes entries as lines of a stream, in one thread. Leaving the context writes the rest.

    Args:
        stream: Where to; if it blocks or fails, lines are lost and nothing else.
        metrics: Where lost lines are counted.
    """

    def __init__(self, stream: TextIO, metrics: Metrics) -> None:
        self._stream = stream
        self._metrics = metrics
        self._entries: deque[dict[str, Any]] = deque()
        self._left_out = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write, name="journal", daemon=True)

    def __enter__(self) -> "Journal":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._thread.join(_CLOSE_SECONDS)

    def add(self, event: str, level: str = "info", **values: Any) -> None:
        """Log an event; returns at once."""
        if len(self._entries) >= _CAPACITY:
            self._left_out += 1
            self._metrics.lost_log_lines.inc()
            return
        self._entries.append({"at": time.time(), "level": level, "event": event, **values})

    def _write(self) -> None:
        while not self._closing.wait(_FLUSH_SECONDS):
            self._flush()
        self._flush()

    def _flush(self) -> None:
        lines = []
        while self._entries:
            lines.append(_line(self._entries.popleft()))
        if self._left_out:
            count, self._left_out = self._left_out, 0
            lines.append(_line({"at": time.time(), "level": "warning", "event": "left-out", "lines": count}))
        if not lines:
            return
        try:
            self._stream.write("".join(lines))
            self._stream.flush()
        except (OSError, ValueError):
            self._metrics.lost_log_lines.inc(len(lines))


class JournalHandler(logging.Handler):
    """Passes what libraries log on to a journal.

    Args:
        journal: Where it goes.
    """

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.WARNING)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        """Log a record, with where an exception came from and without what it says: that may be a client's data."""
        values = {}
        if record.exc_info and record.exc_info[1] is not None:
            values = {"exception": type(record.exc_info[1]).__name__, "trace": _places(record.exc_info[1])}
        self._journal.add(
            "log",
            record.levelname.lower(),
            logger=record.name,
            message=record.getMessage()[:_LONGEST],
            **values,
        )


def _places(error: BaseException) -> list[str]:
    places = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{code.co_qualname} {code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}")
        trace = trace.tb_next
    return places[-20:]


def _line(entry: dict[str, Any]) -> str:
    return json.dumps(entry, default=str) + "\n"
