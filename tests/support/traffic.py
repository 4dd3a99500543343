"""Clients that ask all the time and count every failure: no request is ever tried again."""

import json
import threading
import time
from collections.abc import Callable

from tests.support.bundles import colour_image
from tests.support.serving import Connection

_IMAGE = colour_image("red")
_JSON = {"Content-Type": "application/json"}


class Traffic:
    """Four kinds of clients at once: kept connections in a hurry, with labels, with pauses, and fresh ones each time.

    Args:
        url: Whom to ask.
    """

    def __init__(self, url: str) -> None:
        self.answers = 0
        self.failures: list[str] = []
        self.connections = 0
        self._url = url
        self._stop = threading.Event()
        kinds: list[Callable[[Connection], None]] = [self._hurry, self._label, self._pause, self._pause]
        self._threads = [threading.Thread(target=self._keep, args=(kind,)) for kind in kinds]
        self._threads.append(threading.Thread(target=self._fresh))

    def __enter__(self) -> "Traffic":
        for thread in self._threads:
            thread.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, answers: int) -> None:
        """Wait until so many more answers have come."""
        enough, deadline = self.answers + answers, time.monotonic() + 30
        while self.answers < enough and not self.failures:
            assert time.monotonic() < deadline, "no answers come any more"
            time.sleep(0.01)

    def _keep(self, ask: Callable[[Connection], None]) -> None:
        connection = self._open()
        while not self._stop.is_set():
            if not self._asked(ask, connection):
                connection = self._open()
        connection.close()

    def _fresh(self) -> None:
        while not self._stop.is_set():
            connection = self._open()
            self._asked(self._hurry, connection)
            connection.close()
            time.sleep(0.01)

    def _open(self) -> Connection:
        connection = Connection(self._url)
        # A connection that the server ends must be seen, not opened again silently.
        connection.raw.auto_open = 0
        try:
            connection.raw.connect()
        except OSError as error:
            self.failures.append(f"connect: {error!r}")
            time.sleep(0.05)
        self.connections += 1
        return connection

    def _asked(self, ask: Callable[[Connection], None], connection: Connection) -> bool:
        try:
            ask(connection)
        except Exception as error:
            self.failures.append(repr(error))
            return False
        self.answers += 1
        return connection.raw.sock is not None

    def _hurry(self, connection: Connection) -> None:
        status, answer = connection.predict(_IMAGE)
        assert status == 200, answer

    def _label(self, connection: Connection) -> None:
        status, answer = connection.predict(_IMAGE)
        assert status == 200, answer
        body = json.dumps({"prediction_id": answer["prediction_id"], "label": "red"})
        status, answer = connection.ask("POST", "/feedback", body, _JSON)
        assert status == 200, answer

    def _pause(self, connection: Connection) -> None:
        self._hurry(connection)
        self._stop.wait(0.15)
