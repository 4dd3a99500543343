"""Versions change while clients never stop asking."""

import itertools
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from cifarops.bundle.store import Bundle
from cifarops.deployment.process import ServerProcess
from cifarops.errors import DataError
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client, Running
from tests.support.bundles import COLOURS, colour_bundle, colour_image, unloadable_bundle
from tests.support.serving import Connection, set_version, settings_of

pytestmark = pytest.mark.e2e
_SWAPS = 30


@dataclass(frozen=True)
class Seen:
    """One answer: what was asked, what came, and when."""

    sent: float
    received: float
    status: int
    colour: str
    label: str
    version: int


@dataclass(frozen=True)
class Reign:
    """The time in which a version may have answered: from the swap until its successor answered everywhere."""

    begin: float
    end: float
    rotation: int


class Load:
    """Clients that ask without a pause, each on a connection of its own, without a retry."""

    def __init__(self, url: str, clients: int) -> None:
        self.answers: list[Seen] = []
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._loop, args=(k,)) for k in range(clients)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _loop(self, number: int) -> None:
        connection = Connection(self._url)
        colours = itertools.islice(itertools.cycle(COLOURS), number, None)
        while not self._stop.is_set():
            colour = next(colours)
            sent = time.time()
            try:
                status, answer = connection.predict(colour_image(colour, seed=number))
            except OSError as error:
                self.failures.append(repr(error))
                return
            if status != 200:
                self.failures.append(str(answer))
                continue
            label, version = answer["label"], answer["model_version"]
            self.answers.append(Seen(sent, time.time(), status, colour, label, version))


def wait_for(client: Client, generation: int) -> Running:
    """Wait until a server serves a generation or says that it can't."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        running = client.version()
        if running.generation == generation or (running.error and running.wanted_generation == generation):
            return running
        time.sleep(0.02)
    raise AssertionError(f"generation {generation} was never reached: {client.version()}")


def make_bundle(root: Path, version: int) -> tuple[Bundle, bool]:
    """Every fifth version can't be loaded, each time in another way; the others each answer in their own."""
    if version % 5:
        return colour_bundle(root, rotation=version % 3, sharpness=1 + version / 100), True
    if version % 10:
        return unloadable_bundle(root), False
    if version % 20:
        return colour_bundle(root, outputs=4, sharpness=version), False
    altered = colour_bundle(root, sharpness=version)
    altered.model_path.write_bytes(altered.model_path.read_bytes() + b"\0")
    return altered, False


def test_a_label_that_comes_after_a_swap_is_read_with_the_names_of_the_version_that_answered(
    tmp_path: Path,
) -> None:
    settings = settings_of(tmp_path)
    set_version(settings.ledger, 1, colour_bundle(settings.bundles))
    with ServerProcess("production", workspace=tmp_path) as server:
        client, connection = Client(server.url), Connection(server.url)
        first = str(connection.predict(colour_image("red"))[1]["prediction_id"])
        renamed = colour_bundle(settings.bundles, classes=("blue", "violet", "red"))
        wait_for(client, set_version(settings.ledger, 2, renamed).generation)
        second = str(connection.predict(colour_image("red"))[1]["prediction_id"])
        for prediction in (first, second):
            assert client.feedback(prediction, "blue") == "recorded"
        with pytest.raises(DataError, match="red, green, blue"):
            client.feedback(first, "violet")
        connection.close()
    with Ledger(settings.ledger) as ledger:
        window = ledger.window("production", last=2)
    assert window.ids == (first, second)
    assert window.truth.tolist() == [COLOURS.index("blue"), 0]


def test_thirty_swaps_under_load_fail_no_request(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    bundles = {version: make_bundle(settings.bundles, version) for version in range(1, _SWAPS + 1)}
    set_version(settings.ledger, 1, bundles[1][0])
    begun, reigns, current = time.time(), {}, 1
    with ServerProcess("production", workspace=tmp_path) as server, Load(server.url, 4) as load:
        client = Client(server.url)
        for version in range(2, _SWAPS + 1):
            bundle, loadable = bundles[version]
            asked = time.time()
            generation = set_version(settings.ledger, version, bundle).generation
            running = wait_for(client, generation)
            assert (running.error is None) == loadable
            if loadable:
                reigns[current] = Reign(begun, time.time(), current % 3)
                begun, current = asked, version
            assert running.model_version == current
        reigns[current] = Reign(begun, float("inf"), current % 3)
        connection = Connection(server.url)
        assert connection.counter("cifarops_swaps_total") == len(reigns)
        assert connection.counter("cifarops_load_failures_total") >= _SWAPS // 5
        connection.close()
    assert load.failures == []
    assert {answer.version for answer in load.answers} == set(reigns)
    for answer in load.answers:
        reign = reigns[answer.version]
        assert answer.received >= reign.begin
        assert answer.sent <= reign.end
        assert answer.label == COLOURS[(COLOURS.index(answer.colour) + reign.rotation) % 3]
