"""Writes the official CIFAR-10 archive layout from other images, byte by byte as the original was written."""

import io
import struct
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")


def write_python_archive(
    path: Path, train: tuple[Images, Labels], test: tuple[Images, Labels], classes: Sequence[str]
) -> Path:
    """Write `cifar-10-python.tar.gz`: five training batches and a test batch, pickled as Python 2 did.

    Args:
        path: The archive to write.
        train: Images uint8 (N, 32, 32, 3) and labels; N must be divisible by five.
        test: Images and labels.
        classes: Class names.
    """
    meta = b"\x80\x02}q\x01(" + _text("num_cases_per_batch") + _number(len(train[1]) // 5)
    meta += _text("label_names") + _list(_text(name) for name in classes)
    meta += _text("num_vis") + _number(3072) + b"u."
    files = {"batches.meta": meta, "readme.html": b"<html></html>\n"}
    for stem, (images, labels) in zip(_BATCHES, [*_fifths(train), test], strict=True):
        files[stem] = _batch(stem, images, labels)
    return _write_tar(path, "cifar-10-batches-py", files)


def write_binary_archive(
    path: Path, train: tuple[Images, Labels], test: tuple[Images, Labels], classes: Sequence[str]
) -> Path:
    """Write `cifar-10-binary.tar.gz`: records of a label byte and 3,072 pixel bytes."""
    files = {"batches.meta.txt": ("\n".join(classes) + "\n\n").encode()}
    for stem, (images, labels) in zip(_BATCHES, [*_fifths(train), test], strict=True):
        files[f"{stem}.bin"] = np.hstack([labels[:, None].astype(np.uint8), _planes(images)]).tobytes()
    return _write_tar(path, "cifar-10-batches-bin", files)


def _fifths(train: tuple[Images, Labels]) -> list[tuple[Images, Labels]]:
    return list(zip(np.split(train[0], 5), np.split(train[1], 5), strict=True))


def _planes(images: Images) -> Images:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def _batch(stem: str, images: Images, labels: Labels) -> bytes:
    pixels = _planes(images)
    array = b"cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85U\x01b\x87R"
    array += b"(K\x01" + _number(pixels.shape[0]) + _number(pixels.shape[1]) + b"\x86"
    array += b"cnumpy\ndtype\nq\x04U\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    array += b"T" + struct.pack("<i", pixels.size) + pixels.tobytes() + b"tb"
    return b"".join(
        [
            b"\x80\x02}q\x01(",
            _text("batch_label") + _text(stem),
            _text("labels") + _list(_number(int(label)) for label in labels),
            _text("data") + array,
            _text("filenames") + _list(_text(f"{stem}_{number:05}.png") for number in range(len(labels))),
            b"u.",
        ]
    )


def _text(text: str) -> bytes:
    return b"U" + bytes([len(text)]) + text.encode()


def _number(value: int) -> bytes:
    return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)


def _list(items: Iterable[bytes]) -> bytes:
    return b"](" + b"".join(items) + b"e"


def _write_tar(path: Path, folder: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=6) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"{folder}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path
