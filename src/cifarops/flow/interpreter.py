"""The project's `.gitlab-ci.yml` without a server: which jobs an event makes, and the jobs themselves.

The interpreter is npm's gitlab-ci-local at the version that ci/tools pins. It ignores `workflow: rules`, so a job that
carries those rules is added to what it reads and asked whether it would run.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cifarops.errors import CifaropsError, UnavailableError, UsageError
from cifarops.flow.event import Event

PIPELINE = ".gitlab-ci.yml"
_PROBE = "probe-of-the-workflow"
_PROBE_FILE = f"""\
include:
  - local: {PIPELINE}
{_PROBE}:
  stage: .pre
  script: ["true"]
  rules: !reference [workflow, rules]
"""
# A pipeline must not see the one that it is started from, nor the settings of whoever starts it.
_NOT_INHERITED = re.compile(r"(CI|CIFAROPS|FORCE_COLOR|GCL|GIT|GITLAB)(_|$)")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_REPORTED = re.compile(r"^ (PASS|WARN|FAIL) +(\S+)(?! *\S* +after_script)", re.MULTILINE)

Status = Literal["success", "warning", "failed", "skipped"]
_STATUS: dict[str, Status] = {"PASS": "success", "WARN": "warning", "FAIL": "failed"}


@dataclass(frozen=True)
class Job:
    """A job that an event makes.

    Attributes:
        name: Its name.
        stage: Its stage.
        when: `on_success`, `manual`, `always` or `on_failure`.
        allow_failure: Whether the pipeline goes on without its success.
    """

    name: str
    stage: str
    when: str
    allow_failure: bool


@dataclass(frozen=True)
class JobResult:
    """How a job ended.

    Attributes:
        name: Its name.
        status: `skipped` where an earlier one failed, where it waits for a person, or where others were named.
        log: What it printed, without colours and cursor movements.
        artifacts: Directory of the files that it handed on; there is none where it handed on nothing.
    """

    name: str
    status: Status
    log: str
    artifacts: Path


class Interpreter:
    """Reads and runs pipelines.

    Args:
        tools: Directory in which ci/tools/package.json is installed.

    Raises:
        UnavailableError: It is not installed, or rsync is missing.
    """

    def __init__(self, tools: Path) -> None:
        modules = tools.absolute() / "node_modules"
        self._command = (
            str(modules / ".bin" / "node"),
            str(modules / "gitlab-ci-local" / "dist" / "index.js"),
        )
        if not all(Path(part).exists() for part in self._command):
            raise UnavailableError(
                f"The pipeline's interpreter is not installed in {tools}.", fix="Install it: make flow-tools"
            )
        if shutil.which("rsync") is None:
            raise UnavailableError(
                "rsync, which gives each job its own copy of the files, is not installed.",
                fix="Install it: apt-get install rsync",
            )

    def jobs(self, root: Path, event: Event) -> list[Job]:
        """Return the jobs that an event makes in the checkout `root`; none means no pipeline.

        Raises:
            UsageError: The pipeline file is wrong.
        """
        listed = json.loads(self._ask(root, "--list-json", *_flags(event.ci_variables(), event)))
        jobs = [
            Job(each["name"], each["stage"], each["when"], bool(each["allow_failure"])) for each in listed
        ]
        if any(job.name == _PROBE and job.when == "never" for job in jobs):
            return []
        return [job for job in jobs if job.when != "never" and job.name != _PROBE]

    def run(
        self,
        root: Path,
        event: Event,
        names: Sequence[str] = (),
        *,
        state: Path,
        without: Collection[str] = (),
        variables: Mapping[str, str] | None = None,
        manual: Sequence[str] = (),
    ) -> list[JobResult]:
        """Run an event's jobs on this machine, each in its own copy of the files that Git tracks in `root`.

        Args:
            root: A checkout whose HEAD is the commit that the event is about.
            event: What happened.
            names: Only these jobs; by default all that start by themselves.
            state: Directory that keeps builds, logs and artifacts; jobs run later find earlier artifacts there.
            without: Where no names are given: not these; one that the event does not make is fine.
            variables: What the project or the runner sets, for example `CIFAROPS_VENV`.
            manual: Manual jobs that a person starts.

        Returns:
            A result for each of the event's jobs; empty where there is no pipeline.

        Raises:
            UsageError: The pipeline file is wrong, or a named job is not among the event's.
        """
        made = self.jobs(root, event)
        strangers = sorted({*names, *manual} - {job.name for job in made})
        if strangers:
            raise UsageError(
                f"A {event.source} of {event.ref} does not run {', '.join(strangers)}.",
                fix=f"Choose among: {', '.join(job.name for job in made) or 'nothing; it makes no pipeline'}.",
            )
        if without and not names:
            names = [job.name for job in made if job.when != "manual" and job.name not in without]
        if not made or (without and not names):
            return [_result(job.name, "skipped", state) for job in made]
        state.mkdir(parents=True, exist_ok=True)
        answer = self._call(
            root,
            state,
            *("--file", PIPELINE, "--force-shell-executor", "--shell-isolation", "--no-artifacts-to-source"),
            *_flags({**event.ci_variables(), **(variables or {})}, event),
            *(part for name in manual for part in ("--manual", name)),
            *names,
        )
        ended = {name: _STATUS[mark] for mark, name in _REPORTED.findall(answer.stdout)}
        if not ended:
            raise _wrong(root, answer)
        return [_result(job.name, ended.get(job.name, "skipped"), state) for job in made]

    def _ask(self, root: Path, *arguments: str) -> str:
        """Ask about the pipeline with the probe in it."""
        with tempfile.TemporaryDirectory(prefix="cifarops-pipeline-") as state:
            probe = Path(state) / "probe.yml"
            probe.write_text(_PROBE_FILE)
            answer = self._call(root, Path(state), "--file", os.path.relpath(probe, root), *arguments)
        if answer.returncode:
            raise _wrong(root, answer)
        return answer.stdout

    def _call(self, root: Path, state: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not _NOT_INHERITED.match(name)}
        answer = subprocess.run(
            [
                *self._command,
                *("--state-dir", os.path.relpath(state, root)),
                *("--home", str(state)),  # not the user's own settings of the interpreter
                *arguments,
            ],
            cwd=root,
            env={**environment, "NO_COLOR": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        answer.stdout, answer.stderr = (_CONTROL.sub("", text) for text in (answer.stdout, answer.stderr))
        return answer


def _flags(variables: Mapping[str, str], event: Event) -> Iterator[str]:
    for name, value in variables.items():
        yield from ("--variable", f"{name}={value}")
    for name in event.unset_variables():
        yield from ("--unset-variable", name)
    # The interpreter warns of these on stdout, in the middle of its JSON.
    yield from ("--ignore-predefined-vars", ",".join(variables))


def _result(name: str, status: Status, state: Path) -> JobResult:
    log = state / "output" / f"{name}.log"
    text = _CONTROL.sub("", log.read_text(errors="replace")) if status != "skipped" and log.is_file() else ""
    return JobResult(name, status, text, state / "artifacts" / name)


def _wrong(root: Path, answer: subprocess.CompletedProcess[str]) -> CifaropsError:
    said = (answer.stderr or answer.stdout).strip().splitlines()
    return UsageError(
        f"The pipeline of {root} can't be interpreted: {' '.join(said[-6:])}",
        fix=f"Correct {PIPELINE} or what it includes from ci/.",
    )
