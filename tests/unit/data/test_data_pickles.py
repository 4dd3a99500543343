import os
import pickle
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cifarops.data.sources.pickles import load_restricted
from cifarops.errors import DataError

# Python 3 writes empty bytes for Python 2 as a call of `bytes`, which no batch needs.
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**31), 2**31 - 1) | st.text() | st.binary(min_size=1),
    lambda inner: st.lists(inner)
    | st.dictionaries(st.text() | st.binary(min_size=1), inner)
    | st.tuples(inner, inner),
    max_leaves=20,
)


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


@given(plain, st.sampled_from([2, 3, 4]))
def test_plain_values_come_back(value: Any, protocol: int) -> None:
    assert load_restricted(pickle.dumps(value, protocol=protocol), "x") == value


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_byte_arrays_come_back(protocol: int, order: str) -> None:
    array = np.asarray(np.arange(60, dtype=np.uint8).reshape(5, 12), order=order)  # type: ignore[call-overload]
    loaded = load_restricted(pickle.dumps({"data": array}, protocol=protocol), "x")
    assert np.array_equal(loaded["data"], array)


@pytest.mark.parametrize(
    "value",
    [
        Call(os.system, "true"),
        Call(eval, "1"),
        Call(exec, "1"),
        Call(np.fromfile, "/etc/hostname"),
        Call(np.load, "/etc/hostname"),
        Call(np.memmap, "/etc/hostname"),
        Call(getattr, (), "__class__"),
        Call(pickle.loads, b"N."),
        Path("/etc"),
        object(),
        1.5,
        {1, 2},
        np.arange(3.0),
        np.array([object()]),
        np.zeros(2, dtype=[("a", "u1")]),
    ],
    ids=lambda value: type(value).__name__,
)
@pytest.mark.parametrize("protocol", [2, 4])
def test_anything_else_is_refused_and_not_called(value: Any, protocol: int) -> None:
    with pytest.raises(DataError, match="not a CIFAR-10 batch"):
        load_restricted(pickle.dumps({"data": value}, protocol=protocol), "data_batch_1")


def test_the_name_asked_for_is_told() -> None:
    with pytest.raises(DataError, match=r"posix\.system"):
        load_restricted(pickle.dumps(Call(os.system, "true"), protocol=2), "x")


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x03\x00\x00\x00zip\x86R.",
        b"\x80\x02cnumpy\ndtype\nU\x02O8\x85R.",
        b"\x80\x02cnumpy\ndtype\n.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n)R.",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\n}b.",
        b"\x80\x02(lp0\n.",
        b"\x80\x02]q\x01r" + struct.pack("<I", 2**32 - 1) + b"j" + struct.pack("<I", 7) + b".",
        b"\x80\x02U\xffshort",
        b"\x80\x02B\xff\xff\xff\x7fshort",
        b"\x80\x04\x8e" + struct.pack("<Q", 2**62) + b"short",
        b"\x80\x02}]]s.",
        b"\x80\x02N}s.",
        b"\x80\x02b.",
        b"\x80\x02t.",
        b"\x80\x02.",
        b"",
    ],
)
def test_hand_made_attacks_are_refused(program: bytes) -> None:
    with pytest.raises(DataError):
        load_restricted(program, "x")


def test_an_array_cannot_claim_bytes_it_has_not() -> None:
    honest = pickle.dumps(np.zeros((2, 3), dtype=np.uint8), protocol=3)
    lying = honest.replace(b"K\x02K\x03\x86", b"K\xffK\xff\x86")
    assert lying != honest
    with pytest.raises(DataError, match="shape"):
        load_restricted(lying, "x")


@pytest.mark.parametrize("nested", [b"\x85", b"a"], ids=["tuples", "lists"])
def test_deep_nesting_neither_crashes_nor_hangs(nested: bytes) -> None:
    depth = 100_000
    program = (
        b"\x80\x02"
        + (b")" + nested * depth if nested == b"\x85" else b"]" * depth + b"a" * (depth - 1))
        + b"."
    )
    assert isinstance(load_restricted(program, "x"), tuple | list)
    keyed = b"\x80\x02}" + program[2:-1] + b"Ns."
    with pytest.raises(DataError, match="key"):
        load_restricted(keyed, "x")


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_garbage_is_refused_or_harmless(content: bytes) -> None:
    with suppress(DataError):
        load_restricted(b"\x80\x02" + content, "x")


@given(st.data())
@settings(max_examples=100)
def test_a_damaged_batch_is_refused_or_plain(data: st.DataObject) -> None:
    content = bytearray(
        pickle.dumps({b"data": np.zeros((2, 4), dtype=np.uint8), b"labels": [0, 1]}, protocol=2)
    )
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DataError):
        load_restricted(bytes(content), "x")
