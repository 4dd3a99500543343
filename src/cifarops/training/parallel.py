"""A network computed by several threads, each on its own part of every batch.

The threads meet once a step. PyTorch's own way, all threads inside each operator, makes them meet thousands of times a
step, and oneDNN waits there without giving the core away: as soon as other programs want the cores, a step takes a
multiple of its time (docs/decisions/0003-threads-over-the-batch.md).
"""

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cifarops.training.network import Network
from cifarops.training.tensors import Normalizer, logits


@contextmanager
def one_thread_per_operator() -> Iterator[int]:
    """Keep PyTorch from spreading operators over cores while the block runs; yields how many threads it would use."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)


class Replicas:
    """A network and copies of it that share its weights; batch norm sees each thread's part by itself.

    To be used inside `one_thread_per_operator`.

    Args:
        network: Gets the gradients and the statistics.
        threads: How many parts a batch has, at least 1.

    Attributes:
        pool: The threads, for other work between two passes.
    """

    def __init__(self, network: Network, threads: int) -> None:
        self._networks = [network, *(_sharing(network) for _ in range(threads - 1))]
        self.pool = ThreadPoolExecutor(threads, "training")

    @property
    def threads(self) -> int:
        """How many parts a batch has."""
        return len(self._networks)

    def backward(self, loss_of: Callable[[Network, int], Tensor]) -> float:
        """Compute the gradient of a loss that is a sum over the parts of a batch.

        Args:
            loss_of: From a network and a part's number to that part's share of the loss.

        Returns:
            The loss. The gradient is in the network's parameters, summed in the order of the parts.
        """

        def work(part: int) -> float:
            loss = loss_of(self._networks[part], part)
            loss.backward()  # type: ignore[no-untyped-call]
            return loss.item()

        self._hand_out_statistics()
        losses = list(self.pool.map(work, range(self.threads)))
        self._gather()
        return sum(losses)

    def logits(self, images: NDArray[np.uint8], normalizer: Normalizer) -> NDArray[np.float32]:
        """Answer images uint8 (N, S, S, 3) with the float32 network in evaluation mode: float32 (N, C)."""
        network = self._networks[0].eval()
        parts = np.array_split(images, self.threads)
        answers = np.concatenate(list(self.pool.map(lambda part: logits(network, part, normalizer), parts)))
        network.train()
        return answers

    @torch.no_grad()
    def _hand_out_statistics(self) -> None:
        for source, *copies in zip(*(network.buffers() for network in self._networks), strict=True):
            for each in copies:
                each.copy_(source)

    @torch.no_grad()
    def _gather(self) -> None:
        for first, *others in zip(*(network.parameters() for network in self._networks), strict=True):
            for each in others:
                if first.grad is not None and each.grad is not None:
                    first.grad.add_(each.grad)
                each.grad = None
        for first, *others in zip(*(network.buffers() for network in self._networks), strict=True):
            if first.is_floating_point():
                first.copy_(torch.stack([first, *others]).mean(dim=0))


def _sharing(network: Network) -> Network:
    replica = copy.deepcopy(network)
    for mine, shared in zip(replica.parameters(), network.parameters(), strict=True):
        mine.data = shared.data
    return replica
