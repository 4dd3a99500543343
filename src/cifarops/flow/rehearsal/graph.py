"""The branches of a repository as a picture: one row a branch, one dot a commit, drawn from what Git has."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from cifarops.flow.git import Git

_BETWEEN_COMMITS, _BETWEEN_ROWS = 46, 40
_LEFT, _TOP, _RIGHT = 190, 44, 50
_RADIUS = 6
_COLOURS = ("#dc2626", "#d97706", "#2563eb", "#059669", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")
_FIELDS = "%H%x09%P%x09%s"


@dataclass(frozen=True)
class Commit:
    """A dot.

    Attributes:
        id: 40 hex digits.
        parents: Ids, the branch's own first.
        subject: First line of the message.
    """

    id: str
    parents: tuple[str, ...]
    subject: str


def draw(git: Git, protected: Sequence[str]) -> str:
    """Draw every branch of a bare repository, as an <svg> element.

    Args:
        git: The repository.
        protected: Branches whose rows come first, in this order.
    """
    commits = list(_commits(git))
    rows = _rows(git, commits, protected)
    places = {
        commit.id: (
            _LEFT + column * _BETWEEN_COMMITS,
            _TOP + list(rows).index(_owner(rows, commit.id)) * _BETWEEN_ROWS,
        )
        for column, commit in enumerate(commits)
    }
    colours = {
        commit: _COLOURS[row % len(_COLOURS)] for row, each in enumerate(rows.values()) for commit in each
    }
    width = _LEFT + (len(commits) - 1) * _BETWEEN_COMMITS + _RIGHT
    height = _TOP + len(rows) * _BETWEEN_ROWS
    parts = [
        *_labels(rows, width),
        *_edges(commits, places, colours),
        *_dots(commits, places, colours),
        *_flags(_tags(git), places),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img"'
        f' font-family="system-ui, sans-serif" font-size="12">{"".join(parts)}</svg>'
    )


def _commits(git: Git) -> Iterator[Commit]:
    """Yield every commit, parents before children."""
    for line in git(
        "log", "--branches", "--topo-order", "--date-order", "--reverse", f"--format={_FIELDS}"
    ).splitlines():
        commit, parents, subject = line.split("\t", 2)
        yield Commit(commit, tuple(parents.split()), subject)


def _rows(git: Git, commits: Sequence[Commit], protected: Sequence[str]) -> dict[str, set[str]]:
    """Return which commits were made on which branch: those along its first parents that no earlier row has."""
    order = {commit.id: column for column, commit in enumerate(commits)}
    parents = {commit.id: commit.parents for commit in commits}
    tips = dict(
        line.split()
        for line in git(
            "for-each-ref", "--format=%(refname:lstrip=2) %(objectname)", "refs/heads"
        ).splitlines()
    )
    first = [name for name in protected if name in tips]
    rows: dict[str, set[str]] = {}
    taken: set[str] = set()
    # A branch that starts on another is younger, and so are its commits.
    for name in (*first, *sorted(set(tips) - set(first), key=lambda each: order[tips[each]])):
        rows[name], commit = set(), tips[name]
        while commit and commit not in taken:
            rows[name].add(commit)
            commit = next(iter(parents[commit]), "")
        taken |= rows[name]
    return {name: row for name, row in rows.items() if row or name in protected}


def _owner(rows: Mapping[str, set[str]], commit: str) -> str:
    return next((name for name, row in rows.items() if commit in row), next(iter(rows)))


def _tags(git: Git) -> dict[str, str]:
    listed = git("for-each-ref", "--format=%(refname:lstrip=2) %(objectname) %(*objectname)", "refs/tags")
    rows = (line.split() for line in listed.splitlines())
    return {row[0]: row[-1] for row in rows}


def _labels(rows: Mapping[str, set[str]], width: int) -> Iterator[str]:
    for number, name in enumerate(rows):
        y = _TOP + number * _BETWEEN_ROWS
        yield f'<line x1="{_LEFT}" y1="{y}" x2="{width}" y2="{y}" stroke="#e5e7eb"/>'
        yield f'<text x="{_LEFT - 16}" y="{y + 4}" text-anchor="end" fill="{_COLOURS[number % len(_COLOURS)]}">{escape(name)}</text>'


def _edges(
    commits: Sequence[Commit], places: Mapping[str, tuple[int, int]], colours: Mapping[str, str]
) -> Iterator[str]:
    for commit in commits:
        x, y = places[commit.id]
        for number, parent in enumerate(commit.parents):
            from_x, from_y = places[parent]
            # What is merged has the colour of where it comes from; what is begun, of where it goes.
            colour = colours[parent] if number else colours[commit.id]
            middle = (from_x + x) // 2
            path = f"M{from_x} {from_y}C{middle} {from_y} {middle} {y} {x} {y}"
            dashed = ' stroke-dasharray="5 3"' if number else ""
            yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>'


def _dots(
    commits: Sequence[Commit], places: Mapping[str, tuple[int, int]], colours: Mapping[str, str]
) -> Iterator[str]:
    for commit in commits:
        x, y = places[commit.id]
        colour = colours[commit.id]
        fill = "#fff" if len(commit.parents) > 1 else colour
        yield (
            f'<circle cx="{x}" cy="{y}" r="{_RADIUS}" fill="{fill}" stroke="{colour}" stroke-width="2">'
            f"<title>{commit.id[:12]} {escape(commit.subject)}</title></circle>"
        )


def _flags(tags: Mapping[str, str], places: Mapping[str, tuple[int, int]]) -> Iterator[str]:
    for tag, commit in tags.items():
        if commit in places:
            x, y = places[commit]
            yield (f'<text x="{x}" y="{y - 13}" text-anchor="middle" font-weight="600">{escape(tag)}</text>')
