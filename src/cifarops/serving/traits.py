"""What monitoring keeps of each image: completed in batches, beside the requests, where it costs a few microseconds."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cifarops.data.statistics import image_statistics
from cifarops.ledger.records import Attempt, Prediction, Shadowed

_Images = dict[int, NDArray[np.uint8]]
_Record = TypeVar("_Record", bound=Prediction | Attempt | Shadowed)


def with_statistics(records: Sequence[_Record]) -> list[_Record]:
    """Add the pixel statistics to the traits of predictions, which so far hold the sketch of the features."""
    described = list(records)
    for images in _by_size(records):
        statistics = image_statistics(np.stack(list(images.values()))).astype(np.float16)
        for place, row in zip(images, statistics, strict=True):
            each = described[place]
            if isinstance(each, Prediction) and each.traits is not None:
                described[place] = replace(each, traits=np.concatenate([each.traits, row]))
    return described


def _by_size(records: Sequence[_Record]) -> list[_Images]:
    """Return the images of predictions by place; those of one size together."""
    sizes: dict[tuple[int, ...], _Images] = {}
    for place, each in enumerate(records):
        if isinstance(each, Prediction) and each.image is not None:
            sizes.setdefault(each.image.shape, {})[place] = each.image
    return list(sizes.values())
