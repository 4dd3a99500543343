"""The third act: a hotfix, from main to everywhere, with a conflict on the way, and the patch release."""

from cifarops.flow.freeze import known_freeze
from cifarops.flow.git import Git
from cifarops.flow.rehearsal.edits import SIZES, SIZES_TEST, limit
from cifarops.flow.rehearsal.releasing import TAG
from cifarops.flow.rehearsal.scene import Scene, require
from cifarops.story import Step

HOTFIX = "hotfix/memory"
PATCH = "v0.2.1"
_MEBIBYTES = 6


def hotfix(scene: Scene, step: Step) -> None:
    """A hotfix starts at main, is tested as thoroughly as a release, and says at once where it will conflict."""
    bob = scene.bob
    bob.cifarops("flow", "start", "hotfix", "memory")
    require(
        bob.repository.commit() == scene.remote.commit("refs/heads/main"),
        "The hotfix does not start at main.",
    )
    bob.edits(limit(_MEBIBYTES))
    bob.git("commit", "-m", f"fix: refuse images over {_MEBIBYTES} MiB, which fill the memory")
    said = bob.cifarops("flow", "hotfix", "finish")
    require(SIZES in said, f"`hotfix finish` does not say that {SIZES} will conflict with develop.")
    request = scene.opened(HOTFIX, "main")
    (pipeline,) = scene.pipelines("policy", "lint", "unit", "integration", "model-report", "rehearsal")
    production = scene.runs("production").digest
    require(
        scene.reported(pipeline)["bundle"] == production, "The report shows another model than production's."
    )
    scene.request = scene.approve(request, "ada", "cleo")
    step.result = {"jobs": sorted(pipeline.names)}
    step.says = f"!{request.number} into main is tested, tried on staging, rehearsed and approved twice; `hotfix finish` names the files that develop changed, too."


def patch(scene: Scene, step: Step) -> None:
    """Merged into main, it replaces the code in production while customers ask, and is the patch release."""
    before = scene.runs("production")
    with scene.under_traffic() as met:
        scene.merge(scene.request, "ada")
        scene.pipelines("deploy-production", "watch-production", "release", "backmerge")
    after, release = scene.runs("production"), scene.released(PATCH)
    require(
        (after.digest, after.code) == (release.bundle, release.code),
        f"Production does not run what {PATCH} pins.",
    )
    require(after.digest == before.digest, "A hotfix of the code alone has replaced the model.")
    require(after.code != before.code, "The code of production was not replaced.")
    step.result = {"tag": PATCH, "code": release.code, "sent": met.sent, "failed": met.failed}
    step.says = f"{PATCH}: production has the hotfix's code and keeps its model; {met.sent} requests meanwhile, {met.failed} failed."


def conflict(scene: Scene, step: Step) -> None:
    """The merge request into develop, opened by the pipeline, reports its conflict; the hotfix is not done while it is open."""
    request = scene.opened(HOTFIX, "develop")
    require(
        set(request.conflicts or ()) == {SIZES, SIZES_TEST},
        f"!{request.number} reports conflicts in {request.conflicts}.",
    )
    scene.pipelines("policy", "model-report")
    scene.approve(request, "ada")
    scene.merge_is_refused(request, "bob", "it conflicts with develop in")
    told = scene.bob.cifarops("flow", "status")
    require(HOTFIX in told, f"`flow status` does not say that {HOTFIX} is on its way.")
    step.result = {"merge_request": request.number, "files": list(request.conflicts or ())}
    step.says = f"!{request.number} into develop was opened by the pipeline and can't merge: {', '.join(request.conflicts or ())}."


def resolve(scene: Scene, step: Step) -> None:
    """It is resolved on a branch of its own, which may merge into develop only; then the hotfix is everywhere."""
    bob, branch = scene.bob, f"{HOTFIX}-into-develop"
    bob.git("fetch", "--quiet", "origin")
    bob.git("switch", "--quiet", "--no-track", "-c", branch, f"origin/{HOTFIX}")
    bob.is_refused("CONFLICT", "git", "merge", "origin/develop")
    bob.git("checkout", "--ours", "--", SIZES, SIZES_TEST)
    bob.git("add", SIZES, SIZES_TEST)
    bob.git("commit", "--no-edit")
    bob.is_refused("may merge into develop only", "cifarops", "flow", "check", "merge", branch, "main")
    bob.cifarops("flow", "hotfix", "finish")
    request = scene.opened(branch, "develop")
    scene.pipelines("policy", "lint", "unit", "integration", "model-report")
    scene.approve(request, "cleo")
    scene.merge(request, "bob")
    scene.pipelines("candidate", "build")
    told = bob.cifarops("flow", "hotfix", "finish")
    require("done: it is everywhere" in told, f"{HOTFIX} is not everywhere.")
    open_ones = [each.number for each in scene.forge.merge_requests(state="open")]
    require(not open_ones, f"Merge requests {open_ones} are open still.")
    step.result = {"merge_request": request.number}
    step.says = f"Resolved on `{branch}` and merged; no merge request is open, and the hotfix is done."


def end(scene: Scene, step: Step) -> None:
    """What is left: tags, environments, no freeze, and no server that goes on running."""
    tags = sorted(scene.remote("tag", "--list").split())
    require(known_freeze(scene.remote, "develop", tags="refs/tags/") is None, "develop is frozen.")
    require(tags == ["v0.1.0", TAG, PATCH], f"The tags are {', '.join(tags)}.")
    require(
        Git(scene.forge.root).is_ancestor(f"refs/heads/{HOTFIX}", "refs/heads/develop"),
        "develop lacks the hotfix.",
    )
    release, state = scene.released(PATCH), scene.runs("production")
    scene.runner.press("stop-staging", "release")
    scene.stop("production")
    sent, failed = sum(met.sent for met in scene.met), sum(met.failed for met in scene.met)
    step.result = {
        "tags": tags,
        "production": {"version": state.version, "bundle": state.digest, "code": state.code},
        "release": release.model_dump(),
        "requests": {"sent": sent, "failed": failed},
    }
    step.says = f"Tags {', '.join(tags)}; nothing is frozen; {failed} of {sent} requests failed. Both servers are stopped."
