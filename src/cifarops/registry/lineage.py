"""Where a version came from."""

from cifarops.bundle.store import Bundle
from cifarops.registry.versions import Version


def lineage(bundle: Bundle, version: Version) -> dict[str, str | None]:
    """Return the identities behind a version by name: bundle, run, snapshot, profile and code."""
    manifest = bundle.manifest
    commit = manifest.code.commit
    return {
        "bundle": bundle.digest,
        "run": version.run_id,
        "snapshot": manifest.snapshot + (" (synthetic)" if manifest.synthetic else ""),
        "profile": manifest.profile,
        "code": f"{manifest.code.version}, {commit or 'no commit'}{' with changes' if manifest.code.dirty else ''}",
        "aliases": ", ".join(version.aliases) or None,
    }
