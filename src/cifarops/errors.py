"""The exception types. Every one carries what happened and what to do next.

The command line prints both and exits with `exit_code`; the server turns them into problem documents.
"""


class CifaropsError(Exception):
    """Something was refused or failed, and the user can do something about it.

    Args:
        message: What happened, in one sentence, with the names and values involved.
        fix: What to do next, in one sentence.
    """

    exit_code = 1

    def __init__(self, message: str, *, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix


class UsageError(CifaropsError):
    """The request itself is wrong: a flag, a key in params.yaml, a name that does not exist."""

    exit_code = 2


class DataError(CifaropsError):
    """The input data cannot be used as they are."""


class IntegrityError(CifaropsError):
    """Stored bytes are not what they should be: a hash differs, a file is truncated or missing."""


class ConflictError(CifaropsError):
    """Someone else was first: a compare-and-swap lost, a contradicting label, a lock that is held."""


class UnavailableError(CifaropsError):
    """Something outside this process did not answer: a server, a network, a port."""
