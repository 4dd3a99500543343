"""One Git repository, asked by real git processes."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cifarops.errors import ConflictError, UsageError
from cifarops.flow.git_error import GitError, explain

REMOTE = "origin"
# What the remote has, mirrored where no person's own branch or tag is ever touched.
REMOTE_BRANCHES = f"refs/remotes/{REMOTE}/"
REMOTE_TAGS = "refs/cifarops/tags/"
# A hook runs with these set; a `Git` is about the directory that it was given.
_LOCATIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")
_CHANGES_MIRROR = ("fetch", "push")
_STALE = ("fetch first", "non-fast-forward", "failed to update ref", "cannot lock ref")


class Git:
    """One repository.

    Args:
        root: Its top directory, or a bare repository.
        environment: Variables laid over the process's own, for example `GIT_AUTHOR_NAME`.
    """

    def __init__(self, root: Path, environment: Mapping[str, str] | None = None) -> None:
        self.root = root
        self._mirror: dict[str, str] | None = None
        inherited = {key: value for key, value in os.environ.items() if key not in _LOCATIONS}
        self.environment = inherited | {"LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"} | dict(environment or {})

    @classmethod
    def find(cls, inside: Path, environment: Mapping[str, str] | None = None) -> "Git":
        """Open the repository whose work tree `inside` lies in.

        Raises:
            UsageError: It lies in none.
        """
        here = cls(inside, environment)
        answer = here.run("rev-parse", "--show-toplevel")
        if answer.returncode:
            raise UsageError(
                f"{inside.absolute()} is not inside a Git work tree.",
                fix="Change into your clone of the project and run it again.",
            )
        return cls(Path(answer.stdout.strip()), environment)

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run `git ARGUMENTS` in the repository and return what came of it, whatever the exit status.

        Raises:
            GitError: There is no git on this machine.
        """
        if arguments[0] in _CHANGES_MIRROR:
            self._mirror = None
        try:
            return subprocess.run(
                ["git", *arguments],
                cwd=self.root,
                env=self.environment,
                input=stdin,
                stdin=subprocess.DEVNULL if stdin is None else None,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
        except FileNotFoundError as error:
            if not self.root.is_dir():
                raise UsageError(
                    f"There is no directory {self.root}.", fix="Name a Git repository that exists."
                ) from error
            raise GitError("git is not installed.", fix="Install Git 2.38 or later.") from error

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """Run `git ARGUMENTS` and return its output without blanks at the ends.

        Raises:
            GitError: Git failed; the message carries what it said.
            UnavailableError: The remote does not answer.
        """
        result = self.run(*arguments, stdin=stdin)
        if result.returncode:
            raise explain(arguments, result.stderr, remote=self.remote_url)
        return result.stdout.strip()

    def succeeds(self, *arguments: str) -> bool:
        """Return whether `git ARGUMENTS` exits with 0."""
        return self.run(*arguments).returncode == 0

    def current_branch(self) -> str | None:
        """Return the branch that HEAD is on, or None when it is detached."""
        answer = self.run("symbolic-ref", "--quiet", "--short", "HEAD")
        return answer.stdout.strip() if answer.returncode == 0 else None

    def is_dirty(self) -> bool:
        """Return whether files that Git knows differ from the last commit."""
        return bool(self("status", "--porcelain", "--untracked-files=no"))

    def is_shallow(self) -> bool:
        """Return whether older commits were left out of the clone."""
        return self("rev-parse", "--is-shallow-repository") == "true"

    def find_commit(self, revision: str) -> str | None:
        """Return the commit that `revision` names, 40 hex digits, or None."""
        answer = self.run("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return answer.stdout.strip() if answer.returncode == 0 else None

    def commit(self, revision: str = "HEAD") -> str:
        """Return the commit that `revision` names, 40 hex digits.

        Raises:
            UsageError: It names none.
        """
        found = self.find_commit(revision)
        if found is None:
            raise UsageError(
                f"{revision!r} names no commit here.", fix="See what there is: git fetch && git branch -a."
            )
        return found

    def is_ancestor(self, ancestor: str, descendant: str) -> bool:
        """Return whether every change of `ancestor` is in `descendant`."""
        return self.succeeds("merge-base", "--is-ancestor", ancestor, descendant)

    def remote_branch(self, branch: str) -> str | None:
        """Return the remote's newest commit of a branch as last fetched, or None where it has no such branch."""
        return self._mirrored().get(REMOTE_BRANCHES + branch)

    def remote_branches(self, kind: str) -> dict[str, str]:
        """Return the remote's branches `kind/…` as last fetched, with their commits."""
        return self._under(f"{REMOTE_BRANCHES}{kind}/", REMOTE_BRANCHES)

    def remote_tags(self) -> dict[str, str]:
        """Return the remote's tags as last fetched, with the commits they mark."""
        return self._under(REMOTE_TAGS, REMOTE_TAGS)

    def conflicts(self, ours: str, theirs: str) -> tuple[str, ...]:
        """Return the files that a merge of `theirs` into `ours` would leave in conflict; touches no file and no branch.

        Raises:
            GitError: The two share no history, or git is older than 2.38.
        """
        result = self.run(
            *("-c", "core.quotePath=false", "merge-tree", "--write-tree", "--name-only", "--no-messages"),
            *(ours, theirs),
        )
        if result.returncode not in (0, 1):
            raise explain(("merge-tree", ours, theirs), result.stderr, remote=self.remote_url)
        return tuple(dict.fromkeys(result.stdout.splitlines()[1:])) if result.returncode else ()

    def fetch(self) -> None:
        """Mirror the remote's branches and tags; a person's own branches and tags stay as they are.

        Raises:
            UnavailableError: The remote does not answer.
            UsageError: There is no remote `origin`.
        """
        self(
            "fetch",
            "--quiet",
            "--prune",
            "--no-tags",
            REMOTE,
            f"+refs/heads/*:{REMOTE_BRANCHES}*",
            f"+refs/tags/*:{REMOTE_TAGS}*",
        )

    def push(self, *refspecs: str) -> None:
        """Push to the remote, all or nothing.

        Args:
            refspecs: What goes where: `commit:refs/heads/x`, `:refs/tags/x` to delete.

        Raises:
            ConflictError: The remote has something else there; nothing was pushed.
            GitError: The remote refused; the message carries what it said.
            UnavailableError: The remote does not answer.
        """
        result = self.run("push", "--porcelain", "--atomic", REMOTE, *refspecs)
        if result.returncode == 0:
            return
        said = result.stdout + result.stderr
        if any(sign in said for sign in _STALE):
            raise ConflictError(
                f"The remote has something else at {', '.join(_target(refspec) for refspec in refspecs)} by now.",
                fix="Fetch, look and try again: git fetch && git status.",
            )
        raise explain(("push", *refspecs), result.stderr, remote=self.remote_url)

    def remote_url(self) -> str:
        """Return where `origin` lies.

        Raises:
            UsageError: There is no remote `origin`.
        """
        answer = self.run("remote", "get-url", REMOTE)
        if answer.returncode:
            raise UsageError(
                f"This repository has no remote {REMOTE!r}.", fix=f"Name it: git remote add {REMOTE} URL."
            )
        return answer.stdout.strip()

    def person(self) -> str:
        """Return who commits here, as `Name <address>`.

        Raises:
            GitError: Git does not know.
        """
        return self("var", "GIT_COMMITTER_IDENT").rsplit(" ", 2)[0]

    def _under(self, folder: str, prefix: str) -> dict[str, str]:
        return {
            name.removeprefix(prefix): commit
            for name, commit in self._mirrored().items()
            if name.startswith(folder)
        }

    def _mirrored(self) -> dict[str, str]:
        """Return every ref that mirrors the remote, with the commit it marks; asked for once after each fetch."""
        if self._mirror is None:
            fields = "--format=%(refname) %(objectname) %(*objectname)"
            rows = (
                line.split()
                for line in self("for-each-ref", fields, REMOTE_BRANCHES, REMOTE_TAGS).splitlines()
            )
            self._mirror = {row[0]: row[-1] for row in rows if row[0] != f"{REMOTE_BRANCHES}HEAD"}
        return self._mirror


def _target(refspec: str) -> str:
    return refspec.rpartition(":")[2].removeprefix("refs/heads/").removeprefix("refs/")
