import pytest
import torch

from cifarops.training.augment import Augmentation, generator


def _numbered(count: int = 4, size: int = 8) -> torch.Tensor:
    return (torch.arange(count * size * size * 3) % 251).to(torch.uint8).view(count, size, size, 3)


def test_nothing_asked_for_changes_nothing() -> None:
    images = _numbered()
    augment = Augmentation(4, translate=0, flip=False, seed=0)
    assert torch.equal(augment(images, torch.arange(4), 0, generator(0)), images)


def test_every_image_is_mirrored_in_exactly_one_of_two_epochs() -> None:
    images = _numbered(count=16)
    augment = Augmentation(16, translate=0, flip=True, seed=3)
    even, odd = (augment(images, torch.arange(16), epoch, generator(0)) for epoch in (0, 1))
    mirrored = images.flip(2)
    seen = [torch.equal(even[index], mirrored[index]) for index in range(16)]
    assert 0 < sum(seen) < 16
    for index, was_mirrored in enumerate(seen):
        assert torch.equal(odd[index], images[index] if was_mirrored else mirrored[index])


def test_mirroring_belongs_to_the_image_wherever_it_stands_in_a_batch() -> None:
    images = _numbered(count=16)
    augment = Augmentation(16, translate=0, flip=True, seed=3)
    straight = augment(images, torch.arange(16), 0, generator(0))
    order = torch.randperm(16, generator=generator(9))
    assert torch.equal(augment(images[order], order, 0, generator(0)), straight[order])


@pytest.mark.parametrize("reach", [1, 3])
def test_a_shift_is_a_crop_of_the_image_padded_by_reflection(reach: int) -> None:
    images = _numbered(count=32)
    shifted = Augmentation(32, translate=reach, flip=False, seed=0)(images, torch.arange(32), 0, generator(5))
    channels_first = images.permute(0, 3, 1, 2).float()
    padded = (
        torch.nn.functional.pad(channels_first, (reach,) * 4, "reflect").permute(0, 2, 3, 1).to(torch.uint8)
    )
    places = set()
    for index in range(32):
        found = [
            (row, column)
            for row in range(2 * reach + 1)
            for column in range(2 * reach + 1)
            if torch.equal(padded[index, row : row + 8, column : column + 8], shifted[index])
        ]
        assert found
        places.add(found[0])
    assert len(places) > 1


def test_a_generator_depends_on_seed_and_place_alone() -> None:
    def draw(*place: int) -> list[float]:
        return [float(value) for value in torch.rand(4, generator=generator(*place))]

    assert draw(1, 2, 3) == draw(1, 2, 3)
    assert len({tuple(draw(*place)) for place in [(1, 2, 3), (1, 2, 4), (1, 3, 3), (2, 2, 3), (1, 2)]}) == 5
