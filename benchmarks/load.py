"""A load generator that costs little: prepared requests on raw sockets, one process for each connection."""

import multiprocessing
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import numpy as np


@dataclass(frozen=True)
class LoadResult:
    """What a stretch of load measured; latencies in milliseconds."""

    connections: int
    requests: int
    failed: int
    requests_per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def load(
    url: str,
    bodies: Sequence[bytes],
    *,
    connections: int,
    seconds: float,
    fresh: bool = False,
    kind: str = "image/jpeg",
    rate: float | None = None,
) -> LoadResult:
    """Post `bodies` in turn to `url`, each connection waiting for an answer before it asks again.

    Args:
        url: Where to.
        bodies: What is sent.
        connections: How many ask at once.
        seconds: For how long.
        fresh: Every request opens a connection of its own.
        kind: Content type of the bodies.
        rate: Requests a second of all connections together, sent at their times whether the server keeps up or not: a
            request that had to wait for the one before it has waited (no coordinated omission). None: as fast as it goes.

    Returns:
        What was measured; a connection that breaks counts as a failed request.
    """
    parts = urlsplit(url)
    address = (str(parts.hostname), int(parts.port or 80))
    requests = [
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n".encode() + body
        for body in bodies
    ]
    with multiprocessing.get_context("spawn").Pool(connections) as pool:
        # Every process is up before any begins, so that their stretches overlap.
        pool.map(time.sleep, [0.3] * connections, chunksize=1)
        begin = time.time() + 0.2
        pause = connections / rate if rate else 0.0
        jobs = [
            (address, requests, begin + pause * number / connections, seconds, fresh, pause)
            for number in range(connections)
        ]
        results = pool.starmap(_ask, jobs, chunksize=1)
    latencies = np.array([taken for times, _ in results for taken in times]) * 1000
    failed = sum(count for _, count in results)
    return LoadResult(
        connections,
        len(latencies),
        failed,
        len(latencies) / seconds,
        float(np.percentile(latencies, 50)),
        float(np.percentile(latencies, 99)),
        float(latencies.max()),
    )


def _ask(
    address: tuple[str, int],
    requests: Sequence[bytes],
    begin: float,
    seconds: float,
    fresh: bool,
    pause: float,
) -> tuple[list[float], int]:
    latencies: list[float] = []
    failed = 0
    connection = _connect(address)
    time.sleep(max(0.0, begin - time.time()))
    first = time.perf_counter()
    turn = 0
    while (start := first + turn * pause if pause else time.perf_counter()) < first + seconds:
        time.sleep(max(0.0, start - time.perf_counter()))
        try:
            if fresh:
                connection.close()
                connection = _connect(address)
            connection.sendall(requests[turn % len(requests)])
            failed += _read_answer(connection) != b"200"
        except OSError:
            failed += 1
            connection.close()
            connection = _connect(address)
        latencies.append(time.perf_counter() - start)
        turn += 1
    connection.close()
    return latencies, failed


def _connect(address: tuple[str, int]) -> socket.socket:
    connection = socket.create_connection(address)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _read_answer(connection: socket.socket) -> bytes:
    """Read one answer with a declared length; returns its status."""
    received = connection.recv(65536)
    while (edge := received.find(b"\r\n\r\n")) < 0:
        received += _more(connection)
    head = received[:edge].lower()
    length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
    while len(received) < edge + 4 + length:
        received += _more(connection)
    return received[9:12]


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise ConnectionError("The server closed the connection in the middle of an answer.")
    return received
