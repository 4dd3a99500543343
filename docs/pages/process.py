"""docs/reference/process.md: its last column, made from the tests that carry `@pytest.mark.promise`."""

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PAGE = Path("docs/reference/process.md")
_ROW = re.compile(r"^\| ([A-Z]\d+) \| (.+?) \| (.*?) \| (.*?) ?\|$")


@dataclass(frozen=True)
class Promise:
    """One row of the page.

    Attributes:
        id: For example `B4`.
        text: What is promised.
        kept_by: What keeps it.
    """

    id: str
    text: str
    kept_by: str


def process_page(root: Path) -> str:
    """Return the page with the tests of each promise in its last column; the rest is as people wrote it."""
    tests = marked_tests(root)
    lines = (root / PAGE).read_text().splitlines()
    return "\n".join(_with_tests(line, tests) for line in lines) + "\n"


def promises(page: str) -> Iterator[Promise]:
    """Return the rows of the page."""
    for line in page.splitlines():
        row = _ROW.match(line)
        if row:
            yield Promise(*row.groups()[:3])


def marked_tests(root: Path) -> dict[str, Counter[str]]:
    """Return, for each id, how many tests of which files are marked with it; files are read, not imported."""
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            for promised in _marks(node):
                found[promised][path.relative_to(root).as_posix()] += 1
    return found


def _marks(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise":
        for argument in node.args:
            yield ast.literal_eval(argument)


def _with_tests(line: str, tests: Mapping[str, Counter[str]]) -> str:
    row = _ROW.match(line)
    if row is None:
        return line
    promised, text, kept_by, _ = row.groups()
    files = tests.get(promised, Counter())
    linked = ", ".join(
        f"[{Path(path).name}](../../{path}) ({count})" for path, count in sorted(files.items())
    )
    return f"| {promised} | {text} | {kept_by} | {linked} |"
