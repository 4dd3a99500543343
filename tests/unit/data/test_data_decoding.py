import numpy as np
import pytest

from cifarops.data.sources import decoding
from tests.support.images import encoded, noise


def batches(count: int) -> list[list[bytes]]:
    images = [encoded(image, "PNG") for image in noise(count * 3)]
    return [[*images[n * 3 : n * 3 + 3], b"not an image"] for n in range(count)]


def test_many_batches_come_in_order_as_decoded_here() -> None:
    given = batches(9)
    found = list(decoding.decode_batches(given, 32))
    expected = [decoding.decode_batch(batch, 32) for batch in given]
    assert [batch.remarks for batch in found] == [batch.remarks for batch in expected]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_few_batches_need_no_workers(count: int) -> None:
    assert len(list(decoding.decode_batches(batches(count), 32))) == count


def test_an_error_of_the_reader_passes_through() -> None:
    def broken() -> object:
        yield from batches(8)
        raise EOFError("cut off")

    with pytest.raises(EOFError, match="cut off"):
        list(decoding.decode_batches(broken(), 32))  # type: ignore[arg-type]


def test_reading_stays_only_a_little_ahead() -> None:
    read = 0

    def counted() -> object:
        nonlocal read
        for batch in batches(60):
            read += 1
            yield batch

    results = decoding.decode_batches(counted(), 32)  # type: ignore[arg-type]
    next(results)
    assert read < 30
    results.close()  # type: ignore[attr-defined]
