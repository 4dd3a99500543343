"""Decoding many image files on all processors.

Workers are plain child processes on a socket each: they end when the parent does, however it ends, because their
socket then closes, and Ctrl-C at the terminal doesn't reach them. A few images are decoded in the process itself.
"""

import queue
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import cast

import numpy as np
from numpy.typing import NDArray

from cifarops.data.preprocess import MIN_SIDE, decode
from cifarops.errors import DataError, UnavailableError
from cifarops.machine import usable_cores

_BATCHES_IN_PROCESS = 4
_MAX_WORKERS = 8
_WORKER = "import sys; from cifarops.data.sources import decoding; decoding.serve(*map(int, sys.argv[1:]))"


@dataclass(frozen=True)
class Batch:
    """Decoded files, in order.

    Attributes:
        pixels: uint8 (N, S, S, 3); zeros where a file is unreadable.
        remarks: For each file a check of `Problem` and its detail, or None where nothing is to be said.
    """

    pixels: NDArray[np.uint8]
    remarks: tuple[tuple[str, str] | None, ...]


def decode_batches(batches: Iterable[Sequence[bytes]], size: int) -> Iterator[Batch]:
    """Decode batches of image files, on all processors if there are more than a few, and yield them in order.

    Args:
        batches: Contents of files. Read lazily, a few batches ahead of what is yielded.
        size: Height and width of the result in pixels.
    """
    iterator = iter(batches)
    head = list(islice(iterator, _BATCHES_IN_PROCESS))
    workers = min(usable_cores(), _MAX_WORKERS)
    if len(head) < _BATCHES_IN_PROCESS or workers < 2:
        for batch in chain(head, iterator):
            yield decode_batch(batch, size)
        return
    with ThreadPoolExecutor(workers) as threads, _pool(workers, size) as decode_elsewhere:
        waiting: deque[Future[Batch]] = deque()
        for batch in chain(head, iterator):
            waiting.append(threads.submit(decode_elsewhere, batch))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def decode_batch(contents: Sequence[bytes], size: int) -> Batch:
    """Decode files one after the other in this process."""
    pixels = np.zeros((len(contents), size, size, 3), dtype=np.uint8)
    remarks: list[tuple[str, str] | None] = []
    for index, content in enumerate(contents):
        try:
            image = decode(content, size)
        except DataError as error:
            remarks.append(("unreadable", error.message))
            continue
        pixels[index] = image.pixels
        if min(image.width, image.height) < MIN_SIDE:
            remarks.append(("too_small", f"{image.width} × {image.height} pixels"))
        else:
            remarks.append(None if image.mode == "RGB" else ("converted", f"pixel format {image.mode}"))
    return Batch(pixels, tuple(remarks))


@contextmanager
def _pool(workers: int, size: int) -> Iterator[Callable[[Sequence[bytes]], Batch]]:
    """Start worker processes and yield a function, callable from several threads, that decodes on an idle one."""
    started = [_start(size) for _ in range(workers)]
    idle: queue.SimpleQueue[Connection] = queue.SimpleQueue()
    for _, connection in started:
        idle.put(connection)

    def decode_elsewhere(contents: Sequence[bytes]) -> Batch:
        connection = idle.get()
        try:
            connection.send(contents)
            return cast("Batch", connection.recv())
        except (EOFError, OSError) as error:
            raise UnavailableError(
                "A process that decodes images died; the system may have run out of memory.",
                fix="Close other programs, or use a smaller image_size, and run it again.",
            ) from error
        finally:
            idle.put(connection)

    try:
        yield decode_elsewhere
    finally:
        for process, connection in started:
            process.kill()
            process.wait()
            connection.close()


def _start(size: int) -> tuple[subprocess.Popen[bytes], Connection]:
    ours, theirs = Pipe()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(theirs.fileno()), str(size)],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    return process, ours


def serve(descriptor: int, size: int) -> None:
    """Decode what arrives on a socket until it closes; a worker process runs this and nothing else."""
    with Connection(descriptor) as connection:
        while True:
            try:
                contents = connection.recv()
                connection.send(decode_batch(contents, size))
            except (EOFError, OSError):
                return
