"""Ten times more than the server can answer: how fast those are answered who are let in, and how soon all is well again.

python -m benchmarks.overload [--quick] --out FILE

The load generator is open: it sends at its rate whether answers come or not, over a bounded number of connections, and waits
for nobody. Beside it a well-behaved client asks a few times a second from an address of its own. Server and generator have a
core each where there are two.
"""

import heapq
import os
import selectors
import socket
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np

from benchmarks.harness import arguments, write
from benchmarks.load import load
from benchmarks.serving import images, promote
from cifarops.deployment.process import ServerProcess

_TIMES = 10
_CALM = 0.1  # of what the server can answer: what "unloaded" means here
_CONNECTIONS_PER_ADDRESS = 100
_ADDRESSES = ("127.0.0.10", "127.0.0.11", "127.0.0.12", "127.0.0.13")
_WELL_BEHAVED = "127.0.0.20"
_WELL_BEHAVED_RATE = 20.0
# Recovered: a second in which everybody is let in, as fast as twice the unloaded.
_WATCH_SECONDS = 6


@dataclass
class Stretch:
    """What a stretch of load measured.

    Attributes:
        offered: Requests that were due.
        unsent: Those among them for which no connection was free.
        statuses: Answers by status; 0 for a connection that broke.
        latencies_ms: Of the requests that were let in, from when they were due.
    """

    offered: int = 0
    unsent: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    latencies_ms: list[float] = field(default_factory=list)

    def summary(self) -> dict[str, object]:
        """Describe it without every sample."""
        found = np.array(self.latencies_ms or [float("nan")])
        return {
            "offered": self.offered,
            "unsent": self.unsent,
            "statuses": {str(status): count for status, count in sorted(self.statuses.items())},
            "admitted": len(self.latencies_ms),
            "p50_ms": float(np.percentile(found, 50)),
            "p99_ms": float(np.percentile(found, 99)),
        }


class _Client:
    """One connection: at most one request under way."""

    def __init__(self, address: tuple[str, int], source: str) -> None:
        self._address = address
        self._source = source
        self.due = 0.0
        self.received = b""
        self.connect()

    def connect(self) -> None:
        self.socket = socket.create_connection(self._address, source_address=(self._source, 0))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def status(self) -> int | None:
        """Read on; returns the status once the answer is whole."""
        piece = self.socket.recv(65536)
        if not piece:
            raise ConnectionError
        self.received += piece
        edge = self.received.find(b"\r\n\r\n")
        if edge < 0:
            return None
        head = self.received[:edge].lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self.received) < edge + 4 + length:
            return None
        status, self.received = int(self.received[9:12]), b""
        return status


def offer(
    url: str, bodies: Sequence[bytes], *, rate: float, seconds: float, addresses: Sequence[str], clients: int
) -> Stretch:
    """Send `rate` requests a second from each of `addresses` together, at random moments (a Poisson process)."""
    parts = urlsplit(url)
    requests = [
        f"POST /predict HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        + body
        for body in bodies
    ]
    address = (str(parts.hostname), int(parts.port or 80))
    free = [_Client(address, addresses[k % len(addresses)]) for k in range(clients)]
    selector = selectors.DefaultSelector()
    random, stretch = np.random.default_rng(0), Stretch()
    begin = time.perf_counter()
    moments = begin + np.cumsum(random.exponential(1 / rate, int(rate * seconds * 1.2)))
    due = moments[moments < begin + seconds].tolist()
    stretch.offered = len(due)
    heapq.heapify(due)
    busy = 0
    while due or busy:
        now = time.perf_counter()
        while due and due[0] <= now:
            moment = heapq.heappop(due)
            if not free:
                stretch.unsent += 1
                continue
            client = free.pop()
            client.due = moment
            client.socket.sendall(requests[len(due) % len(requests)])
            selector.register(client.socket, selectors.EVENT_READ, client)
            busy += 1
        wait = max(0.0, due[0] - time.perf_counter()) if due else 0.1
        for key, _ in selector.select(wait):
            client = key.data
            try:
                status = client.status()
            except OSError:
                status = 0
            if status is None:
                continue
            selector.unregister(client.socket)
            if status == 0:
                client.socket.close()
                client.connect()
            busy -= 1
            free.append(client)
            stretch.statuses[status] = stretch.statuses.get(status, 0) + 1
            if status == 200:
                stretch.latencies_ms.append((time.perf_counter() - client.due) * 1000)
    for client in free:
        client.socket.close()
    selector.close()
    return stretch


def main() -> None:
    """Measure calm, overload and what follows."""
    options = arguments("Ten times overload")
    seconds = 6.0 if options.quick else 60.0
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        promote(workspace)
        with ServerProcess("production", workspace=workspace) as server:
            _pin(server.pid)
            bodies = images()
            capacity = load(f"{server.url}/predict", bodies, connections=8, seconds=seconds / 6)
            able = capacity.requests_per_second
            calm = offer(
                server.url, bodies, rate=_CALM * able, seconds=seconds / 2, addresses=_ADDRESSES, clients=16
            )
            overload, beside = _with_bystander(server.url, bodies, able, seconds)
            after = [
                offer(server.url, bodies, rate=_CALM * able, seconds=1, addresses=_ADDRESSES, clients=16)
                for _ in range(_WATCH_SECONDS)
            ]
            resident = _resident(server.pid)
    unloaded = float(np.percentile(calm.latencies_ms, 99))
    well = [
        set(each.statuses) == {200} and float(np.percentile(each.latencies_ms, 99)) <= 2 * unloaded
        for each in after
    ]
    recovered = next((k + 1 for k in range(len(well)) if all(well[k:])), None)
    admitted = float(np.percentile(overload.latencies_ms, 99))
    write(
        options.out,
        "overload",
        capacity=asdict(capacity),
        times=_TIMES,
        seconds=seconds,
        calm=calm.summary(),
        overload=overload.summary(),
        bystander=beside.summary(),
        after=[each.summary() for each in after],
        p99_ratio=admitted / unloaded,
        p99_ratio_target=2.0,
        recovered_within_s=recovered,
        recovered_within_s_target=5,
        resident_bytes=resident,
    )


def _with_bystander(
    url: str, bodies: Sequence[bytes], able: float, seconds: float
) -> tuple[Stretch, Stretch]:
    """Offer ten times what the server can answer, and a little from one who behaves."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        storm = pool.submit(
            offer,
            url,
            bodies,
            rate=_TIMES * able,
            seconds=seconds,
            addresses=_ADDRESSES,
            clients=_CONNECTIONS_PER_ADDRESS * len(_ADDRESSES),
        )
        time.sleep(1)
        beside = pool.submit(
            offer,
            url,
            bodies,
            rate=_WELL_BEHAVED_RATE,
            seconds=seconds - 2,
            addresses=[_WELL_BEHAVED],
            clients=4,
        )
        return storm.result(), beside.result()


def _pin(server: int) -> None:
    """Give the server the first core and this process, with its children, the others."""
    first, *others = sorted(os.sched_getaffinity(0))
    if others:
        for thread in Path(f"/proc/{server}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {first})
        os.sched_setaffinity(0, others)


def _resident(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
