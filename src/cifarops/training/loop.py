"""The steps of a training, without anything around them: data, augmentation, loss, gradient, update."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from cifarops.config import TrainParams
from cifarops.data.snapshot import Snapshot
from cifarops.errors import CifaropsError, DataError, UsageError
from cifarops.training.augment import Augmentation, generator
from cifarops.training.network import WHITENING_IMAGES, Network
from cifarops.training.optimizer import Optimizer
from cifarops.training.parallel import Replicas
from cifarops.training.tensors import Normalizer

_ORDER, _SHIFTS, _WEIGHTS = 1, 2, 3


class DivergenceError(CifaropsError):
    """The loss or a weight is no longer a finite number."""


@dataclass(frozen=True)
class _Data:
    images: Tensor  # uint8 (N, S, S, 3)
    labels: Tensor  # int64 (N,)


class Loop:
    """A training that can be stepped through, stored and continued.

    Everything random depends on the seed and the step's number only.

    Args:
        snapshot: Trained on its `train` split, which is held in memory.
        params: How.
        dtype: Number format of the forward and backward pass; weights are kept in float32.
        threads: How many compute, each a part of every batch.

    Raises:
        DataError: The split can't be trained on.
        UsageError: The batch is larger than the split.
    """

    def __init__(
        self, snapshot: Snapshot, params: TrainParams, *, dtype: torch.dtype, threads: int = 1
    ) -> None:
        self._data = _load(snapshot)
        self._params = params
        self._dtype = dtype
        count = len(self._data.labels)
        if params.batch_size > count:
            raise UsageError(
                f"train.batch_size is {params.batch_size}, but snapshot {snapshot.id} has {count} training images.",
                fix=f"Set train.batch_size to {count} or less in params.yaml.",
            )
        self.steps_per_epoch = count // params.batch_size
        self.steps = max(1, round(params.epochs * self.steps_per_epoch))
        self._normalize = Normalizer(snapshot.meta.preprocessing)
        self._augment = Augmentation(count, translate=params.translate, flip=params.flip, seed=params.seed)
        self.network = self._fresh_network(snapshot)
        self._replicas = Replicas(self.network, min(threads, params.batch_size))
        self._optimizer = Optimizer(
            self.network, learning_rate=params.learning_rate, dtype=dtype, pool=self._replicas.pool
        )

    def step(self, number: int) -> float:
        """Take step `number`, counted from 0, and return the batch's mean loss.

        Raises:
            DivergenceError: The loss is not finite; the weights are unchanged.
        """
        parts = self.batch(number).tensor_split(self._replicas.threads)
        loss = self._replicas.backward(lambda network, part: self._loss(network, parts[part], number, part))
        if not math.isfinite(loss):
            raise DivergenceError(
                f"The loss is {loss} at step {number + 1}.", fix="Lower train.learning_rate."
            )
        self._optimizer.step(1 - number / self.steps)
        return loss

    def accuracy(self, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
        """Return the share of images uint8 (N, S, S, 3) that the network as it stands gets right, in [0, 1]."""
        answers = self._replicas.logits(images, self._normalize)
        return float((answers.argmax(axis=1) == labels).mean())

    def batch(self, number: int) -> Tensor:
        """Return the training images of step `number`, int64 (batch,); every epoch has its own order."""
        epoch, place = divmod(number, self.steps_per_epoch)
        order = torch.randperm(len(self._data.labels), generator=generator(self._params.seed, _ORDER, epoch))
        return order[place * self._params.batch_size :][: self._params.batch_size]

    def state(self) -> dict[str, Tensor]:
        """Return the tensors that a checkpoint must hold; they are not copied.

        Raises:
            DivergenceError: One is not finite.
        """
        network = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        state = {**network, **{f"optimizer.{name}": value for name, value in self._optimizer.state().items()}}
        broken = [name for name, value in state.items() if not bool(torch.isfinite(value).all())]
        if broken:
            raise DivergenceError(f"{broken[0]} holds NaN or infinity.", fix="Lower train.learning_rate.")
        return state

    def _loss(self, network: Network, indices: Tensor, number: int, part: int) -> Tensor:
        """Return what the images `indices`, part of the batch of step `number`, add to the batch's mean loss."""
        epoch = number // self.steps_per_epoch
        shifts = generator(self._params.seed, _SHIFTS, number, part)
        images = self._augment(self._data.images[indices], indices, epoch, shifts)
        with torch.autocast("cpu", self._dtype, enabled=self._dtype != torch.float32):
            logits = network(self._normalize(images, self._dtype))
        total = functional.cross_entropy(
            logits.float(),
            self._data.labels[indices],
            label_smoothing=self._params.label_smoothing,
            reduction="sum",
        )
        return total / self._params.batch_size

    def _fresh_network(self, snapshot: Snapshot) -> Network:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(generator(self._params.seed, _WEIGHTS).initial_seed())
            network = Network(
                self._params, classes=len(snapshot.classes), size=snapshot.meta.preprocessing.size
            )
        network.whiten(self._normalize(self._data.images[:WHITENING_IMAGES]))
        return network


def _load(snapshot: Snapshot) -> _Data:
    labels = torch.from_numpy(snapshot.labels("train").copy())
    if torch.all(labels == labels[0]):
        raise DataError(
            f"All {len(labels)} training images of snapshot {snapshot.id} are of one class, "
            f"{snapshot.classes[int(labels[0])]!r}; there is nothing to tell apart.",
            fix="Ingest images of at least two classes.",
        )
    return _Data(torch.from_numpy(snapshot.images("train").copy()), labels)
