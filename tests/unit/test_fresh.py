from pathlib import Path

import pytest

from cifarops.errors import ConflictError, UsageError
from cifarops.fresh import fresh_folder


def test_it_begins_empty_and_leaves_what_was_made(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "demo"
    for _ in range(2):
        with fresh_folder(folder, maker="demo"):
            assert [path.name for path in folder.iterdir()] == [".cifarops-demo"]
            (folder / "old").mkdir()
            (folder / "old" / "file").write_text("made")
            (folder / "file").write_text("made")
    assert (folder / "file").read_text() == "made"


def test_a_link_is_removed_and_what_it_names_is_not(tmp_path: Path) -> None:
    folder, outside = tmp_path / "demo", tmp_path / "outside"
    outside.mkdir()
    (outside / "thesis.txt").write_text("years of work")
    with fresh_folder(folder, maker="demo"):
        (folder / "link").symlink_to(outside)
    with fresh_folder(folder, maker="demo"):
        assert not (folder / "link").exists()
    assert (outside / "thesis.txt").read_text() == "years of work"


def test_one_at_a_time(tmp_path: Path) -> None:
    with (
        fresh_folder(tmp_path, maker="rehearsal"),
        pytest.raises(ConflictError, match="Another rehearsal runs in"),
        fresh_folder(tmp_path, maker="rehearsal"),
    ):
        pytest.fail("two at once")


def test_what_another_maker_left_is_never_emptied(tmp_path: Path) -> None:
    with fresh_folder(tmp_path, maker="demo"):
        (tmp_path / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(UsageError, match="holds something that no rehearsal made"),
        fresh_folder(tmp_path, maker="rehearsal"),
    ):
        pytest.fail("it was taken")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_who_refuses_before_keeps_everything(tmp_path: Path) -> None:
    def refuse() -> None:
        raise ConflictError("A server still answers.", fix="Stop it.")

    with fresh_folder(tmp_path, maker="demo"):
        (tmp_path / "file").write_text("made")
    with (
        pytest.raises(ConflictError, match="still answers"),
        fresh_folder(tmp_path, maker="demo", before=refuse),
    ):
        pytest.fail("it was taken")
    assert (tmp_path / "file").read_text() == "made"
