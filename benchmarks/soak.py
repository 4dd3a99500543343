"""Half an hour of everything at once: swaps of every kind, clients that leave in the middle, servers killed and started again.

python -m benchmarks.soak [--minutes 30] [--quick] --out FILE
"""

import os
import random
import signal
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from benchmarks.clients import IMAGES, Seen
from benchmarks.codes import good_and_bad_code
from benchmarks.harness import arguments, write
from benchmarks.swapping import ENVIRONMENT, Swapper, resident_bytes
from benchmarks.swaps import described
from cifarops.deployment.deploy import start
from cifarops.settings import Settings

_QUICK_MINUTES = 1.0
_LEAVERS = 2
_LEAVE_SECONDS = 0.05
# A server that was killed loses what it had in hand, and its clients notice until another one is up.
_MARGIN_SECONDS = 1.0


def main() -> None:
    """Go on for so many minutes, and then say what clients noticed outside of the moments of a kill."""
    options = arguments("Swaps, kills and clients that leave, for a long time", minutes=30.0)
    minutes = _QUICK_MINUTES if options.quick else options.minutes
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.from_environment({"CIFAROPS_WORKSPACE": folder, "CIFAROPS_ACTOR": "benchmark"})
        swapper = Swapper(settings, *good_and_bad_code(settings.releases))
        try:
            results = _soaked(swapper, 60 * minutes)
        finally:
            swapper.close()
    write(
        options.out,
        "soak",
        what="failed outside of kills and wrong must be 0",
        minutes=minutes,
        **results,
    )


def _soaked(swapper: Swapper, seconds: float) -> dict[str, Any]:
    deadline, memory, kills = time.monotonic() + seconds, [], []
    with swapper.watched() as seen, _leaving_clients(swapper.url) as left:
        for turn in _turns(deadline):
            if turn % 40 == 39:
                kills.append(_kill(swapper))
            elif turn % 5 == 4:
                swapper.swap_code()
            else:
                swapper.swap_model()
            memory.append(resident_bytes(swapper.pid))
    return {
        **described(swapper, seen),
        "killed": len(kills),
        "seconds_without_a_server": sum(end - begin for begin, end in kills),
        "failed_outside_of_kills": _failed_outside(seen, kills),
        "clients_that_left": left[0],
        "largest_resident_bytes": max(memory),
        "resident_bytes": memory,
    }


def _turns(deadline: float) -> Iterator[int]:
    turn = 0
    while time.monotonic() < deadline:
        yield turn
        turn += 1


def _kill(swapper: Swapper) -> tuple[float, float]:
    """Kill whoever answers and start a server again; returns from when until when there may have been none."""
    begun = time.time()
    os.kill(swapper.pid, signal.SIGKILL)
    start(ENVIRONMENT, ledger=swapper.ledger, settings=swapper.settings, reason="killed")
    return begun, time.time()


def _failed_outside(seen: Seen, kills: list[tuple[float, float]]) -> int:
    return sum(
        not any(begin - _MARGIN_SECONDS <= at <= end + _MARGIN_SECONDS for begin, end in kills)
        for at, _ in seen.failures
    )


@contextmanager
def _leaving_clients(url: str) -> Iterator[list[int]]:
    """Let clients begin requests and leave, while the block runs; yields how many have."""
    parts, halt, left = urlsplit(url), threading.Event(), [0]
    address = (str(parts.hostname), int(parts.port or 80))
    head = (
        f"POST /predict HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(IMAGES[0])}\r\n\r\n".encode()
    )
    request = head + IMAGES[0]

    def leave(seed: int) -> None:
        chance = random.Random(seed)
        while not halt.wait(_LEAVE_SECONDS):
            with suppress(OSError), socket.create_connection(address, timeout=5) as connection:
                connection.sendall(request[: chance.choice([10, len(head), len(request) - 1, len(request)])])
                if chance.random() < 0.5:  # a reset in place of a goodbye
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                left[0] += 1

    threads = [threading.Thread(target=leave, args=(seed,), daemon=True) for seed in range(_LEAVERS)]
    for thread in threads:
        thread.start()
    try:
        yield left
    finally:
        halt.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()
