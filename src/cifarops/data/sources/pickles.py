"""Reading the pickles of the official CIFAR-10 archive without running what is in them.

A pickle is a small program. This reader knows the few instructions that build numbers, text, bytes, lists, tuples,
dicts and numpy arrays of bytes, and refuses every other; no name in the file is ever imported or called, and numpy sees
no state that the file made up.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cifarops.errors import DataError

_RECONSTRUCT = frozenset({"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"})
_NDARRAY, _DTYPE, _ENCODE = "numpy ndarray", "numpy dtype", "_codecs encode"
_NAMES = _RECONSTRUCT | {_NDARRAY, _DTYPE, _ENCODE}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_T = TypeVar("_T")
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def load_restricted(content: bytes, where: str) -> Any:
    """Read a pickle of bytes, text, whole numbers, lists, tuples, dicts and uint8 arrays.

    Args:
        content: The pickle's bytes, of protocol 2 or later.
        where: The file's name, for the message.

    Raises:
        DataError: It is damaged, or holds or does anything else.
    """
    try:
        return _Machine().run(content)
    except (_Refused, ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise DataError(
            f"{where} is not a CIFAR-10 batch: {type(error).__name__.strip('_')}: {error}.",
            fix="Fetch the archive again from the official address and compare its checksum.",
        ) from error


class _Refused(Exception):  # noqa: N818 - shown to people as "Refused: …"
    """An instruction or a value that has no place in such a file."""


@dataclass(frozen=True)
class _Name:
    """The name of something in a module; never the thing itself."""

    text: str


@dataclass
class _Array:
    """A uint8 array under construction, or, with `is_type`, the note that its elements are uint8."""

    is_type: bool
    value: NDArray[np.uint8] | None = None


_MARK = _Name("mark")


class _Machine:
    """Runs the permitted instructions on a stack."""

    def __init__(self) -> None:
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for instruction, argument, _ in pickletools.genops(content):
            if instruction.name == "STOP":
                return _value(self._stack.pop())
            self._step(instruction.name, argument)
        raise _Refused("it has no end")

    def _step(self, name: str, argument: Any) -> None:
        stack = self._stack
        match name:
            case "PROTO" | "FRAME":
                pass
            case "BININT" | "BININT1" | "BININT2" | "LONG1":
                stack.append(argument)
            case (
                "BINUNICODE"
                | "SHORT_BINUNICODE"
                | "BINUNICODE8"
                | "BINBYTES"
                | "SHORT_BINBYTES"
                | "BINBYTES8"
            ):
                stack.append(argument)
            case "BINSTRING" | "SHORT_BINSTRING":  # bytes, as Python 2 wrote them
                stack.append(argument.encode("latin-1"))
            case "NONE" | "NEWTRUE" | "NEWFALSE":
                stack.append(_CONSTANTS[name])
            case "MARK":
                stack.append(_MARK)
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_DICT":
                stack.append({})
            case "EMPTY_TUPLE" | "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(self._take(_TUPLES[name])))
            case "TUPLE":
                stack.append(tuple(self._take_marked()))
            case "APPEND" | "APPENDS":
                items = self._take(1) if name == "APPEND" else self._take_marked()
                _expect(stack[-1], list).extend(map(_value, items))
            case "SETITEM" | "SETITEMS":
                items = self._take(2) if name == "SETITEM" else self._take_marked()
                _expect(stack[-1], dict).update(_entries(items))
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(self._memo[argument])
            case "GLOBAL":
                stack.append(_name(argument))
            case "STACK_GLOBAL":
                stack.append(_name(" ".join(_expect(part, str) for part in self._take(2))))
            case "REDUCE":
                called, arguments = self._take(2)
                stack.append(_construct(_expect(called, _Name).text, _expect(arguments, tuple)))
            case "BUILD":
                built, state = self._take(2)
                stack.append(_fill(_expect(built, _Array), _expect(state, tuple)))
            case _:
                raise _Refused(f"the instruction {name} is not permitted")

    def _take(self, count: int) -> list[Any]:
        if count > len(self._stack):
            raise _Refused("it takes more than it has")
        taken = self._stack[len(self._stack) - count :]
        del self._stack[len(self._stack) - count :]
        return taken

    def _take_marked(self) -> list[Any]:
        for distance, item in enumerate(reversed(self._stack)):
            if item is _MARK:
                taken = self._take(distance)
                self._stack.pop()
                return taken
        raise _Refused("a mark is missing")


def _name(text: str) -> _Name:
    if text not in _NAMES:
        raise _Refused(f"it asks for {text.replace(' ', '.', 1)!r}, which is not permitted")
    return _Name(text)


def _construct(called: str, arguments: tuple[Any, ...]) -> Any:
    """Do what the call of a permitted name would do."""
    if called in _RECONSTRUCT:
        return _Array(is_type=False)
    if called == _DTYPE and arguments[0] in ("u1", b"u1"):
        return _Array(is_type=True)
    if called == _ENCODE and arguments[1:] == ("latin1",):  # how Python 3 writes bytes for Python 2
        return _expect(arguments[0], str).encode("latin-1")
    raise _Refused(f"the call of {called.replace(' ', '.', 1)} is not permitted")


def _fill(array: _Array, state: tuple[Any, ...]) -> _Array:
    """Give an array its shape and bytes; what says how a uint8 is stored says nothing new."""
    if array.is_type:
        return array
    _, shape, kind, by_columns, content = state
    if not _expect(kind, _Array).is_type:
        raise _Refused("an array's elements have no type")
    sizes = tuple(_expect(size, int) for size in _expect(shape, tuple))
    if min(sizes, default=0) < 0 or prod(sizes) != len(_expect(content, bytes)):
        raise _Refused(f"an array of shape {sizes} has {len(content):,} bytes")
    array.value = np.frombuffer(content, dtype=np.uint8).reshape(sizes, order="F" if by_columns else "C")
    return array


def _entries(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    for key, value in zip(items[::2], items[1::2], strict=True):
        if not isinstance(key, str | bytes | int):
            raise _Refused("a key is neither text nor a number")
        yield key, _value(value)


def _value(item: Any) -> Any:
    """Return a finished value: an array's pixels for an array, and nothing that only building needs."""
    if isinstance(item, _Array) and item.value is not None:
        return item.value
    if isinstance(item, _Array | _Name):
        raise _Refused("something unfinished stands where a value should")
    return item


def _expect(item: Any, kind: type[_T]) -> _T:
    if not isinstance(item, kind):
        raise _Refused(f"{kind.__name__.strip('_')} expected, {type(item).__name__.strip('_')} found")
    return item
