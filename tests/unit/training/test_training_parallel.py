import copy

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from cifarops.data.preprocess import Preprocessing
from cifarops.training.network import Network
from cifarops.training.parallel import Replicas, one_thread_per_operator
from cifarops.training.tensors import Normalizer, logits
from tests.support.snapshots import colour_arrays
from tests.support.training import tiny_params


def _network() -> Network:
    torch.manual_seed(0)
    network = Network(tiny_params().train, classes=3, size=16)
    return network.train()


def _batch(count: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(count, 3, 16, 16, generator=generator)
    return images, torch.arange(count) % 3


def _losses(images: Tensor, labels: Tensor, parts: int):  # type: ignore[no-untyped-def]
    pieces = torch.arange(len(labels)).tensor_split(parts)

    def loss_of(network: Network, part: int) -> Tensor:
        total = functional.cross_entropy(network(images[pieces[part]]), labels[pieces[part]], reduction="sum")
        return total / len(labels)

    return loss_of


def test_the_gradient_is_the_sum_over_the_parts() -> None:
    network, images_and_labels = _network(), _batch(13)
    loss_of = _losses(*images_and_labels, parts=3)
    reference = copy.deepcopy(network)
    expected = sum(loss_of(reference, part) for part in range(3))
    expected.backward()
    loss = Replicas(network, 3).backward(loss_of)
    assert abs(loss - expected.item()) < 1e-5
    for mine, theirs in zip(network.parameters(), reference.parameters(), strict=True):
        if theirs.grad is not None:
            torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-4, atol=1e-6)


def test_an_update_is_seen_by_every_thread_in_the_next_step() -> None:
    network = _network()
    replicas = Replicas(network, 2)
    loss_of = _losses(*_batch(8), parts=2)
    replicas.backward(loss_of)
    with torch.no_grad():
        network.head.weight.zero_()
    assert abs(replicas.backward(loss_of) - torch.log(torch.tensor(3.0)).item()) < 1e-5


def test_statistics_are_the_mean_over_the_parts() -> None:
    network = _network()
    alone = [copy.deepcopy(network) for _ in range(2)]
    loss_of = _losses(*_batch(8), parts=2)
    for part in range(2):
        loss_of(alone[part], part)
    Replicas(network, 2).backward(loss_of)
    for mine, first, second in zip(*(each.buffers() for each in (network, *alone)), strict=True):
        if mine.is_floating_point():
            torch.testing.assert_close(mine, (first + second) / 2)


def test_the_same_work_gives_the_same_bits() -> None:
    def gradient() -> list[Tensor]:
        network = _network()
        Replicas(network, 2).backward(_losses(*_batch(16), parts=2))
        return [value.grad for value in network.parameters() if value.grad is not None]

    assert all(torch.equal(one, other) for one, other in zip(gradient(), gradient(), strict=True))


def test_answers_come_in_order_and_leave_the_network_training() -> None:
    network = _network()
    images, _ = colour_arrays(7, wrong=0, size=16, seed=0)
    normalizer = Normalizer(Preprocessing.fitted(images))
    together = Replicas(network, 3).logits(images, normalizer)
    assert network.training
    np.testing.assert_allclose(together, logits(network, images, normalizer), rtol=1e-5, atol=1e-6)


def test_no_operator_spreads_over_cores_while_training_and_all_may_again_after_it() -> None:
    before = torch.get_num_threads()
    seen = []

    def loss_of(network: Network, part: int) -> Tensor:
        loss: Tensor = network(torch.ones(64, 3, 16, 16)).sum()
        seen.append(torch.get_num_threads())
        return loss

    with one_thread_per_operator() as threads:
        assert threads == before
        replicas = Replicas(_network(), 2)
        for _ in range(2):
            replicas.backward(loss_of)
    assert seen == [1, 1, 1, 1]
    assert torch.get_num_threads() == before
