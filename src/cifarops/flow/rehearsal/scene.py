"""What the steps of the rehearsal share: the remote, the people, the runner, and what one step leaves for the next."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cifarops.deployment.deploy import stop
from cifarops.deployment.release import Release
from cifarops.errors import CifaropsError
from cifarops.flow.forge import MergeRequest
from cifarops.flow.git import Git
from cifarops.flow.local.forge import LocalForge
from cifarops.flow.policy import Policy
from cifarops.flow.rehearsal.customers import Met, customers
from cifarops.flow.rehearsal.people import Person
from cifarops.flow.rehearsal.runner import Pipeline, Runner
from cifarops.flow.rehearsal.transcript import Hear, Line, Outcome
from cifarops.ledger.records import EnvironmentState
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from cifarops.settings import EnvironmentName, Settings

REPORT = "See docs/reference/process.md for what should have happened; the transcript says what did."


@dataclass
class Scene:
    """The stage.

    Attributes:
        root: The project, whose files are taken.
        place: Folder of the rehearsal.
        machine: Settings of the machine that the pipeline runs on.
        hear: Told of everything that is done.
        met: What customers met while production was replaced.
        request: The merge request that the story is about now.
    """

    root: Path
    place: Path
    policy: Policy
    machine: Settings
    hear: Hear
    met: list[Met] = field(default_factory=list)

    forge: LocalForge = field(init=False)
    runner: Runner = field(init=False)
    ada: Person = field(init=False)
    bob: Person = field(init=False)
    request: MergeRequest = field(init=False)
    waiting: MergeRequest = field(init=False)

    def opened(self, source: str, target: str) -> MergeRequest:
        """Return the open merge request between two branches.

        Raises:
            CifaropsError: There is none.
        """
        found = self.forge.merge_requests(source=source, target=target, state="open")
        require(bool(found), f"No merge request of {source} into {target} is open.")
        return found[0]

    def approve(self, request: MergeRequest, *users: str) -> MergeRequest:
        """Let people approve a merge request."""
        for user in users:
            request = self.forge.approve(request.number, user)
            self.hear(
                Line(user, f"approves !{request.number}", output=f"{request.approvals} approvals that count")
            )
        return request

    def merge(self, request: MergeRequest, user: str) -> str:
        """Let somebody merge, which must be possible; returns the target's newest commit."""
        commit = self.forge.merge(request.number, user)
        self.hear(Line(user, f"merges !{request.number} into {request.target}", output=commit[:12]))
        return commit

    def merge_is_refused(self, request: MergeRequest, user: str, because: str) -> str:
        """Let somebody try to merge, which must be refused; returns the reason.

        Raises:
            CifaropsError: It was merged, or refused for another reason.
        """
        what = f"merges !{request.number} into {request.target}"
        try:
            self.forge.merge(request.number, user)
        except CifaropsError as error:
            expected = because in error.message
            said = f"{error.message}\n  do: {error.fix}"
            self.hear(Line(user, what, "refused" if expected else "failed", said))
            require(expected, f"{what} was refused for another reason than {because!r}: {error.message}")
            return error.message
        self.hear(Line(user, what, "failed", "nothing refused it"))
        raise CifaropsError(f"Nothing refused that {user} {what}; expected was: {because}.", fix=REPORT)

    def pipelines(self, *expected: str) -> list[Pipeline]:
        """Run the pipelines of what has happened, each of which must be green.

        Args:
            expected: Jobs that the last of them must have.
        """
        made = self.runner.catch_up()
        for pipeline in made:
            failed = [name for name, job in pipeline.jobs.items() if job.status == "failed"]
            told = " ".join(pipeline.jobs[name].log.strip()[-1500:] for name in failed[:1])
            bad = ", ".join(failed or sorted(pipeline.required - pipeline.names))
            require(pipeline.ok, f"The pipeline of {pipeline.event.ref} failed in {bad}. {told}")
        require(bool(made), "What happened made no pipeline.")
        absent = set(expected) - made[-1].names
        require(
            not absent,
            f"The pipeline of {made[-1].event.ref} had no {', '.join(sorted(absent))}.",
        )
        return made

    def runs(self, environment: EnvironmentName) -> EnvironmentState:
        """Return what an environment runs."""
        with Ledger(self.machine.ledger) as ledger:
            return ledger.environment(environment)

    def trainings(self) -> int:
        """Return how many models were trained."""
        return len(list(self.machine.runs.glob("*/run.json")))

    def server(self, environment: EnvironmentName) -> Client:
        """Return a client of an environment's server.

        Raises:
            CifaropsError: None, or more than one, is announced.
        """
        with Ledger(self.machine.ledger) as ledger:
            urls = ledger.servers(environment)
        require(len(urls) == 1, f"{environment} has {len(urls)} servers, not one.")
        return Client(urls[0])

    @contextmanager
    def under_traffic(self) -> Iterator[Met]:
        """Let customers ask production while the block runs; not one request may fail.

        Raises:
            CifaropsError: One did.
        """
        url = self.server("production").url
        with customers(url) as met:
            yield met
        self.met.append(met)
        answered = ", ".join(f"{count} by model {number}" for number, count in met.versions.items())
        outcome: Outcome = "failed" if met.failed else "done"
        self.hear(
            Line("customers", f"ask {url}", outcome, f"{met.sent} requests, {met.failed} failed; {answered}")
        )
        require(
            met.failed == 0 and met.sent > 0,
            f"{met.failed} of {met.sent} requests failed while production was replaced: {met.failures}",
        )

    def released(self, tag: str) -> Release:
        """Return the release.json that was published with a tag."""
        published = self.forge.root / "flow" / "releases" / tag / "release.json"
        require(published.is_file(), f"{tag} was published without release.json.")
        return Release.model_validate_json(published.read_bytes())

    def reported(self, pipeline: Pipeline) -> dict[str, object]:
        """Return what a merge request's pipeline says of the model."""
        return self.artifact(pipeline, "model-report", "reports/model/report.json")

    def artifact(self, pipeline: Pipeline, job: str, file: str) -> dict[str, object]:
        """Return a JSON file that a job handed on."""
        document: dict[str, object] = json.loads((pipeline.jobs[job].artifacts / file).read_text())
        return document

    def stop(self, environment: EnvironmentName) -> None:
        """Stop an environment's servers."""
        with Ledger(self.machine.ledger) as ledger:
            urls = stop(environment, ledger=ledger, settings=self.machine, reason="the rehearsal ends")
        self.hear(Line("bob", f"cifarops deploy stop --environment {environment}", output=", ".join(urls)))

    @property
    def remote(self) -> Git:
        """The bare repository."""
        return Git(self.forge.root)


def require(fact: bool, otherwise: str) -> None:
    """Go on only if something is so.

    Raises:
        CifaropsError: It is not.
    """
    if not fact:
        raise CifaropsError(otherwise, fix=REPORT)
