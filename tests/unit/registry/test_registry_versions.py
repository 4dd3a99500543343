import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cifarops.bundle.store import Bundle
from cifarops.errors import IntegrityError, UsageError
from cifarops.evaluation.evidence import Answers, Suite
from cifarops.evaluation.gate import Answer, Verdict, judge
from cifarops.ledger.records import Decision, EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.registry.versions import Registry
from cifarops.settings import Settings
from tests.support.bundles import COLOURS, colour_bundle
from tests.support.gate import budgets

BUDGETS = budgets(min_accuracy=0.5, max_ece=0.5)


def verdict_on(bundle: Bundle, answer: Answer = "promote") -> Verdict:
    labels = np.arange(300) % 3
    logits = np.eye(3, dtype=np.float32)[labels] * (4 if answer == "promote" else -4)
    verdict = judge([Suite("test", COLOURS, labels, Answers(logits))], BUDGETS)
    assert verdict.answer == answer
    return verdict.model_copy(update={"candidate": bundle.digest, "snapshot": "s" * 16, "at": time.time()})


def run_version(ledger: Ledger, name: EnvironmentName, number: int) -> None:
    seen = ledger.environment(name)
    wanted = replace(seen, version=number, previous_version=seen.version)
    ledger.swap(seen, wanted, Decision("promote", name, number, "ada", "test"))


def test_registered_bundle_is_a_version_with_its_verdict(tmp_path: Path, registry: Registry) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    verdict = verdict_on(bundle)
    version = registry.register(bundle, run_id="r1", verdict=verdict)
    assert (version.number, version.digest, version.run_id, version.verdict) == (
        1,
        bundle.digest,
        "r1",
        "promote",
    )
    assert version.aliases == ("candidate",)
    assert abs(version.created - time.time()) < 3600
    assert registry.verdict(1) == verdict
    assert registry.bundle(version).digest == bundle.digest
    assert registry.bundle(1).digest == bundle.digest


def test_registering_twice_gives_the_same_version(tmp_path: Path, registry: Registry) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    first = registry.register(bundle, run_id=None, verdict=verdict_on(bundle))
    assert registry.register(bundle, run_id=None, verdict=verdict_on(bundle)) == first
    assert len(registry.versions()) == 1


def test_candidate_moves_to_the_newest(tmp_path: Path, registry: Registry) -> None:
    bundles = [colour_bundle(tmp_path / "bundles", rotation=rotation) for rotation in (0, 1)]
    for bundle in bundles:
        registry.register(bundle, run_id=None, verdict=verdict_on(bundle))
    assert [version.aliases for version in registry.versions()] == [(), ("candidate",)]
    found = registry.by_digest(bundles[0].digest)
    assert found is not None
    assert found.number == 1
    assert registry.by_digest("f" * 64) is None


def test_only_a_promote_verdict_on_this_bundle_is_registered(tmp_path: Path, registry: Registry) -> None:
    bundle, other = (colour_bundle(tmp_path / "bundles", rotation=rotation) for rotation in (0, 1))
    with pytest.raises(UsageError, match="is reject"):
        registry.register(bundle, run_id=None, verdict=verdict_on(bundle, "reject"))
    with pytest.raises(UsageError, match="is about bundle"):
        registry.register(bundle, run_id=None, verdict=verdict_on(other))
    assert registry.versions() == []


def test_unknown_version_says_what_to_do(registry: Registry) -> None:
    with pytest.raises(UsageError, match="no version 7") as caught:
        registry.version(7)
    assert "registry list" in caught.value.fix


def test_damaged_bundle_is_refused_when_opened(tmp_path: Path, registry: Registry) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    registry.register(bundle, run_id=None, verdict=verdict_on(bundle))
    bundle.model_path.write_bytes(b"altered")
    with pytest.raises(IntegrityError, match=r"model\.onnx is missing or altered"):
        registry.bundle(1)


def test_aliases_follow_the_ledger(tmp_path: Path, registry: Registry) -> None:
    for rotation in (0, 1):
        bundle = colour_bundle(tmp_path / "bundles", rotation=rotation)
        registry.register(bundle, run_id=None, verdict=verdict_on(bundle))
    with Ledger(tmp_path / "ledger.db") as ledger:
        registry.sync_aliases(ledger)
        assert registry.version(1).aliases == ()
        run_version(ledger, "staging", 1)
        run_version(ledger, "production", 1)
        registry.sync_aliases(ledger)
        assert registry.version(1).aliases == ("production", "staging")
        run_version(ledger, "production", 2)
        registry.sync_aliases(ledger)
        registry.sync_aliases(ledger)
        assert registry.version(1).aliases == ("previous", "staging")
        assert registry.version(2).aliases == ("candidate", "production")
        seen = ledger.environment("production")
        back = replace(seen, version=1, previous_version=None)
        ledger.swap(seen, back, Decision("rollback", "production", 1, "ada", "test"))
        registry.sync_aliases(ledger)
        assert registry.version(1).aliases == ("production", "staging")


def test_an_environment_on_an_unknown_version_is_an_integrity_error(
    tmp_path: Path, registry: Registry
) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    registry.register(bundle, run_id=None, verdict=verdict_on(bundle))
    with Ledger(tmp_path / "ledger.db") as ledger:
        run_version(ledger, "production", 9)
        with pytest.raises(IntegrityError, match="can't be used"):
            registry.sync_aliases(ledger)


@pytest.mark.parametrize("damage", ["text", "truncated", "overwritten"])
def test_corrupt_registry_file_is_refused_with_what_to_do(
    tmp_path: Path, workspace: Settings, damage: str
) -> None:
    path = tmp_path / "mlflow.db"
    content = path.read_bytes()
    path.write_bytes(
        {
            "text": b"this is no database at all\n" * 100,
            "truncated": content[: len(content) // 2],
            "overwritten": content[:4096] + b"\xff" * 8192 + content[12288:],
        }[damage]
    )
    with pytest.raises(IntegrityError) as caught:
        Registry.of(workspace).versions()
    assert "move it away" in caught.value.fix


def test_two_processes_registering_one_bundle_make_one_version(tmp_path: Path, workspace: Settings) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    (tmp_path / "verdict.json").write_text(verdict_on(bundle).model_dump_json())
    program = f"""
from pathlib import Path
from cifarops.bundle.store import open_bundle
from cifarops.evaluation.verdicts import read_verdict
from cifarops.registry.versions import Registry
from cifarops.settings import Settings
bundle = open_bundle(Path({str(bundle.path)!r}))
registry = Registry.of(Settings.from_environment({{"CIFAROPS_WORKSPACE": {str(tmp_path)!r}}}))
print(registry.register(bundle, run_id=None, verdict=read_verdict(Path({str(tmp_path / 'verdict.json')!r}))).number)
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    outputs = [racer.communicate() for racer in racers]
    assert [output for output, _ in outputs] == [b"1\n", b"1\n"], outputs
    assert [noise for _, noise in outputs] == [b"", b""]
    assert len(Registry.of(workspace).versions()) == 1


def test_an_altered_verdict_is_refused(tmp_path: Path, registry: Registry) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    registry.register(bundle, run_id=None, verdict=verdict_on(bundle))
    registry._store._client.set_model_version_tag("cifarops", "1", "evidence", "bm9uc2Vuc2U=")
    with pytest.raises(IntegrityError, match="kept with version 1"):
        registry.verdict(1)


def test_another_programs_version_is_named(tmp_path: Path, registry: Registry) -> None:
    registry._store.create(source="file:///x", run_id=None, tags={}, description="")
    with pytest.raises(IntegrityError, match="lacks the tag 'digest'"):
        registry.versions()
