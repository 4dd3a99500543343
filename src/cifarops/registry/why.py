"""Why is this so? Everything that stands behind a version or an answer, from the ledger and the files of the workspace.

MLflow is not asked: what is needed was written into the ledger and the bundle when it was decided. A link that is gone,
a deleted snapshot for example, is said where it would stand; nothing fails because of it.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from cifarops.bundle.code import read_record
from cifarops.bundle.manifest import Manifest
from cifarops.bundle.signature import Signatures
from cifarops.bundle.store import find_bundle
from cifarops.data.snapshot import open_snapshot
from cifarops.errors import CifaropsError, UsageError
from cifarops.ledger.records import ENVIRONMENTS, Answered, Decision
from cifarops.ledger.store import Ledger
from cifarops.settings import Settings
from cifarops.training.run import open_run

Document = dict[str, Any]
_T = TypeVar("_T")
_PUTS_A_VERSION = ("promote", "canary", "release", "rollback", "not_taken_up")
_LOOKED_BACK = 1000


def why_version(number: int, *, ledger: Ledger, settings: Settings) -> Document:
    """Return what stands behind a version, as JSON.

    Raises:
        UsageError: The ledger knows no such version.
    """
    digest = _digest_of(number, ledger)
    decisions = ledger.decisions_about(number, digest)
    if digest is None or not decisions:
        raise UsageError(
            f"The ledger {ledger.path} knows no version {number}.",
            fix="List the versions: cifarops registry list. Another workspace: set CIFAROPS_WORKSPACE.",
        )
    manifest, bundle = _bundle(settings.bundles, digest)
    run = next((each.evidence.get("run") for each in decisions if each.kind == "register"), None)
    return {
        "version": number,
        "bundle": bundle,
        "registered": _newest(decisions, "register"),
        "verdict": _verdict(decisions, digest),
        "run": _run(settings.runs, run),
        "training": manifest.provenance.model_dump(mode="json") if manifest else _missing("the bundle is"),
        "snapshots": _snapshots(settings.snapshots, manifest.snapshot) if manifest else [],
        "code": manifest.code.model_dump() if manifest else _missing("the bundle is"),
        "releases": _releases(decisions, settings.releases),
        "approvals": _approvals(digest, Signatures.of(settings)),
        "deployments": [_told(each) for each in decisions if each.environment],
        "made_again": [_told(each) for each in decisions if each.kind == "reproduce"],
        "runs_now": [name for name in ENVIRONMENTS if ledger.environment(name).digest == digest],
    }


def why_prediction(prediction_id: str, *, ledger: Ledger, settings: Settings) -> Document:
    """Return what stands behind an answer, as JSON.

    Raises:
        UsageError: The ledger knows no such prediction.
    """
    found = ledger.answered(prediction_id)
    answer = found.prediction
    before = ledger.decisions(environment=answer.environment, last=_LOOKED_BACK, until=answer.at)
    put = [each for each in before if each.kind in _PUTS_A_VERSION and each.version == answer.version]
    try:
        behind = why_version(answer.version, ledger=ledger, settings=settings)
    except UsageError as error:
        behind = {"version": answer.version, "missing": error.message}
    return {
        "answer": _answer(found),
        "feedback": _feedback(found),
        "put_there_by": _told(put[-1]) if put else None,
        "code_then": _code_then(before, settings.releases),
        "behind_it": behind,
    }


def _digest_of(number: int, ledger: Ledger) -> str | None:
    """Return the bundle that a version number stands for: as registered, or as an environment knows it."""
    for decision in reversed(ledger.decisions_about(number, None)):
        release = decision.evidence.get("release")
        if digest := release.get("bundle") if isinstance(release, dict) else decision.evidence.get("digest"):
            return str(digest)
    for state in map(ledger.environment, ENVIRONMENTS):
        if state.version == number and state.digest:
            return state.digest
    return None


def _bundle(bundles: Path, digest: str) -> tuple[Manifest | None, Document]:
    found, problem = _found(partial(find_bundle, bundles, digest))
    if found is None:
        return None, {"digest": digest, "missing": problem}
    kept = ("classes", "temperature", "metrics", "synthetic", "profile", "serving")
    document = found.manifest.model_dump(mode="json")
    return found.manifest, {"digest": digest, **{name: document[name] for name in kept}}


def _verdict(decisions: Sequence[Decision], digest: str) -> Document:
    """Return the gate's decision that the registration was made on, with its evidence where the file is there."""
    judged = [each for each in decisions if each.kind == "gate" and each.evidence.get("candidate") == digest]
    if not judged:
        return _missing("the gate's decision is")
    told = _told(judged[-1])
    path = Path(str(judged[-1].evidence.get("verdict", "")))
    try:
        return {**told, "evidence": json.loads(path.read_bytes())}
    except (OSError, ValueError):
        return {**told, "evidence": _missing(f"the verdict's file {path.name} is")}


def _run(runs: Path, run_id: str | None) -> Document:
    if run_id is None:
        return _missing("no run was recorded; it is")
    run, problem = _found(partial(open_run, runs, run_id))
    if run is None:
        return {"id": run_id, "missing": problem}
    document = run.model_dump(mode="json")
    return {name: value for name, value in document.items() if name not in ("params", "code")}


def _snapshots(snapshots: Path, snapshot_id: str) -> list[Document]:
    """Return the snapshot that was trained on, and those that it extends."""
    documents: list[Document] = []
    wanted: str | None = snapshot_id
    while wanted and wanted not in {each["id"] for each in documents}:
        found, problem = _found(partial(open_snapshot, snapshots, wanted))
        if found is None:
            documents.append({"id": wanted, "missing": f"The snapshot was deleted or damaged. {problem}"})
            break
        documents.append(
            {
                "id": wanted,
                "source": found.meta.source.model_dump(),
                "counts": found.counts,
                "seed": found.meta.seed,
                "parent": found.meta.parent,
            }
        )
        wanted = found.meta.parent
    return documents


def _releases(decisions: Sequence[Decision], releases: Path) -> list[Document]:
    """Return the releases that took the version along, each with its code and image, once."""
    found: dict[str, Document] = {}
    for decision in decisions:
        release = decision.evidence.get("release")
        if isinstance(release, dict):
            found[str(release.get("version"))] = {
                **release,
                "built": _code(str(release.get("code")), releases),
            }
    return list(found.values())


def _code(sha256: str, releases: Path) -> Document:
    record = read_record(releases / sha256)
    return record.model_dump(mode="json") if record else {"sha256": sha256, **_missing("the code release is")}


def _code_then(before: Sequence[Decision], releases: Path) -> Document | None:
    """Return the code release that an environment ran, by its decisions up to then; None where it ran none."""
    for decision in reversed(before):
        evidence = decision.evidence
        if decision.kind == "release":
            return _code(evidence["release"]["code"], releases)
        if decision.kind == "rollback_code":
            return _code(evidence["to"], releases)
        again = evidence.get("runs_again")
        if decision.kind == "not_taken_up" and isinstance(again, dict):
            return _code(again["code"], releases) if again["code"] else None
    return None


def _approvals(digest: str, signatures: Signatures) -> list[Document]:
    """Return who let each environment have the bundle, by their signatures."""
    documents = []
    for name in ENVIRONMENTS:
        signature, problem = _found(partial(signatures.find, digest, name))
        if signature is None and problem is None:
            continue
        _, invalid = _found(partial(signatures.verified, digest, name))
        statement = signature.statement.model_dump(include={"by", "at"}) if signature else {}
        key = signature.key if signature else None
        documents.append({"environment": name, **statement, "key": key, "invalid": invalid})
    return documents


def _answer(found: Answered) -> Document:
    answer = found.prediction
    names: Sequence[str] = answer.classes or [str(index) for index in range(len(answer.probabilities))]
    probabilities = dict(zip(names, answer.probabilities.tolist(), strict=True))
    return {
        "prediction_id": answer.id,
        "at": answer.at,
        "environment": answer.environment,
        "version": answer.version,
        "label": names[answer.label],
        "confidence": probabilities[names[answer.label]],
        "probabilities": probabilities,
        "image_kept": found.image_kept,
    }


def _feedback(found: Answered) -> Document | None:
    if found.feedback is None:
        return None
    names, truth = found.prediction.classes, found.feedback.label
    label = names[truth] if truth < len(names) else str(truth)
    return {**asdict(found.feedback), "label": label, "right": truth == found.prediction.label}


def _newest(decisions: Sequence[Decision], kind: str) -> Document:
    found = [each for each in decisions if each.kind == kind]
    return _told(found[-1]) if found else _missing("its registration is")


def _told(decision: Decision) -> Document:
    return {
        "decision": decision.seq,
        "kind": decision.kind,
        "environment": decision.environment,
        "at": decision.at,
        "by": decision.actor,
        "reason": decision.reason,
        "evidence": decision.evidence,
    }


def _missing(what: str) -> Document:
    return {"missing": f"{what[0].upper()}{what[1:]} not here."}


def _found(look: Callable[[], _T]) -> tuple[_T | None, str | None]:
    """Return what was looked for, or why it is not there."""
    try:
        return look(), None
    except CifaropsError as error:
        return None, error.message
    except OSError as error:
        return None, str(error)
