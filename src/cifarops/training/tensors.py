"""From stored pixels to the network's input, on tensors, with the same arithmetic as serving."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from cifarops.data.preprocess import Preprocessing


class Normalizer:
    """`Preprocessing.normalize` on tensors.

    Args:
        preprocessing: Mean and standard deviation of the channels.
    """

    def __init__(self, preprocessing: Preprocessing) -> None:
        deviation = torch.tensor(preprocessing.std, dtype=torch.float64)
        self._scale = (1 / (255 * deviation)).float()
        self._shift = (torch.tensor(preprocessing.mean, dtype=torch.float64) / deviation).float()

    def __call__(self, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """Turn uint8 (N, S, S, 3) into (N, 3, S, S) of `dtype`, channels last in memory."""
        return (images.float() * self._scale - self._shift).to(dtype).permute(0, 3, 1, 2)


@torch.no_grad()
def logits(
    network: nn.Module,
    images: NDArray[np.uint8],
    normalizer: Normalizer,
    *,
    batch: int = 500,
) -> NDArray[np.float32]:
    """Answer images uint8 (N, S, S, 3) with the float32 network in evaluation mode: float32 (N, C)."""
    was_training = network.training
    network.eval()
    parts = [
        network(normalizer(torch.from_numpy(np.array(images[start : start + batch]))))
        for start in range(0, len(images), batch)
    ]
    network.train(was_training)
    result: NDArray[np.float32] = torch.cat(parts).numpy()
    return result
