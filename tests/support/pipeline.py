"""What the pipeline must do: an event and exactly the jobs that it makes. docs/how-to/pipeline.md shows the named ones."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from cifarops.flow.event import Event
from cifarops.flow.interpreter import Interpreter

ROOT = Path(__file__).parents[2]
_REVIEW = {"REVIEW_ENVIRONMENTS": "true"}

BRANCH = ("policy", "lint")
TESTED = (*BRANCH, "unit")
INTO_DEVELOP = (*TESTED, "integration", "images", "model-report")
INTO_RELEASE = (*TESTED, "model-report")
INTO_MAIN = (*INTO_DEVELOP, "rehearsal")
DEVELOP = ("candidate", "build")
RELEASE = ("unfreeze", "pin", "deploy-staging", "verify-staging", "stop-staging")
MAIN = ("deploy-production", "watch-production", "rollback-production", "release", "backmerge")


@dataclass(frozen=True)
class Case:
    """An event, the jobs that it makes, and what the documentation calls it where it is worth a row."""

    event: Event
    jobs: tuple[str, ...]
    title: str = ""

    def __str__(self) -> str:
        event = self.event
        parts = [event.source, event.ref, event.target, repr(event.message), event.merge_request or ""]
        return " ".join(str(part) for part in [*parts, *event.variables.values()] if part)


def cases() -> Iterator[Case]:
    """Return every case once."""
    yield from _branches()
    yield from _merge_requests()
    yield from _protected()
    yield from _no_branch()


def _branches() -> Iterator[Case]:
    yield Case(Event("push", "feature/night-vision"), BRANCH, "push to `feature/…`, `fix/…`, `experiment/…`")
    yield Case(Event("push", "fix/2-labels"), BRANCH)
    yield Case(Event("push", "experiment/wide-net"), BRANCH)
    yield Case(Event("push", "feature/x", variables=_REVIEW), BRANCH)
    yield Case(
        Event("push", "feature/x", message="run tests"), TESTED, "the same, and the message is `run tests`"
    )
    for message in ("run tests\n", "run tests \n\n"):
        yield Case(Event("push", "experiment/x", message=message), TESTED)
    for message in (
        "do not run tests",
        "run tests now",
        "Run tests",
        " run tests",
        "run  tests",
        "run\ntests",
        '"run tests"',
        "run tests\n\nbecause they were red",
        "feat: a thing\n\nrun tests",
        "feat: a thing\n\nrun tests\n",
    ):
        yield Case(Event("push", "fix/x", message=message), BRANCH)
    yield Case(Event("push", "hotfix/broken-labels"), TESTED, "push to `hotfix/…`")
    yield Case(Event("push", "hotfix/x", message="run tests"), TESTED)
    yield Case(Event("push", "hotfix/x-into-develop"), TESTED)
    yield Case(
        Event("push", "feature/x", merge_request=7),
        (),
        "push to any of them while a merge request is open: that one's pipeline only",
    )
    yield Case(Event("push", "feature/x", message="run tests", merge_request=7), ())
    yield Case(Event("push", "hotfix/x", merge_request=7), ())
    yield Case(Event("push", "wip", merge_request=7), ())
    yield Case(Event("push", "wip"), ("policy",), "push to a branch with another name: refused")
    for name in (
        "Feature/x",
        "feature/",
        "feature/a/b",
        "feature/a_b",
        "feature/-a",
        "release/1.0",
        "hotfix",
    ):
        yield Case(Event("push", name, message="run tests"), ("policy",))
    for name in ("develop2", "my-main", "feature/x y"):
        yield Case(Event("push", name), ("policy",))


def _merge_requests() -> Iterator[Case]:
    def ask(source: str, target: str, **more: object) -> Event:
        return Event("merge_request", source, target, merge_request=7, **more)  # type: ignore[arg-type]

    yield Case(ask("feature/x", "develop"), INTO_DEVELOP, "merge request into `develop`")
    for source in ("fix/x", "experiment/x", "hotfix/x", "hotfix/x-into-develop"):
        yield Case(ask(source, "develop"), INTO_DEVELOP)
    yield Case(ask("feature/x", "develop", message="run tests"), INTO_DEVELOP)
    yield Case(
        ask("feature/x", "develop", variables=_REVIEW),
        (*INTO_DEVELOP, "review", "stop-review"),
        "the same from `feature/…`, with `REVIEW_ENVIRONMENTS` set",
    )
    yield Case(ask("fix/x", "develop", variables=_REVIEW), INTO_DEVELOP)
    yield Case(ask("develop", "release"), INTO_RELEASE, "merge request into `release`")
    yield Case(ask("hotfix/x", "release"), INTO_RELEASE)
    yield Case(ask("hotfix/x-into-release", "release"), INTO_RELEASE)
    yield Case(ask("release", "main"), INTO_MAIN, "merge request into `main`")
    yield Case(ask("hotfix/x", "main"), INTO_MAIN)
    yield Case(
        ask("develop", "release", variables={"COUNT_APPROVALS": "true"}),
        (*INTO_RELEASE, "approvals"),
        "one into `develop`, `release` or `main`, with `COUNT_APPROVALS` set, for example into `release`",
    )
    # Those that the policy forbids get the same jobs, and `policy` stops them before the others start.
    yield Case(ask("feature/x", "main"), INTO_MAIN)
    yield Case(ask("wip", "develop"), INTO_DEVELOP)
    yield Case(ask("feature/x", "feature/y"), ("policy",), "merge request into any other branch: refused")


def _protected() -> Iterator[Case]:
    yield Case(Event("push", "develop", protected=True), DEVELOP, "merged into `develop`")
    yield Case(Event("push", "develop", message="run tests", protected=True), DEVELOP)
    # A merge request from develop must not swallow the candidate.
    yield Case(Event("push", "develop", merge_request=7, protected=True), DEVELOP)
    yield Case(Event("push", "release", protected=True), RELEASE, "merged into `release`")
    yield Case(Event("push", "release", merge_request=7, protected=True), RELEASE)
    yield Case(
        Event("push", "main", message="Merge branch 'release' into 'main'", protected=True),
        MAIN,
        "merged into `main`",
    )
    yield Case(Event("push", "main", message="Merge branch 'hotfix/x' into 'main'", protected=True), MAIN)


def _no_branch() -> Iterator[Case]:
    yield Case(Event("tag", "v1.2.0", protected=True), (), "a tag: the end of a release, not a beginning")
    yield Case(Event("tag", "freeze/develop", protected=True), ())
    yield Case(Event("tag", "develop", message="run tests"), ())
    for value, job in (("drift", "drift-check"), ("retrain", "retrain")):
        schedule = Event("schedule", "main", protected=True, variables={"SCHEDULE": value})
        yield Case(schedule, (job,), f"schedule with `SCHEDULE={value}`")
    yield Case(
        Event("schedule", "develop", merge_request=7, variables={"SCHEDULE": "drift"}), ("drift-check",)
    )
    yield Case(Event("schedule", "main", variables={"SCHEDULE": "drifting"}), ())
    yield Case(Event("schedule", "main"), ())
    yield Case(
        Event("web", "main", protected=True), (), "anything else, such as Run pipeline on the web page"
    )
    yield Case(Event("web", "feature/x", message="run tests"), ())


def jobs_table() -> str:
    """Return the table that the documentation shows."""
    rows = [
        f"| {case.title} | {', '.join(f'`{job}`' for job in case.jobs) or 'no pipeline'} |"
        for case in cases()
        if case.title
    ]
    return "\n".join(["| what happens | jobs |", "| --- | --- |", *rows])


def definitions_of(root: Path) -> dict[str, Any]:
    """Return the pipeline file with every include, extends and reference resolved: jobs, stages, workflow."""
    found: dict[str, Any] = yaml.safe_load(interpreter()._ask(root, "--preview"))
    return found


@cache
def interpreter() -> Interpreter:
    """Return the interpreter of this checkout; fails, saying what to install, where it is missing."""
    return Interpreter(ROOT / "ci" / "tools")
