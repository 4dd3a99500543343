"""The ed25519 keys that bundles are signed with: one private key for each environment, and the public ones it trusts.

KEYS/ENVIRONMENT.pem              private key, for its owner only
TRUSTED/ENVIRONMENT/KEY.pem       public keys; a key that signs no more stays here, so that its signatures stay good

`cryptography` is imported where a key is used, so that whatever only reads bundles stays light.
"""

import base64
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cifarops.errors import IntegrityError, UsageError
from cifarops.files import locked, write_atomic
from cifarops.settings import EnvironmentName, Settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_ID_LENGTH = 16
_OTHERS = 0o077
_BEGIN = "-----BEGIN"


@dataclass(frozen=True)
class Keyring:
    """Where the keys are.

    Attributes:
        private: Directory of private keys.
        trusted: Directory of public keys; all that a server needs.
        given: A private key that is used in place of those in `private`: PEM, or the path of a file with it.
    """

    private: Path
    trusted: Path
    given: str | None = None

    @classmethod
    def of(cls, settings: Settings) -> "Keyring":
        """Return the keyring of a workspace."""
        return cls(settings.keys, settings.trusted_keys, settings.signing_key)

    def signer(self, environment: EnvironmentName) -> "Ed25519PrivateKey":
        """Return the key that signs for an environment; made now where it never had one.

        Raises:
            IntegrityError: The key is lost, damaged, readable by others or not trusted.
        """
        path = self._private(environment)
        if self.given:
            key = _read_private(self.given)
        elif path.is_file():
            _check_mode(path)
            key = _read_private(str(path))
        else:
            return self._first(environment, path)
        if key_id(key.public_key()) not in self.public(environment):
            raise IntegrityError(
                f"Servers of {environment} do not trust the key {key_id(key.public_key())} that would sign for it.",
                fix=f"Let them: cifarops registry keys trust --environment {environment}. Or use the right key.",
            )
        return key

    def rotate(self, environment: EnvironmentName) -> "Ed25519PrivateKey":
        """Make a new key for an environment, and return it; what the old one signed stays good.

        Raises:
            UsageError: The key is given from outside, so it can't be made here.
        """
        if self.given:
            raise UsageError(
                "CIFAROPS_SIGNING_KEY names the key, so none is made here.",
                fix="Make one elsewhere (openssl genpkey -algorithm ed25519), set the variable to it, and let servers"
                f" trust it: cifarops registry keys trust --environment {environment}",
            )
        with self._locked():
            return self._make(environment)

    def trust(self, environment: EnvironmentName, file: Path | None) -> str:
        """Let an environment trust a public key, by default that of the given private one; returns its id.

        Raises:
            UsageError: There is no such key.
        """
        if file is None and self.given is None:
            raise UsageError(
                "No key was named.", fix="Name the file of a public key, or set CIFAROPS_SIGNING_KEY."
            )
        key = _read_public(file) if file else _read_private(str(self.given)).public_key()
        return self._trust(environment, key)

    def revoke(self, environment: EnvironmentName, key: str) -> None:
        """Let an environment trust a key no longer: what only it has signed is refused from now on.

        Raises:
            UsageError: It is not trusted there.
        """
        if key not in self.public(environment):
            raise UsageError(
                f"{environment} trusts no key {key!r}.", fix="List them: cifarops registry keys list"
            )
        (self.trusted / environment / f"{key}.pem").unlink()

    def public(self, environment: EnvironmentName) -> dict[str, Path]:
        """Return the files of the public keys that an environment trusts, by id."""
        return {path.stem: path for path in sorted((self.trusted / environment).glob("*.pem"))}

    def verifies(self, environment: EnvironmentName, key: str, signature: str, message: bytes) -> bool:
        """Return whether a trusted key has signed a message; `signature` is base64.

        Raises:
            IntegrityError: The public key's file is damaged.
        """
        from cryptography.exceptions import InvalidSignature

        path = self.public(environment).get(key)
        if path is None:
            return False
        public = _read_public(path)
        if key_id(public) != key:
            raise IntegrityError(f"{path} holds another key than its name says.", fix="Remove it.")
        try:
            public.verify(base64.b64decode(signature), message)
        except (InvalidSignature, ValueError):
            return False
        return True

    def signs_with(self, environment: EnvironmentName) -> str | None:
        """Return the id of the key that signs for an environment, or None where it is not here."""
        path = self._private(environment)
        source = self.given or (str(path) if path.is_file() else None)
        return key_id(_read_private(source).public_key()) if source else None

    def _first(self, environment: EnvironmentName, path: Path) -> "Ed25519PrivateKey":
        """Make an environment's first key, or take the one that another process makes at this moment."""
        with self._locked():
            if path.is_file():
                return _read_private(str(path))
            if self.public(environment):
                raise IntegrityError(
                    f"The private key of {environment} is not here ({path}): it is lost, or on another machine.",
                    fix="Copy it there, or name it in CIFAROPS_SIGNING_KEY. If it is lost, make a new one (old signatures"
                    f" stay good): cifarops registry keys rotate --environment {environment}",
                )
            return self._make(environment)

    def _make(self, environment: EnvironmentName) -> "Ed25519PrivateKey":
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        key = Ed25519PrivateKey.generate()
        # Trusted first: killed in between, a public key that signs nothing does no harm.
        self._trust(environment, key.public_key())
        write_atomic(self._private(environment), _private_pem(key), mode=0o600)
        return key

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.private.mkdir(parents=True, exist_ok=True)
        with locked(self.private / ".lock"):
            yield

    def _private(self, environment: EnvironmentName) -> Path:
        return self.private / f"{environment}.pem"

    def _trust(self, environment: EnvironmentName, key: "Ed25519PublicKey") -> str:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        content = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        write_atomic(self.trusted / environment / f"{key_id(key)}.pem", content)
        return key_id(key)


def key_id(key: "Ed25519PublicKey") -> str:
    """Return what a key is called: the beginning of the SHA-256 of its 32 bytes, 16 hex digits."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:_ID_LENGTH]


def _private_pem(key: "Ed25519PrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _read_private(source: str) -> "Ed25519PrivateKey":
    """Read a private key: PEM, or the path of a file with it. No message ever shows what was read."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    is_pem = source.lstrip().startswith(_BEGIN)
    where = "CIFAROPS_SIGNING_KEY" if is_pem else source
    try:
        content = source.encode() if is_pem else Path(source).read_bytes()
        key = load_pem_private_key(content, password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise IntegrityError(
            f"The private key in {where} can't be read ({type(error).__name__}).",
            fix="Restore it from a copy; if it is lost, make a new one: cifarops registry keys rotate",
        ) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise IntegrityError(
            f"The private key in {where} is no ed25519 key.",
            fix="Make one: openssl genpkey -algorithm ed25519",
        )
    return key


def _read_public(path: Path) -> "Ed25519PublicKey":
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise IntegrityError(
            f"The public key in {path} can't be read: {error}.",
            fix="Write it again: openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem",
        ) from error
    if not isinstance(key, Ed25519PublicKey):
        raise IntegrityError(f"{path} is no ed25519 key.", fix="Make one: openssl genpkey -algorithm ed25519")
    return key


def _check_mode(path: Path) -> None:
    if path.stat().st_mode & _OTHERS:
        raise IntegrityError(
            f"The private key {path} can be read by others than its owner.",
            fix=f"Take that right away (chmod 600 {path}), and rotate the key if somebody may have read it:"
            " cifarops registry keys rotate",
        )
