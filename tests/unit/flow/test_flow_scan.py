import json
from pathlib import Path
from typing import Any

import pytest

from cifarops.flow.scan import LARGEST, scan

# Put together here, so that this file itself holds none.
SECRETS = {
    "a GitLab token": "glpat" + "-" + "x9Y8z7W6v5U4t3S2r1Q0",
    "a GitHub token": "ghp" + "_" + "a1B2" * 9,
    "an AWS key": "AKIA" + "IOSFODNN7EXAMPL3",
    "a Google key": "AIza" + "b" * 35,
    "a Slack token": "xoxb" + "-1234567890-abc",
    "a PyPI token": "pypi-" + "AgE" + "c" * 60,
    "a Hugging Face token": "hf" + "_" + "d" * 34,
    "a JSON web token": "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJ" + "zdWIiOiIxMjM0In0" + ".sflKxwRJSMeKKF2",
    "a private key": "-----BEGIN " + "OPENSSH PRIVATE KEY-----",
    "a password in an address": "https://me:" + "hunter22" + "@example.org/x.git",
    "a password": "db_password = " + '"correct7horse8battery"',
}


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(("what", "secret"), SECRETS.items())
def test_a_secret_is_found_and_not_repeated(what: str, secret: str, tmp_path: Path) -> None:
    (finding,) = scan([write(tmp_path, "settings.py", f"one\n\nx = {secret}\n")])
    assert finding.what == f"this looks like {what}"
    assert finding.line == 3
    assert secret not in str(finding)


def test_a_marked_line_is_let_through(tmp_path: Path) -> None:
    path = write(tmp_path, "a.py", f"x = '{SECRETS['an AWS key']}'  # allow-secret\n")
    assert scan([path]) == []


@pytest.mark.parametrize(
    "line",
    [
        'token = os.environ["CIFAROPS_GITLAB_TOKEN"]',
        'password = "{password}"',
        "url = https://example.org:8080/a@b",
        "git remote add origin https://user:${TOKEN}@example.org/x",
        "secret: str = field()",
        'API_KEY = "<your key here, 12 letters>"',
        "digest = 'sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'",
        "glpat-short",
    ],
)
def test_what_is_no_secret_passes(line: str, tmp_path: Path) -> None:
    assert scan([write(tmp_path, "a.py", line)]) == []


def test_size(tmp_path: Path) -> None:
    assert scan([write(tmp_path, "a.bin", b"x" * LARGEST)]) == []
    (finding,) = scan([write(tmp_path, "b.bin", b"x" * (LARGEST + 1))])
    assert "500,001 bytes" in finding.what
    assert finding.line is None


def test_binary_files_links_and_what_is_gone_are_passed_over(tmp_path: Path) -> None:
    binary = write(tmp_path, "a.png", b"\0" + SECRETS["an AWS key"].encode())
    link = tmp_path / "link"
    link.symlink_to(write(tmp_path, "secret", SECRETS["an AWS key"]))
    assert scan([binary, link, tmp_path / "gone", tmp_path]) == []


def notebook(**cell: Any) -> str:
    return json.dumps({"cells": [{"cell_type": "code", "source": ["1"], "outputs": [], **cell}]})


@pytest.mark.parametrize("cell", [{"outputs": [{"text": "1"}]}, {"execution_count": 3}])
def test_outputs_of_notebooks_are_found(cell: dict[str, Any], tmp_path: Path) -> None:
    (finding,) = scan([write(tmp_path, "a.ipynb", notebook(**cell))])
    assert "cells 1" in finding.what


def test_a_cleared_notebook_passes(tmp_path: Path) -> None:
    assert scan([write(tmp_path, "a.ipynb", notebook(execution_count=None))]) == []


@pytest.mark.parametrize("text", ["", "[]", '{"cells": 1}', '{"cells": [1]}', "{}"])
def test_a_broken_notebook_is_told(text: str, tmp_path: Path) -> None:
    (finding,) = scan([write(tmp_path, "a.ipynb", text)])
    assert "no notebook" in finding.what
