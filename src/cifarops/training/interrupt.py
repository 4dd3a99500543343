"""Ctrl-C and SIGTERM end a training between two steps, so that the checkpoint is whole."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cifarops.errors import CifaropsError

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class InterruptionError(CifaropsError):
    """A training was asked to stop, and did so with a whole checkpoint."""


class Stop:
    """Whether the process was asked to stop."""

    requested = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; a second one of the same kind ends the process at once."""
        self.requested = True
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def stop_on_signals() -> Iterator[Stop]:
    """Turn SIGINT and SIGTERM into a request that can be asked for, while the block runs.

    Only the main thread can listen to signals; in another one nothing changes.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, stop.handle) for number in _SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
