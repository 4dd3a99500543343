"""The optimizer: Muon for the convolutions, Adam for the few parameters that are no filters."""

import math
from concurrent.futures import Executor

import torch
from torch import Tensor

from cifarops.training.network import Network

_MOMENTUM = 0.6
_BETAS = (0.85, 0.95)
_EPSILON = 1e-8
_ADAM_SHARE = 0.04
_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 3


class Optimizer:
    """Updates a network in place.

    A filter moves by a step whose singular values are all about the learning rate, whatever the gradient's scale, and
    is kept at the norm of an orthogonal matrix (Jordan et al. 2024, "Muon"). Batch norm's and the head's parameters
    follow Adam (Kingma & Ba 2015) at a fixed share of that rate.

    Args:
        network: Whose trainable parameters are updated.
        learning_rate: Step relative to the filters' size.
        dtype: Number format of the orthogonalisation.
        pool: Whose threads share the filters.
    """

    def __init__(self, network: Network, *, learning_rate: float, dtype: torch.dtype, pool: Executor) -> None:
        trained = {name: value for name, value in network.named_parameters() if value.requires_grad}
        self._filters = {name: value for name, value in trained.items() if value.ndim == 4}
        self._others = {name: value for name, value in trained.items() if value.ndim != 4}
        self._learning_rate = learning_rate
        self._dtype = dtype
        self._pool = pool
        self._steps = torch.zeros((), dtype=torch.int64)
        self._momentum = {name: torch.zeros_like(value) for name, value in self._filters.items()}
        self._mean = {name: torch.zeros_like(value) for name, value in self._others.items()}
        self._square = {name: torch.zeros_like(value) for name, value in self._others.items()}
        for value in self._filters.values():
            _set_norm(value.data)

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Take one step at `share` of the learning rate, and clear the gradients."""
        self._steps += 1
        rate = share * self._learning_rate
        largest_first = sorted(self._filters, key=lambda name: self._filters[name].numel(), reverse=True)
        moved = self._pool.map(lambda name: self._step_filter(name, rate), largest_first)
        for name, value in self._others.items():
            self._step_other(name, value, rate * _ADAM_SHARE)
        list(moved)

    def state(self) -> dict[str, Tensor]:
        """Return everything a checkpoint must hold, by name; the tensors are not copied."""
        parts = {"momentum": self._momentum, "mean": self._mean, "square": self._square}
        named = {f"{part}.{name}": value for part, values in parts.items() for name, value in values.items()}
        return {**named, "steps": self._steps}

    @torch.no_grad()  # which holds for one thread only
    def _step_filter(self, name: str, rate: float) -> None:
        value, momentum = self._filters[name], self._momentum[name]
        gradient = _gradient(value)
        momentum.mul_(_MOMENTUM).add_(gradient)
        direction = gradient.add(momentum, alpha=_MOMENTUM)
        _set_norm(value)
        value.sub_(rate * _orthogonal(direction.flatten(1).to(self._dtype)).view_as(value))
        value.grad = None

    def _step_other(self, name: str, value: Tensor, rate: float) -> None:
        gradient = _gradient(value)
        steps = int(self._steps)
        mean = self._mean[name].lerp_(gradient, 1 - _BETAS[0]) / (1 - _BETAS[0] ** steps)
        square = self._square[name].lerp_(gradient.square(), 1 - _BETAS[1]) / (1 - _BETAS[1] ** steps)
        value.sub_(rate * mean / (square.sqrt() + _EPSILON))
        value.grad = None


def _gradient(value: Tensor) -> Tensor:
    if value.grad is None:
        raise RuntimeError("step() was called before backward()")
    return value.grad


def _set_norm(filters: Tensor) -> None:
    """Scale filters (out, in, k, k) to the norm of an orthogonal matrix with as many rows."""
    filters.mul_(math.sqrt(len(filters)) / (filters.norm() + _EPSILON))


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return about the nearest semi-orthogonal matrix, float32: all singular values come to lie near 1."""
    a, b, c = _NEWTON_SCHULZ
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (x.norm() + _EPSILON)
    for _ in range(_ITERATIONS):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    result: Tensor = x.T if tall else x
    return result.float()
