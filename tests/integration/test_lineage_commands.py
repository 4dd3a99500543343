"""The commands about lineage as a user meets them: real processes, their output and their exit codes."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cifarops.deployment.rollout import promote
from cifarops.ledger.records import Prediction
from cifarops.ledger.store import Ledger
from cifarops.registry.registration import register
from cifarops.registry.versions import Registry
from cifarops.settings import Settings
from tests.support.bundles import COLOURS, colour_bundle
from tests.support.registry import verdict_on
from tests.support.serving import settings_of

pytestmark = pytest.mark.integration
ANSWER = "0123456789abcdef" * 2


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A workspace with a version on staging that answered once."""
    settings = settings_of(tmp_path_factory.mktemp("workspace"))
    bundle, registry = colour_bundle(settings.bundles, commit="d" * 40), Registry.of(settings)
    with Ledger(settings.ledger) as ledger:
        register(
            bundle,
            registry=registry,
            ledger=ledger,
            runs=settings.runs,
            verdicts=settings.verdicts,
            actor="ada",
            verdict=verdict_on(bundle),
        )
        promote("staging", 1, ledger=ledger, registry=registry, actor="bob", reason="a first model")
        shares = np.array([0.1, 0.2, 0.7], np.float32)
        ledger.add_predictions([Prediction(ANSWER, time.time(), "staging", 1, 2, shares, classes=COLOURS)])
        ledger.add_feedback(ANSWER, 2, actor="cleo")
    return settings


def run(settings: Settings, *words: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    variables = {"CIFAROPS_WORKSPACE": str(settings.workspace), "COLUMNS": "200", "CIFAROPS_ACTOR": "gil"}
    return subprocess.run(
        [sys.executable, "-m", "cifarops.cli.main", *words],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def document(answer: subprocess.CompletedProcess[str], code: int = 0) -> Any:
    assert answer.returncode == code, answer.stderr
    return json.loads(answer.stdout)


def test_why_tells_people_a_story_and_programs_everything(settings: Settings) -> None:
    told = run(settings, "why", ANSWER)
    assert told.returncode == 0, told.stderr
    for part in (
        "blue, 70.0% sure",
        "says cleo",
        "the answer was right",
        "put there by bob",
        "commit dddddddddddd",
        "approved for staging",
        "a first model",
        "The gate's decision is not here.",
    ):
        assert part in told.stdout
    everything = document(run(settings, "why", ANSWER, "--json"))
    assert everything["behind_it"] == document(run(settings, "why", "1", "--json"))
    assert everything["feedback"]["actor"] == "cleo"


@pytest.mark.parametrize("what", ["7", "nobody", ANSWER + "0"])
def test_why_of_what_nobody_knows_is_bad_usage(settings: Settings, what: str) -> None:
    refused = run(settings, "why", what)
    assert refused.returncode == 2
    assert "error: " in refused.stderr


def test_keys_are_listed_rotated_and_revoked_and_what_runs_is_signed_again(settings: Settings) -> None:
    def keys() -> list[str]:
        listed = document(run(settings, "registry", "keys", "list", "--json"))
        return [each["key"] for each in listed if each["environment"] == "staging"]

    (old,) = keys()
    new = document(run(settings, "registry", "keys", "rotate", "--environment", "staging", "--json"))["key"]
    assert set(keys()) == {old, new}
    revoked = run(settings, "registry", "keys", "revoke", old, "--environment", "staging")
    assert "registry sign VERSION" in revoked.stdout
    found = document(run(settings, "registry", "verify", "--json"), code=1)
    assert [each["where"] for each in found["problems"]] == ["staging"]
    signed = document(run(settings, "registry", "sign", "1", "--environment", "staging", "--json"))
    assert (signed["key"], signed["statement"]["by"]) == (new, "gil")
    missing = run(settings, "registry", "keys", "trust", "/no/such.pem", "--environment", "staging")
    assert (missing.returncode, "can't be read" in missing.stderr) == (1, True)


def test_a_changed_history_is_found_named_and_accepted_on_record(settings: Settings) -> None:
    before = document(run(settings, "registry", "verify", "--json"))
    with closing(sqlite3.connect(settings.ledger)) as connection, connection:
        connection.execute("UPDATE decisions SET actor = 'eve' WHERE seq = 2")
    broken = run(settings, "registry", "verify", "--head", before["head"])
    assert broken.returncode == 1
    assert "Row 2 was altered" in broken.stdout
    assert "accept-breaks" in broken.stdout
    accepted = document(run(settings, "registry", "accept-breaks", "--reason", "a test", "--json"))
    assert [each["seq"] for each in accepted] == [2]
    assert document(run(settings, "registry", "verify", "--json"))["problems"] == []
    assert run(settings, "registry", "verify", "--head", "nonsense").returncode == 2


def test_a_version_of_a_commit_that_is_not_here_is_not_made_again(settings: Settings, tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    refused = run(settings, "reproduce", "1", cwd=tmp_path)
    assert refused.returncode == 2
    assert "which the clone" in refused.stderr
    assert f"git fetch origin {'d' * 40}" in refused.stderr


def test_what_can_not_be_looked_up_is_unknown(settings: Settings, tmp_path: Path) -> None:
    found = run(settings, "registry", "audit", "1")
    assert found.returncode == 0, found.stderr
    assert "Vulnerabilities: unknown" in found.stderr
    assert run(settings, "registry", "audit", "1", "--advisories", str(tmp_path)).returncode == 2
