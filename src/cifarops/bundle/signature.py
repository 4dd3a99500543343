"""Signatures: an environment's key says that it runs a bundle. Servers load nothing else.

A bundle is signed for `development` when it becomes a version, for `staging` and `production` when it is promoted there.
Signatures lie beside the bundles, not in them: a bundle is the same bytes in every environment.

SIGNATURES/DIGEST/ENVIRONMENT.json      who signed it, when, with which key
"""

import base64
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cifarops.bundle.keys import Keyring, key_id
from cifarops.errors import IntegrityError
from cifarops.files import canonical_json, write_atomic
from cifarops.settings import EnvironmentName, Settings


class Statement(BaseModel):
    """What is signed.

    Attributes:
        digest: Digest of the bundle.
        environment: Which may run it.
        by: Who let it.
        at: When, in seconds since the epoch.
        history: Newest row of the decision history then, `NUMBER:HASH`: a witness outside of the ledger. Empty where
            the bundle only became a version.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["cifarops bundle"] = "cifarops bundle"
    digest: str
    environment: EnvironmentName
    by: str
    at: float
    history: str = ""

    def message(self) -> bytes:
        """Return the bytes that are signed."""
        return canonical_json(self.model_dump(mode="json"))


class Signature(BaseModel):
    """A signed statement.

    Attributes:
        key: Id of the key.
        signature: Base64 of the 64 bytes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement: Statement
    key: str
    signature: str


@dataclass(frozen=True)
class Signatures:
    """The signatures of a workspace's bundles.

    Attributes:
        root: Their directory.
        keys: What signs them, and what is trusted.
        by: Who signs.
    """

    root: Path
    keys: Keyring
    by: str

    @classmethod
    def of(cls, settings: Settings) -> "Signatures":
        """Return the signatures of a workspace."""
        return cls(settings.signatures, Keyring.of(settings), settings.actor)

    def sign(self, digest: str, environment: EnvironmentName, *, history: str = "") -> Signature:
        """Say that an environment may run a bundle; a good signature that is there already stays.

        Args:
            digest: Digest of the bundle.
            environment: Which.
            history: Newest row of the decision history, where it is known.

        Raises:
            IntegrityError: The key is lost, damaged or not trusted.
        """
        try:
            return self.verified(digest, environment)
        except IntegrityError:
            pass  # unsigned, or by a key that is trusted no more
        key = self.keys.signer(environment)
        statement = Statement(
            digest=digest, environment=environment, by=self.by, at=time.time(), history=history
        )
        signature = Signature(
            statement=statement,
            key=key_id(key.public_key()),
            signature=base64.b64encode(key.sign(statement.message())).decode(),
        )
        write_atomic(self._path(digest, environment), signature.model_dump_json(indent=2).encode() + b"\n")
        return signature

    def verified(self, digest: str, environment: EnvironmentName) -> Signature:
        """Return the signature with which an environment may run a bundle.

        Raises:
            IntegrityError: It is not signed for it, by none of its keys, or the signature is about something else.
        """
        found = self.find(digest, environment)
        if found is None:
            raise _refused(digest, environment, "is not signed")
        if found.key not in self.keys.public(environment):
            raise _refused(digest, environment, f"is signed with the key {found.key}, which is not trusted")
        if (found.statement.digest, found.statement.environment) != (digest, environment):
            raise _refused(digest, environment, "has the signature of another bundle or environment")
        if not self.keys.verifies(environment, found.key, found.signature, found.statement.message()):
            raise _refused(digest, environment, "has a signature that is wrong")
        return found

    def find(self, digest: str, environment: EnvironmentName) -> Signature | None:
        """Return a bundle's signature for an environment as it lies there, or None.

        Raises:
            IntegrityError: It can't be read.
        """
        path = self._path(digest, environment)
        try:
            return Signature.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise _refused(digest, environment, "has a signature that can't be read") from error

    def _path(self, digest: str, environment: EnvironmentName) -> Path:
        return self.root / digest / f"{environment}.json"


def _refused(digest: str, environment: EnvironmentName, what: str) -> IntegrityError:
    return IntegrityError(
        f"Bundle {digest[:12]} {what}; {environment} runs only what its key has signed.",
        fix=f"Promote it (cifarops deploy promote), or sign what runs there already: cifarops registry sign VERSION"
        f" --environment {environment}. The keys: cifarops registry keys list",
    )
