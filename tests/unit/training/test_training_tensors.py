import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarops.data.preprocess import Preprocessing
from cifarops.training.tensors import Normalizer

_channel = st.floats(0.05, 0.95)
_spread = st.floats(0.01, 1.0)


@settings(max_examples=30, deadline=None)
@given(
    mean=st.tuples(_channel, _channel, _channel),
    std=st.tuples(_spread, _spread, _spread),
    size=st.sampled_from([16, 33]),
    seed=st.integers(0, 2**32 - 1),
)
def test_training_normalises_exactly_as_serving_does(
    mean: tuple[float, float, float], std: tuple[float, float, float], size: int, seed: int
) -> None:
    preprocessing = Preprocessing(size=size, mean=mean, std=std)
    images = np.random.default_rng(seed).integers(0, 256, (3, size, size, 3), dtype=np.uint8)
    ours = Normalizer(preprocessing)(torch.from_numpy(images)).numpy()
    theirs = preprocessing.normalize(images)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
