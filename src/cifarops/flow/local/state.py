"""What the local forge remembers besides the repository itself: one JSON file, changed under a lock, always whole."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.errors import IntegrityError
from cifarops.files import locked, write_atomic
from cifarops.flow.forge import State
from cifarops.flow.policy import Policy, Role

DIRECTORY = "flow"
EventKind = Literal["push", "tag", "merge_request"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Request(_Part):
    """A merge request as it is stored.

    Attributes:
        number: Counted from 1.
        source: The branch with the changes.
        target: The branch that is to have them.
        title: One line.
        description: Any text.
        labels: Words to find it by.
        author: Login.
        state: `open`, `merged` or `closed`.
        approvals: Login of who approved, with the commit that was approved.
        pipelines: Commit of the source, with whether its pipeline passed.
        notes: Notes by key.
    """

    number: int
    source: str
    target: str
    title: str
    description: str
    labels: tuple[str, ...]
    author: str
    state: State = "open"
    approvals: dict[str, str] = {}
    pipelines: dict[str, bool] = {}
    notes: dict[str, str] = {}


class ForgeEvent(_Part):
    """Something that a server would start a pipeline for.

    Attributes:
        number: Counted from 1.
        kind: `push` to a branch, `tag`, or `merge_request`: opened, or new commits on its source.
        branch: The branch, or the tag.
        commit: Its newest commit.
        merge_request: The merge request's number.
        by: Login of who did it.
    """

    number: int
    kind: EventKind
    branch: str
    commit: str
    merge_request: int | None
    by: str


class ForgeState(_Part):
    """Everything that is stored.

    Attributes:
        policy: What is enforced; a copy, so that no push can change it.
        members: Role by login.
        locked: Branches into which nobody may merge.
        requests: Merge requests, the oldest first.
        events: What happened, the oldest first.
    """

    policy: Policy
    members: dict[str, Role]
    locked: set[str] = set()
    requests: list[Request] = []
    events: list[ForgeEvent] = []

    def note(self, kind: EventKind, branch: str, commit: str, *, by: str, request: int | None = None) -> None:
        """Remember that something happened."""
        number = len(self.events) + 1
        self.events.append(
            ForgeEvent(number=number, kind=kind, branch=branch, commit=commit, merge_request=request, by=by)
        )


class Store:
    """The state of one forge on disk.

    Args:
        root: The bare repository.
    """

    def __init__(self, root: Path) -> None:
        self.directory = root / DIRECTORY
        self._file = self.directory / "state.json"

    @property
    def exists(self) -> bool:
        """Whether the repository is a local forge."""
        return self._file.is_file()

    def read(self) -> ForgeState:
        """Return the state.

        Raises:
            IntegrityError: The file is damaged.
        """
        try:
            return ForgeState.model_validate_json(self._file.read_bytes())
        except (ValidationError, FileNotFoundError) as error:
            raise IntegrityError(
                f"{self._file} is not the state of a local forge: {str(error).splitlines()[0]}.",
                fix="Restore a copy of it, or make a new remote.",
            ) from error

    def write(self, state: ForgeState) -> None:
        """Replace the state in one step."""
        write_atomic(self._file, state.model_dump_json(indent=1, by_alias=True).encode())

    @contextmanager
    def changing(self) -> Iterator[ForgeState]:
        """Yield the state to change while everybody else waits; it is written unless the block raises."""
        self.directory.mkdir(exist_ok=True)
        with locked(self.directory / "lock"):
            state = self.read()
            yield state
            self.write(state)
