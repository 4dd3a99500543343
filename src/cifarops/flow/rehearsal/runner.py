"""The runner of the rehearsal: for whatever happens on the remote it runs the real pipeline, and tells the remote how it ended."""

import sys
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from cifarops.flow.event import Event
from cifarops.flow.git import Git
from cifarops.flow.interpreter import Interpreter, JobResult
from cifarops.flow.local.forge import LocalForge
from cifarops.flow.local.state import ForgeEvent
from cifarops.flow.policy import Policy
from cifarops.flow.rehearsal.people import identity
from cifarops.flow.rehearsal.transcript import Hear, Line, Outcome

LEFT_OUT = {
    "images": "no image is built: that needs a base image and packages from a registry, and here is no network"
}
SMALL = {
    "UNIT_TESTS": "tests/unit/serving/test_sizes.py tests/unit/simulation",
    "INTEGRATION_TESTS": "tests/flow/test_flow_git.py",
}
# Their answer depends on the files alone, so one that was green for the same files is not asked again.
_BY_FILES = ("lint", "unit", "integration")
_SETTINGS = {
    **SMALL,
    "CIFAROPS_PROFILE": "smoke",
    "RELEASE_IMAGES": "no",
    "OMP_NUM_THREADS": "1",
    "PRODUCTION_PORT": "0",  # any that is free
    "STAGING_PORT": "0",
    "STAGING_REQUESTS": "200",
    "TEST_PROCESSES": "0",  # the job's own is enough for a few tests
    "WATCH_SECONDS": "3",
}


class Waiting(Protocol):
    """Shows that something takes a while."""

    def __call__(self, what: str) -> AbstractContextManager[object]:
        """Show it while the block runs."""


@dataclass(frozen=True)
class Pipeline:
    """A pipeline that has run.

    Attributes:
        event: Why.
        commit: At which commit.
        jobs: Result of each job that was run; one that is not among them waits for a person, or a failure stopped it.
        kept: Jobs whose answer on the same files was known.
        required: Jobs that the policy asks of it.
        seconds: How long it took.
    """

    event: Event
    commit: str
    jobs: Mapping[str, JobResult]
    kept: tuple[str, ...]
    required: frozenset[str]
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether no job failed, and none is missing that the policy asks for."""
        return self.required <= self.names and all(job.status != "failed" for job in self.jobs.values())

    @property
    def names(self) -> set[str]:
        """The jobs that the event made, without those that wait for a person or are left out."""
        return {*self.jobs, *self.kept}


class Runner:
    """Runs pipelines on this machine.

    Args:
        forge: The remote.
        policy: Which branches are protected.
        checkout: Where it checks commits out.
        machine: What it keeps between jobs: the workspace, caches, logs, artifacts.
        tools: Where the interpreter is installed.
        hear: Told of each job.
        waiting: Shows that pipelines take a while.
    """

    def __init__(
        self,
        forge: LocalForge,
        policy: Policy,
        *,
        checkout: Path,
        machine: Path,
        tools: Path,
        hear: Hear,
        waiting: Waiting,
    ) -> None:
        self._forge, self._policy = forge, policy
        self._git = Git(checkout, identity("robot"))
        self._interpreter = Interpreter(tools)
        self._state = machine / "runner"  # one for all, so that what the pipeline caches is found again
        self._pipelines = machine / "pipelines"
        self._variables = {
            **_SETTINGS,
            **identity("robot"),
            "CIFAROPS_VENV": sys.prefix,
            "CIFAROPS_TOOLS": str(tools),
            "CIFAROPS_WORKSPACE": str(machine / "workspace"),
        }
        self._hear, self._waiting = hear, waiting
        self._seen = 0
        self._green: set[tuple[str, str]] = set()

    def catch_up(self) -> list[Pipeline]:
        """Run the pipeline of everything that has happened on the remote since the last call, in order."""
        made = []
        for happened in self._forge.events(after=self._seen):
            self._seen = happened.number
            pipeline = self._run(happened)
            if pipeline is None:
                continue
            if happened.merge_request is not None:
                self._forge.pipeline_result(happened.merge_request, happened.commit, pipeline.ok)
            made.append(pipeline)
        return made

    def press(self, job: str, branch: str) -> None:
        """Start a manual job of a protected branch's newest commit, as a person does on the web page."""
        message = self._check_out(Git(self._forge.root).commit(f"refs/heads/{branch}"))
        event = Event("push", branch, message=message, protected=True)
        with self._waiting(job):
            for result in self._interpret(event, job, names=[job], manual=[job]):
                if result.name == job:
                    self._tell(result)

    def _run(self, happened: ForgeEvent) -> Pipeline | None:
        event = self._event(happened, self._check_out(happened.commit))
        tree = self._git("rev-parse", f"{happened.commit}^{{tree}}")
        known = {job for job, green in self._green if green == tree}
        what = _title(event)
        with self._waiting(f"pipeline of {what}"):
            start = time.perf_counter()
            results = self._interpret(event, str(happened.number), without={*known, *LEFT_OUT})
            seconds = time.perf_counter() - start
        if not results:
            return None
        ended = Pipeline(
            event,
            happened.commit,
            jobs={result.name: result for result in results if result.status != "skipped"},
            kept=tuple(result.name for result in results if result.name in known),
            required=self._required(event.target),
            seconds=seconds,
        )
        self._hear(Line("pipeline", what, "done" if ended.ok else "failed", seconds=seconds))
        for result in results:
            self._tell(result, known)
        self._green |= {(name, tree) for name in _BY_FILES if name in ended.jobs and ended.ok}
        return ended

    def _interpret(
        self,
        event: Event,
        place: str,
        *,
        names: Sequence[str] = (),
        without: Collection[str] = (),
        manual: Sequence[str] = (),
    ) -> list[JobResult]:
        """Run jobs, and put what they hand on where no later pipeline finds it."""
        results = self._interpreter.run(
            self._git.root,
            event,
            names,
            state=self._state,
            without=without,
            variables=self._variables,
            manual=manual,
        )
        kept = self._pipelines / place
        kept.mkdir(parents=True)
        for folder in ("artifacts", "output"):
            if (self._state / folder).exists():
                (self._state / folder).rename(kept / folder)
        return [replace(each, artifacts=kept / "artifacts" / each.name) for each in results]

    def _required(self, target: str) -> frozenset[str]:
        rules = self._policy.protected.get(target)
        return frozenset(rules.checks if rules else ()) - LEFT_OUT.keys()

    def _tell(self, job: JobResult, known: Collection[str] = ()) -> None:
        if job.name in LEFT_OUT:
            self._hear(Line("pipeline", job.name, "left out", LEFT_OUT[job.name]))
        elif job.name in known:
            self._hear(Line("pipeline", job.name, "kept", "green for the same files before"))
        elif job.status != "skipped":
            outcome: Outcome = "failed" if job.status == "failed" else "done"
            self._hear(Line("pipeline", job.name, outcome, job.log.strip() or job.status))

    def _check_out(self, commit: str) -> str:
        """Check a commit out and return its message."""
        self._git.fetch()
        self._git("checkout", "--quiet", "--detach", commit)
        return self._git("log", "-1", "--format=%B", commit)

    def _event(self, happened: ForgeEvent, message: str) -> Event:
        """Return what happened as the server would tell it to the pipeline."""
        requests = self._forge.merge_requests(source=happened.branch)
        if happened.kind == "tag":
            return Event("tag", happened.branch, message=message, protected=True)
        if happened.kind == "merge_request":
            (request,) = (each for each in requests if each.number == happened.merge_request)
            return Event(
                "merge_request", request.source, request.target, message, merge_request=request.number
            )
        open_one = next((each.number for each in requests if each.state == "open"), None)
        return Event(
            "push",
            happened.branch,
            message=message,
            merge_request=open_one,
            protected=happened.branch in self._policy.protected,
        )


def _title(event: Event) -> str:
    if event.source == "merge_request":
        return f"merge request !{event.merge_request}, {event.ref} into {event.target}"
    return f"{event.source} of {event.ref}"
