"""What must not get into the repository by accident: large files, secrets, outputs of notebooks."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

LARGEST = 500_000
_ALLOWED = "allow-secret"  # in a comment on the line: it only looks like one

_SECRETS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "a GitLab token": r"\bgl(?:pat|ptt|dt|rt|rtr|cbt|ft|imt|agent|soat|oas|ffct)-[\w-]{20,}",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{60,})",
    "an AWS key": r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b",
    "a Google key": r"\bAIza[\w-]{35}",
    "a Slack token": r"\bxox[abeoprs]-[\w-]{10,}",
    "a PyPI token": r"\bpypi-AgE[\w-]{50,}",
    "a Hugging Face token": r"\bhf_[A-Za-z]{34}",
    "a JSON web token": r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}",
    "a password in an address": r"\b[a-z][a-z0-9+.-]*://[^\s:/@\"'{}$<>]+:[^\s:/@\"'{}$<>]{3,}@",
    "a password": (
        r"(?i:password|passwd|secret|token|api[_-]?key|access[_-]?key)[\"']?\s*[:=]\s*"
        r"[\"'](?=[^\"']*\d)(?=[^\"']*[a-z])[^\s\"'{}$<>()]{12,}[\"']"
    ),
}
_SECRET = re.compile("|".join(f"(?P<_{number}>{each})" for number, each in enumerate(_SECRETS.values())))


@dataclass(frozen=True)
class Finding:
    """Something that should not be committed.

    Attributes:
        path: The file.
        line: Line number from 1, or None for the whole file.
        what: What was found; never the secret itself.
        fix: What to do.
    """

    path: str
    line: int | None
    what: str
    fix: str

    def __str__(self) -> str:
        place = self.path if self.line is None else f"{self.path}:{self.line}"
        return f"{place}: {self.what}. {self.fix}"


def scan(paths: Iterable[Path]) -> list[Finding]:
    """Look through files; links and what is no file are passed over."""
    return [finding for path in paths if path.is_file() and not path.is_symlink() for finding in _scan(path)]


def _scan(path: Path) -> Iterator[Finding]:
    size = path.stat().st_size
    if size > LARGEST:
        yield Finding(
            str(path),
            None,
            f"{size:,} bytes; at most {LARGEST:,} belong into Git",
            "Keep data and models in the workspace or with DVC: git rm --cached it.",
        )
        return
    content = path.read_bytes()
    if b"\0" in content:
        return
    text = content.decode(errors="replace")
    yield from _secrets(path, text)
    if path.suffix == ".ipynb":
        yield from _outputs(path, text)


def _secrets(path: Path, text: str) -> Iterator[Finding]:
    for number, line in enumerate(text.splitlines(), start=1):
        found = _SECRET.search(line)
        if found and found.lastgroup and _ALLOWED not in line:
            what = list(_SECRETS)[int(found.lastgroup[1:])]
            yield Finding(
                str(path),
                number,
                f"this looks like {what}",
                f"Take it out and read it from the environment; if it is none, write {_ALLOWED} in a comment there.",
            )


def _outputs(path: Path, text: str) -> Iterator[Finding]:
    try:
        cells = json.loads(text)["cells"]
        filled = [
            number
            for number, cell in enumerate(cells, start=1)
            if cell.get("outputs") or cell.get("execution_count") is not None
        ]
    except (ValueError, KeyError, TypeError, AttributeError):
        yield Finding(str(path), None, "this is no notebook that can be read", "Save it again, or rename it.")
        return
    if filled:
        yield Finding(
            str(path),
            None,
            f"outputs or execution counts in cells {', '.join(map(str, filled))}",
            "Clear them in the editor (Clear All Outputs) and save.",
        )
