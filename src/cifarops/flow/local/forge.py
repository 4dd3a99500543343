"""A forge in one directory, with no server: what GitLab does for the process, done by files and git."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from cifarops.errors import ConflictError, UsageError
from cifarops.files import write_atomic
from cifarops.flow.forge import MergeRequest, State, published_otherwise
from cifarops.flow.git_error import GitError
from cifarops.flow.local.access import is_maintainer, is_member, require
from cifarops.flow.local.merging import approvers, merge_refusal, server_git, write_merge
from cifarops.flow.local.state import ForgeEvent, ForgeState, Request, Store

USER = "CIFAROPS_FLOW_USER"


def local_path(url: str) -> Path | None:
    """Return the directory of the local forge that a remote's address names, or None if it names none."""
    path = Path(url.removeprefix("file://"))
    return path if Store(path).exists else None


class LocalForge:
    """One local forge, used by one member.

    Args:
        root: The bare repository.
        user: Login of who acts.
    """

    name = "local"

    def __init__(self, root: Path, user: str) -> None:
        self.root = root
        self.user = user
        self._git = server_git(root, user)
        self._store = Store(root)

    # --- what every forge can do

    def merge_requests(
        self, *, source: str | None = None, target: str | None = None, state: State | None = None
    ) -> list[MergeRequest]:
        """Return the merge requests with these properties, the oldest first."""
        found = [
            self._view(request)
            for request in self._store.read().requests
            if source in (None, request.source) and target in (None, request.target)
        ]
        return [request for request in found if state in (None, request.state)]

    def open(
        self, source: str, target: str, *, title: str, description: str, labels: Sequence[str] = ()
    ) -> MergeRequest:
        """Open a merge request; the one that is open between the two branches is returned as it is.

        Raises:
            UsageError: A branch is missing, or there is nothing to merge.
        """
        with self._store.changing() as state:
            require(is_member(state, self.user))
            for branch in (source, target):
                if not self._git.find_commit(f"refs/heads/{branch}"):
                    raise UsageError(
                        f"The remote has no branch {branch}.", fix=f"Push it: git push origin {branch}"
                    )
            found = next(
                (
                    each
                    for each in state.requests
                    if (each.source, each.target) == (source, target) and self._state(each) == "open"
                ),
                None,
            )
            if found is None:
                if self._git.is_ancestor(f"refs/heads/{source}", f"refs/heads/{target}"):
                    raise UsageError(
                        f"{target} has everything that {source} has.", fix="Commit and push something first."
                    )
                found = Request(
                    number=len(state.requests) + 1,
                    source=source,
                    target=target,
                    title=title,
                    description=description,
                    labels=tuple(labels),
                    author=self.user,
                )
                state.requests.append(found)
                self._note_request(state, found)
        return self._view(found)

    def lock(self, branch: str) -> None:
        """Let nobody merge into a branch; one that is locked stays locked."""
        with self._store.changing() as state:
            self._require_maintainer(state, f"lock {branch}")
            state.locked.add(branch)

    def unlock(self, branch: str) -> None:
        """Let people merge into a branch again, as the policy says."""
        with self._store.changing() as state:
            self._require_maintainer(state, f"unlock {branch}")
            state.locked.discard(branch)

    def create_tag(self, tag: str, commit: str, message: str) -> None:
        """Create an annotated tag.

        Raises:
            ConflictError: The tag exists, whatever it marks.
        """
        with self._store.changing() as state:
            self._require_maintainer(state, f"create the tag {tag}")
            if self._git.succeeds("show-ref", "--verify", "--quiet", f"refs/tags/{tag}"):
                raise ConflictError(
                    f"The tag {tag} exists already.", fix="See what it marks: git ls-remote --tags origin"
                )
            self._git("tag", "--annotate", "--cleanup=verbatim", "--file=-", tag, commit, stdin=message)
            state.note("tag", tag, self._git.commit(tag), by=self.user)

    def delete_tag(self, tag: str) -> None:
        """Delete a tag; one that is gone is fine."""
        with self._store.changing() as state:
            self._require_maintainer(state, f"delete the tag {tag}")
            if self._git.succeeds("show-ref", "--verify", "--quiet", f"refs/tags/{tag}"):
                self._git("tag", "--delete", tag)

    def publish(self, tag: str, *, title: str, notes: str, files: Mapping[str, bytes]) -> str:
        """Make a release of a tag that exists and return its address; the same again changes nothing."""
        self._git.commit(f"refs/tags/{tag}")
        self._require_maintainer(self._store.read(), f"publish {tag}")
        directory = self._store.directory / "releases" / tag
        for name, content in files.items():
            if (directory / name).exists() and (directory / name).read_bytes() != content:
                raise published_otherwise(tag, name)
        write_atomic(directory / "notes.md", f"# {title}\n\n{notes}".encode())
        for name, content in files.items():
            write_atomic(directory / name, content)
        return directory.as_uri()

    def comment(self, number: int, body: str, *, key: str) -> None:
        """Write a note on a merge request; a second one with the same key replaces the first."""
        with self._store.changing() as state:
            require(is_member(state, self.user))
            _request(state, number).notes[key] = body

    # --- what a server does besides

    def approve(self, number: int, user: str) -> MergeRequest:
        """Approve the newest commit of a merge request; an author's own approval is kept and does not count.

        Raises:
            GitError: `user` is no member.
            UsageError: There is no such merge request.
        """
        with self._store.changing() as state:
            require(is_member(state, user))
            request = _request(state, number)
            request.approvals[user] = self._git.commit(f"refs/heads/{request.source}")
        return self._view(request)

    def pipeline_result(self, number: int, commit: str, ok: bool) -> None:
        """Remember how the pipeline of a merge request ended for a commit of its source."""
        with self._store.changing() as state:
            _request(state, number).pipelines[commit] = ok

    def merge(self, number: int, user: str) -> str:
        """Merge a merge request with a merge commit and return the target's newest commit.

        One that is merged already stays as it is.

        Raises:
            GitError: The policy, the freeze, a missing approval, a pipeline or a conflict forbids it.
            UsageError: There is no such merge request.
        """
        with self._store.changing() as state:
            require(is_member(state, user))
            request = _request(state, number)
            if self._state(request) == "open":
                refused = merge_refusal(self._git, state, request, user)
                if refused is not None:
                    raise GitError(f"!{number} can't be merged: {refused.reason}", fix=refused.instead)
                state.note(
                    "push", request.target, write_merge(LocalForge(self.root, user)._git, request), by=user
                )
            for each in state.requests:
                each.state = self._state(each)
            return self._git.commit(f"refs/heads/{request.target}")

    def events(self, after: int = 0) -> list[ForgeEvent]:
        """Return what happened after the event with this number, the oldest first."""
        return self._store.read().events[after:]

    def note_push(self, branch: str) -> None:
        """Remember a push to a branch, and that its open merge requests have new commits."""
        commit = self._git.commit(f"refs/heads/{branch}")
        with self._store.changing() as state:
            state.note("push", branch, commit, by=self.user)
            for request in state.requests:
                if request.source == branch and self._state(request) == "open":
                    self._note_request(state, request)

    def note_tag(self, tag: str) -> None:
        """Remember a pushed tag."""
        with self._store.changing() as state:
            state.note("tag", tag, self._git.commit(f"refs/tags/{tag}"), by=self.user)

    # --- helpers

    def _note_request(self, state: ForgeState, request: Request) -> None:
        head = self._git.commit(f"refs/heads/{request.source}")
        last = next((each for each in reversed(state.events) if each.merge_request == request.number), None)
        if last is None or last.commit != head:
            state.note("merge_request", request.source, head, by=self.user, request=request.number)

    def _state(self, request: Request) -> State:
        """Return the state as the branches have it: a server that died after a merge left it `open`."""
        if request.state != "open":
            return request.state
        source = self._git.find_commit(f"refs/heads/{request.source}")
        if source is None:
            return "closed"
        return "merged" if self._git.is_ancestor(source, f"refs/heads/{request.target}") else "open"

    def _view(self, request: Request) -> MergeRequest:
        state = self._state(request)
        head = self._git.find_commit(f"refs/heads/{request.source}") or ""
        conflicts = self._git.conflicts(f"refs/heads/{request.target}", head) if state == "open" else ()
        return MergeRequest(
            number=request.number,
            source=request.source,
            target=request.target,
            title=request.title,
            state=state,
            url=f"{self.root.absolute().as_uri()}#!{request.number}",
            author=request.author,
            approvals=len(approvers(request, head)),
            conflicts=conflicts,
        )

    def _require_maintainer(self, state: ForgeState, deed: str) -> None:
        require(is_member(state, self.user))
        require(is_maintainer(state, self.user, deed))


def _request(state: ForgeState, number: int) -> Request:
    found = next((request for request in state.requests if request.number == number), None)
    if found is None:
        raise UsageError(f"There is no merge request !{number}.", fix="List them: cifarops flow status.")
    return found
