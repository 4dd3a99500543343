"""A bundle becomes a version, and the history says so, once."""

from pathlib import Path

from cifarops.ledger.store import Ledger
from cifarops.registry.registration import register
from cifarops.registry.versions import Registry
from tests.support.bundles import colour_bundle
from tests.support.registry import verdict_on


def test_registering_again_gives_the_same_version_and_no_second_row(
    tmp_path: Path, registry: Registry
) -> None:
    bundle = colour_bundle(tmp_path / "bundles")
    with Ledger(tmp_path / "ledger.db") as ledger:
        versions = [
            register(
                bundle,
                registry=registry,
                ledger=ledger,
                runs=tmp_path / "runs",
                verdicts=tmp_path / "verdicts",
                actor=actor,
                verdict=verdict_on(bundle),
            )
            for actor in ("ada", "bob")
        ]
        rows = ledger.decisions()
    assert versions[0] == versions[1]
    assert [(row.kind, row.actor, row.version) for row in rows] == [("register", "ada", 1)]
