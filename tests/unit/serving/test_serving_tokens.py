import json
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cifarops.errors import ConflictError, IntegrityError, UsageError
from cifarops.serving.tokens import Keyring, TokenFile, digest


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_only_the_hash_of_a_token_is_kept_and_only_for_the_owner(file: TokenFile, tmp_path: Path) -> None:
    text = file.make("ada", ["deploy", "predict"])
    path = tmp_path / "tokens.json"
    assert text not in path.read_text()
    assert digest(text) in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (token,) = file.tokens()
    assert (token.name, token.roles) == ("ada", ("predict", "deploy"))
    assert len(text) > 40


def test_a_file_that_others_can_read_is_refused(file: TokenFile, tmp_path: Path) -> None:
    file.make("ada", ["predict"])
    (tmp_path / "tokens.json").chmod(0o640)
    with pytest.raises(IntegrityError, match="read by others") as caught:
        file.tokens()
    assert "chmod 600" in caught.value.fix


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"tokens": [1]}', b'{"tokens": [{"name": "a"}]}', b"\xff"]
)
def test_a_damaged_file_is_refused(file: TokenFile, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "tokens.json"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(IntegrityError, match="can't be read"):
        file.tokens()


@pytest.mark.parametrize("name", ["", "a\nb", "ä", "x" * 65, "\x1b[31m"])
def test_a_name_must_be_printable(file: TokenFile, name: str) -> None:
    with pytest.raises(UsageError, match="no name for a token"):
        file.make(name, ["predict"])


def test_roles_and_names_are_checked(file: TokenFile) -> None:
    with pytest.raises(UsageError, match="not admin"):
        file.make("ada", ["admin"])
    with pytest.raises(UsageError, match="not none"):
        file.make("ada", [])
    file.make("ada", ["predict"])
    with pytest.raises(ConflictError, match="'ada'"):
        file.make("ada", ["feedback"])
    with pytest.raises(UsageError, match="no token named 'bob'"):
        file.revoke("bob")


def test_tokens_made_at_once_are_all_kept(file: TokenFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        texts = list(pool.map(lambda k: file.make(f"name{k}", ["predict"]), range(20)))
    assert {token.sha256 for token in file.tokens()} == {digest(text) for text in texts}


def test_a_keyring_follows_the_file(file: TokenFile) -> None:
    keyring = Keyring(file)
    assert not keyring.required
    old = file.make("ada", ["predict"])
    keyring.refresh(1)
    assert keyring.required
    found = keyring.find(old)
    assert found is not None
    assert found.name == "ada"
    assert keyring.find(old + "x") is None
    assert keyring.find("") is None
    assert keyring.find("\udcff\x00é") is None
    file.revoke("ada")
    new = file.make("ada", ["feedback"])
    keyring.refresh(1.1)  # too early to look again
    assert keyring.find(old) is not None
    keyring.refresh(2)
    assert keyring.find(old) is None
    assert keyring.find(new) is not None


def test_a_file_that_vanishes_or_breaks_opens_no_door(file: TokenFile, tmp_path: Path) -> None:
    text = file.make("ada", ["predict"])
    keyring = Keyring(file)
    path = tmp_path / "tokens.json"
    content = path.read_bytes()
    path.unlink()
    keyring.refresh(1)
    assert keyring.required
    assert keyring.find(text) is None
    path.write_bytes(content[:-9])
    path.chmod(0o600)
    keyring.refresh(2)
    assert keyring.find(text) is None
    assert keyring.error is not None
    path.write_bytes(json.dumps(json.loads(content)).encode())
    keyring.refresh(3)
    assert keyring.find(text) is not None
    assert keyring.error is None
    os.truncate(path, 0)
    keyring.refresh(4)
    assert keyring.find(text) is None
