"""GitLab as the forge: what the branch process needs from the server, through its API."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from cifarops.errors import ConflictError, UsageError
from cifarops.flow.forge import MergeRequest, State
from cifarops.flow.git import REMOTE_BRANCHES, Git
from cifarops.flow.gitlab.access import HOW_TO_AUTHENTICATE, find_access
from cifarops.flow.gitlab.client import Client, Document, GitLabError, segment
from cifarops.flow.gitlab.protection import find_protection, protect
from cifarops.flow.gitlab.publication import publish
from cifarops.flow.gitlab.wanted import branch_protection
from cifarops.flow.policy import Policy
from cifarops.settings import Settings

_TO_GITLAB: Mapping[State, str] = {"open": "opened", "merged": "merged", "closed": "closed"}
_FROM_GITLAB: Mapping[str, State] = {"merged": "merged", "closed": "closed"}
_UNCHECKED = ("unchecked", "checking", "preparing", "cannot_be_merged_recheck")


def connect(git: Git, policy: Policy, settings: Settings) -> "GitLabForge":
    """Return the GitLab project that the repository's remote is.

    Raises:
        UsageError: There is no token, or the remote names no project.
    """
    return GitLabForge(Client(find_access(settings.gitlab, git.remote_url())), git, policy)


class GitLabForge:
    """One GitLab project.

    Args:
        client: Calls to it.
        git: A clone of it, which knows the files of a conflict; GitLab tells only that there is one.
        policy: Who may merge once a lock is lifted.
    """

    name = "gitlab"

    def __init__(self, client: Client, git: Git, policy: Policy) -> None:
        self._client = client
        self._git = git
        self._policy = policy

    def merge_requests(
        self, *, source: str | None = None, target: str | None = None, state: State | None = None
    ) -> list[MergeRequest]:
        """Return the merge requests with these properties, the oldest first."""
        query = {
            "source_branch": source,
            "target_branch": target,
            "state": _TO_GITLAB[state] if state else None,
            "order_by": "created_at",
            "sort": "asc",
        }
        found = self._client.list("merge_requests", **{key: value for key, value in query.items() if value})
        return [self._read(document) for document in found]

    def merge_request(self, number: int) -> MergeRequest:
        """Return one merge request.

        Raises:
            GitLabError: There is none of that number.
        """
        return self._read(self._client.get(f"merge_requests/{number}"))

    def open(
        self, source: str, target: str, *, title: str, description: str, labels: Sequence[str] = ()
    ) -> MergeRequest:
        """Open a merge request; the one that is open between the two branches is returned as it is."""
        standing = self.merge_requests(source=source, target=target, state="open")
        if standing:
            return standing[0]
        work = self._policy.work.get(source.partition("/")[0])
        body: Document = {
            "source_branch": source,
            "target_branch": target,
            "title": title,
            "description": description,
            "labels": ",".join(labels),
            "squash": False,
            # What merges into several branches is needed after the first of them; what is protected stays.
            "remove_source_branch": work is not None and not work.is_urgent,
        }
        try:
            return self._read(self._client.post("merge_requests", body))
        except ConflictError:
            opened_meanwhile = self.merge_requests(source=source, target=target, state="open")
            if not opened_meanwhile:
                raise
            return opened_meanwhile[0]

    def lock(self, branch: str) -> None:
        """Let nobody merge into a branch; one that is locked stays locked."""
        self._protect(branch, locked=True)

    def unlock(self, branch: str) -> None:
        """Let people merge into a branch again, as the policy says."""
        self._protect(branch, locked=False)

    def create_tag(self, tag: str, commit: str, message: str) -> None:
        """Create an annotated tag.

        Raises:
            ConflictError: The tag exists, whatever it marks.
        """
        try:
            self._client.post("repository/tags", {"tag_name": tag, "ref": commit, "message": message})
        except GitLabError as error:
            if error.status == 400 and "already exists" in error.message:
                raise ConflictError(
                    f"The tag {tag} exists on {self._client.access.project}.",
                    fix=f"See what it marks: git fetch --tags && git show {tag}.",
                ) from error
            raise

    def delete_tag(self, tag: str) -> None:
        """Delete a tag; one that is gone is fine."""
        self._client.delete(f"repository/tags/{segment(tag)}")

    def publish(self, tag: str, *, title: str, notes: str, files: Mapping[str, bytes]) -> str:
        """Make a release of a tag that exists and return its address; the same again changes nothing.

        Raises:
            ConflictError: A file of that name and version has another content.
        """
        return publish(self._client, tag, title=title, notes=notes, files=files)

    def comment(self, number: int, body: str, *, key: str) -> None:
        """Write a note on a merge request; a second one with the same key replaces the first.

        Raises:
            UsageError: The token is a job's own, which may not write notes.
        """
        if self._client.access.is_job_token:
            raise UsageError(
                "A job's own token (CI_JOB_TOKEN) may not comment on merge requests.", fix=HOW_TO_AUTHENTICATE
            )
        marker = f"<!-- cifarops: {key} -->"
        text = f"{marker}\n{body}"
        notes = f"merge_requests/{number}/notes"
        mine = [note for note in self._client.list(notes) if note["body"].startswith(marker)]
        if not mine:
            self._client.post(notes, {"body": text})
        elif mine[0]["body"] != text:
            self._client.put(f"{notes}/{mine[0]['id']}", {"body": text})

    def _protect(self, branch: str, *, locked: bool) -> None:
        found = find_protection(self._client, branch, with_code_owners=True)
        wanted = branch_protection(self._policy, branch, frozen=locked)
        # Whose approval it takes is no part of a lock: where GitLab asks for a code owner's, it goes on to.
        protect(
            self._client, branch, replace(wanted, code_owners=True if found and found.code_owners else None)
        )

    def _read(self, document: Mapping[str, Any]) -> MergeRequest:
        author = document["author"]["username"]
        approvals = self._client.get(f"merge_requests/{document['iid']}/approvals")
        approved_by = {each["user"]["username"] for each in approvals["approved_by"]}
        return MergeRequest(
            number=document["iid"],
            source=document["source_branch"],
            target=document["target_branch"],
            title=document["title"],
            state=_FROM_GITLAB.get(document["state"], "open"),
            url=document["web_url"],
            author=author,
            approvals=len(approved_by - {author}),
            conflicts=self._conflicts(document),
        )

    def _conflicts(self, document: Mapping[str, Any]) -> tuple[str, ...] | None:
        if not document["has_conflicts"]:
            return None if document.get("detailed_merge_status") in _UNCHECKED else ()
        source, target = (REMOTE_BRANCHES + document[side] for side in ("source_branch", "target_branch"))
        if self._git.find_commit(source) is None or self._git.find_commit(target) is None:
            return None
        return self._git.conflicts(target, source)
