"""Whole trainings: repeated, killed, interrupted, resumed, tracked."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient

from cifarops.data.snapshot import Snapshot, newest_snapshot
from cifarops.errors import CifaropsError, IntegrityError, UsageError
from cifarops.training.checkpoint import load_tensors
from cifarops.training.run import CHECKPOINT, CURVE, PLAN, WEIGHTS, Run, open_plan, open_run
from cifarops.training.trainer import train
from tests.support.training import tiny_params, tiny_snapshot

pytestmark = pytest.mark.integration

_REPOSITORY = Path(__file__).parents[2]
_STEPS = 36  # 6 epochs of 6 steps


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """As in the trainings that have a process of their own: other thread counts give other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with one snapshot and one finished training by a process of its own."""
    path = tmp_path_factory.mktemp("workspace")
    tiny_snapshot(path / "snapshots")
    process = _start(path)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert output.split()[:-1] == [str(step + 1) for step in range(_STEPS)]
    return path


@pytest.fixture
def snapshot(root: Path) -> Snapshot:
    return newest_snapshot(root / "snapshots")


def _start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.support.training_process", str(root), *arguments],
        cwd=_REPOSITORY,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _train(root: Path, snapshot: Snapshot, **options: object) -> Run:
    return train(
        snapshot,
        options.pop("params", tiny_params(epochs=6)),  # type: ignore[arg-type]
        runs=root / "runs",
        tracking_uri=f"sqlite:///{root / 'mlflow.db'}",
        cache=root / "cache",
        **options,  # type: ignore[arg-type]
    )


def _first(root: Path) -> Path:
    (record,) = (path for path in root.glob("runs/*/run.json") if not (path.parent / "later").exists())
    return record.parent


def _stop_at(root: Path, step: int, number: signal.Signals) -> tuple[Path, str]:
    """Start a training, send a signal once it has done `step` steps; return its directory and last words."""
    before = set(root.glob("runs/*"))
    process = _start(root)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == str(step):
            process.send_signal(number)
            break
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    (path,) = set(root.glob("runs/*")) - before
    (path / "later").touch()
    return path, errors


@pytest.mark.parametrize(("number", "step"), [(signal.SIGKILL, 3), (signal.SIGKILL, 20), (signal.SIGTERM, 8)])
def test_a_stopped_training_resumes_to_the_same_bits(root: Path, number: signal.Signals, step: int) -> None:
    path, errors = _stop_at(root, step, number)
    assert not (path / "run.json").exists()
    if number != signal.SIGKILL:
        assert f"cifarops train --resume {path.name}" in errors
    resumed = _start(root, path.name)
    output, errors = resumed.communicate(timeout=300)
    assert resumed.returncode == 0, errors
    # Killed, it goes back to the end of the last epoch; asked to stop, it stopped right there.
    first = int(output.split()[0])
    assert first == step // 6 * 6 + 1 if number == signal.SIGKILL else first > step
    assert (path / WEIGHTS).read_bytes() == _without_run(_first(root), path.name)
    mine, whole = open_run(root / "runs", path.name), open_run(root / "runs", _first(root).name)
    assert (mine.valid_accuracy, mine.params) == (whole.valid_accuracy, whole.params)
    points = [
        [{key: point[key] for key in ("epoch", "step", "train_loss", "valid_accuracy")} for point in curve]
        for curve in (json.loads((run.path / CURVE).read_text()) for run in (mine, whole))
    ]
    assert points[0] == points[1]
    assert not (path / CHECKPOINT).exists()


def _without_run(path: Path, name: str) -> bytes:
    return (path / WEIGHTS).read_bytes().replace(path.name.encode(), name.encode())


def test_everything_is_tracked(root: Path) -> None:
    run = open_run(root / "runs", _first(root).name)
    tracked = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").get_run(run.id)
    assert tracked.info.status == "FINISHED"
    params = open_plan(root / "runs", run.id).params
    assert tracked.data.params["train.learning_rate"] == str(params.train.learning_rate)
    assert tracked.data.params["data.synthetic.train"] == str(params.data.synthetic.train)
    assert tracked.data.tags["snapshot"] == run.snapshot
    assert tracked.data.tags["code.commit"] == (run.code.commit or "none")
    assert tracked.data.metrics["final_valid_accuracy"] == run.valid_accuracy
    history = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").get_metric_history(
        run.id, "valid_accuracy"
    )
    assert [point.step for point in history] == [1, 2, 3, 4, 5, 6]
    artifacts = run.path / "artifacts"
    assert f"torch=={torch.__version__.split('+')[0]}" in (artifacts / "environment.txt").read_text()
    assert (artifacts / CURVE).read_bytes() == (run.path / CURVE).read_bytes()


def test_what_was_learned_is_there_and_starts_another_training(root: Path, snapshot: Snapshot) -> None:
    first = open_run(root / "runs", _first(root).name)
    assert first.valid_accuracy > 0.9
    short = tiny_params(epochs=1, learning_rate=0.01)
    cold = _train(root, snapshot, params=short)
    warm = _train(root, snapshot, params=short, warm_start=first.path)
    for run in (cold, warm):
        (run.path / "later").touch()
    assert warm.warm_start == first.id
    assert warm.valid_accuracy > 0.9
    assert warm.valid_accuracy > cold.valid_accuracy


def test_a_finished_run_is_not_trained_again(root: Path, snapshot: Snapshot) -> None:
    first = _first(root)
    before = (first / WEIGHTS).stat().st_mtime_ns
    assert _train(root, snapshot, resume=first.name[:8]).id == first.name
    assert (first / WEIGHTS).stat().st_mtime_ns == before


def test_a_run_is_not_carried_on_with_other_parameters(root: Path, snapshot: Snapshot) -> None:
    with pytest.raises(UsageError, match="can't be carried on with others"):
        _train(root, snapshot, params=tiny_params(epochs=7), resume=_first(root).name)


def test_another_networks_weights_are_refused_before_a_run_is_made(root: Path, snapshot: Snapshot) -> None:
    before = set(root.glob("runs/*"))
    with pytest.raises(UsageError, match="belongs to another network"):
        _train(root, snapshot, params=tiny_params(widths=[16, 16, 33]), warm_start=_first(root))
    assert set(root.glob("runs/*")) == before


def test_a_checkpoint_of_another_network_is_refused(root: Path, snapshot: Snapshot) -> None:
    path, _ = _stop_at(root, 8, signal.SIGTERM)
    other = tiny_params(epochs=6, widths=[16, 16, 33])
    plan = json.loads((path / PLAN).read_text())
    (path / PLAN).write_text(json.dumps({**plan, "params": other.model_dump(mode="json")}))
    with pytest.raises(UsageError, match="belongs to another network"):
        _train(root, snapshot, params=other, resume=path.name)


def test_a_training_that_diverges_names_its_last_good_checkpoint(root: Path, snapshot: Snapshot) -> None:
    before = set(root.glob("runs/*"))
    with pytest.raises(CifaropsError, match="diverged") as caught:
        _train(root, snapshot, params=tiny_params(learning_rate=1e38))
    (path,) = set(root.glob("runs/*")) - before
    assert str(path / CHECKPOINT) in caught.value.message
    assert (path / CHECKPOINT).is_file()
    tracked = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").get_run(path.name)
    assert tracked.info.status == "FAILED"
    shutil.rmtree(path)


def test_ctrl_c_in_the_same_process_leaves_a_whole_checkpoint(root: Path, snapshot: Snapshot) -> None:
    before = set(root.glob("runs/*"))

    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        if done == 8:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(CifaropsError, match="interrupted after step 9 of 36"):
        _train(root, snapshot, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    (path,) = set(root.glob("runs/*")) - before
    assert load_tensors(path / CHECKPOINT)[1]["step"] == 9
    tracked = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").get_run(path.name)
    assert tracked.info.status == "KILLED"


@pytest.mark.parametrize("step", [_STEPS - 1, _STEPS])
def test_ctrl_c_in_the_last_step_is_not_swallowed_and_loses_nothing(
    root: Path, snapshot: Snapshot, step: int
) -> None:
    before = set(root.glob("runs/*"))

    def interrupt(what: str, done: int, total: int, note: str = "") -> None:
        if done == step:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(CifaropsError, match=r"run [0-9a-f]+ is complete") as caught:
        _train(root, snapshot, progress=interrupt)
    (path,) = set(root.glob("runs/*")) - before
    assert open_run(root / "runs", path.name).id in caught.value.fix
    (path / "later").touch()
    assert (path / WEIGHTS).read_bytes() == _without_run(_first(root), path.name)
    tracked = MlflowClient(tracking_uri=f"sqlite:///{root / 'mlflow.db'}").get_run(path.name)
    assert tracked.info.status == "FINISHED"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_tracking_store_that_is_no_database(tmp_path: Path, snapshot: Snapshot) -> None:
    (tmp_path / "mlflow.db").write_bytes(b"not a database at all" * 100)
    with pytest.raises(IntegrityError, match=r"mlflow\.db can't be read"):
        _train(tmp_path, snapshot)
    assert not (tmp_path / "runs").exists()
