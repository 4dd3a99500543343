"""Before the story: a remote that enforces the policy, two people, and a first version in production."""

from cifarops.flow.git import Git
from cifarops.flow.local.create import create_remote
from cifarops.flow.rehearsal.people import MEMBERS, Person, identity
from cifarops.flow.rehearsal.runner import Runner, Waiting
from cifarops.flow.rehearsal.scene import Scene, require
from cifarops.flow.rehearsal.transcript import Line
from cifarops.story import Step

FIRST = "v0.1.0"
# pytest's own way to leave tests out: the hook runs all of tests/unit, the rehearsal what the pipeline's UNIT_TESTS names.
_FEW_TESTS = "--ignore-glob=tests/unit/[!s]* --ignore-glob=tests/unit/serving/test_serving_*"


def remote(scene: Scene, step: Step, waiting: Waiting) -> None:
    """A bare repository from the files of HEAD, whose hooks enforce the policy, and a clone for each person."""
    scene.forge = create_remote(scene.place / "remote.git", scene.policy, MEMBERS, user="robot")
    commit = _begin(scene)
    scene.ada, scene.bob = (_clone(scene, name) for name in ("ada", "bob"))
    checkout = scene.place / "runner"
    Git(scene.place, identity("robot"))("clone", "--quiet", str(scene.forge.root), str(checkout))
    scene.runner = Runner(
        scene.forge,
        scene.policy,
        checkout=checkout,
        machine=scene.place / "machine",
        tools=scene.root / "ci" / "tools",
        hear=scene.hear,
        waiting=waiting,
    )
    step.result = {"commit": commit, "members": dict(MEMBERS)}
    step.says = (
        f"{', '.join(scene.policy.protected)} begin at {commit[:12]}; two clones have hooks, made by"
        " `cifarops flow install`."
    )


def first_version(scene: Scene, step: Step) -> None:
    """The pipelines of develop, release and main bring a first version to staging and production."""
    pipelines = scene.pipelines("deploy-production", "watch-production", "release")
    staging, production = scene.runs("staging"), scene.runs("production")
    release = scene.released(FIRST)
    require(
        (production.digest, production.code) == (release.bundle, release.code)
        and (staging.digest, staging.code) == (release.bundle, release.code),
        f"Staging and production do not run what {FIRST} pins.",
    )
    step.result = {
        "tag": FIRST,
        "bundle": release.bundle,
        "code": release.code,
        "jobs": [sorted(each.names) for each in pipelines],
    }
    step.says = (
        f"{FIRST} runs on staging and in production: model {release.bundle[:12]}, code {release.code[:12]}."
    )


def _begin(scene: Scene) -> str:
    """Push the files of the project's HEAD as the first commit of the three protected branches."""
    git = Git(scene.place / "first", identity("ada"))
    Git(scene.place, identity("ada"))("clone", "--quiet", "--no-checkout", str(scene.root), str(git.root))
    commit = git("commit-tree", "HEAD^{tree}", "-m", "feat: begin")
    git("remote", "set-url", "origin", str(scene.forge.root))
    for branch in scene.policy.protected:
        git("push", "--quiet", "origin", f"{commit}:refs/heads/{branch}")
    branches = ", ".join(scene.policy.protected)
    scene.hear(
        Line("ada", f"git push origin: {branches}", output=f"the files of HEAD, as commit {commit[:12]}")
    )
    return commit


def _clone(scene: Scene, name: str) -> Person:
    place = scene.place / name
    Git(scene.place, identity(name))("clone", "--quiet", str(scene.forge.root), str(place))
    person = Person(name, place, hear=scene.hear, environment={"PYTEST_ADDOPTS": _FEW_TESTS})
    person.cifarops("flow", "install")
    return person
