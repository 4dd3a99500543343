"""Versions: bundles that passed the gate, in MLflow's model registry, and aliases that mirror the environments.

What an environment runs is decided in the ledger, by compare-and-swap; the aliases follow it
(docs/decisions/0002-environments-in-the-ledger.md).
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cifarops.bundle.signature import Signature, Signatures
from cifarops.bundle.store import Bundle, find_bundle
from cifarops.errors import IntegrityError, UsageError
from cifarops.evaluation.gate import Verdict
from cifarops.ledger.store import Ledger
from cifarops.registry.store import ModelVersion, RegistryStore
from cifarops.registry.tags import pack, unpack
from cifarops.settings import EnvironmentName, Settings

MODEL = "cifarops"
CANDIDATE = "candidate"


@dataclass(frozen=True)
class Version:
    """A bundle in the registry.

    Attributes:
        number: Counted from 1.
        digest: Digest of the bundle.
        run_id: Training run behind it, or None where it is not known.
        verdict: The gate's answer.
        aliases: `candidate`, `staging`, `production`, `previous`, as far as they point here.
        created: Seconds since the epoch.
    """

    number: int
    digest: str
    run_id: str | None
    verdict: str
    aliases: tuple[str, ...]
    created: float

    def row(self) -> tuple[Any, ...]:
        """Return what a table for people shows: number, bundle, verdict, aliases, time, run."""
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(self.created))
        return self.number, self.digest[:12], self.verdict, ", ".join(self.aliases), when, self.run_id


class Registry:
    """The registry of one model.

    Args:
        tracking_uri: MLflow store: `sqlite:///…` or a server's address.
        bundles: Directory of bundles.
        signatures: What says where they may run.
        model: Name of the registered model.
    """

    def __init__(self, tracking_uri: str, bundles: Path, signatures: Signatures, model: str = MODEL) -> None:
        self._bundles = bundles
        self._signatures = signatures
        self._store = RegistryStore(tracking_uri, model)

    @classmethod
    def of(cls, settings: Settings) -> "Registry":
        """Return the registry of a workspace."""
        return cls(settings.tracking_uri, settings.bundles, Signatures.of(settings))

    def register(self, bundle: Bundle, *, run_id: str | None, verdict: Verdict) -> Version:
        """Make a bundle a version, signed, and let the alias `candidate` point at it; twice gives the same version.

        Args:
            bundle: What passed the gate.
            run_id: MLflow run that trained it.
            verdict: The gate's answer on it, kept with the version.

        Raises:
            UsageError: The verdict is not `promote`, or is about another bundle.
            IntegrityError: The registry can't be used, or the key that signs is lost.
        """
        _check(bundle, verdict)
        with _locked(bundle.path):
            self._signatures.sign(bundle.digest, "development")
            version = self.by_digest(bundle.digest)
            if version is None:
                number = self._store.create(
                    source=bundle.path.as_uri(),
                    run_id=run_id,
                    tags=_tags(bundle, verdict),
                    description=" ".join(verdict.reasons),
                )
                version = self.version(number)
            self._store.set_alias(CANDIDATE, version.number)
        return self.version(version.number)

    def versions(self) -> list[Version]:
        """Return every version, the first first."""
        aliases = self._store.aliases()
        return [_version(found, aliases) for found in self._store.versions()]

    def version(self, number: int) -> Version:
        """Return a version by its number.

        Raises:
            UsageError: There is no such version.
        """
        return _version(self._found(number), self._store.aliases())

    def by_digest(self, digest: str) -> Version | None:
        """Return the version of a bundle, or None."""
        return next((version for version in self.versions() if version.digest == digest), None)

    def bundle(self, version: Version | int) -> Bundle:
        """Open and verify a version's bundle.

        Raises:
            UsageError: No such version, or its bundle is not in this workspace.
            IntegrityError: The bundle is damaged.
        """
        found = self.version(version) if isinstance(version, int) else version
        return find_bundle(self._bundles, found.digest)

    def sign(self, version: Version, environment: EnvironmentName, ledger: Ledger) -> Signature:
        """Say, with the key of an environment, that it may run a version; the signature vouches for the history, too.

        Raises:
            IntegrityError: The bundle was not signed when it became a version, or the key is lost or not trusted.
        """
        self._signatures.verified(version.digest, "development")
        return self._signatures.sign(version.digest, environment, history=str(ledger.head()))

    def verdict(self, number: int) -> Verdict:
        """Return the verdict with which a version was registered, with its evidence.

        Raises:
            UsageError: There is no such version.
            IntegrityError: The verdict was altered.
        """
        return unpack(self._found(number).tags.get("evidence", ""), f"version {number}")

    def sync_aliases(self, ledger: Ledger) -> None:
        """Let the aliases `staging`, `production` and `previous` say what the ledger's environments say.

        Cheap and idempotent: only what differs is written.

        Raises:
            IntegrityError: The registry can't be used, or does not know a version that an environment runs.
        """
        production = ledger.environment("production")
        wanted = {
            "staging": ledger.environment("staging").version,
            "production": production.version,
            "previous": production.previous_version,
        }
        current = self._store.aliases()
        for alias, number in wanted.items():
            if current.get(alias) == number:
                continue
            if number is None:
                self._store.delete_alias(alias)
            else:
                self._store.set_alias(alias, number)

    def _found(self, number: int) -> ModelVersion:
        found = [version for version in self._store.versions() if version.number == number]
        if not found:
            raise UsageError(f"There is no version {number}.", fix="List them with: cifarops registry list.")
        return found[0]


def _check(bundle: Bundle, verdict: Verdict) -> None:
    if verdict.candidate != bundle.digest:
        raise UsageError(
            f"The verdict is about bundle {verdict.candidate[:12] or '(none)'}, not {bundle.digest[:12]}.",
            fix="Judge this bundle: cifarops evaluate gate.",
        )
    if verdict.answer != "promote":
        raise UsageError(
            f"The gate's verdict on bundle {bundle.digest[:12]} is {verdict.answer}: {' '.join(verdict.reasons)}",
            fix="Only a bundle with the verdict promote is registered. Train further, or judge on more images.",
        )


def _tags(bundle: Bundle, verdict: Verdict) -> dict[str, str]:
    test = next(suite.candidate for suite in verdict.evidence if suite.name == "test")
    return {
        "digest": bundle.digest,
        "verdict": verdict.answer,
        "snapshot": bundle.manifest.snapshot,
        "synthetic": str(bundle.manifest.synthetic).lower(),
        "accuracy": f"{test.accuracy.value:.4f}",
        "ece": f"{test.ece.value:.4f}",
        "evidence": pack(verdict),
    }


def _version(found: ModelVersion, aliases: dict[str, int]) -> Version:
    try:
        digest, verdict = found.tags["digest"], found.tags["verdict"]
    except KeyError as error:
        raise IntegrityError(
            f"Version {found.number} of the registry lacks the tag {error}; something else registered it.",
            fix="Delete that version in MLflow, or use another registry with CIFAROPS_TRACKING_URI.",
        ) from error
    mine = tuple(sorted(alias for alias, number in aliases.items() if number == found.number))
    return Version(found.number, digest, found.run_id, verdict, mine, found.created)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock on a directory, so that two processes registering one bundle make one version."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
