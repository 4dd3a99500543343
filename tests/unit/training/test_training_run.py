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
    run = Run(**dict(plan), valid_accuracy=0.5, seconds=1.0, epochs=2.0, images_per_second=10.0)
    run.save()
    return run


def test_a_run_comes_back_with_all_its_parameters(tmp_path: Path) -> None:
    run = _finished(tmp_path, "a1")
    assert open_run(tmp_path, "a1") == run
    assert open_run(tmp_path, "a").params == tiny_params()
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


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff"])
def test_a_damaged_record_is_named(tmp_path: Path, content: bytes) -> None:
    run = _finished(tmp_path, "a1")
    (run.path / RECORD).write_bytes(content)
    with pytest.raises(IntegrityError, match=RECORD):
        open_run(tmp_path, "a1")
    (run.path / PLAN).write_bytes(content)
    with pytest.raises(IntegrityError, match=PLAN):
        open_plan(tmp_path, "a1")
