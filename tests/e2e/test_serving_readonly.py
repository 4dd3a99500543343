"""A ledger that can only be read: predictions go on, and the loss is counted."""

import time
from pathlib import Path

import pytest

from cifarops.deployment.process import ServerProcess
from tests.support.abuse import survived
from tests.support.bundles import colour_image
from tests.support.serving import Connection, colour_workspace

pytestmark = pytest.mark.e2e

# Where an SQLite file says which version may write it (file format, section 1.3.3); newer than SQLite itself: nobody may.
_WRITE_VERSION = 18


def test_a_ledger_that_can_only_be_read_costs_predictions_and_no_answer(tmp_path: Path) -> None:
    settings = colour_workspace(tmp_path)
    with settings.ledger.open("r+b") as file:
        file.seek(_WRITE_VERSION)
        file.write(b"\x07")
    with ServerProcess("production", workspace=tmp_path) as server, survived(server):
        connection = Connection(server.url)
        for _ in range(20):
            status, answer = connection.predict(colour_image("green"))
            assert (status, answer["label"]) == (200, "green")
        deadline = time.monotonic() + 10
        while connection.counter("cifarops_lost_predictions_total") < 20:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        connection.close()
