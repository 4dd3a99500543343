import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from cifarops.bundle.keys import Keyring, key_id
from cifarops.bundle.signature import Signature, Signatures
from cifarops.errors import IntegrityError, UsageError
from tests.support.serving import settings_of

DIGEST = "ab" * 32
OTHER = "cd" * 32


@pytest.fixture
def signatures(tmp_path: Path) -> Signatures:
    return Signatures.of(settings_of(tmp_path))


def pem(key: object) -> str:
    content: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())  # type: ignore[attr-defined]
    return content.decode()


def path_of(signatures: Signatures, digest: str = DIGEST) -> Path:
    return signatures.root / digest / "production.json"


def test_the_first_key_is_made_when_it_is_needed_for_its_owner_only(signatures: Signatures) -> None:
    with pytest.raises(IntegrityError, match="is not signed") as caught:
        signatures.verified(DIGEST, "production")
    assert "registry sign VERSION --environment production" in caught.value.fix
    made = signatures.sign(DIGEST, "production")
    assert signatures.verified(DIGEST, "production") == made
    assert (made.statement.by, made.statement.environment) == ("tester", "production")
    private = signatures.keys.private / "production.pem"
    assert private.stat().st_mode & 0o777 == 0o600
    assert list(signatures.keys.public("production")) == [made.key]
    assert signatures.keys.public("staging") == {}
    assert signatures.sign(DIGEST, "production") == made


def test_anyone_can_check_a_signature_with_the_public_key_alone(signatures: Signatures) -> None:
    made = signatures.sign(DIGEST, "production")
    document = json.loads(path_of(signatures).read_text())
    message = json.dumps(
        document["statement"], sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()
    public = load_pem_public_key(signatures.keys.public("production")[made.key].read_bytes())
    public.verify(base64.b64decode(document["signature"]), message)  # type: ignore[union-attr, call-arg]


def test_another_bundle_or_environment_has_no_use_for_it(signatures: Signatures) -> None:
    signatures.sign(DIGEST, "production")
    signatures.sign(DIGEST, "staging")
    moved = path_of(signatures, OTHER)
    moved.parent.mkdir()
    moved.write_bytes(path_of(signatures).read_bytes())
    with pytest.raises(IntegrityError, match="another bundle or environment"):
        signatures.verified(OTHER, "production")
    staging = path_of(signatures).with_name("staging.json")
    path_of(signatures).write_bytes(staging.read_bytes())
    with pytest.raises(IntegrityError, match="not trusted"):
        signatures.verified(DIGEST, "production")
    keys = signatures.keys
    keys.trust("production", next(iter(keys.public("staging").values())))
    with pytest.raises(IntegrityError, match="another bundle or environment"):
        signatures.verified(DIGEST, "production")


@pytest.mark.parametrize(
    ("field", "value"), [("by", "eve"), ("at", 1.0), ("signature", "AAAA"), ("signature", "?")]
)
def test_an_altered_signature_is_wrong(signatures: Signatures, field: str, value: object) -> None:
    signatures.sign(DIGEST, "production")
    document = json.loads(path_of(signatures).read_text())
    (document if field == "signature" else document["statement"])[field] = value
    path_of(signatures).write_text(json.dumps(document))
    with pytest.raises(IntegrityError, match="signature that is wrong"):
        signatures.verified(DIGEST, "production")


@pytest.mark.parametrize("content", ["", "{}", "no JSON", "[]"])
def test_a_damaged_signature_is_refused_and_can_be_made_again(signatures: Signatures, content: str) -> None:
    signatures.sign(DIGEST, "production")
    path_of(signatures).write_text(content)
    with pytest.raises(IntegrityError, match="can't be read"):
        signatures.verified(DIGEST, "production")
    signatures.sign(DIGEST, "production")
    signatures.verified(DIGEST, "production")


def test_a_stranger_who_signs_is_not_trusted(signatures: Signatures, tmp_path: Path) -> None:
    signatures.sign(DIGEST, "production")
    eve = Signatures.of(settings_of(tmp_path / "eve"))
    eve.sign(OTHER, "production")
    path_of(signatures, OTHER).parent.mkdir()
    path_of(signatures, OTHER).write_bytes(path_of(eve, OTHER).read_bytes())
    with pytest.raises(IntegrityError, match="which is not trusted"):
        signatures.verified(OTHER, "production")


def test_after_a_rotation_old_signatures_stay_good_until_their_key_is_revoked(signatures: Signatures) -> None:
    old = signatures.sign(DIGEST, "production")
    new = key_id(signatures.keys.rotate("production").public_key())
    assert signatures.verified(DIGEST, "production") == old
    assert signatures.sign(OTHER, "production").key == new
    assert set(signatures.keys.public("production")) == {old.key, new}
    signatures.keys.revoke("production", old.key)
    with pytest.raises(IntegrityError, match="not trusted"):
        signatures.verified(DIGEST, "production")
    signatures.verified(OTHER, "production")
    assert signatures.sign(DIGEST, "production").key == new
    with pytest.raises(UsageError, match="trusts no key"):
        signatures.keys.revoke("production", old.key)


def test_a_lost_key_is_said_with_the_way_on(signatures: Signatures) -> None:
    signatures.sign(DIGEST, "production")
    (signatures.keys.private / "production.pem").unlink()
    assert signatures.keys.signs_with("production") is None
    with pytest.raises(IntegrityError, match="is not here") as caught:
        signatures.sign(OTHER, "production")
    assert "registry keys rotate --environment production" in caught.value.fix
    signatures.verified(DIGEST, "production")
    signatures.keys.rotate("production")
    signatures.sign(OTHER, "production")


def test_a_private_key_that_others_can_read_signs_nothing(signatures: Signatures) -> None:
    signatures.sign(DIGEST, "production")
    (signatures.keys.private / "production.pem").chmod(0o644)
    with pytest.raises(IntegrityError, match="can be read by others") as caught:
        signatures.sign(OTHER, "production")
    assert "chmod 600" in caught.value.fix


def test_a_given_key_signs_once_it_is_trusted(signatures: Signatures, tmp_path: Path) -> None:
    text = pem(Ed25519PrivateKey.generate())
    (tmp_path / "key.pem").write_text(text)
    for given in (text, str(tmp_path / "key.pem")):
        keys = replace(signatures.keys, given=given)
        given_signatures = replace(signatures, keys=keys)
        if given == text:
            with pytest.raises(IntegrityError, match="do not trust the key") as caught:
                given_signatures.sign(DIGEST, "production")
            assert "keys trust --environment production" in caught.value.fix
            keys.trust("production", None)
        assert given_signatures.sign(DIGEST, "production").key == keys.signs_with("production")
    with pytest.raises(UsageError, match="none is made here"):
        keys.rotate("production")
    assert text not in repr(settings_of(tmp_path))


@pytest.mark.parametrize(
    "given",
    ["/no/such/file", "-----BEGIN PRIVATE KEY-----\nAAAA", "EC"],  # allow-secret
)
def test_what_is_no_key_is_refused_and_never_shown(signatures: Signatures, given: str) -> None:
    text = pem(generate_private_key(SECP256R1())) if given == "EC" else given
    keys = replace(signatures.keys, given=text)
    with pytest.raises(IntegrityError) as caught:
        keys.signer("production")
    assert "AAAA" not in caught.value.message


def test_what_is_no_public_key_is_refused(signatures: Signatures, tmp_path: Path) -> None:
    made = signatures.sign(DIGEST, "production")
    path = signatures.keys.public("production")[made.key]
    elliptic = generate_private_key(SECP256R1()).public_key()
    another = Ed25519PrivateKey.generate().public_key()
    for content, why in (
        (b"", "can't be read"),
        (elliptic.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "no ed25519 key"),
        (another.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "another key"),
    ):
        path.write_bytes(content)
        with pytest.raises(IntegrityError, match=why):
            signatures.verified(DIGEST, "production")
    with pytest.raises(UsageError, match="No key was named"):
        signatures.keys.trust("production", None)


def test_processes_that_need_the_first_key_at_once_make_one(tmp_path: Path) -> None:
    program = f"""
from cifarops.bundle.signature import Signatures
from cifarops.settings import Settings
from pathlib import Path
signatures = Signatures.of(Settings.from_environment({{"CIFAROPS_WORKSPACE": {str(tmp_path)!r}}}))
print(signatures.sign("ab" * 32, "production").key)
"""
    racers = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    assert len({racer.communicate()[0] for racer in racers}) == 1
    assert len(Keyring.of(settings_of(tmp_path)).public("production")) == 1


def test_reading_bundles_needs_no_cryptography() -> None:
    program = (
        "import sys, cifarops.bundle.store, cifarops.bundle.signature; print('cryptography' in sys.modules)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"


def test_a_signature_survives_being_written_and_read(signatures: Signatures) -> None:
    made = signatures.sign(DIGEST, "production")
    assert Signature.model_validate_json(made.model_dump_json()) == made
