import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import Bundle
from cifarops.deployment.rollout import promote
from cifarops.errors import UsageError
from cifarops.ledger.records import Decision, Prediction
from cifarops.ledger.store import Ledger
from cifarops.registry.registration import register
from cifarops.registry.versions import Registry
from cifarops.registry.why import why_prediction, why_version
from cifarops.settings import Settings
from tests.support.bundles import COLOURS, bundle_of
from tests.support.registry import verdict_on
from tests.support.snapshots import colour_snapshot

IMAGE = f"sha256:{'7' * 64}"


@pytest.fixture
def ledger(workspace: Settings) -> Iterator[Ledger]:
    with Ledger(workspace.ledger) as opened:
        yield opened


@pytest.fixture
def bundle(workspace: Settings, registry: Registry, ledger: Ledger) -> Bundle:
    """A version that was judged, registered, promoted twice, released, and that answered once."""
    snapshot = colour_snapshot(workspace.snapshots)
    labels = np.arange(90) % 3
    bundle = colour_model(workspace, snapshot.id, labels)
    verdict = verdict_on(bundle)
    path = workspace.verdicts / "verdict.json"
    path.parent.mkdir()
    path.write_text(verdict.model_dump_json())
    evidence = {"candidate": bundle.digest, "answer": "promote", "verdict": str(path)}
    ledger.record(Decision("gate", None, None, "ada", "promote: good enough", evidence))
    register(
        bundle,
        registry=registry,
        ledger=ledger,
        runs=workspace.runs,
        verdicts=workspace.verdicts,
        actor="bob",
        verdict=verdict,
    )
    for environment in ("staging", "production"):
        promote(environment, 1, ledger=ledger, registry=registry, actor="cleo", reason="it is better")
    release = {
        "version": "1.2.0",
        "bundle": bundle.digest,
        "code": "c" * 64,
        "image": IMAGE,
        "made_by": "eve",
    }
    ledger.record(Decision("release", "production", 1, "eve", "release 1.2.0", {"release": release}))
    answer = Prediction(
        "a" * 32, time.time(), "production", 1, 2, np.array([0.1, 0.2, 0.7], np.float32), classes=COLOURS
    )
    ledger.add_predictions([answer])
    return bundle


def colour_model(workspace: Settings, snapshot: str, labels: Any) -> Bundle:
    from tests.support.bundles import colour_bundle

    made = colour_bundle(workspace.bundles, commit="d" * 40)
    logits = np.eye(3, dtype=np.float32)[labels] * 4
    return bundle_of(
        workspace.bundles,
        logits,
        labels,
        model=made.model_path.read_bytes(),
        commit="d" * 40,
        snapshot=snapshot,
    )


def test_a_versions_whole_chain_with_who_and_when(
    bundle: Bundle, ledger: Ledger, workspace: Settings
) -> None:
    document = why_version(1, ledger=ledger, settings=workspace)
    json.dumps(document, allow_nan=False)
    assert document["bundle"]["digest"] == bundle.digest
    assert (document["verdict"]["by"], document["verdict"]["reason"]) == ("ada", "promote: good enough")
    assert document["verdict"]["evidence"]["answer"] == "promote"
    assert document["registered"]["by"] == "bob"
    assert document["training"]["params"]["train"] == {"seed": 0}
    assert [each["id"] for each in document["snapshots"]] == [bundle.manifest.snapshot]
    assert document["snapshots"][0]["counts"]["test"] == 600
    assert (document["code"]["commit"], document["code"]["dirty"]) == ("d" * 40, False)
    (release,) = document["releases"]
    assert (release["image"], release["made_by"]) == (IMAGE, "eve")
    assert [(each["environment"], each["by"], each["invalid"]) for each in document["approvals"]] == [
        ("development", "tester", None),
        ("staging", "tester", None),
        ("production", "tester", None),
    ]
    assert [(each["kind"], each["environment"], each["by"]) for each in document["deployments"]] == [
        ("promote", "staging", "cleo"),
        ("promote", "production", "cleo"),
        ("release", "production", "eve"),
    ]
    assert all(each["at"] <= time.time() for each in document["deployments"])
    assert document["runs_now"] == ["staging", "production"]
    assert document["made_again"] == []
    ledger.record(Decision("reproduce", None, 1, "gil", "Identical.", {"outcome": "identical"}))
    (again,) = why_version(1, ledger=ledger, settings=workspace)["made_again"]
    assert (again["by"], again["evidence"]["outcome"]) == ("gil", "identical")


def test_an_answer_with_what_stands_behind_it_and_what_people_said(
    bundle: Bundle, ledger: Ledger, workspace: Settings
) -> None:
    document = why_prediction("a" * 32, ledger=ledger, settings=workspace)
    assert document["answer"]["label"] == "blue"
    assert document["answer"]["confidence"] == pytest.approx(0.7)
    assert document["feedback"] is None
    assert document["put_there_by"]["by"] == "eve"
    assert document["behind_it"] == why_version(1, ledger=ledger, settings=workspace)
    ledger.add_feedback("a" * 32, 0, actor="gil")
    feedback = why_prediction("a" * 32, ledger=ledger, settings=workspace)["feedback"]
    assert (feedback["label"], feedback["actor"], feedback["right"]) == ("red", "gil", False)


def test_what_is_gone_is_said_where_it_would_stand(
    bundle: Bundle, ledger: Ledger, workspace: Settings
) -> None:
    whole = why_version(1, ledger=ledger, settings=workspace)
    assert "missing" in whole["run"]
    assert "missing" in whole["releases"][0]["built"]
    shutil.rmtree(workspace.snapshots)
    shutil.rmtree(workspace.verdicts)
    document = why_version(1, ledger=ledger, settings=workspace)
    assert "was deleted" in document["snapshots"][0]["missing"]
    assert "missing" in document["verdict"]["evidence"]
    assert document["verdict"]["by"] == "ada"
    Signatures.of(workspace).keys.revoke("production", document["approvals"][2]["key"])
    bundle.model_path.write_bytes(b"")
    document = why_version(1, ledger=ledger, settings=workspace)
    assert "model.onnx is missing or altered" in document["bundle"]["missing"]
    assert "missing" in document["training"]
    assert "not trusted" in document["approvals"][2]["invalid"]
    assert document["deployments"] == whole["deployments"]
    json.dumps(document, allow_nan=False)


def test_an_answer_of_a_version_that_nobody_knows(ledger: Ledger, workspace: Settings) -> None:
    answer = Prediction("b" * 32, 1.0, "staging", 9, 0, np.array([0.9, 0.1], np.float32))
    ledger.add_predictions([answer])
    document = why_prediction("b" * 32, ledger=ledger, settings=workspace)
    assert document["answer"]["label"] == "0"
    assert "no version 9" in document["behind_it"]["missing"]
    assert document["put_there_by"] is None


def test_what_nobody_knows_is_refused_with_where_to_look(ledger: Ledger, workspace: Settings) -> None:
    with pytest.raises(UsageError, match="no version 3") as caught:
        why_version(3, ledger=ledger, settings=workspace)
    assert "registry list" in caught.value.fix
    with pytest.raises(UsageError, match="no prediction 'x'"):
        why_prediction("x", ledger=ledger, settings=workspace)


def test_the_code_of_the_time_is_told_after_it_was_replaced_and_put_back(
    bundle: Bundle, ledger: Ledger, workspace: Settings
) -> None:
    def code() -> str | None:
        answer = Prediction(
            str(time.time()), time.time(), "production", 1, 0, np.ones(3, np.float32), classes=COLOURS
        )
        ledger.add_predictions([answer])
        document = why_prediction(answer.id, ledger=ledger, settings=workspace)
        then = document["code_then"]
        return str(then["sha256"])[:1] if then else None

    seen = ledger.environment("production")
    assert code() == "c"
    ledger.record(Decision("rollback_code", "production", 1, "eve", "", {"from": "c" * 64, "to": "b" * 64}))
    assert code() == "b"
    failed = {"runs_again": {"version": 1, "digest": seen.digest, "code": "a" * 64}}
    ledger.record(Decision("not_taken_up", "production", 1, "eve", "", failed))
    assert code() == "a"
    first = why_prediction("a" * 32, ledger=ledger, settings=workspace)
    assert first["code_then"]["sha256"] == "c" * 64


def test_mlflow_and_torch_are_not_imported(bundle: Bundle, workspace: Settings) -> None:
    program = f"""
import sys
from cifarops.ledger.store import Ledger
from cifarops.registry.why import why_prediction
from cifarops.settings import Settings
settings = Settings.from_environment({{"CIFAROPS_WORKSPACE": {str(workspace.workspace)!r}}})
with Ledger(settings.ledger) as ledger:
    why_prediction("a" * 32, ledger=ledger, settings=settings)
print(sorted({{"mlflow", "torch", "onnxruntime", "sqlalchemy", "scipy"}} & set(sys.modules)))
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "[]\n"


def test_a_number_that_only_an_environment_knows_is_told_of(
    ledger: Ledger, workspace: Settings, tmp_path: Path
) -> None:
    seen = ledger.environment("staging")
    ledger.swap(
        seen, replace(seen, version=4, digest="e" * 64), Decision("promote", "staging", 4, "ada", "by hand")
    )
    document = why_version(4, ledger=ledger, settings=workspace)
    assert document["bundle"]["digest"] == "e" * 64
    assert "missing" in document["bundle"]
    assert (document["snapshots"], document["approvals"]) == ([], [])
    assert document["deployments"][0]["by"] == "ada"
