"""The people of the rehearsal: what they type runs as real processes, with real hooks, in their own clones."""

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from cifarops.errors import CifaropsError
from cifarops.flow.git import Git
from cifarops.flow.policy import Role
from cifarops.flow.rehearsal.transcript import Hear, Line

MEMBERS: Mapping[str, Role] = {
    "ada": "maintainer",
    "bob": "maintainer",
    "cleo": "developer",
    "robot": "maintainer",  # whose token the pipeline has
}
# What this machine's own settings would change: hooks of every repository, signing, default branches.
_NO_SETTINGS = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


def identity(user: str) -> dict[str, str]:
    """Return the environment by which git and the local forge know a member."""
    address = f"{user}@example.org"
    return {
        **_NO_SETTINGS,
        "GIT_AUTHOR_NAME": user.title(),
        "GIT_AUTHOR_EMAIL": address,
        "GIT_COMMITTER_NAME": user.title(),
        "GIT_COMMITTER_EMAIL": address,
        "CIFAROPS_FLOW_USER": user,
    }


class Person:
    """Somebody with a clone.

    Args:
        name: Login.
        clone: The clone's top directory.
        hear: Told of each command.
        environment: What else is set in the person's shell.
    """

    def __init__(
        self, name: str, clone: Path, *, hear: Hear, environment: Mapping[str, str] | None = None
    ) -> None:
        self.name = name
        self.repository = Git(clone, {**identity(name), **(environment or {})})
        self._hear = hear

    def git(self, *arguments: str) -> str:
        """Type `git ARGUMENTS`, which must succeed, and return what it says."""
        return self._must("git", *arguments)

    def cifarops(self, *arguments: str) -> str:
        """Type `cifarops ARGUMENTS`, which must succeed, and return what it says."""
        return self._must("cifarops", *arguments)

    def is_refused(self, because: str, *command: str) -> str:
        """Type a command that must be refused; returns what it says.

        Args:
            because: Part of what must be said.
            command: The command.

        Raises:
            CifaropsError: It was let through, or refused for another reason.
        """
        ended, output, seconds = self._type(command)
        refused = ended != 0 and because in " ".join(output.split())
        self._hear(Line(self.name, shown(command), "refused" if refused else "failed", output, seconds))
        if not refused:
            happened = "was let through" if ended == 0 else "was refused for another reason"
            raise CifaropsError(
                f"{self.name}'s `{shown(command)}` {happened}; expected was: {because}. It said: {output[-800:]}",
                fix="The process does not keep its promise: see docs/reference/process.md for what should.",
            )
        return output

    def edits(self, changes: Mapping[str, Callable[[str], str]]) -> None:
        """Change files of the clone, each by a function from its old text ("" where there is none) to the new one."""
        for name, change in changes.items():
            path = self.repository.root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(change(path.read_text() if path.exists() else ""))
            self.repository("add", name)
        difference = self.repository("diff", "--cached", "--unified=0", "--no-color", "--no-prefix")
        self._hear(Line(self.name, f"edits {', '.join(changes)}", output=_changed_lines(difference)))

    def _must(self, *command: str) -> str:
        ended, output, seconds = self._type(command)
        self._hear(Line(self.name, shown(command), "failed" if ended else "done", output, seconds))
        if ended:
            raise CifaropsError(
                f"{self.name}'s `{shown(command)}` failed: {output[-1500:]}",
                fix=f"Look around in {self.repository.root}, which is left as it is.",
            )
        return output

    def _type(self, command: tuple[str, ...]) -> tuple[int, str, float]:
        program, *arguments = command
        real = [sys.executable, "-m", "cifarops.cli.main"] if program == "cifarops" else [program]
        start = time.perf_counter()
        done = subprocess.run(
            [*real, *arguments],
            cwd=self.repository.root,
            env={**self.repository.environment, "NO_COLOR": "1", "COLUMNS": "160"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        return done.returncode, done.stdout.strip(), time.perf_counter() - start


def shown(command: tuple[str, ...]) -> str:
    """Return a command as people type it."""
    return shlex.join(command)


def _changed_lines(difference: str) -> str:
    lines = difference.splitlines()
    return "\n".join(line for line in lines if line[:1] in "+-" and line[:3] not in ("+++", "---"))
