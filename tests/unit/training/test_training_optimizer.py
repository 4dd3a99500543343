from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from cifarops.training.network import Network
from cifarops.training.optimizer import Optimizer
from tests.support.training import tiny_params


def _network() -> Network:
    torch.manual_seed(0)
    return Network(tiny_params().train, classes=3, size=16)


def _backward(network: Network, scale: float = 1.0) -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(8, 3, 16, 16, generator=generator)
    (scale * torch.nn.functional.cross_entropy(network(images), torch.arange(8) % 3)).backward()  # type: ignore[no-untyped-call]


def test_a_filter_moves_by_an_almost_orthogonal_step_whatever_the_gradients_scale() -> None:
    steps = []
    for scale in (1.0, 1000.0):
        network = _network()
        optimizer = Optimizer(network, learning_rate=0.1, dtype=torch.float32, pool=ThreadPoolExecutor(2))
        filters = network.stages[0][0].weight  # type: ignore[index]
        before = filters.detach().clone()
        _backward(network, scale)
        optimizer.step(0.5)
        steps.append((filters.detach() - before).flatten(1))
    torch.testing.assert_close(steps[0], steps[1], atol=1e-3, rtol=1e-2)
    singular = torch.linalg.svdvals(steps[0])
    assert singular.max() < 0.05 * 1.3
    assert singular.median() > 0.05 * 0.5


def test_the_first_layer_and_the_norms_scales_stay_and_everything_else_moves() -> None:
    network = _network()
    optimizer = Optimizer(network, learning_rate=0.1, dtype=torch.float32, pool=ThreadPoolExecutor(2))
    before = {name: value.detach().clone() for name, value in network.named_parameters()}
    _backward(network)
    optimizer.step(1.0)
    moved = {name for name, value in network.named_parameters() if not torch.equal(value, before[name])}
    fixed = {name for name, value in before.items() if value.ndim == 1 and name.endswith("weight")}
    assert len(fixed) == 3
    assert moved == {*before} - fixed - {"stem.weight"}


def test_gradients_are_cleared_and_missing_ones_are_noticed() -> None:
    network = _network()
    optimizer = Optimizer(network, learning_rate=0.1, dtype=torch.float32, pool=ThreadPoolExecutor(2))
    _backward(network)
    optimizer.step(1.0)
    assert all(value.grad is None for value in network.parameters())
    with pytest.raises(RuntimeError, match="backward"):
        optimizer.step(1.0)
