import io
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from cifarops.errors import DataError
from cifarops.progress import silent
from cifarops.scoring.images import Image, read_images, stamp
from tests.support.bundles import colour_image

FILES = {"a/1.png": colour_image("red"), "a/2.JPG": colour_image("blue", kind="JPEG"), "b.webp": b"not one"}


def in_folder(root: Path) -> Path:
    for name, content in {**FILES, "notes.txt": b"", ".hidden.png": b""}.items():
        (root / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "in" / name).write_bytes(content)
    return root / "in"


def in_tar(root: Path) -> Path:
    with tarfile.open(root / "in.tar.gz", "w:gz") as archive:
        for name, content in {**FILES, "notes.txt": b""}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return root / "in.tar.gz"


def in_zip(root: Path) -> Path:
    with zipfile.ZipFile(root / "in.zip", "w") as archive:
        for name, content in FILES.items():
            archive.writestr(name, content)
    return root / "in.zip"


def in_parquet(root: Path, **columns: Any) -> Path:
    table = columns or {"image": [{"bytes": content, "path": name} for name, content in FILES.items()]}
    parquet.write_table(pyarrow.table({**table, "label": list(range(len(FILES)))}), root / "in.parquet")
    return root / "in.parquet"


@pytest.mark.parametrize("put", [in_folder, in_tar, in_zip, in_parquet])
def test_every_kind_of_input_gives_the_same_images_each_time(
    tmp_path: Path, put: Callable[[Path], Path]
) -> None:
    origin = put(tmp_path)
    expected = [Image(name, content) for name, content in FILES.items()]
    assert list(read_images(origin, silent)) == list(read_images(origin, silent)) == expected


def test_rows_without_a_path_are_numbered_and_empty_ones_say_so(tmp_path: Path) -> None:
    origin = in_parquet(tmp_path, picture=[FILES["b.webp"], None, b""])
    assert list(read_images(origin, silent)) == [
        Image("row 0", FILES["b.webp"]),
        Image("row 1", None, "the row holds no bytes"),
        Image("row 2", b"", "the row holds no bytes"),
    ]


def test_rows_are_numbered_through(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"image": [b"x"] * 700}), tmp_path / "long.parquet", row_group_size=300)
    names = [image.name for image in read_images(tmp_path / "long.parquet", silent)]
    assert names == [f"row {number}" for number in range(700)]


def test_a_table_must_say_by_itself_where_the_images_are(tmp_path: Path) -> None:
    for columns, found in (
        ({"text": ["x"] * 3}, "no columns"),
        ({"a": [b"x"] * 3, "b": [b"y"] * 3}, "2 columns of image files: a, b"),
    ):
        with pytest.raises(DataError, match=found):
            list(read_images(in_parquet(tmp_path, **columns), silent))


def test_what_holds_no_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="There is no"):
        list(read_images(tmp_path / "missing", silent))
    (tmp_path / "text").write_text("PAR0")
    with pytest.raises(DataError, match="neither a directory"):
        list(read_images(tmp_path / "text", silent))
    (tmp_path / "half.parquet").write_bytes(in_parquet(tmp_path).read_bytes()[:-50])
    with pytest.raises(DataError, match="no whole Parquet file"):
        list(read_images(tmp_path / "half.parquet", silent))


@pytest.mark.parametrize("put", [in_folder, in_tar])
def test_the_stamp_changes_with_the_images(tmp_path: Path, put: Callable[[Path], Path]) -> None:
    origin = put(tmp_path)
    before = stamp(origin)
    assert stamp(origin) == before
    changed = origin / "a/1.png" if origin.is_dir() else origin
    changed.write_bytes(changed.read_bytes() + b"\0")
    assert stamp(origin) != before
