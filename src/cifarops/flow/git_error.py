"""What git says in English, as an error with a message and a remedy."""

import re
from collections.abc import Callable, Sequence

from cifarops.errors import CifaropsError, UnavailableError

_NO_ANSWER = (
    "Could not read from remote repository",
    "does not appear to be a git repository",
    "unable to access",
    "Could not resolve host",
    "Connection refused",
    "terminal prompts disabled",
)


class GitError(CifaropsError):
    """Git refused or failed.

    Attributes:
        stderr: What git, and through it the remote, said.
    """

    def __init__(self, message: str, *, fix: str, stderr: str = "") -> None:
        super().__init__(message, fix=fix)
        self.stderr = stderr


def explain(arguments: Sequence[str], stderr: str, *, remote: Callable[[], str]) -> CifaropsError:
    """Turn what git says into an error with a remedy.

    Args:
        arguments: What git was asked to do.
        stderr: What it said.
        remote: Asked for the remote's address, where that is what failed; may raise itself.
    """
    refused = [line.removeprefix("remote:").strip() for line in stderr.splitlines() if "remote:" in line]
    if any(refused):
        message, _, fix = " ".join(line for line in refused if line).partition(" do: ")
        return GitError(
            f"The remote refused: {message}", fix=fix or "See the message of the remote.", stderr=stderr
        )
    if any(sign in stderr for sign in _NO_ANSWER):
        return UnavailableError(
            _without_password(f"The remote {remote()} does not answer: {_last(stderr)}"),
            fix="Check the address (git remote -v), the network and your rights, then run it again.",
        )
    return GitError(
        f"git {' '.join(arguments)} failed: {_last(stderr)}",
        fix="Correct what it names, then run it again.",
        stderr=stderr,
    )


def _last(stderr: str) -> str:
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("fatal:", "error:"))]
    return (told or lines or ["no reason given"])[0].removeprefix("fatal: ").removeprefix("error: ")


def _without_password(text: str) -> str:
    return re.sub(r"//[^/@\s]*@", "//", text)
