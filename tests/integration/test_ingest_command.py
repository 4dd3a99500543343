"""`cifarops data` as people run it: real processes, real files, real signals, a really full disk."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from benchmarks.official_layout import write_python_archive
from cifarops.data.snapshot import list_snapshots
from cifarops.machine import usable_cores
from tests.support.images import class_files, encoded, noise, write_directory, write_tar

pytestmark = pytest.mark.integration

COMMAND = [str(Path(sys.executable).with_name("cifarops")), "data"]
CLOSED_PORT = "http://127.0.0.1:9/"
PATIENCE = 120.0


class Cli:
    """Runs commands in one workspace."""

    def __init__(self, workspace: Path) -> None:
        self.workspace = workspace
        self.environment = {
            **os.environ,
            "CIFAROPS_CIFAR10_URL": CLOSED_PORT,
            "CIFAROPS_WORKSPACE": str(workspace),
        }

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **options,
        )

    def run(self, *arguments: object, code: int = 0, **options: Any) -> subprocess.CompletedProcess[str]:
        with self.start(*arguments, **options) as process:
            out, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, err
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def ingest(self, *arguments: object, **options: Any) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.run("ingest", "--json", *arguments, **options).stdout)
        return document

    def refuses(self, *arguments: object, code: int = 1, **options: Any) -> str:
        """Run something that must fail: with one message and a remedy, and nothing half-written."""
        err = self.run("ingest", *arguments, code=code, **options).stderr
        assert "Traceback" not in err
        assert err.count("error:") == 1
        assert "do:" in err
        assert self.leftovers() == []
        return " ".join(err.split())

    def leftovers(self) -> list[str]:
        return [str(path) for path in self.workspace.rglob("*.tmp-*")]


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    return Cli(tmp_path / "workspace")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_directory(tmp_path / "pets", class_files(each=40))


@pytest.mark.promise("S2")
def test_ingest_list_show_verify(cli: Cli, folder: Path, tmp_path: Path) -> None:
    pointer = tmp_path / "out" / "snapshot.json"
    first = cli.ingest("--source", "folder", "--from", folder, "--out", pointer)
    assert first["cached"] is False
    assert first["counts"] == {"train": 62, "valid": 6, "test": 12}
    assert json.loads(pointer.read_text()) == {"snapshot": first["snapshot"]}
    second = cli.ingest("--source", "folder", "--from", folder, "--out", pointer)
    assert (second["cached"], second["snapshot"]) == (True, first["snapshot"])

    listed = json.loads(cli.run("list", "--json").stdout)
    assert [entry["snapshot"] for entry in listed] == [first["snapshot"]]
    shown = json.loads(cli.run("show", first["snapshot"], "--json").stdout)
    assert shown["classes"] == ["cat", "dog"]
    assert shown["preprocessing"]["size"] == 32
    assert "cat" in cli.run("show", first["snapshot"][:5]).stdout
    assert "intact" in cli.run("verify", first["snapshot"]).stdout
    array = cli.workspace / "snapshots" / first["snapshot"] / "train.images.npy"
    array.write_bytes(array.read_bytes()[:-1] + b"x")
    assert "train.images.npy" in cli.run("verify", first["snapshot"], code=1).stderr


def test_a_changed_folder_is_read_again(cli: Cli, folder: Path) -> None:
    first = cli.ingest("--source", "folder", "--from", folder)
    (folder / "cat" / "new.png").write_bytes(encoded(noise(1, seed=7)[0]))
    second = cli.ingest("--source", "folder", "--from", folder)
    assert second["cached"] is False
    assert second["snapshot"] != first["snapshot"]


def test_a_deleted_snapshot_is_made_again(cli: Cli, folder: Path) -> None:
    first = cli.ingest("--source", "folder", "--from", folder)
    path = cli.workspace / "snapshots" / first["snapshot"]
    (path / "snapshot.json").unlink()
    assert "deleted its snapshot.json" in cli.refuses("--source", "folder", "--from", folder)
    shutil.rmtree(path)
    second = cli.ingest("--source", "folder", "--from", folder)
    assert (second["cached"], second["snapshot"]) == (False, first["snapshot"])
    cli.run("verify", first["snapshot"])


def test_identical_input_gives_identical_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("first", "second"):
        cli = Cli(tmp_path / name)
        cli.ingest("--profile", "smoke")
        files = sorted((cli.workspace / "snapshots").rglob("*.*"))
        contents.append([(str(f.relative_to(cli.workspace)), f.read_bytes()) for f in files if f.is_file()])
    assert contents[0] == contents[1]
    assert len(contents[0]) == 7


def test_odd_images_are_dropped_and_told(cli: Cli, folder: Path) -> None:
    write_directory(folder, class_files(each=60, seed=5, prefix=""))
    (folder / "cat" / "text.png").write_text("this is no image")
    (folder / "dog" / "pixel.png").write_bytes(encoded(np.zeros((1, 1, 3), dtype=np.uint8)))
    Image.new("1", (10_001, 10_000)).save(folder / "dog" / "huge.png")
    told = cli.ingest("--source", "folder", "--from", folder, code=1)
    assert "3 of 123 images would be left out" in told["error"]

    write_directory(folder, class_files(("cat", "dog"), each=160, seed=6))
    document = cli.ingest("--source", "folder", "--from", folder)
    findings = {finding["check"]: finding for finding in document["findings"]}
    assert set(findings) == {"unreadable", "too_small"}
    assert "10001 × 10000 pixels" in str(findings["unreadable"]["examples"])
    assert sum(document["counts"].values()) == 320


def test_bad_origins_are_refused_with_a_remedy(cli: Cli, tmp_path: Path, folder: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    one_class = write_directory(tmp_path / "one", class_files(("cat",)))
    truncated = write_tar(tmp_path / "cut.tar.gz", class_files())
    truncated.write_bytes(truncated.read_bytes()[:-2000])
    page = tmp_path / "page.zip"
    page.write_text("<html>404</html>")
    given = ("--source", "folder", "--from")
    assert "There is no" in cli.refuses(*given, tmp_path / "nowhere", code=2)
    assert "--from PATH" in cli.refuses("--source", "folder", code=2)
    assert "no readable image" in cli.refuses(*given, empty)
    assert "only one class" in cli.refuses(*given, one_class)
    assert "truncated" in cli.refuses(*given, truncated)
    assert "neither a directory nor" in cli.refuses(*given, page)
    assert "reads nothing" in cli.refuses("--source", "synthetic", "--from", folder, code=2)
    assert "reads local files" in cli.refuses(*given, "https://127.0.0.1/x.zip", code=2)
    assert cli.ingest(*given, folder)["cached"] is False


def test_cifar10_without_network_or_with_a_wrong_archive(cli: Cli, tmp_path: Path) -> None:
    message = cli.refuses("--source", "cifar10")
    assert "127.0.0.1" in message
    assert "--from PATH" in message
    images, labels = noise(300), np.arange(300) % 10
    path = tmp_path / "cifar-10-python.tar.gz"
    write_python_archive(path, (images[:250], labels[:250]), (images[250:], labels[250:]), "abcdefghij")
    cli.environment["CIFAROPS_CIFAR10_URL"] = tmp_path.as_uri()
    assert "not that of an official archive" in cli.refuses("--source", "cifar10")
    document = cli.ingest("--source", "cifar10", "--from", path)
    assert [finding["check"] for finding in document["findings"]] == ["checksum"]
    assert document["counts"]["test"] == 50


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system can't be mounted here")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_told_and_room_mends_it(small_disk: Path) -> None:
    cli = Cli(small_disk / "workspace")
    assert "disk is full" in cli.refuses("--profile", "smoke")
    assert list_snapshots(cli.workspace / "snapshots") == []
    subprocess.run(["mount", "-o", "remount,size=50m", small_disk], check=True)
    assert cli.ingest("--profile", "smoke")["cached"] is False


def test_a_file_size_limit_is_told_and_lifting_it_mends_it(cli: Cli) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    assert "disk is full" in cli.refuses("--profile", "smoke", preexec_fn=limit)
    assert list_snapshots(cli.workspace / "snapshots") == []
    assert cli.ingest("--profile", "smoke")["cached"] is False


@pytest.fixture
def long_work(tmp_path: Path) -> Sequence[object]:
    """Arguments of an ingestion that decodes for long on all processors: many names for a few large images."""
    root = write_directory(tmp_path / "large", class_files(each=2, size=1200))
    for name in ("cat", "dog"):
        for n in range(400):
            (root / name / f"copy{n}.png").hardlink_to(root / name / f"0{n % 2}.png")
    return ("--source", "folder", "--from", root)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def wait_for_workers(process: subprocess.Popen[str]) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        workers = children(process.pid)
        if len(workers) >= min(2, usable_cores()):
            return workers
        time.sleep(0.01)
    pytest.fail("no worker was started")


def has_ended(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def all_end(pids: list[int]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if all(has_ended(pid) for pid in pids):
            return True
        time.sleep(0.05)
    return False


needs_two = pytest.mark.skipif(usable_cores() < 2, reason="with one processor there are no workers")


@needs_two
def test_ctrl_c_ends_everything(cli: Cli, long_work: Sequence[object]) -> None:
    with cli.start("ingest", *long_work, start_new_session=True) as process:
        workers = wait_for_workers(process)
        time.sleep(0.3)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert "Interrupted" in err
    assert "Traceback" not in err
    assert all_end(workers)
    assert cli.leftovers() == []
    assert list_snapshots(cli.workspace / "snapshots") == []


@needs_two
def test_workers_do_not_outlive_a_killed_parent(cli: Cli, long_work: Sequence[object]) -> None:
    with cli.start("ingest", *long_work) as process:
        workers = wait_for_workers(process)
        process.kill()
    assert all_end(workers)


def test_kill_at_any_moment_leaves_nothing_broken(cli: Cli) -> None:
    root = cli.workspace / "snapshots"
    started = time.monotonic()
    Cli(cli.workspace.with_name("timing")).ingest("--profile", "smoke")
    whole = time.monotonic() - started
    for share in (0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0):
        with cli.start("ingest", "--profile", "smoke") as process:
            try:
                process.communicate(timeout=whole * share)
            except subprocess.TimeoutExpired:
                process.kill()
        for snapshot in list_snapshots(root):
            snapshot.verify()
        assert all((path / "snapshot.json").is_file() for path in root.glob("[!.]*"))
    document = cli.ingest("--profile", "smoke")
    cli.run("verify", document["snapshot"])
    assert cli.ingest("--profile", "smoke")["cached"] is True


def test_leftovers_of_the_dead_are_swept(cli: Cli) -> None:
    root = cli.workspace / "snapshots"
    with cli.start("list") as dead:
        dead.communicate()
    leftover = root / f".tmp-{dead.pid}-abcdef-dir"
    leftover.mkdir(parents=True)
    (leftover / "train.images.npy").write_bytes(b"half")
    document = cli.ingest("--profile", "smoke")
    assert [path.name for path in root.iterdir()] == [document["snapshot"]]


def test_two_at_once_give_one_snapshot(cli: Cli) -> None:
    both = [cli.start("ingest", "--json", "--profile", "smoke") for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=PATIENCE)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert answers[0]["snapshot"] == answers[1]["snapshot"]
    assert [path.name for path in (cli.workspace / "snapshots").iterdir()] == [answers[0]["snapshot"]]
    cli.run("verify", answers[0]["snapshot"])


@pytest.mark.realdata
def test_the_real_images_become_a_snapshot(cli: Cli, real_archive: Path) -> None:
    document = cli.ingest("--source", "folder", "--from", real_archive)
    assert document["classes"][:2] == ["airplane", "automobile"]
    assert len(document["classes"]) == 10
    assert document["counts"] == {"train": 45_000, "valid": 5_000, "test": 10_000}
    assert {finding["check"] for finding in document["findings"]} == {"near_duplicate"}
    assert cli.ingest("--source", "folder", "--from", real_archive)["cached"] is True
