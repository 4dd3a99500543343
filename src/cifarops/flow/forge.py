"""What the process needs from the server that holds the remote: merge requests, locks, releases, notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from cifarops.errors import ConflictError
from cifarops.flow.git import Git
from cifarops.settings import Settings

if TYPE_CHECKING:
    from cifarops.flow.policy import Policy

State = Literal["open", "merged", "closed"]


@dataclass(frozen=True)
class MergeRequest:
    """A wish to merge one branch into another.

    Attributes:
        number: As the server counts it.
        source: The branch with the changes.
        target: The branch that is to have them.
        title: One line.
        state: `open`, `merged` or `closed`.
        url: Where a person sees it.
        author: Login of who opened it.
        approvals: People other than the author who approved its newest commit.
        conflicts: Files in conflict, empty when there is none, None while nobody has looked yet.
    """

    number: int
    source: str
    target: str
    title: str
    state: State
    url: str
    author: str
    approvals: int
    conflicts: tuple[str, ...] | None


class Forge(Protocol):
    """A server for Git repositories.

    Every method raises UnavailableError when it does not answer and CifaropsError when it refuses.
    """

    name: str

    def merge_requests(
        self, *, source: str | None = None, target: str | None = None, state: State | None = None
    ) -> list[MergeRequest]:
        """Return the merge requests with these properties, the oldest first."""

    def open(
        self, source: str, target: str, *, title: str, description: str, labels: Sequence[str] = ()
    ) -> MergeRequest:
        """Open a merge request; the one that is open between the two branches is returned as it is."""

    def lock(self, branch: str) -> None:
        """Let nobody merge into a branch; one that is locked stays locked."""

    def unlock(self, branch: str) -> None:
        """Let people merge into a branch again, as the policy says."""

    def create_tag(self, tag: str, commit: str, message: str) -> None:
        """Create an annotated tag.

        Raises:
            ConflictError: The tag exists, whatever it marks.
        """

    def delete_tag(self, tag: str) -> None:
        """Delete a tag; one that is gone is fine."""

    def publish(self, tag: str, *, title: str, notes: str, files: Mapping[str, bytes]) -> str:
        """Make a release of a tag that exists and return its address; the same again changes nothing.

        Raises:
            ConflictError: A file of that name was published with another content.
        """

    def comment(self, number: int, body: str, *, key: str) -> None:
        """Write a note on a merge request; a second one with the same key replaces the first."""


def open_request(forge: Forge, source: str, target: str) -> MergeRequest | None:
    """Return the merge request that is open between two branches, or None."""
    return next(iter(forge.merge_requests(source=source, target=target, state="open")), None)


def published_otherwise(tag: str, name: str) -> ConflictError:
    """Return the refusal to publish another content under a name that is taken."""
    return ConflictError(
        f"{name} of {tag} is published with another content.",
        fix="A version is published once: raise the version, or delete what was published if nobody used it.",
    )


def find_forge(git: Git, policy: "Policy", settings: Settings) -> Forge:
    """Return the forge that holds the repository's remote: a local one, or GitLab.

    Raises:
        UsageError: There is no remote, or it is neither.
    """
    from cifarops.flow.local.forge import USER, LocalForge, local_path

    directory = local_path(git.remote_url())
    if directory is not None:
        return LocalForge(directory, git.environment.get(USER, ""))
    from cifarops.flow.gitlab.forge import connect

    return connect(git, policy, settings)
