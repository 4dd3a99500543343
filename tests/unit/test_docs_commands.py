"""Commands in the README, the tutorial and the how-to pages are ones that there are, with options that they have."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from cifarops.cli.main import build

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs/tutorial").glob("*.md")),
    *sorted((ROOT / "docs/how-to").glob("*.md")),
]
COMMAND = get_command(build())


def commands(page: Path) -> list[str]:
    """Return the `cifarops` command lines in a page's blocks of code, continued lines put together."""
    blocks = re.findall(
        r"^```(?:\w*)\n(.*?)^```|((?:^ {4}.+\n)+)", page.read_text(), re.DOTALL | re.MULTILINE
    )
    text = "\n".join(fenced or indented for fenced, indented in blocks).replace("\\\n", " ")
    return re.findall(r"^[ $]*(?:\w+=\S+ +)*((?:\S*/)?cifarops .*)$", text, re.MULTILINE)


CASES = [(page.name, line) for page in PAGES for line in commands(page)]


@pytest.mark.promise("S2")
@pytest.mark.parametrize(("page", "line"), CASES)
def test_a_command_of_the_docs_exists(page: str, line: str) -> None:
    _, *words = shlex.split(re.split(r"\s+[|&>;]", line)[0], comments=True)
    command: Any = COMMAND
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert (
        not hasattr(command, "commands")
        or command.invoke_without_command
        or words[:1]
        in (
            [],
            ["--help"],
            ["--version"],
        )
    ), f"{page}: no such command: {line}"
    known = {option for parameter in command.params for option in parameter.opts} | {"-h", "--help"}
    unknown = {word.partition("=")[0] for word in words if word.startswith("--")} - known
    assert not unknown, f"{page}: no such option: {line}"


def test_the_pages_have_commands() -> None:
    assert len(CASES) > 20
