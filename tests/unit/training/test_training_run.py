import json
from pathlib import Path

import pytest

from cifarops.bundle.manifest import CodeIdentity
from cifarops.errors import IntegrityError, UsageError
from cifarops.training.run import PLAN, RECORD, Plan, Run, newest_run, open_plan, open_run
from tests.support.training import tiny_params


def _plan(runs: Path, run_id: str) -> Plan:
    plan = Plan(
        id=run_id,
        path=runs / run_id,
        snapshot="0" * 16,
        params=tiny_params(),
        precision="float32",
        threads=2,
        warm_start=None,
        code=CodeIdentity(version="1", commit=None, dirty=False),
    )
    plan.save()
    return plan


def _finished(runs: Path, run_id: str) -> Run:
    plan = _plan(runs, run_id)
    run = Run.of(plan, valid_accuracy=0.5, seconds=1.0, epochs=2.0, images_per_second=10.0)
    run.save()
    return run


def test_a_run_comes_back_with_all_its_parameters(tmp_path: Path) -> None:
    run = _finished(tmp_path, "a1")
    assert open_run(tmp_path, "a1") == run
    assert open_run(tmp_path, "a").params.model_dump(mode="json") == tiny_params().model_dump(mode="json")
    assert open_plan(tmp_path, "a").params == tiny_params()
    assert run.profile == "smoke"


def test_a_moved_workspace_still_opens(tmp_path: Path) -> None:
    _finished(tmp_path / "before", "a1")
    (tmp_path / "before").rename(tmp_path / "after")
    assert open_run(tmp_path / "after", "a1").path == tmp_path / "after" / "a1"


def test_an_unfinished_run_says_how_to_go_on(tmp_path: Path) -> None:
    plan = _plan(tmp_path, "a1")
    assert open_plan(tmp_path, "a1") == plan
    with pytest.raises(UsageError, match="has not ended") as caught:
        open_run(tmp_path, "a1")
    assert "--resume a1" in caught.value.fix


@pytest.mark.parametrize("name", ["b", "", "../x", "*", "a"])
def test_a_wrong_or_ambiguous_name(tmp_path: Path, name: str) -> None:
    _finished(tmp_path, "a1")
    _finished(tmp_path, "a2")
    with pytest.raises(UsageError, match="begin with"):
        open_run(tmp_path, name)


def test_the_newest_finished_run(tmp_path: Path) -> None:
    import os

    with pytest.raises(UsageError, match="no finished run"):
        newest_run(tmp_path)
    for age, name in enumerate(["a1", "b2", "c3"]):
        os.utime(_finished(tmp_path, name).path / RECORD, (1000 - age, 1000 - age))
    _plan(tmp_path, "d4")
    assert newest_run(tmp_path).id == "a1"


def _changed(path: Path, **train: object) -> None:
    """Make a record look as if `train` had other keys at its time; None takes a key away."""
    document = json.loads(path.read_text())
    section = {**document["params"]["train"], **train}
    document["params"]["train"] = {key: value for key, value in section.items() if value is not None}
    path.write_text(json.dumps(document))


OTHER_KEYS = [{"mixup": 0.2}, {"translate": None}, {"flip": None}, {"epochs": -1}]


@pytest.mark.parametrize("train", OTHER_KEYS)
def test_a_finished_run_outlives_a_change_of_the_parameters(tmp_path: Path, train: dict[str, object]) -> None:
    run = _finished(tmp_path, "a1")
    _changed(run.path / RECORD, **train)
    record = (run.path / RECORD).read_bytes()
    opened = open_run(tmp_path, "a1")
    assert (opened.profile, opened.params.train.widths) == ("smoke", (16, 16, 32))
    opened.save()
    assert json.loads((run.path / RECORD).read_bytes()) == json.loads(record)


@pytest.mark.parametrize("train", OTHER_KEYS)
def test_an_unfinished_run_is_not_carried_on_with_other_keys(
    tmp_path: Path, train: dict[str, object]
) -> None:
    plan = _plan(tmp_path, "a1")
    _changed(plan.path / PLAN, **train)
    with pytest.raises(UsageError, match="a1 was planned when params") as caught:
        open_plan(tmp_path, "a1")
    assert "git checkout v1" in caught.value.fix


def test_a_finished_run_with_other_keys_is_not_carried_on_but_called_finished(tmp_path: Path) -> None:
    run = _finished(tmp_path, "a1")
    _changed(run.path / PLAN, mixup=0.2)
    with pytest.raises(UsageError, match="a1 is finished, and was trained when params") as caught:
        open_plan(tmp_path, "a1")
    assert "cifarops package a1" in caught.value.fix


def test_a_finished_run_without_the_networks_shape_is_damaged(tmp_path: Path) -> None:
    run = _finished(tmp_path, "a1")
    _changed(run.path / RECORD, widths=None)
    with pytest.raises(IntegrityError, match=RECORD):
        open_run(tmp_path, "a1")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    run = _finished(tmp_path, "a1")
    (run.path / RECORD).write_bytes(content)
    with pytest.raises(IntegrityError, match=RECORD):
        open_run(tmp_path, "a1")
    (run.path / PLAN).write_bytes(content)
    with pytest.raises(IntegrityError, match=PLAN):
        open_plan(tmp_path, "a1")
