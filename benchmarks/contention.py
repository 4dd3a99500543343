"""A training step with threads over the batch, and with threads inside the operators, alone and on a machine in full use.

python -m benchmarks.contention [--quick] --out FILE
"""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import ROOT, arguments, write
from cifarops.config import load_params
from cifarops.machine import usable_cores
from cifarops.training.network import Network
from cifarops.training.parallel import Replicas, one_thread_per_operator

_BATCH, _CLASSES = 512, 10
_BUSY_SECONDS = 300


def main() -> None:
    """Measure the steps of the profiles `demo` and `fast`."""
    options = arguments("Training steps beside other work")
    times = 3 if options.quick else 9
    results = {profile: _measure(profile, times) for profile in ("demo", "fast")}
    write(options.out, "contention", threads=torch.get_num_threads(), batch=_BATCH, results=results)


def _measure(profile: str, times: int) -> dict[str, dict[str, list[float]]]:
    params = load_params(ROOT / "params.yaml", profile).train
    network = Network(params, classes=_CLASSES, size=32).train()
    images = torch.randn(_BATCH, 3, 32, 32).to(torch.bfloat16)
    labels = torch.arange(_BATCH) % _CLASSES
    threads = torch.get_num_threads()
    replicas = Replicas(network, threads)
    parts = torch.arange(_BATCH).tensor_split(threads)

    def loss_of(network: Network, chosen: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images[chosen])
        return functional.cross_entropy(logits.float(), labels[chosen])

    def over_the_batch() -> None:
        with one_thread_per_operator():
            replicas.backward(lambda each, part: loss_of(each, parts[part]))

    def inside_operators() -> None:
        loss_of(network, torch.arange(_BATCH)).backward()  # type: ignore[no-untyped-call]

    ways: dict[str, Callable[[], object]] = {"batch": over_the_batch, "operators": inside_operators}
    alone = {name: _seconds(way, times) for name, way in ways.items()}
    with _busy_cores():
        beside = {name: _seconds(way, times) for name, way in ways.items()}
    return {"alone": alone, "on_a_machine_in_full_use": beside}


def _seconds(way: Callable[[], object], times: int) -> list[float]:
    way()
    seconds = []
    for _ in range(times):
        started = time.perf_counter()
        way()
        seconds.append(time.perf_counter() - started)
    return [statistics.median(seconds), *seconds]


@contextmanager
def _busy_cores() -> Iterator[None]:
    """Keep every core wanted by another program, for a bounded time."""
    code = f"import time; end = time.time() + {_BUSY_SECONDS}\nwhile time.time() < end: pass"
    with ExitStack() as stack:
        for _ in range(usable_cores()):
            process = stack.enter_context(subprocess.Popen([sys.executable, "-c", code]))
            stack.callback(process.kill)
        yield


if __name__ == "__main__":
    main()
