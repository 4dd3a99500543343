"""Tokens: who may do what at a server. Only their hashes are kept, in one file of the workspace.

A token is 256 random bits, so one round of SHA-256 is enough: there is nothing to guess.
"""

import hashlib
import hmac
import json
import secrets
import stat
import time
from collections.abc import Collection
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from cifarops.errors import CifaropsError, ConflictError, IntegrityError, UsageError
from cifarops.files import locked, write_atomic

Role = Literal["predict", "feedback", "deploy"]
ROLES: tuple[Role, ...] = get_args(Role)
_PREFIX = "cifarops_"
_LOOK_SECONDS = 0.2


@dataclass(frozen=True)
class Token:
    """What is known of a token.

    Attributes:
        name: Whose it is; stands in logs, and limits are counted by it.
        roles: What it allows.
        sha256: Of its text, as 64 hex digits.
        since: Seconds since the epoch.
    """

    name: str
    roles: tuple[Role, ...]
    sha256: str
    since: float


class TokenFile:
    """The tokens of a workspace.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def tokens(self) -> tuple[Token, ...]:
        """Return all tokens.

        Raises:
            IntegrityError: The file can't be read, is damaged, or others than its owner may read it.
        """
        try:
            if stat.S_IMODE(self._path.stat().st_mode) & (stat.S_IRWXG | stat.S_IRWXO):
                raise IntegrityError(
                    f"{self._path} can be read by others than its owner.", fix=f"Run: chmod 600 {self._path}"
                )
            return tuple(
                Token(each["name"], tuple(each["roles"]), each["sha256"], each["since"])
                for each in json.loads(self._path.read_bytes())["tokens"]
            )
        except FileNotFoundError:
            return ()
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise IntegrityError(
                f"{self._path} can't be read: {error!r}.",
                fix="Remove it and make the tokens anew: cifarops serve token make NAME --role predict",
            ) from error

    def make(self, name: str, roles: Collection[str]) -> str:
        """Make a token and return its text, which is kept nowhere.

        Raises:
            ConflictError: There is one of that name.
            UsageError: The name is not printable or too long, or a role is unknown or none is given.
        """
        if not (name.isascii() and name.isprintable() and 0 < len(name) <= 64):
            raise UsageError(f"{name!r} is no name for a token.", fix="Use 1 to 64 letters, digits or signs.")
        if not roles or not set(roles) <= set(ROLES):
            raise UsageError(
                f"The roles of a token are {', '.join(ROLES)}, not {', '.join(roles) or 'none'}.",
                fix=f"Give one or more of them: cifarops serve token make {name} --role predict",
            )
        text = _PREFIX + secrets.token_urlsafe(32)
        token = Token(name, tuple(role for role in ROLES if role in roles), digest(text), time.time())
        with self._locked():
            others = self.tokens()
            if any(other.name == name for other in others):
                raise ConflictError(
                    f"There is a token named {name!r}.",
                    fix=f"Choose another name; or first: cifarops serve token revoke {name}",
                )
            self._write((*others, token))
        return text

    def revoke(self, name: str) -> None:
        """Make a token worthless.

        Raises:
            UsageError: There is none of that name.
        """
        with self._locked():
            tokens = self.tokens()
            rest = tuple(token for token in tokens if token.name != name)
            if len(rest) == len(tokens):
                raise UsageError(f"There is no token named {name!r}.", fix="See: cifarops serve token list")
            self._write(rest)

    def stamp(self) -> tuple[int, ...] | None:
        """Return what changes whenever the file does; None where there is none."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size, found.st_mode

    def _locked(self) -> AbstractContextManager[None]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return locked(self._path.with_suffix(".lock"))

    def _write(self, tokens: tuple[Token, ...]) -> None:
        document = {"tokens": [asdict(token) for token in tokens]}
        write_atomic(self._path, json.dumps(document, indent=2).encode() + b"\n", mode=0o600)


class Keyring:
    """The tokens as a server knows them: it sees within a fifth of a second what changes in the file.

    Once there is a file of tokens, a request needs one. If the file then vanishes or is damaged, nothing is allowed any
    more that needs a token: removing a file must not open a door.

    Args:
        file: The tokens.
    """

    def __init__(self, file: TokenFile) -> None:
        self._file = file
        self._tokens: tuple[Token, ...] = ()
        self._stamp: tuple[int, ...] | None = None
        self._look_at = 0.0
        self.required = False
        self.error: str | None = None
        self._look()

    def find(self, text: str) -> Token | None:
        """Return the token with that text; takes the same time whichever it is, or none."""
        given = digest(text)
        found = None
        for token in self._tokens:
            if hmac.compare_digest(token.sha256, given):
                found = token
        return found

    def refresh(self, now: float) -> None:
        """Look at the file if that is due; `now` is any clock in seconds."""
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            self._look()

    def _look(self) -> None:
        stamp = self._file.stamp()
        if stamp == self._stamp:
            return
        self._stamp = stamp
        self.required = self.required or stamp is not None
        try:
            self._tokens, self.error = self._file.tokens(), None
        except CifaropsError as error:
            self._tokens, self.error = (), f"{error.message} {error.fix}"


def digest(text: str) -> str:
    """Return the hash by which a token is known."""
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
