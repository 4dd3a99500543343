import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from cifarops.flow.git import Git
from cifarops.flow.rehearsal.graph import draw
from cifarops.flow.rehearsal.people import identity


@pytest.fixture
def git(tmp_path: Path) -> Git:
    repository = Git(tmp_path, identity("ada"))
    repository("init", "--quiet", "--initial-branch=main")
    for branch, message in (
        ("main", "feat: begin"),
        ("develop", ""),
        ("feature/x", "feat: <b> & more"),
        ("feature/x", "run tests"),
    ):
        if branch != "main":
            repository("switch", "--quiet", *(() if repository.find_commit(branch) else ("-c",)), branch)
        if message:
            repository("commit", "--quiet", "--allow-empty", "-m", message)
    repository("switch", "--quiet", "develop")
    repository("merge", "--quiet", "--no-ff", "--no-edit", "feature/x")
    repository("tag", "-a", "-m", "one", "v1.0.0")
    return repository


def test_every_commit_is_a_dot_in_the_row_of_its_branch(git: Git) -> None:
    picture = ET.fromstring(draw(git, ("main", "release", "develop")))
    texts = {text.text: text.get("y") for text in picture.findall("{*}text")}
    assert list(texts) == ["main", "develop", "feature/x", "v1.0.0"]
    dots = {(dot.findtext("{*}title") or "")[13:]: dot.get("cy") for dot in picture.findall("{*}circle")}
    row = {name: str(int(y or 0) - 4) for name, y in texts.items() if name != "v1.0.0"}
    assert dots == {
        "feat: begin": row["main"],
        "feat: <b> & more": row["feature/x"],
        "run tests": row["feature/x"],
        "Merge branch 'feature/x' into develop": row["develop"],
    }


def test_every_parent_is_a_line_and_what_is_merged_is_dashed(git: Git) -> None:
    paths = re.findall(r"<path [^>]*>", draw(git, ("main", "develop")))
    assert len(paths) == 4
    assert sum("dasharray" in path for path in paths) == 1
