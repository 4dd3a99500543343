"""The first act: what is refused, and a feature that gets into develop."""

from cifarops.flow.local.forge import LocalForge
from cifarops.flow.rehearsal.edits import limit, longer_training, one_more_line
from cifarops.flow.rehearsal.scene import Scene, require
from cifarops.story import Step

FEATURE = "feature/sharper-eyes"
_EPOCHS = 6
_MEBIBYTES = 12


def direct_push(scene: Scene, step: Step) -> None:
    """Nobody pushes to develop: the hook refuses the commit, and where hooks are skipped the remote refuses the push."""
    ada = scene.ada
    before = scene.remote.commit("refs/heads/develop")
    ada.git("switch", "--quiet", "develop")
    ada.edits(one_more_line("README.md"))
    ada.is_refused("develop is protected", "git", "commit", "-m", "docs: one more line")
    ada.git("commit", "--quiet", "--no-verify", "-m", "docs: one more line")
    ada.is_refused("develop is protected", "git", "push", "origin", "develop")
    ada.is_refused("develop is protected", "git", "push", "--no-verify", "origin", "develop")
    ada.is_refused("develop is protected", "git", "push", "--no-verify", "--force", "origin", "develop")
    ada.is_refused(
        "develop is protected and can't be deleted", "git", "push", "--no-verify", "origin", ":develop"
    )
    ada.git("reset", "--quiet", "--hard", "origin/develop")
    require(scene.remote.commit("refs/heads/develop") == before, "develop has moved.")
    step.result = {"develop": before}
    step.says = (
        "A commit on develop, three ways to push it, and its deletion were refused; develop is where it was."
    )


def bad_name(scene: Scene, step: Step) -> None:
    """A branch of no known form is refused on commit and on push, and the right form is named."""
    ada = scene.ada
    ada.git("switch", "--quiet", "-c", "Feature/Sharper_Eyes")
    ada.edits(one_more_line("README.md"))
    said = ada.is_refused("no valid branch name", "git", "commit", "-m", "docs: one more line")
    ada.git("commit", "--quiet", "--no-verify", "-m", "docs: one more line")
    ada.is_refused("no valid branch name", "git", "push", "--no-verify", "origin", "Feature/Sharper_Eyes")
    ada.git("switch", "--quiet", "develop")
    ada.git("branch", "--quiet", "-D", "Feature/Sharper_Eyes")
    require(FEATURE in said, f"The refusal does not name the right form, {FEATURE}.")
    step.says = f"Refused on commit and on push; the message names the right form, `{FEATURE}`."


def run_tests(scene: Scene, step: Step) -> None:
    """A feature; its message `run tests` runs the unit tests in the hook of the push and in the pipeline."""
    ada = scene.ada
    ada.cifarops("flow", "start", "feature", "sharper-eyes")
    ada.edits({**longer_training(_EPOCHS), **limit(_MEBIBYTES)})
    ada.is_refused("none of the admitted forms", "git", "commit", "-m", "made it better")
    ada.git("commit", "-m", f"feat: a sharper model, and images of up to {_MEBIBYTES} MiB")
    ada.git("commit", "--allow-empty", "-m", "run tests")
    said = ada.git("push", "origin", FEATURE)
    require(" passed" in said, "The hook of the push ran no unit test.")
    (pipeline,) = scene.pipelines("policy", "lint", "unit")
    require(pipeline.names == {"policy", "lint", "unit"}, f"The push made {sorted(pipeline.names)}.")
    step.result = {"jobs": sorted(pipeline.names)}
    step.says = "The unit tests passed on Ada's machine and in the pipeline, beside `policy` and `lint`."


def unapproved(scene: Scene, step: Step) -> None:
    """Nothing merges without somebody else's approval and a green pipeline; one's own approval does not count."""
    opened = LocalForge(scene.forge.root, "ada").open(
        FEATURE, "develop", title="A sharper model", description="Longer training, larger images."
    )
    scene.merge_is_refused(opened, "ada", "needs 1 approval ")
    require(
        scene.approve(opened, "ada").approvals == 0, "An author's approval of her own change was counted."
    )
    scene.merge_is_refused(opened, "ada", "needs 1 approval ")
    scene.approve(opened, "bob")
    scene.merge_is_refused(opened, "ada", "has not ended yet")
    scene.request = opened
    step.says = (
        "Refused without an approval, with Ada's own, and, approved by Bob, before the pipeline has ended."
    )


def into_develop(scene: Scene, step: Step) -> None:
    """Approved and green, it merges; develop's pipeline makes the model and the code of the next release, each once."""
    (checked,) = scene.pipelines("policy", "lint", "unit", "integration", "model-report")
    report = scene.reported(checked)
    scene.merge(scene.request, "ada")
    (made,) = scene.pipelines("candidate", "build")
    candidate = scene.artifact(made, "candidate", "reports/candidate.json")
    code = scene.artifact(made, "build", "reports/code.json")
    running = scene.runs("production")
    require(candidate["verdict"] == "promote", f"The gate's verdict on the model is {candidate['verdict']}.")
    require(report["bundle"] == candidate["made"], "The model of the report is not the candidate.")
    require(candidate["bundle"] != running.digest, "The candidate is what production runs already.")
    step.result = {
        "bundle": candidate["bundle"],
        "code": code["code"],
        "version": candidate["version"],
        "trainings": scene.trainings(),
    }
    step.says = (
        f"The report shows model {str(candidate['bundle'])[:12]}; develop's pipeline found it, let it pass the gate,"
        f" registered it as version {candidate['version']}, and built code {str(code['code'])[:12]}."
    )
