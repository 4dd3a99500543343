import subprocess
from pathlib import Path

import cifarops
from cifarops.bundle.code import code_identity


def _git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    answer = subprocess.run(
        ["git", *identity, "-C", str(root), *arguments], check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()


def test_no_checkout_no_commit(tmp_path: Path) -> None:
    identity = code_identity(tmp_path)
    assert (identity.version, identity.commit, identity.dirty) == (cifarops.__version__, None, False)


def test_the_commit_and_whether_the_package_differs_from_it(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    _git(tmp_path, "init", "-q")
    assert code_identity(package).commit is None
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    (tmp_path / "pointer.json").write_text("{}")
    clean = code_identity(package)
    assert (clean.commit, clean.dirty) == (_git(tmp_path, "rev-parse", "HEAD"), False)
    (package / "new.py").write_text("")
    assert code_identity(package).dirty


def test_a_package_installed_inside_some_checkout_is_not_that_checkout(tmp_path: Path) -> None:
    installed = tmp_path / ".venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    (tmp_path / ".gitignore").write_text(".venv\n")
    _git(tmp_path, "init", "-q")
    _git(tmp_path, "add", ".")
    _git(tmp_path, "commit", "-q", "-m", "first")
    assert code_identity(installed).commit is None
