import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks.official_layout import write_binary_archive, write_python_archive
from cifarops.data.sources.cifar10 import PYTHON, read_cifar10
from cifarops.data.sources.raw import RawImages
from cifarops.errors import DataError, IntegrityError, UsageError
from tests.support.images import noise, write_tar

CLASSES = tuple("abcdefghij")
IMAGES = noise(60)
LABELS = np.arange(60) % 10
WRITERS = {"python": write_python_archive, "binary": write_binary_archive}


@pytest.fixture(params=WRITERS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    write = WRITERS[request.param]
    return write(tmp_path / "a.tar.gz", (IMAGES[:50], LABELS[:50]), (IMAGES[50:], LABELS[50:]), CLASSES)


def read(
    path: Path | str | None, downloads: Path, size: int = 32, directory_url: str = "http://127.0.0.1:9"
) -> RawImages:
    return read_cifar10(path, size, downloads=downloads, directory_url=directory_url)


def test_both_layouts_are_read(archive: Path, tmp_path: Path) -> None:
    raw = read(archive, tmp_path)
    assert np.array_equal(raw.images, IMAGES)
    assert np.array_equal(raw.labels, LABELS)
    assert raw.splits.tolist() == ["train"] * 50 + ["test"] * 10
    assert raw.classes == CLASSES
    assert raw.names[50] == "test_batch[0]"


def test_a_copy_that_is_not_the_official_one_is_told(archive: Path, tmp_path: Path) -> None:
    raw = read(archive, tmp_path)
    assert raw.source.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert raw.source.name == "a.tar.gz"
    assert [problem.check for problem in raw.problems] == ["checksum"]


def test_other_sizes_are_scaled(archive: Path, tmp_path: Path) -> None:
    assert read(archive, tmp_path, size=48).images.shape == (60, 48, 48, 3)


def test_a_mirror_on_disk_must_be_official(archive: Path, tmp_path: Path) -> None:
    archive.rename(tmp_path / PYTHON)
    for directory in (str(tmp_path), tmp_path.as_uri() + "/"):
        with pytest.raises(IntegrityError, match="not that of an official archive"):
            read(None, tmp_path / "downloads", directory_url=directory)


def test_a_missing_mirror_and_a_wrong_name_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="There is no"):
        read(None, tmp_path, directory_url=str(tmp_path / "nowhere"))
    with pytest.raises(UsageError, match="only http, https and file"):
        read(None, tmp_path, directory_url="ftp://images.example")
    with pytest.raises(UsageError, match="does not name a CIFAR-10 archive"):
        read("http://127.0.0.1:9/cifar-100.tar.gz", tmp_path)
    with pytest.raises(UsageError, match="is not a file"):
        read(tmp_path, tmp_path)


def test_every_truncation_is_refused(archive: Path, tmp_path: Path) -> None:
    content = archive.read_bytes()
    for share in (0.0, 0.001, 0.2, 0.7, 0.99):
        archive.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match="truncated or damaged"):
            read(archive, tmp_path)


def test_a_flipped_bit_is_refused(archive: Path, tmp_path: Path) -> None:
    content = bytearray(archive.read_bytes())
    content[-5] ^= 1
    archive.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        read(archive, tmp_path)


def changed(path: Path, change: Callable[[dict[str, bytes]], object]) -> Path:
    import io
    import tarfile

    files = {}
    with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
        for info in archive:
            member = archive.extractfile(info)
            assert member is not None
            files[info.name] = member.read()
    change(files)
    return write_tar(path, files)


def member(files: dict[str, bytes], stem: str) -> str:
    return next(name for name in files if name.split("/")[1].split(".")[0:1] == [stem])


@pytest.mark.parametrize("stem", ["data_batch_3", "test_batch", "batches"])
def test_a_missing_member_is_named(archive: Path, tmp_path: Path, stem: str) -> None:
    changed(archive, lambda files: files.pop(member(files, stem)))
    with pytest.raises(DataError, match=f"not laid out.*{stem}"):
        read(archive, tmp_path)


@pytest.mark.parametrize("content", [b"", b"\x00" * 3072, b"\x80\x02}.", b"garbage"])
def test_a_wrong_batch_is_refused(archive: Path, tmp_path: Path, content: bytes) -> None:
    changed(archive, lambda files: files.update({member(files, "data_batch_3"): content}))
    with pytest.raises(DataError, match="CIFAR-10"):
        read(archive, tmp_path)


def test_labels_without_a_class_are_refused(tmp_path: Path) -> None:
    for write in WRITERS.values():
        path = write(
            tmp_path / "a.tar.gz", (IMAGES[:50], LABELS[:50]), (IMAGES[50:], LABELS[50:]), CLASSES[:9]
        )
        with pytest.raises(DataError, match="9 class names"):
            read(path, tmp_path)


@pytest.mark.parametrize("content", [b"", b"<html>", gzip.compress(b"<html>", mtime=0)])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / PYTHON
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or damaged"):
        read(path, tmp_path)
