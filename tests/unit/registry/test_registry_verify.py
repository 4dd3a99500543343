import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import Bundle
from cifarops.deployment.rollout import promote
from cifarops.errors import IntegrityError
from cifarops.ledger.chain import Head
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from cifarops.registry.verify import Verification, signed_heads, verify
from cifarops.registry.versions import Registry
from cifarops.settings import Settings
from tests.support.bundles import colour_bundle
from tests.support.history import rechain
from tests.support.registry import register

Look = Callable[..., Verification]


@pytest.fixture
def ledger(workspace: Settings) -> Iterator[Ledger]:
    with Ledger(workspace.ledger) as opened:
        yield opened


@pytest.fixture
def bundle(workspace: Settings, registry: Registry, ledger: Ledger) -> Bundle:
    bundle = colour_bundle(workspace.bundles)
    register(registry, bundle)
    promote("staging", 1, ledger=ledger, registry=registry, actor="ada", reason="better")
    return bundle


@pytest.fixture
def look(workspace: Settings, registry: Registry, ledger: Ledger) -> Look:
    def call(*heads: Head) -> Verification:
        return verify(
            ledger,
            registry.versions(),
            bundles=workspace.bundles,
            signatures=Signatures.of(workspace),
            heads=heads,
        )

    return call


def edit(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement)


def test_what_was_not_touched_is_right(bundle: Bundle, look: Look) -> None:
    found = look()
    assert (found.decisions, found.versions, found.problems) == (1, 1, ())
    assert look(Head.parse(found.head)).problems == ()


def test_a_broken_history_is_named_and_nothing_is_promoted(
    bundle: Bundle, look: Look, workspace: Settings, registry: Registry, ledger: Ledger
) -> None:
    edit(workspace.ledger, "UPDATE decisions SET actor = 'eve'")
    (problem,) = look().problems
    assert (problem.where, "Row 1 was altered" in problem.what) == ("history", True)
    assert "accept-breaks" in problem.fix
    with pytest.raises(IntegrityError, match="Row 1 was altered"):
        promote("production", 1, ledger=ledger, registry=registry, actor="ada", reason="")
    assert ledger.environment("production").version is None
    ledger.accept_breaks("ada", "a test")
    promote("production", 1, ledger=ledger, registry=registry, actor="ada", reason="")
    assert look().problems == ()


def test_signatures_vouch_for_the_history_of_their_time(
    bundle: Bundle, look: Look, workspace: Settings, registry: Registry, ledger: Ledger
) -> None:
    promote("production", 1, ledger=ledger, registry=registry, actor="ada", reason="better")
    edit(workspace.ledger, "UPDATE decisions SET actor = 'eve' WHERE seq = 1")
    rechain(workspace.ledger)
    assert ledger.breaks() == []
    (problem,) = look().problems
    assert "Row 1 is not the one whose hash was kept elsewhere" in problem.what
    heads = signed_heads(ledger, registry.versions(), Signatures.of(workspace))
    assert [each.seq for each in ledger.accept_breaks("ada", "a test", *heads)] == [1]
    assert look().problems == ()
    ledger.record(Decision("gate", None, None, "ada", "and on it goes"))
    assert look().problems == ()


def test_an_end_that_was_cut_off_with_its_head_is_missed_by_a_signature(
    bundle: Bundle, look: Look, workspace: Settings, registry: Registry, ledger: Ledger
) -> None:
    ledger.record(Decision("gate", None, None, "ada", "an awkward verdict"))
    promote("production", 1, ledger=ledger, registry=registry, actor="ada", reason="better")
    edit(workspace.ledger, "DELETE FROM decisions WHERE seq > 1")
    rechain(workspace.ledger)
    (problem,) = look().problems
    assert "Row 2 was cut off the end" in problem.what


def test_an_altered_bundle_is_named(bundle: Bundle, look: Look) -> None:
    bundle.model_path.write_bytes(b"another model")
    (problem,) = look().problems
    assert (problem.where, "model.onnx is missing or altered" in problem.what) == ("version 1", True)


def test_a_bundle_that_is_gone_is_named(bundle: Bundle, look: Look) -> None:
    bundle.path.rename(bundle.path.with_name("elsewhere"))
    (problem,) = look().problems
    assert problem.where == "version 1"


@pytest.mark.parametrize("environment", ["development", "staging"])
def test_a_missing_signature_is_named(
    bundle: Bundle, look: Look, workspace: Settings, environment: str
) -> None:
    (workspace.signatures / bundle.digest / f"{environment}.json").unlink()
    (problem,) = look().problems
    assert problem.where == ("staging" if environment == "staging" else "version 1")
    assert "is not signed" in problem.what


def test_an_environment_set_by_hand_is_named(bundle: Bundle, look: Look, workspace: Settings) -> None:
    edit(workspace.ledger, f"UPDATE environments SET digest = '{'0' * 64}' WHERE name = 'staging'")
    unknown, unsigned = look().problems
    assert "which the registry does not know" in unknown.what
    assert "is not signed" in unsigned.what


def test_a_bundle_that_was_registered_unsigned_is_not_promoted(
    bundle: Bundle, workspace: Settings, registry: Registry, ledger: Ledger
) -> None:
    other = colour_bundle(workspace.bundles, rotation=1)
    number = register(registry, other)
    (workspace.signatures / other.digest / "development.json").unlink()
    with pytest.raises(IntegrityError, match="is not signed"):
        promote("staging", number, ledger=ledger, registry=registry, actor="eve", reason="")
    assert ledger.environment("staging").version == 1
    (workspace.keys / "development.pem").unlink()
    with pytest.raises(IntegrityError, match="it is lost"):
        register(registry, other)
