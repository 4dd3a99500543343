"""What may be changed over HTTP, and by whom."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from cifarops.bundle.signature import Signatures
from cifarops.deployment.process import ServerProcess
from cifarops.ledger.records import Decision
from cifarops.ledger.store import Ledger
from cifarops.serving.tokens import ROLES, Role, TokenFile
from tests.support.bundles import colour_bundle
from tests.support.serving import Connection, set_version, settings_of

pytestmark = pytest.mark.e2e
SIGNED, UNSIGNED, UNKNOWN = 2, 3, 9
_ROUTES = (
    ("GET", ""),
    ("PUT", "/canary"),
    ("PUT", "/shadow"),
    ("DELETE", "/canary"),
    ("DELETE", "/shadow"),
    ("POST", "/promote"),
    ("POST", "/rollback"),
)


@dataclass
class Place:
    """A production server, and its ledger."""

    connection: Connection
    ledger: Ledger
    tokens: dict[Role, str]

    def ask(
        self, method: str, path: str, body: Any = None, *, role: Role | None = "deploy"
    ) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {self.tokens[role]}"} if role else {}
        content = json.dumps(body) if body is not None else None
        return self.connection.ask(method, f"/admin{path}", content, headers)

    def running(self) -> dict[str, Any]:
        """What the server runs, once it has seen the newest record."""
        wanted, deadline = self.ledger.environment("production").generation, time.monotonic() + 10
        while True:
            headers = {"Authorization": f"Bearer {self.tokens['predict']}"}
            _, found = self.connection.ask("GET", "/version", None, headers)
            if found["generation"] == wanted:
                return dict(found)
            assert time.monotonic() < deadline, found
            time.sleep(0.02)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    workspace = tmp_path_factory.mktemp("admin")
    settings = settings_of(workspace)
    set_version(settings.ledger, 1, colour_bundle(settings.bundles))
    signed, unsigned = (colour_bundle(settings.bundles, rotation=n) for n in (1, 2))
    Signatures.of(settings).sign(signed.digest, "production")
    tokens = {role: TokenFile(settings.tokens).make(role, [role]) for role in ROLES}
    with Ledger(settings.ledger) as ledger:
        for version, bundle in ((SIGNED, signed), (UNSIGNED, unsigned)):
            evidence = {"digest": bundle.digest}
            ledger.record(Decision("register", None, version, "ada", "registered", evidence))
        with ServerProcess("production", workspace=workspace) as server:
            yield Place(Connection(server.url), ledger, tokens)


@pytest.mark.parametrize(("method", "path"), _ROUTES)
def test_only_a_token_with_the_role_deploy_gets_in(place: Place, method: str, path: str) -> None:
    before = place.ledger.environment("production")
    refused: tuple[tuple[Role | None, int], ...] = ((None, 401), ("predict", 403), ("feedback", 403))
    for role, status in refused:
        assert place.ask(method, path, {"reason": "mine", "version": SIGNED}, role=role)[0] == status
    assert place.ledger.environment("production") == before


def test_canary_shadow_promotion_and_rollback_are_recorded_and_followed(place: Place) -> None:
    status, record = place.ask("PUT", "/canary", {"version": SIGNED, "percent": 12.5, "reason": "try"})
    assert (status, record["canary"]["version"], record["canary"]["percent"]) == (200, SIGNED, 12.5)
    assert place.running()["canary_version"] == SIGNED
    assert place.ask("PUT", "/shadow", {"version": SIGNED, "reason": "look"})[0] == 200
    assert place.running()["shadow_version"] == SIGNED
    assert place.ask("DELETE", "/canary?reason=enough")[1]["canary"] is None
    assert place.ask("DELETE", "/shadow?reason=enough")[1]["shadow"] is None
    assert place.ask("POST", "/promote", {"version": SIGNED, "reason": "good"})[1]["version"] == SIGNED
    assert place.running()["model_version"] == SIGNED
    assert place.ask("POST", "/rollback", {"reason": "bad"})[1]["version"] == 1
    assert place.running()["model_version"] == 1
    assert place.ask("GET", "")[1]["version"] == 1
    newest = place.ledger.decisions(environment="production", last=6)
    assert [each.kind for each in newest] == [
        "canary",
        "shadow",
        "canary_stopped",
        "shadow_stopped",
        "promote",
        "rollback",
    ]
    assert {each.actor for each in newest} == {"token deploy"}
    assert newest[0].reason == "try"


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "/canary", {"version": UNKNOWN, "percent": 10, "reason": "x"}, 422),
        ("PUT", "/canary", {"version": UNSIGNED, "percent": 10, "reason": "x"}, 422),
        ("PUT", "/canary", {"version": 1, "percent": 10, "reason": "x"}, 422),
        ("PUT", "/canary", {"version": SIGNED, "percent": 100, "reason": "x"}, 400),
        ("PUT", "/canary", {"version": SIGNED, "percent": 10}, 400),
        ("PUT", "/canary", {"version": SIGNED, "percent": 10, "reason": ""}, 400),
        ("PUT", "/canary", {"version": "../2", "percent": 10, "reason": "x"}, 400),
        ("PUT", "/shadow", {"version": UNSIGNED, "reason": "x"}, 422),
        ("POST", "/promote", {"version": UNSIGNED, "reason": "x"}, 422),
        ("POST", "/promote", {"version": 1, "reason": "x"}, 422),
        ("DELETE", "/canary?reason=x", None, 422),
        ("DELETE", "/shadow?reason=x", None, 422),
        ("DELETE", "/canary", None, 400),
        ("DELETE", "/canary?reason=", None, 400),
        ("POST", "/rollback", {"reason": "x" * 501}, 400),
    ],
)
def test_what_makes_no_sense_changes_nothing(
    place: Place, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    before = place.ledger.environment("production")
    answered, problem = place.ask(method, path, body)
    assert answered == status, problem
    assert problem["type"].startswith("/problems/")
    assert place.ledger.environment("production") == before
