"""Is everything that was decided and promoted still what it was? The history, each version's bundle, its signatures."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import find_bundle
from cifarops.errors import CifaropsError
from cifarops.ledger.chain import Head
from cifarops.ledger.history import REMEDY
from cifarops.ledger.records import ENVIRONMENTS
from cifarops.ledger.store import Ledger
from cifarops.progress import Progress, silent
from cifarops.registry.versions import Version


@dataclass(frozen=True)
class Problem:
    """Something that is not what it was.

    Attributes:
        where: `history`, `version N` or an environment.
        what: What is wrong.
        fix: What to do.
    """

    where: str
    what: str
    fix: str


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what was wrong.

    Attributes:
        decisions: Rows of the history.
        versions: Versions whose bundle was opened.
        head: Newest row of the history, to be kept elsewhere and given to the next verification.
    """

    decisions: int
    versions: int
    head: str
    problems: tuple[Problem, ...]


def verify(
    ledger: Ledger,
    versions: Sequence[Version],
    *,
    bundles: Path,
    signatures: Signatures,
    heads: Sequence[Head] = (),
    progress: Progress = silent,
) -> Verification:
    """Verify the decision history, every version's bundle and the signatures of what the environments run.

    Args:
        ledger: The ledger.
        versions: What the registry knows.
        bundles: Directory of bundles.
        signatures: Of the workspace.
        heads: Heads of the history that were kept elsewhere.
        progress: Told about every version.
    """
    witnesses = (*heads, *signed_heads(ledger, versions, signatures))
    problems = [Problem("history", each.what, REMEDY) for each in ledger.breaks(*witnesses)]
    for done, version in enumerate(versions, 1):
        problems += _version(version, bundles, signatures)
        progress("verifying bundles", done, len(versions))
    problems += _environments(ledger, versions, signatures)
    head = ledger.head()
    return Verification(head.seq, len(versions), str(head), tuple(problems))


def signed_heads(ledger: Ledger, versions: Sequence[Version], signatures: Signatures) -> list[Head]:
    """Return what valid signatures say about the history of their time.

    Those of before somebody accepted a break are about a history that is no more.
    """
    accepted = max((each.at for each in ledger.every_decision() if each.kind == "accept_breaks"), default=0.0)
    heads = []
    for version in versions:
        for name in ENVIRONMENTS:
            with suppress(CifaropsError):  # unsigned, or worthless: reported elsewhere where it matters
                statement = signatures.verified(version.digest, name).statement
                if statement.history and statement.at > accepted:
                    heads.append(Head.parse(statement.history))
    return heads


def _version(version: Version, bundles: Path, signatures: Signatures) -> Iterator[Problem]:
    where = f"version {version.number}"
    try:
        find_bundle(bundles, version.digest)
        signatures.verified(version.digest, "development")
    except CifaropsError as error:
        yield Problem(where, error.message, error.fix)


def _environments(ledger: Ledger, versions: Sequence[Version], signatures: Signatures) -> Iterator[Problem]:
    digests = {version.number: version.digest for version in versions}
    for name in ENVIRONMENTS:
        state = ledger.environment(name)
        if state.version is None or state.digest is None:
            continue
        if digests.get(state.version) != state.digest:
            yield Problem(
                name,
                f"{name} runs bundle {state.digest[:12]} as version {state.version}, which the registry does not know.",
                f"Promote a version that it knows: cifarops deploy promote VERSION --to {name}",
            )
        try:
            signatures.verified(state.digest, name)
        except CifaropsError as error:
            yield Problem(name, error.message, error.fix)
