"""`cifarops why`: what stands behind an answer or a version, by whom and when."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cifarops.cli.common import JsonFlag, emit, facts, table
from cifarops.settings import Settings

if TYPE_CHECKING:
    from rich.console import Group

_LONGEST_NUMBER = 9
_SHORT = 12
_SHOWN_CLASSES = 3


def command(
    what: Annotated[
        str,
        typer.Argument(metavar="PREDICTION_ID|VERSION", help="Id of a prediction, or number of a version."),
    ],
    as_json: JsonFlag = False,
) -> None:
    """Tell what stands behind an answer or a version: verdict, run, data, code, approvals, deployments; by whom and when."""
    from cifarops.ledger.store import Ledger
    from cifarops.registry.why import why_prediction, why_version

    settings = Settings.from_environment()
    is_version = what.isdigit() and len(what) <= _LONGEST_NUMBER
    with Ledger(settings.ledger) as ledger:
        if is_version:
            document = why_version(int(what), ledger=ledger, settings=settings)
        else:
            document = why_prediction(what, ledger=ledger, settings=settings)
    emit(document, as_json=as_json, human=_version(document) if is_version else _prediction(document))


def _prediction(document: dict[str, Any]) -> "Group":
    from rich.console import Group

    answer, feedback, put = document["answer"], document["feedback"], document["put_there_by"]
    likeliest = sorted(answer["probabilities"].items(), key=lambda item: -item[1])[:_SHOWN_CLASSES]
    code = document["code_then"]
    told = {
        "answer": f"{answer['label']}, {answer['confidence']:.1%} sure"
        f" ({', '.join(f'{name} {share:.1%}' for name, share in likeliest)})",
        "when, where": f"{_when(answer['at'])}, {answer['environment']}",
        "feedback": _feedback(feedback),
        "answered by": f"version {answer['version']}" + (f", put there by {_who(put)}" if put else ""),
        "code then": _missing_or(code, lambda: f"commit {code['commit'][:_SHORT]}") if code else None,
        "image": "kept in the ledger" if answer["image_kept"] else "not kept",
    }
    behind = document["behind_it"]
    rest = [behind["missing"]] if "missing" in behind else [_version(behind)]
    return Group(facts(f"Prediction {answer['prediction_id']}", told), *rest)


def _version(document: dict[str, Any]) -> "Group":
    from rich.console import Group

    rows = [
        (decision["kind"], decision["environment"], _when(decision["at"]), decision["by"], decision["reason"])
        for decision in document["deployments"]
    ]
    return Group(
        facts(f"Version {document['version']}", dict(_story(document))),
        table("What happened to it", ("what", "environment", "when", "by", "why"), rows),
    )


def _story(document: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    bundle, verdict, run, code = (document[part] for part in ("bundle", "verdict", "run", "code"))
    training = document["training"]
    yield "runs now in", ", ".join(document["runs_now"]) or "no environment"
    yield "bundle", _missing_or(
        bundle,
        lambda: f"{bundle['digest'][:_SHORT]}, {bundle['metrics'].get('accuracy', float('nan')):.2%} right on valid"
        + (" (synthetic)" if bundle["synthetic"] else ""),
    )
    yield "verdict", _missing_or(verdict, lambda: f"{verdict['reason']} ({_who(verdict)})")
    yield "registered", _missing_or(document["registered"], lambda: _who(document["registered"]))
    yield "run", _missing_or(run, lambda: f"{run['id'][:_SHORT]}, {run['seconds']:.0f} s")
    yield "trained with", _missing_or(
        training,
        lambda: f"profile {bundle['profile']}, seed {training['params']['train'].get('seed')},"
        f" {training['threads']} threads, {training['precision']}, {training['processor']}",
    )
    for snapshot in document["snapshots"]:
        yield "snapshot", _missing_or(
            snapshot,
            lambda snapshot=snapshot: f"{snapshot['id']}, {sum(snapshot['counts'].values()):,} images of"
            f" {snapshot['source']['kind']} ({snapshot['source']['name']})",
        )
    yield "code", _missing_or(
        code,
        lambda: f"{code['version']}, commit {(code['commit'] or 'unknown')[:_SHORT]}"
        + (", with changes that no commit holds" if code["dirty"] else ""),
    )
    for again in document["made_again"]:
        yield "made again", f"{again['reason']} ({_who(again)})"
    for release in document["releases"]:
        image = (release.get("image") or "no image").removeprefix("sha256:")[:_SHORT]
        yield "release", f"{release['version']} by {release['made_by']}, image {image}"
    for approval in document["approvals"]:
        good = "" if approval["invalid"] is None else f": NOT VALID. {approval['invalid']}"
        when = _when(approval["at"]) if "at" in approval else "?"
        yield f"approved for {approval['environment']}", f"{approval.get('by', '?')}, {when}, key {approval['key']}{good}"


def _feedback(feedback: dict[str, Any] | None) -> str:
    if feedback is None:
        return "none yet"
    judged = "the answer was right" if feedback["right"] else "the answer was wrong"
    return f"{feedback['label']}, says {feedback['actor'] or 'somebody'}, {_when(feedback['at'])}: {judged}"


def _who(decision: dict[str, Any]) -> str:
    return f"{decision['by']}, {_when(decision['at'])}"


def _missing_or(part: dict[str, Any], told: Any) -> str:
    return str(part["missing"] if "missing" in part else told())


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().isoformat(" ", "seconds")
