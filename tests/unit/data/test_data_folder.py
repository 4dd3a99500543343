import gzip
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cifarops.data.sources.folder import Place, layout, read_folder
from cifarops.errors import DataError
from tests.support.images import class_files, encoded, noise, write_directory, write_tar, write_zip

Writer = Callable[[Path, dict[str, bytes]], Path]
WRITERS: dict[str, Writer] = {
    "directory": lambda path, files: write_directory(path, files),
    "tar": lambda path, files: write_tar(path, files, "w"),
    "tar.gz": lambda path, files: write_tar(path, files, "w:gz"),
    "zip": write_zip,
}
names = st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=1, max_size=8).filter(
    lambda name: name.casefold() not in {"train", "valid", "val", "test"}
)


@given(
    st.lists(names, min_size=2, max_size=5, unique=True), st.sampled_from(["", "wrapper/", "./", "../../"])
)
def test_class_folders_are_found(classes: list[str], prefix: str) -> None:
    paths = [f"{prefix}{name}/{n}.png" for name in classes for n in range(3)]
    assert layout(paths) == [Place("", name) for name in classes for _ in range(3)]


@given(
    st.lists(names, min_size=1, max_size=4, unique=True),
    st.sets(st.sampled_from(["train", "valid", "val", "test", "Train", "TEST"]), min_size=1),
    st.sampled_from(["", "wrapper/"]),
)
def test_split_folders_are_found(classes: list[str], splits: set[str], prefix: str) -> None:
    paths = [f"{prefix}{split}/{name}/deep/1.png" for split in splits for name in classes]
    wanted = {"val": "valid"}
    expected = [Place(wanted.get(split.lower(), split.lower()), name) for split in splits for name in classes]
    assert layout(paths) == expected


@given(st.lists(st.text(alphabet="ab/.", max_size=12), max_size=10))
def test_any_paths_give_one_place_each(paths: list[str]) -> None:
    places = layout(paths)
    assert len(places) == len(paths)
    assert all(place is None or place.label for place in places)


def test_a_class_may_be_called_train() -> None:
    assert layout(["train/1.png", "bus/1.png"]) == [Place("", "train"), Place("", "bus")]


def test_splits_beside_other_folders_are_refused() -> None:
    with pytest.raises(DataError, match="stand beside others"):
        layout(["train/cat/1.png", "test/cat/1.png", "extra/cat/1.png"])


def test_loose_files_have_no_place() -> None:
    assert layout(["cover.png", "cat/1.png", "dog/1.png"]) == [None, Place("", "cat"), Place("", "dog")]


@pytest.mark.parametrize("kind", WRITERS)
def test_every_container_gives_the_same_images(tmp_path: Path, kind: str) -> None:
    files = class_files()
    raw = read_folder(WRITERS[kind](tmp_path / "images", files), 32)
    assert raw.classes == ("cat", "dog")
    assert list(raw.names) == sorted(files)
    assert np.array_equal(raw.images, noise(24))
    assert raw.labels.tolist() == [0] * 12 + [1] * 12
    assert set(raw.splits) == {""}
    assert not raw.problems
    assert len(raw.source.sha256) == 64


@pytest.mark.parametrize("kind", WRITERS)
def test_splits_and_resizing(tmp_path: Path, kind: str) -> None:
    files = {
        **class_files(prefix="data/train/"),
        **class_files(prefix="data/val/"),
        **class_files(prefix="data/test/"),
    }
    raw = read_folder(WRITERS[kind](tmp_path / "images", files), 16)
    assert raw.images.shape == (72, 16, 16, 3)
    assert sorted(set(raw.splits)) == ["test", "train", "valid"]


@pytest.mark.parametrize("kind", WRITERS)
def test_hidden_and_other_files_are_left_out(tmp_path: Path, kind: str) -> None:
    files = class_files() | {
        ".DS_Store": b"x",
        "cat/._00.png": b"x",
        "__MACOSX/cat/00.png": b"x",
        "README.md": b"x",
        "cat/notes.txt": b"x",
        "loose.png": encoded(noise(1, seed=9)[0]),
    }
    raw = read_folder(WRITERS[kind](tmp_path / "images", files), 32)
    assert len(raw.images) == 24
    assert sorted(problem.name for problem in raw.problems) == ["README.md", "cat/notes.txt", "loose.png"]
    assert {problem.check for problem in raw.problems} == {"ignored"}


@pytest.mark.parametrize("kind", WRITERS)
def test_odd_files_are_told(tmp_path: Path, kind: str) -> None:
    grey = encoded(noise(1, seed=5)[0][..., 0])
    tiny = encoded(np.zeros((1, 1, 3), dtype=np.uint8))
    files = class_files() | {"cat/text.png": b"not an image", "dog/grey.png": grey, "dog/tiny.png": tiny}
    raw = read_folder(WRITERS[kind](tmp_path / "images", files), 32)
    told = {problem.name: problem for problem in raw.problems}
    assert {name: problem.check for name, problem in told.items()} == {
        "cat/text.png": "unreadable",
        "dog/grey.png": "converted",
        "dog/tiny.png": "too_small",
    }
    assert told["cat/text.png"].index is None
    for name in ("dog/grey.png", "dog/tiny.png"):
        assert raw.names[told[name].index or 0] == name


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_nothing_is_written_whatever_the_names(tmp_path: Path, kind: str) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    files = class_files(prefix="../../outside/") | class_files(prefix="/absolute/", seed=1)
    archive = WRITERS[kind](inner / "images", files)
    before = sorted(tmp_path.rglob("*"))
    raw = read_folder(archive, 32)
    assert len(raw.images) == 48
    assert sorted(tmp_path.rglob("*")) == before


def test_links_that_form_a_ring_end(tmp_path: Path) -> None:
    root = write_directory(tmp_path / "images", class_files())
    (root / "cat" / "again").symlink_to(root)
    (root / "loop").symlink_to(root / "loop")
    (root / "cat" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    os.mkfifo(root / "cat" / "pipe.png")
    raw = read_folder(root, 32)
    assert len(raw.images) == 24
    assert {problem.check for problem in raw.problems} == {"ignored"}


def test_linked_folders_are_read(tmp_path: Path) -> None:
    store = write_directory(tmp_path / "store", class_files())
    root = tmp_path / "images"
    root.mkdir()
    (root / "cat").symlink_to(store / "cat")
    (root / "dog").symlink_to(store / "dog")
    assert len(read_folder(root, 32).images) == 24


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"README": b"x"}, "no readable image"),
        ({"cat/1.txt": b"x"}, "no readable image.*not named as a PNG"),
        ({"cat/1.png": b"x", "dog/1.png": b"x"}, "no readable image"),
        (class_files(("cat",)), "only one class, 'cat'"),
    ],
)
@pytest.mark.parametrize("kind", WRITERS)
def test_too_little_is_refused(tmp_path: Path, kind: str, files: dict[str, bytes], message: str) -> None:
    (tmp_path / "images").mkdir() if kind == "directory" else None
    with pytest.raises(DataError, match=message):
        read_folder(WRITERS[kind](tmp_path / "images", files), 32)


@pytest.mark.parametrize("kind", ["tar", "tar.gz", "zip"])
def test_truncated_archives_are_refused(tmp_path: Path, kind: str) -> None:
    path = WRITERS[kind](tmp_path / "images", class_files())
    content = path.read_bytes()
    for share in (0.02, 0.3, 0.5, 0.8):
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(DataError, match=r"truncated|whole"):
            read_folder(path, 32)


def test_a_tar_cut_between_two_files_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "images.tar", {"cat/1.png": b"x" * 512, "dog/1.png": b"y" * 512}, "w")
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(DataError, match="its end is missing"):
        read_folder(path, 32)


def test_gzip_in_several_members_and_padded_is_read(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "images.tar", class_files(), "w")
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content[:5000]) + gzip.compress(content[5000:]) + bytes(1000))
    assert np.array_equal(read_folder(path, 32).images, noise(24))


def test_a_damaged_gzip_is_refused(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "images.tar.gz", class_files())
    content = bytearray(path.read_bytes())
    content[-6] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged"):
        read_folder(path, 32)


def test_other_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.tar.gz"
    path.write_text("<html>404</html>")
    with pytest.raises(DataError, match="neither a directory nor"):
        read_folder(path, 32)


def test_a_class_name_that_is_no_utf8_is_kept_for_validation(tmp_path: Path) -> None:
    root = write_directory(tmp_path / "images", class_files())
    (root / "cat").rename(root / os.fsdecode(b"c\xffat"))
    raw = read_folder(root, 32)
    assert len(raw.images) == 24
    assert not raw.classes[0].isprintable()
