"""Jobs of the real pipeline, really run by the interpreter on this machine, in a clone of this repository."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from cifarops.deployment.deploy import stop
from cifarops.flow.event import Event
from cifarops.flow.git import Git
from cifarops.flow.interpreter import JobResult
from cifarops.flow.local.create import create_remote
from cifarops.flow.policy import load_policy
from cifarops.flow.rules import may_merge
from cifarops.ledger.store import Ledger
from tests.support.clones import MEMBERS, Project, person, write
from tests.support.pipeline import ROOT, interpreter
from tests.support.serving import settings_of

pytestmark = pytest.mark.flow
POLICY = load_policy(ROOT / "policy.yaml")
# Read to the end here: what the jobs run is each room's own business.
SMALL = {
    "UNIT_TESTS": "tests/unit/test_files.py",
    "INTEGRATION_TESTS": "tests/integration/test_gate_register_monitor.py",
}


@dataclass(frozen=True)
class Site:
    """A clone whose remote enforces the policy, and the machine that its jobs run on."""

    project: Project
    git: Git
    machine: Path

    def merge(self, source: str, target: str) -> str:
        """Merge on the server and check the result out."""
        commit = self.project.merge(source, target)
        self.git("fetch", "--quiet", "origin")
        self.git("switch", "--quiet", "--detach", commit)
        return commit

    def document(self, result: JobResult, name: str) -> Any:
        """Read a JSON artifact of a job that succeeded."""
        assert result.status == "success", result.log
        return json.loads((result.artifacts / name).read_text())

    def run(self, event: Event, *names: str, **variables: str) -> dict[str, JobResult]:
        """Run jobs at the commit that is checked out."""
        results = interpreter().run(
            self.git.root,
            event,
            names,
            state=self.machine / "state",
            variables={
                "CIFAROPS_VENV": sys.prefix,
                "CIFAROPS_TOOLS": str(ROOT / "ci" / "tools"),
                "CIFAROPS_WORKSPACE": str(self.machine / "workspace"),
                "CIFAROPS_PROFILE": "smoke",
                "RELEASE_IMAGES": "no",
                "STAGING_PORT": "0",
                "PRODUCTION_PORT": "0",
                "STAGING_REQUESTS": "60",
                "WATCH_SECONDS": "1",
                "OMP_NUM_THREADS": "1",
                **person("robot"),
                **SMALL,
                **variables,
            },
        )
        return {result.name: result for result in results}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site")
    git = Git(root / "clone", person("ada"))
    Git(root, person("ada"))("clone", "--quiet", str(ROOT), str(git.root))
    git("checkout", "--quiet", "--detach")
    forge = create_remote(root / "remote.git", POLICY, MEMBERS, user="robot")
    git("remote", "set-url", "origin", str(forge.root))
    git("push", "--quiet", "origin", *(f"HEAD:refs/heads/{branch}" for branch in POLICY.protected))
    git("fetch", "--quiet", "--prune", "origin")
    project = Project(root, POLICY, forge)
    forge.create_tag("v1.0.0", project.tip("main"), "1.0.0")
    found = Site(project, git, root / "machine")
    yield found
    settings = settings_of(found.machine / "workspace")
    with Ledger(settings.ledger) as ledger:
        for environment in ("staging", "production"):
            stop(environment, ledger=ledger, settings=settings, reason="the tests are over")


@pytest.fixture
def feature(site: Site) -> Iterator[Site]:
    """The site with a feature branch checked out that has a commit of its own."""
    site.git("switch", "--quiet", "--create", "feature/words", "origin/develop")
    write(site.git, {"docs/words.md": "Words.\n"}, "run tests")
    site.git("push", "--quiet", "origin", "HEAD")
    yield site
    site.git("switch", "--quiet", "--detach")
    site.git("push", "--quiet", "--delete", "origin", "feature/words")
    site.git("branch", "--quiet", "-D", "feature/words")


def test_a_push_with_run_tests_is_checked_linted_and_tested(feature: Site) -> None:
    event = Event("push", "feature/words", message="run tests\n")
    results = feature.run(event)
    assert set(results) == {"policy", "lint", "unit"}
    for result in results.values():
        assert result.status == "success", result.log
    assert "Black" in results["lint"].log
    reports = results["unit"].artifacts / "reports"
    assert 'classname="tests.unit.test_files"' in (reports / "junit.xml").read_text()
    assert "<coverage " in (reports / "coverage.xml").read_text()


def test_jobs_can_be_left_out(feature: Site) -> None:
    results = interpreter().run(
        feature.git.root,
        Event("push", "feature/words"),
        state=feature.machine / "without",
        without=("lint", "images"),
        variables={"CIFAROPS_VENV": sys.prefix},
    )
    assert {each.name: each.status for each in results} == {"policy": "success", "lint": "skipped"}


def test_a_failing_check_stops_what_comes_after_it(site: Site) -> None:
    site.git("switch", "--quiet", "--create", "fix/broken", "origin/develop")
    path = "tests/unit/test_broken.py"
    write(site.git, {path: "def test_it() -> None:\n    assert 1 == 2\n"}, "run tests")
    try:
        results = site.run(Event("push", "fix/broken", message="run tests"), "unit", UNIT_TESTS=path)
        assert results["unit"].status == "failed"
        assert "assert 1 == 2" in results["unit"].log
        assert results["policy"].status == "skipped"
        refused = site.run(Event("push", "fixes/broken"))
        assert {name: each.status for name, each in refused.items()} == {"policy": "failed"}
        assert "'fixes/broken' is no valid branch name; the nearest is fix/broken" in refused["policy"].log
    finally:
        site.git("switch", "--quiet", "--detach", "origin/develop")
        site.git("branch", "--quiet", "-D", "fix/broken")


@pytest.mark.promise("A2")
@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("feature/words", "develop"),
        ("feature/words", "release"),
        ("feature/words", "main"),
        ("develop", "release"),
        ("develop", "main"),
        ("release", "main"),
        ("release", "develop"),
        ("wip", "develop"),
        ("feature/words", "feature/other"),
    ],
)
def test_the_policy_job_answers_as_the_policy_does(feature: Site, source: str, target: str) -> None:
    expected = may_merge(POLICY, source, target)
    result = feature.run(Event("merge_request", source, target), "policy")["policy"]
    assert (result.status == "success") == expected.allowed, result.log
    assert expected.reason in " ".join(result.log.split())


@pytest.mark.promise("B5", "A6")
def test_a_merge_request_into_develop_tests_and_reports(feature: Site) -> None:
    event = Event("merge_request", "feature/words", "develop", merge_request=1)
    results = feature.run(event, "integration", "model-report")
    for name in ("integration", "model-report"):
        assert results[name].status == "success", results[name].log
    junit = (results["integration"].artifacts / "reports" / "junit.xml").read_text()
    assert 'classname="tests.integration.test_gate_register_monitor"' in junit
    folder = results["model-report"].artifacts / "reports" / "model"
    report = json.loads((folder / "report.json").read_text())
    assert report["commit"] == feature.git.commit()
    assert report["production"] is None
    assert 'accuracy{bound="low",images="synthetic"}' in (folder / "metrics.txt").read_text()


@pytest.mark.promise("A1")
def test_develop_makes_its_candidate_and_its_code_once(site: Site) -> None:
    site.git("switch", "--quiet", "--detach", "origin/develop")
    event = Event("push", "develop", protected=True)
    first = site.run(event)
    for name in ("candidate", "build"):
        assert first[name].status == "success", first[name].log
    again = site.run(event)
    for name, file in (("candidate", "candidate.json"), ("build", "code.json")):
        reports = [
            json.loads((each[name].artifacts / "reports" / file).read_text()) for each in (first, again)
        ]
        assert reports[0] == reports[1]
    workspace = site.machine / "workspace"
    assert len(list((workspace / "runs").glob("*/run.json"))) == 1
    assert len([path for path in (workspace / "releases").iterdir() if path.is_dir()]) == 1


@pytest.mark.promise("A1", "A6", "B10", "B11", "B13", "B15", "B17")
def test_what_develop_made_goes_to_staging_and_production(site: Site) -> None:
    site.git("switch", "--quiet", "--create", "feature/release-me", "origin/develop")
    write(site.git, {"docs/words.md": "Words.\n"}, "feat: words")
    site.git("push", "--quiet", "origin", "HEAD")
    site.merge("feature/release-me", "develop")
    made = site.run(Event("push", "develop", protected=True))
    model = site.document(made["candidate"], "reports/candidate.json")
    code = site.document(made["build"], "reports/code.json")

    site.git("switch", "--quiet", "--detach", "origin/develop")
    asked = site.run(Event("merge_request", "develop", "release", merge_request=8), "model-report")
    told = site.document(asked["model-report"], "reports/model/report.json")
    assert (told["bundle"], told["verdict"]) == (model["bundle"], "promote")

    site.merge("develop", "release")
    staged = site.run(Event("push", "release", protected=True))
    pinned = site.document(staged["pin"], "release.json")
    assert (pinned["bundle"], pinned["code"]) == (model["bundle"], code["code"])
    assert pinned["version"] == "1.1.0"
    assert staged["deploy-staging"].status == "success", staged["deploy-staging"].log
    assert site.document(staged["verify-staging"], "reports/load.json")["failed"] == 0
    assert staged["stop-staging"].status == "skipped"

    site.git("switch", "--quiet", "--detach", "origin/release")
    rehearsed = site.run(Event("merge_request", "release", "main", merge_request=9), "rehearsal")["rehearsal"]
    assert site.document(rehearsed, "reports/replacement.json")["failed"] == 0

    commit = site.merge("release", "main")
    replaced = site.run(Event("push", "main", protected=True))
    released = site.document(replaced["deploy-production"], "release.json")
    assert released["commit"] == commit
    assert (released["bundle"], released["code"]) == (model["bundle"], code["code"])
    for name in ("watch-production", "release", "backmerge"):
        assert replaced[name].status == "success", replaced[name].log
    assert replaced["rollback-production"].status == "skipped"
    site.git("fetch", "--quiet", "origin", "refs/tags/v1.1.0:refs/tags/v1.1.0")
    assert site.git.commit("v1.1.0") == commit
    assert len(list((site.machine / "workspace" / "runs").glob("*/run.json"))) == 1

    # Now that something is there: replaced by the same, it stays as it is, and so does what was published.
    again = site.run(Event("push", "main", protected=True), "deploy-production", GITLAB_USER_LOGIN="bob")
    assert site.document(again["deploy-production"], "release.json") == released
    published = site.run(Event("push", "main", protected=True), "release")["release"]
    assert published.status == "success", published.log
    site.git("switch", "--quiet", "--detach", "origin/release")
    repeated = site.run(Event("push", "release", protected=True), "pin")
    assert site.document(repeated["pin"], "release.json") == pinned
