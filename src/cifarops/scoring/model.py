"""Which model scores: what an environment runs, a version of the registry, or any bundle."""

from cifarops.bundle.store import Bundle, find_bundle
from cifarops.errors import UsageError
from cifarops.ledger.store import Ledger
from cifarops.settings import EnvironmentName, Settings


def choose_model(
    settings: Settings, environment: EnvironmentName, *, version: int | None, digest: str | None
) -> Bundle:
    """Open the bundle with this digest, or of this version, or else the one that the environment runs.

    Raises:
        UsageError: Both are named, there is no such bundle or version, or the environment runs nothing.
        IntegrityError: The bundle is damaged.
    """
    if version is not None and digest is not None:
        raise UsageError("A version and a bundle are named.", fix="Name one of them.")
    if version is not None:
        from cifarops.registry.versions import Registry

        return Registry.of(settings).bundle(version)
    if digest is None:
        with Ledger(settings.ledger) as ledger:
            digest = ledger.environment(environment).digest
    if digest is None:
        raise UsageError(
            f"{environment} runs no version yet.",
            fix="Name a bundle with --bundle, or promote a version: cifarops deploy promote VERSION",
        )
    return find_bundle(settings.bundles, digest)
