"""The rehearsal: the whole branch process, told and done step by step."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from cifarops.errors import CifaropsError
from cifarops.flow.git import Git
from cifarops.flow.policy import POLICY, Policy, parse_policy
from cifarops.flow.rehearsal import beginning, feature, releasing, urgent
from cifarops.flow.rehearsal.graph import draw
from cifarops.flow.rehearsal.keeper import end_all, kept
from cifarops.flow.rehearsal.needs import head_of, require_tools
from cifarops.flow.rehearsal.page import write_page
from cifarops.flow.rehearsal.runner import LEFT_OUT, SMALL
from cifarops.flow.rehearsal.scene import Scene
from cifarops.flow.rehearsal.transcript import Audience, Chapter, Line, Summary
from cifarops.fresh import fresh_folder
from cifarops.settings import Settings
from cifarops.story import Recorder, Step

Act = Callable[[Scene, Step], None]
STEPS: tuple[tuple[str, str, Act], ...] = (
    ("first_version", "A first version runs in production", beginning.first_version),
    ("direct_push", "Nobody pushes to develop", feature.direct_push),
    ("bad_name", "A badly named branch", feature.bad_name),
    ("run_tests", "A feature, and `run tests`", feature.run_tests),
    ("unapproved", "An unapproved merge", feature.unapproved),
    ("into_develop", "The feature gets into develop", feature.into_develop),
    ("freeze", "develop is frozen", releasing.freeze),
    ("cut", "The release is cut, and tried on staging", releasing.cut),
    ("thaw", "Work goes on in develop", releasing.thaw),
    ("finish", "The replacement of production is rehearsed", releasing.finish),
    ("production", "Production is replaced while customers ask", releasing.production),
    ("hotfix", "A hotfix starts at main", urgent.hotfix),
    ("patch", "The patch release", urgent.patch),
    ("conflict", "The hotfix conflicts with develop", urgent.conflict),
    ("resolve", "The conflict is resolved", urgent.resolve),
    ("end", "What is left", urgent.end),
)
# After these the branches are drawn.
_PICTURES = ("into_develop", "cut", "production", "conflict", "resolve")
RESTRICTED = {
    "model": "the profile `smoke`: few synthetic images, a small network; its numbers say that the machinery works",
    "unit": f"these tests only: {SMALL['UNIT_TESTS']}; on people's machines the hook leaves out the others, too",
    "integration": f"this test only: {SMALL['INTEGRATION_TESTS']}; all of them take longer than the whole story",
    **LEFT_OUT,
    "lint, unit, integration": "not run a second time for files for which they were green",
}


def rehearse(root: Path, place: Path, audience: Audience) -> Summary:
    """Play the whole process with the files of a project's HEAD.

    Args:
        root: The project's checkout.
        place: Folder that is emptied first, and holds everything afterwards.
        audience: Sees it while it is played.

    Raises:
        UnavailableError: A tool is missing.
        UsageError: The checkout has no commit of this project, or `place` holds something else.
        ConflictError: Another rehearsal runs there.
        CifaropsError: A step failed; the transcript says how far it got.
    """
    require_tools(root)
    commit = head_of(root)
    with fresh_folder(place, maker="rehearsal", before=partial(end_all, place)), kept(place):
        return _play(root, place, commit, audience)


def _play(root: Path, place: Path, commit: str, audience: Audience) -> Summary:
    summary = Summary(commit, RESTRICTED)
    recorder = Recorder(summary, place / "summary.json")
    chapters: list[Chapter] = []

    def hear(line: Line) -> None:
        chapters[-1].lines.append(line)
        audience.hears(line)

    scene = Scene(
        root=root,
        place=place,
        policy=_policy(root, commit),
        machine=Settings.from_environment({"CIFAROPS_WORKSPACE": str(place / "machine" / "workspace")}),
        hear=hear,
    )
    first: Act = partial(beginning.remote, waiting=audience.waits)
    steps = (("remote", "A remote that enforces the policy", first), *STEPS)
    try:
        for number, (name, title, act) in enumerate(steps, start=1):
            with recorder.step(name, title) as step:
                chapters.append(Chapter(step, _expectation(act)))
                audience.begins(chapters[-1], number, len(steps))
                act(scene, step)
                _count(summary, scene)
                if name in _PICTURES:
                    chapters[-1].picture = draw(scene.remote, _rows(scene.policy))
            audience.ends(chapters[-1])
        summary.complete = True
    except CifaropsError as error:
        chapters[-1].problem = error.message
        raise
    except KeyboardInterrupt:
        chapters[-1].problem = "It was interrupted here."
        raise
    finally:
        recorder.write()
        write_page(place / "transcript.html", summary, chapters)
    return summary


def _policy(root: Path, commit: str) -> Policy:
    """Return the policy as the commit has it: what lies changed in the checkout is not rehearsed."""
    return parse_policy(Git(root)("show", f"{commit}:{POLICY}"), f"{POLICY} of {commit[:12]}")


def _rows(policy: Policy) -> tuple[str, ...]:
    """Return the protected branches, production's first."""
    return tuple(reversed(policy.protected))


def _expectation(act: Act) -> str:
    function = act.func if isinstance(act, partial) else act
    return (function.__doc__ or "").strip()


def _count(summary: Summary, scene: Scene) -> None:
    summary.requests_sent = sum(met.sent for met in scene.met)
    summary.requests_failed = sum(met.failed for met in scene.met)
