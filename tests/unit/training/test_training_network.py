import pytest
import torch

from cifarops.training.network import Network
from tests.support.training import tiny_params

_PARAMS = tiny_params().train


@pytest.mark.parametrize("size", [16, 17, 32, 47, 64, 100, 224])
@pytest.mark.parametrize("classes", [2, 37])
def test_any_size_and_number_of_classes(size: int, classes: int) -> None:
    network = Network(_PARAMS, classes=classes, size=size).eval()
    assert network(torch.randn(2, 3, size, size)).shape == (2, classes)


def test_larger_images_reach_the_stages_at_45_pixels_or_less() -> None:
    seen: list[int] = []
    for size in (16, 32, 45, 64, 96, 181, 224):
        network = Network(_PARAMS, classes=2, size=size).eval()
        network.stages.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[-1]))
        network(torch.zeros(1, 3, size, size))
    assert max(seen) <= 45


def test_whitened_patches_have_unit_variance_and_no_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    # Neighbouring pixels and channels correlate, as in photographs.
    images = torch.nn.functional.avg_pool2d(torch.randn(200, 3, 34, 34, generator=generator), 3, stride=1)
    images = images + images.mean(dim=1, keepdim=True)
    network = Network(_PARAMS, classes=2, size=32)
    network.whiten(images)
    answers = torch.nn.functional.conv2d(images, network.stem.weight, stride=2)
    half = answers.shape[1] // 2
    first = answers[:, :half].transpose(0, 1).reshape(half, -1)
    covariance = first @ first.T / first.shape[1]
    torch.testing.assert_close(covariance[:8, :8], torch.eye(8), atol=0.15, rtol=0)
    torch.testing.assert_close(answers[:, half:], -answers[:, :half])


def test_whitening_constant_images_stays_finite() -> None:
    network = Network(_PARAMS, classes=2, size=16)
    network.whiten(torch.zeros(4, 3, 16, 16))
    assert torch.isfinite(network.stem.weight).all()
