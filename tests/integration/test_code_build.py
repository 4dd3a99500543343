"""Code releases from real commits, by real builds."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cifarops.deployment.code import build_code, find_code, open_code, parse_image
from cifarops.errors import IntegrityError, UsageError
from tests.support.releases import checkout, git

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source") / "checkout"
    checkout(folder)
    return folder


@pytest.fixture(scope="module")
def releases(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("releases")
    build_code(source, releases=folder)
    return folder


def builder(source: Path, releases: Path) -> "subprocess.Popen[bytes]":
    program = (
        "import sys; from pathlib import Path; from cifarops.deployment.code import build_code;"
        "build_code(Path(sys.argv[1]), releases=Path(sys.argv[2]))"
    )
    return subprocess.Popen(
        [sys.executable, "-c", program, str(source), str(releases)], start_new_session=True
    )


@pytest.mark.promise("A1")
def test_the_same_commit_gives_the_same_bytes_wherever_and_however_it_is_checked_out(
    source: Path, releases: Path, tmp_path: Path
) -> None:
    built = find_code(releases, commit=git(source, "rev-parse", "HEAD"))
    elsewhere = tmp_path / "a folder elsewhere"
    git(tmp_path, "clone", "--quiet", str(source), str(elsewhere))
    (elsewhere / "build").mkdir()
    (elsewhere / "build" / "junk.py").write_text("raise SystemExit")  # ignored by Git
    before = os.umask(0o077)
    try:
        again = build_code(elsewhere, releases=tmp_path / "releases")
    finally:
        os.umask(before)
    assert again.sha256 == built.sha256 == built.path.name
    assert again.commit == git(source, "rev-parse", "HEAD")
    answer = subprocess.run(
        [
            sys.executable,
            *("-P", "-c", "import cifarops.bundle.code as c; print(c.__file__, c.code_identity().commit)"),
        ],
        env={**os.environ, "PYTHONPATH": str(again.site)},
        cwd=elsewhere / "src",
        capture_output=True,
        text=True,
        check=True,
    )
    file, commit = answer.stdout.rsplit(maxsplit=1)
    assert Path(file).is_relative_to(again.site)
    assert commit == again.commit


def test_another_commit_is_another_release_even_with_the_same_code(source: Path, releases: Path) -> None:
    first = find_code(releases, commit=git(source, "rev-parse", "HEAD"))
    git(source, "commit", "--quiet", "--allow-empty", "--message", "nothing")
    image = parse_image("registry.example.org/a/cifarops:1@sha256:" + "0" * 64)
    second = build_code(source, releases=releases, image=image)
    assert second.sha256 != first.sha256
    assert open_code(second.path).record.image == image
    assert build_code(source, releases=releases).record.image == image


def test_two_builds_at_once_and_one_that_is_killed_leave_one_whole_release(
    source: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "releases"
    killed = builder(source, folder)
    while not list(folder.glob("*/wheels")) and killed.poll() is None:
        time.sleep(0.01)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    both = [builder(source, folder) for _ in range(2)]
    assert [build.wait() for build in both] == [0, 0]
    (only,) = folder.iterdir()
    assert open_code(only).commit == git(source, "rev-parse", "HEAD")


def test_a_release_that_was_altered_is_refused_and_mended_by_building_again(
    source: Path, releases: Path
) -> None:
    code = build_code(source, releases=releases)
    (code.site / "cifarops" / "errors.py").write_text("")
    with pytest.raises(IntegrityError, match=r"cifarops/errors\.py is missing or altered"):
        open_code(code.path)
    assert build_code(source, releases=releases) == open_code(code.path)
    wheel = code.path / code.record.wheel
    wheel.write_bytes(wheel.read_bytes() + b"\0")
    with pytest.raises(IntegrityError, match="does not match the digest"):
        open_code(code.path)


def test_changes_that_no_commit_holds_are_refused(source: Path, tmp_path: Path) -> None:
    new = source / "src" / "cifarops" / "forgotten.py"
    new.write_text("")
    with pytest.raises(UsageError, match=r"changes that no commit holds: src/cifarops/forgotten\.py"):
        build_code(source, releases=tmp_path / "releases")
    new.unlink()
    readme = source / "README.md"
    text = readme.read_text()
    readme.write_text("other")
    with pytest.raises(UsageError, match=r"no commit holds: README\.md"):
        build_code(source, releases=tmp_path / "releases")
    readme.write_text(text)


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a git repository"):
        build_code(tmp_path, releases=tmp_path / "releases")
