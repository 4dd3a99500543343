"""The second act: a release, from the freeze of develop to production, replaced while customers ask."""

from cifarops.flow.freeze import known_freeze
from cifarops.flow.rehearsal.edits import limit
from cifarops.flow.rehearsal.scene import Scene, require
from cifarops.story import Step

FIX = "fix/large-photos"
TAG = "v0.2.0"
_MEBIBYTES = 16


def freeze(scene: Scene, step: Step) -> None:
    """Develop is frozen; a change that is approved and green has to wait."""
    ada, bob = scene.ada, scene.bob
    bob.git("fetch", "--quiet", "origin")
    bob.cifarops("flow", "start", "fix", "large-photos")
    bob.edits(limit(_MEBIBYTES))
    bob.git("commit", "-m", f"fix: photos of up to {_MEBIBYTES} MiB")
    bob.git(
        *("push", "-o", "merge_request.create", "-o", "merge_request.target=develop"),
        *("-u", "origin", FIX),
    )
    scene.pipelines("policy", "lint", "unit", "integration", "model-report")
    scene.waiting = scene.approve(scene.opened(FIX, "develop"), "ada")
    ada.cifarops("flow", "freeze", "--reason", "release 0.2.0 is cut")
    told = bob.cifarops("flow", "status")
    require(
        "Ada" in told and "release 0.2.0 is cut" in told,
        "`flow status` does not say who froze develop, and why.",
    )
    bob.is_refused("develop is frozen", "cifarops", "flow", "check", "merge", FIX, "develop")
    scene.merge_is_refused(scene.waiting, "bob", "develop is frozen")
    step.result = {"waiting": scene.waiting.number}
    step.says = f"!{scene.waiting.number} is approved and green, and may not merge: develop is frozen, by Ada, and everybody sees why."


def cut(scene: Scene, step: Step) -> None:
    """Develop is merged into release: that lifts the freeze, pins model and code, and deploys and tries them on staging."""
    scene.ada.git("switch", "--quiet", "develop")
    scene.ada.git("pull", "--quiet")
    scene.ada.cifarops("flow", "release", "cut")
    request, before = scene.opened("develop", "release"), scene.trainings()
    (checked,) = scene.pipelines("policy", "lint", "unit", "model-report")
    report = scene.reported(checked)
    require(report["verdict"] == "promote", f"The gate's verdict in the report is {report['verdict']}.")
    require(scene.trainings() == before, "A model was trained for a report on one that exists.")
    scene.approve(request, "bob")
    scene.merge_is_refused(request, "cleo", "only maintainers merge into release")
    scene.merge(request, "ada")
    (pipeline,) = scene.pipelines("unfreeze", "pin", "deploy-staging", "verify-staging")
    pinned = scene.artifact(pipeline, "pin", "release.json")
    staging = scene.runs("staging")
    require(known_freeze(scene.remote, "develop", tags="refs/tags/") is None, "develop is frozen still.")
    require(pinned["bundle"] == report["bundle"], "The merge request reported another model than is pinned.")
    require(
        (staging.digest, staging.code) == (pinned["bundle"], pinned["code"]),
        "Staging does not run what release.json pins.",
    )
    require(pinned["version"] == TAG[1:], f"release.json says version {pinned['version']}, not {TAG[1:]}.")
    step.result = {key: pinned[key] for key in ("version", "bundle", "code")}
    step.says = (
        f"The freeze is lifted; release {pinned['version']} runs on staging, with the model and the code that develop made,"
        " and was tried there by load and beside production's model."
    )


def thaw(scene: Scene, step: Step) -> None:
    """Work goes on in develop while the release is prepared."""
    before = scene.trainings()
    scene.merge(scene.waiting, "bob")
    (pipeline,) = scene.pipelines("candidate", "build")
    candidate = scene.artifact(pipeline, "candidate", "reports/candidate.json")
    require(scene.trainings() == before, "A change that leaves the model's recipe alone was trained.")
    step.result = {"trainings": before, "bundle": candidate["bundle"]}
    step.says = (
        f"!{scene.waiting.number} has merged. It leaves the model's recipe alone, so nothing was trained:"
        f" model {str(candidate['bundle'])[:12]} was found."
    )


def finish(scene: Scene, step: Step) -> None:
    """A merge request into main rehearses the replacement of what production runs; it needs two approvals."""
    scene.bob.git("switch", "--quiet", "develop")
    scene.bob.git("pull", "--quiet")
    scene.bob.cifarops("flow", "release", "finish")
    request = scene.opened("release", "main")
    (pipeline,) = scene.pipelines("policy", "lint", "unit", "integration", "model-report", "rehearsal")
    scene.approve(request, "ada")
    scene.merge_is_refused(request, "bob", "needs 2 approvals")
    scene.request = scene.approve(request, "cleo")
    tried = scene.artifact(pipeline, "rehearsal", "reports/replacement.json")
    require(tried["failed"] == 0, f"{tried['failed']} requests failed in the rehearsal.")
    step.result = {"answered": tried["answered"], "failed": tried["failed"]}
    step.says = (
        f"The job `rehearsal` replaced a copy of production and put it back: {tried['answered']} requests answered, none"
        " failed. One approval was not enough; two are."
    )


def production(scene: Scene, step: Step) -> None:
    """The merge replaces model and code in production while customers ask: not one request fails."""
    before = scene.runs("production")
    with scene.under_traffic() as met:
        scene.merge(scene.request, "bob")
        scene.pipelines("deploy-production", "watch-production", "release")
    after, release = scene.runs("production"), scene.released(TAG)
    running = scene.server("production").version()
    require(
        (after.digest, after.code) == (release.bundle, release.code),
        f"Production does not run what {TAG} pins.",
    )
    require(
        after.digest != before.digest and after.code != before.code,
        "Model and code of production were not both replaced.",
    )
    require(running.code_release == release.code, "The server answers with another code than released.")
    require(len(met.versions) == len({before.version, after.version}), "Customers did not meet both models.")
    step.result = {
        "tag": TAG,
        "bundle": release.bundle,
        "code": release.code,
        "sent": met.sent,
        "failed": met.failed,
        "versions": met.versions,
    }
    step.says = (
        f"{TAG}: production answers with version {after.version} and new code; {met.sent} requests meanwhile, {met.failed}"
        " failed. The tag carries release.json."
    )
