"""The `cifar10` source: the official archives of A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html.

Read in one pass straight from the tar.gz: `cifar-10-python.tar.gz` (pickled batches, read by a restricted unpickler) or
`cifar-10-binary.tar.gz` (records of one label byte and 3,072 pixel bytes).
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cifarops.data.preprocess import fit_pixels
from cifarops.data.snapshot import SourceInfo
from cifarops.data.sources.download import download
from cifarops.data.sources.pickles import load_restricted
from cifarops.data.sources.raw import Problem, RawImages
from cifarops.data.sources.streams import HashingReader, tar_stream
from cifarops.errors import DataError, IntegrityError, UsageError
from cifarops.progress import Progress, silent

PYTHON, BINARY = "cifar-10-python.tar.gz", "cifar-10-binary.tar.gz"
OFFICIAL_MD5 = {PYTHON: "c58f30108f718f92721af3b95e74349a", BINARY: "c32a1d4ab5d03f1284b67883e8d87530"}
SIZE = 32
_PIXELS = SIZE * SIZE * 3
_BATCHES = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")
_META = ("batches.meta", "batches.meta.txt")
_MAX_MEMBER_BYTES = 2**28
_REMEDY = (
    "Name a local copy with --from PATH, or a mirror with CIFAROPS_CIFAR10_URL, or draw images instead with"
    " --source synthetic."
)


def read_cifar10(
    origin: str | Path | None,
    size: int = SIZE,
    *,
    downloads: Path,
    directory_url: str,
    progress: Progress = silent,
) -> RawImages:
    """Read CIFAR-10 from a local archive, an address, or the official site.

    An archive that comes from an address must have the official checksum. A local one named by `origin` may differ;
    that is reported as a finding, and its layout must still be right.

    Args:
        origin: A local archive (path), or an archive's URL, or None for the python archive in `directory_url`.
        size: Height and width in pixels that every image is brought to.
        downloads: Where fetched archives are kept.
        directory_url: Directory of the official archives: http, https or file URL, or a local directory.
        progress: Told how far it is.

    Raises:
        UsageError: A URL doesn't name one of the two archives.
        UnavailableError: It can't be fetched.
        IntegrityError: What was fetched isn't the official archive.
        DataError: It is damaged, or not laid out as CIFAR-10 is.
    """
    if isinstance(origin, Path):
        return read_archive(origin, size, must_be_official=False, progress=progress)
    url = origin or f"{directory_url.rstrip('/')}/{PYTHON}"
    name = PurePosixPath(urlsplit(url).path).name
    if name not in OFFICIAL_MD5:
        raise UsageError(
            f"{url} does not name a CIFAR-10 archive.", fix=f"It must end in {PYTHON} or {BINARY}."
        )
    local = _local_path(url)
    if local is None:
        local = download(url, downloads / name, md5=OFFICIAL_MD5[name], remedy=_REMEDY, progress=progress)
    elif not local.is_file():
        raise UsageError(f"There is no {local}.", fix=_REMEDY)
    return read_archive(local, size, must_be_official=True, progress=progress)


def read_archive(path: Path, size: int, *, must_be_official: bool, progress: Progress = silent) -> RawImages:
    """Read one of the two archives; see `read_cifar10`."""
    if not path.is_file():
        raise UsageError(f"{path} is not a file.", fix=f"Name the archive itself: {PYTHON} or {BINARY}.")
    files, hashes = _read_members(path, progress)
    is_official = hashes.md5 in OFFICIAL_MD5.values()
    if must_be_official and not is_official:
        raise IntegrityError(
            f"{path} has the MD5 {hashes.md5}, which is not that of an official archive.",
            fix=f"Delete it and run this again, or name it explicitly with --from if it is meant. {_REMEDY}",
        )
    classes = _class_names(files, path)
    batches = [_read_batch(files, stem, len(classes), path) for stem in _BATCHES]
    counts = [len(batch.labels) for batch in batches]
    return RawImages(
        images=_resized(_gather(batches), size),
        labels=np.concatenate([batch.labels for batch in batches]),
        names=[f"{stem}[{n}]" for stem, count in zip(_BATCHES, counts, strict=True) for n in range(count)],
        splits=np.repeat(["train"] * 5 + ["test"], counts),
        classes=classes,
        source=SourceInfo(
            kind="cifar10", name="CIFAR-10" if is_official else path.name, sha256=hashes.sha256
        ),
        problems=() if is_official else (Problem("checksum", path.name, f"MD5 {hashes.md5}"),),
    )


@dataclass(frozen=True)
class _Batch:
    """As stored: the red, then the green, then the blue plane of each image, uint8 (N, 3072), and labels (N,)."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]


def _local_path(url: str) -> Path | None:
    parts = urlsplit(url)
    if parts.scheme in ("http", "https"):
        return None
    if "://" in url and parts.scheme != "file":
        raise UsageError(f"{url} can't be fetched: only http, https and file addresses can.", fix=_REMEDY)
    return Path(unquote(parts.path) if parts.scheme == "file" else url)


def _read_members(path: Path, progress: Progress) -> tuple[dict[str, bytes], HashingReader]:
    """Read the batches and names, by file name: {"data_batch_1": …} or {"data_batch_1.bin": …}."""
    wanted = {*_BATCHES, *(f"{stem}.bin" for stem in _BATCHES), *_META}
    files: dict[str, bytes] = {}
    with path.open("rb") as file:
        raw = HashingReader(file, path, progress)
        with tar_stream(raw, path) as archive:
            for info in archive:
                name = PurePosixPath(info.name).name
                if name in wanted and info.isreg():
                    if name in files or info.size > _MAX_MEMBER_BYTES:
                        raise _wrong_layout(path, f"{info.name} is there twice, or too large")
                    member = archive.extractfile(info)
                    files[name] = member.read() if member else b""
    return files, raw


def _class_names(files: dict[str, bytes], path: Path) -> tuple[str, ...]:
    if _META[0] in files:
        meta = load_restricted(files[_META[0]], _META[0])
        names = _entry(meta, "label_names", _META[0], path)
        if not isinstance(names, list) or not all(isinstance(name, bytes | str) for name in names):
            raise _wrong_layout(path, f"label_names in {_META[0]} is not a list of names")
        return tuple(name if isinstance(name, str) else name.decode("ascii", "replace") for name in names)
    if _META[1] in files:
        return tuple(files[_META[1]].decode("ascii", "replace").split())
    raise _wrong_layout(path, f"it has neither {_META[0]} nor {_META[1]}")


def _read_batch(files: dict[str, bytes], stem: str, classes: int, path: Path) -> _Batch:
    """Take a batch out of `files`, so that its memory is given back."""
    if f"{stem}.bin" in files:
        pixels, labels = _parse_binary(files.pop(f"{stem}.bin"), stem, path)
    elif stem in files:
        pixels, labels = _parse_pickle(files.pop(stem), stem, path)
    else:
        raise _wrong_layout(path, f"it has no {stem}")
    if not len(labels) or len(labels) != len(pixels) or labels.min() < 0 or labels.max() >= classes:
        raise _wrong_layout(path, f"the labels of {stem} don't fit its images or the {classes} class names")
    return _Batch(pixels, labels)


def _parse_binary(content: bytes, stem: str, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    if len(content) % (_PIXELS + 1):
        raise _wrong_layout(path, f"{stem}.bin is not a whole number of records of {_PIXELS + 1} bytes")
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, _PIXELS + 1)
    return records[:, 1:], records[:, 0].astype(np.int64)


def _parse_pickle(content: bytes, stem: str, path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    batch = load_restricted(content, stem)
    pixels, labels = _entry(batch, "data", stem, path), _entry(batch, "labels", stem, path)
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 2 or pixels.shape[1] != _PIXELS:
        raise _wrong_layout(path, f"the data of {stem} is not an array of {_PIXELS} bytes an image")
    if not isinstance(labels, list) or not all(
        isinstance(label, int) and 0 <= label < 256 for label in labels
    ):
        raise _wrong_layout(path, f"the labels of {stem} are not a list of small whole numbers")
    return pixels, np.array(labels, dtype=np.int64)


def _entry(document: object, key: str, where: str, path: Path) -> object:
    """Look a key up that Python 2 wrote as bytes and Python 3 as text."""
    if isinstance(document, dict):
        for spelling in (key.encode(), key):
            if spelling in document:
                return document[spelling]
    raise _wrong_layout(path, f"{where} has no {key!r}")


def _gather(batches: list[_Batch]) -> NDArray[np.uint8]:
    """Turn planes into pixels: uint8 (N, 32, 32, 3)."""
    images = np.empty((sum(len(batch.labels) for batch in batches), SIZE, SIZE, 3), dtype=np.uint8)
    start = 0
    for batch in batches:
        planes = batch.pixels.reshape(-1, 3, SIZE, SIZE)
        images[start : start + len(planes)] = planes.transpose(0, 2, 3, 1)
        start += len(planes)
    return images


def _resized(images: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    if size == SIZE:
        return images
    resized = np.empty((len(images), size, size, 3), dtype=np.uint8)
    for target, image in zip(resized, images, strict=True):
        target[:] = fit_pixels(Image.fromarray(image), size)
    return resized


def _wrong_layout(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} is not laid out as CIFAR-10 is: {what}.",
        fix=f"Give the official {PYTHON} or {BINARY}; for other images use --source folder.",
    )
