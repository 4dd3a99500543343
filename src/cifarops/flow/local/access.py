"""Who may do what on the local forge."""

from cifarops.flow.git_error import GitError
from cifarops.flow.local.state import ForgeState
from cifarops.flow.rules import Answer

ALLOWED = Answer(True, "The policy has nothing against it.")


def is_member(state: ForgeState, user: str) -> Answer:
    """Say whether somebody belongs to the project."""
    if user in state.members:
        return ALLOWED
    return Answer(
        False,
        f"{user or 'nobody'} is no member of this project.",
        f"Say who you are: export CIFAROPS_FLOW_USER=<one of {', '.join(state.members)}>.",
    )


def is_maintainer(state: ForgeState, user: str, deed: str) -> Answer:
    """Say whether a member may do what maintainers alone may: `deed`, as in "lock develop"."""
    if state.members[user] == "maintainer":
        return ALLOWED
    maintainers = [name for name, role in state.members.items() if role == "maintainer"]
    return Answer(
        False,
        f"{user} is a {state.members[user]} and may not {deed}.",
        f"Ask a maintainer: {', '.join(maintainers)}.",
    )


def require(answer: Answer) -> None:
    """Go on only if the answer is yes.

    Raises:
        GitError: It is no.
    """
    if not answer.allowed:
        raise GitError(f"The forge refused: {answer.reason}", fix=answer.instead)
