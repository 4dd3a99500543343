from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch

from cifarops.config import Params
from cifarops.data.snapshot import Arrays
from cifarops.errors import DataError, UsageError
from cifarops.training.loop import DivergenceError, Loop
from tests.support.snapshots import colour_arrays
from tests.support.training import tiny_params, tiny_snapshot


def _loop(
    root: Path, params: Params | None = None, dtype: torch.dtype = torch.float32, **made: Arrays
) -> Loop:
    return Loop(tiny_snapshot(root, **made), (params or tiny_params()).train, dtype=dtype)  # type: ignore[arg-type]


def test_an_epoch_shows_every_image_once_and_the_next_in_another_order(tmp_path: Path) -> None:
    loop = _loop(tmp_path)
    first, second = ([loop.batch(epoch * 6 + place).tolist() for place in range(6)] for epoch in (0, 1))
    for epoch in (first, second):
        assert sorted(chain.from_iterable(epoch)) == list(range(192))
    assert first != second


@pytest.mark.parametrize(("epochs", "steps"), [(2, 12), (0.5, 3), (0.001, 1), (1.5, 9)])
def test_epochs_may_be_fractions(tmp_path: Path, epochs: float, steps: int) -> None:
    assert _loop(tmp_path, tiny_params(epochs=epochs)).steps == steps


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_same_seed_gives_the_same_bits_and_another_does_not(tmp_path: Path, dtype: torch.dtype) -> None:
    def trained(seed: int) -> dict[str, torch.Tensor]:
        loop = _loop(tmp_path, tiny_params(seed=seed), dtype)
        for number in range(4):
            loop.step(number)
        return loop.state()

    one, same, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not torch.equal(one["network.head.weight"], other["network.head.weight"])


def test_building_a_network_leaves_the_callers_random_numbers_alone(tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    _loop(tmp_path)
    assert torch.equal(torch.rand(3), expected)


def test_the_loss_falls(tmp_path: Path) -> None:
    loop = _loop(tmp_path, tiny_params(epochs=4))
    losses = [loop.step(number) for number in range(loop.steps)]
    assert np.mean(losses[-6:]) < 0.7 * np.mean(losses[:3])


def test_a_batch_larger_than_the_data(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"batch_size is 193.*192 training images"):
        _loop(tmp_path, tiny_params(batch_size=193))


def test_labels_that_are_all_the_same(tmp_path: Path) -> None:
    images, labels = colour_arrays(64, size=16)
    with pytest.raises(DataError, match="of one class"):
        _loop(tmp_path, train=(images, np.full_like(labels, 2)))


def test_a_training_that_diverges_is_noticed(tmp_path: Path) -> None:
    loop = _loop(tmp_path, tiny_params(learning_rate=1e38))

    def train() -> None:
        for number in range(loop.steps):
            loop.step(number)
            loop.state()

    with pytest.raises(DivergenceError, match=r"loss is (nan|inf)|holds NaN"):
        train()
