"""Augmentation of whole batches on tensors: shifted and mirrored by one gather of pixels."""

import torch
from torch import Tensor

_EPOCH_PRIME = 1_000_003


def generator(seed: int, *path: int) -> torch.Generator:
    """Return a generator that depends on the seed and a place in the training only.

    So a resumed training draws the same numbers as one that was never interrupted, with no state to store.
    """
    mixed = seed
    for part in path:
        mixed = (mixed * _EPOCH_PRIME + part + 1) % 2**63
    return torch.Generator().manual_seed(mixed)


class Augmentation:
    """Random shifts with reflected borders, and alternating flips.

    An image that is mirrored in one epoch is not in the next (Jordan 2024, "alternating flip"): in any two epochs the
    network sees both, where independent draws would show the same one again half of the time.

    Args:
        images: How many training images there are.
        translate: Largest shift in pixels, in each direction.
        flip: Whether to mirror.
        seed: Decides which images are mirrored first.
    """

    def __init__(self, images: int, *, translate: int, flip: bool, seed: int) -> None:
        self._translate = translate
        self._mirrored_first = torch.rand(images, generator=generator(seed)) < 0.5 if flip else None

    def __call__(self, images: Tensor, indices: Tensor, epoch: int, random: torch.Generator) -> Tensor:
        """Augment one batch.

        Args:
            images: uint8 (N, S, S, 3).
            indices: Which training images they are, int64 (N,).
            epoch: Counted from 0.
            random: Source of the shifts.

        Returns:
            uint8 (N, S, S, 3).
        """
        count, size = images.shape[0], images.shape[1]
        rows = self._shifted(count, size, random)
        columns = self._shifted(count, size, random)
        if self._mirrored_first is not None:
            mirrored = self._mirrored_first[indices] ^ bool(epoch % 2)
            columns = torch.where(mirrored[:, None], columns.flip(1), columns)
        return images[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]

    def _shifted(self, count: int, size: int, random: torch.Generator) -> Tensor:
        """Return source coordinates, int64 (count, size), reflected at the borders."""
        reach = self._translate
        shifts = torch.randint(-reach, reach + 1, (count, 1), generator=random)
        last = size - 1
        reflected = last - (last - (torch.arange(size) + shifts).abs()).abs()
        return reflected.clamp_(0, last)
