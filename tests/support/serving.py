"""What tests of the server share: promotions without the registry, and raw HTTP."""

import http.client
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import Bundle
from cifarops.ledger.records import Decision, EnvironmentName, EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings
from tests.support.bundles import colour_bundle


def settings_of(workspace: Path) -> Settings:
    """Return the settings of a workspace."""
    return Settings.from_environment({"CIFAROPS_WORKSPACE": str(workspace), "CIFAROPS_ACTOR": "tester"})


def set_version(
    ledger_path: Path, version: int, bundle: Bundle, environment: EnvironmentName = "production"
) -> EnvironmentState:
    """Let an environment run a bundle, as a promotion does: signed, and in the ledger."""
    Signatures.of(settings_of(ledger_path.parent)).sign(bundle.digest, environment)
    with Ledger(ledger_path) as ledger:
        seen = ledger.environment(environment)
        wanted = seen.taking(version, bundle.digest)
        return ledger.swap(seen, wanted, Decision("promote", environment, version, "tester", "test"))


def colour_workspace(path: Path) -> Settings:
    """Make a workspace whose production runs the bundle that tells colours apart, as version 7."""
    settings = settings_of(path)
    set_version(settings.ledger, 7, colour_bundle(settings.bundles))
    return settings


class Connection:
    """One kept-alive connection without retries, so that no failure is hidden."""

    def __init__(self, url: str, *, timeout: float = 20) -> None:
        parts = urlsplit(url)
        self.raw = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=timeout)

    def ask(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> tuple[int, Any]:
        """Return the status and the JSON document, or the text, of an answer."""
        self.raw.request(method, path, body=body, headers=headers or {})
        answer = self.raw.getresponse()
        content = answer.read()
        kind = answer.headers.get("content-type", "")
        return answer.status, json.loads(content) if "json" in kind else content.decode()

    def predict(self, content: Any, **headers: str) -> tuple[int, Any]:
        """Post an image."""
        return self.ask("POST", "/predict", content, headers)

    def counter(self, name: str) -> float:
        """Return an unlabelled counter from /metrics."""
        _, text = self.ask("GET", "/metrics")
        return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} "))

    def close(self) -> None:
        """Close the connection."""
        self.raw.close()
