import io
import json
import logging
import threading

from cifarops.serving.journal import Journal, JournalHandler
from cifarops.serving.metrics import Metrics


def test_more_lines_than_can_be_written_are_counted_and_left_out() -> None:
    metrics, stream = Metrics("production", "0"), io.StringIO()
    journal = Journal(stream, metrics)
    for k in range(10_000):
        journal.add("request", number=k)
    with journal:
        pass
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert lines[-1] == {**lines[-1], "event": "left-out", "lines": 9500}
    assert [line["number"] for line in lines[:-1]] == list(range(500))
    assert metrics.registry.get_sample_value("cifarops_lost_log_lines_total") == 9500


def test_a_stream_that_blocks_or_fails_stops_nobody() -> None:
    class Blocked(io.StringIO):
        def write(self, _: str) -> int:
            free.wait(10)
            raise OSError("gone")

    free, metrics = threading.Event(), Metrics("production", "0")
    with Journal(Blocked(), metrics) as journal:
        journal.add("request")
        for _ in range(2000):
            journal.add("request")
        free.set()
    assert (metrics.registry.get_sample_value("cifarops_lost_log_lines_total") or 0) >= 1500


def test_an_exception_is_logged_by_its_place_and_not_by_what_it_says() -> None:
    stream = io.StringIO()
    journal = Journal(stream, Metrics("production", "0"))
    logger = logging.getLogger("tests.journal")
    logger.addHandler(JournalHandler(journal))
    try:
        raise ValueError("pixels of somebody")
    except ValueError:
        logger.exception("It failed.\nforged: line")
    logger.handlers.clear()
    with journal:
        pass
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert entry["exception"] == "ValueError"
    assert "test_serving_journal.py" in entry["trace"][0]
    assert entry["message"] == "It failed.\nforged: line"
    assert "pixels" not in line
