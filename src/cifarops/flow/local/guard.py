"""What a push to the local forge may change, by the policy. As in GitLab, protected branches change by merging only."""

from dataclasses import dataclass
from fnmatch import fnmatchcase

from cifarops.errors import UsageError
from cifarops.flow.git import Git
from cifarops.flow.local.access import ALLOWED, is_maintainer, is_member
from cifarops.flow.local.state import ForgeState
from cifarops.flow.rules import Answer, may_push, parse_branch

_NOTHING = "0" * 40


@dataclass(frozen=True)
class Update:
    """One change that a push wants to make.

    Attributes:
        old: Commit or tag that the reference names now; zeros where it is to be made.
        new: What it is to name; zeros where it is to be deleted.
        reference: `refs/heads/…` or `refs/tags/…`.
    """

    old: str
    new: str
    reference: str

    @property
    def branch(self) -> str | None:
        """The branch, or None if it is none."""
        prefix = "refs/heads/"
        return self.reference.removeprefix(prefix) if self.reference.startswith(prefix) else None

    @property
    def tag(self) -> str | None:
        """The tag, or None if it is none."""
        prefix = "refs/tags/"
        return self.reference.removeprefix(prefix) if self.reference.startswith(prefix) else None

    @property
    def creates(self) -> bool:
        """Whether it makes the reference."""
        return self.old == _NOTHING

    @property
    def deletes(self) -> bool:
        """Whether it deletes the reference."""
        return self.new == _NOTHING


def may_update(git: Git, state: ForgeState, user: str, update: Update) -> Answer:
    """Say whether a member may make this change by a push.

    Args:
        git: The bare repository.
        state: The forge's state.
        user: Login of who pushes.
        update: The change.
    """
    member = is_member(state, user)
    if not member.allowed:
        return member
    if update.branch is not None:
        return _may_update_branch(git, state, user, update, update.branch)
    if update.tag is not None:
        return _may_update_tag(state, user, update, update.tag)
    return Answer(False, f"{update.reference} is neither a branch nor a tag.", "Push branches and tags only.")


def _may_update_branch(git: Git, state: ForgeState, user: str, update: Update, branch: str) -> Answer:
    if branch not in state.policy.protected:
        return _may_update_work(state, update, branch)
    if update.creates:
        return is_maintainer(state, user, f"begin the protected branch {branch}")
    if update.deletes:
        return Answer(False, f"{branch} is protected and can't be deleted.", "Leave it where it is.")
    if not git.is_ancestor(update.old, update.new):
        return Answer(
            False,
            f"{branch} is protected: its history can't be rewritten.",
            f"Get back to it: git fetch && git switch {branch} && git reset --keep origin/{branch}.",
        )
    return may_push(state.policy, branch)


def _may_update_work(state: ForgeState, update: Update, branch: str) -> Answer:
    if update.deletes:
        return ALLOWED
    try:
        parse_branch(state.policy, branch)
    except UsageError as error:
        return Answer(False, error.message, error.fix)
    return ALLOWED


def _may_update_tag(state: ForgeState, user: str, update: Update, tag: str) -> Answer:
    tags = state.policy.tags
    if not any(fnmatchcase(tag, pattern) for pattern in (tags.release, tags.freeze)):
        return ALLOWED
    if not update.creates:
        what = "deleted" if update.deletes else "moved"
        fix = (
            "cifarops flow unfreeze"
            if fnmatchcase(tag, tags.freeze)
            else "make the next version: cifarops flow version --next"
        )
        return Answer(False, f"The tag {tag} is protected and can't be {what} by a push.", f"Use {fix}.")
    return is_maintainer(state, user, f"create the protected tag {tag}")
