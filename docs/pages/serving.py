"""docs/reference/serving.md: every key of serving.yaml."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from cifarops.serving.options import Options
from docs.pages.fields import docstring, inner_section, range_of

_INTRODUCTION = """\
# serving.yaml

`serving.yaml` in the workspace says how its servers are reached and how much they take. Without it everything is as by default. It is
read when a server starts, also when one replaces another; paths in it are relative to it. An unknown key is refused by name.
This page is made by `make docs`. How to use it: [Secure a server](../how-to/secure.md).
"""


def serving_page(root: Path) -> str:
    """Return the reference of serving.yaml: every key, its range, its default."""
    return "\n".join([_INTRODUCTION.rstrip(), *_lines("serving.yaml", Options)]) + "\n"


def _lines(path: str, section: type[BaseModel]) -> Iterator[str]:
    summary, described = docstring(section)
    yield from (
        "",
        f"## `{path}`",
        "",
        summary,
        "",
        "| key | value | default | meaning |",
        "| --- | --- | --- | --- |",
    )
    for name, field in section.model_fields.items():
        inner = inner_section(field)
        default = "required" if field.is_required() else "" if inner else f"`{_yaml(field.default)}`"
        kind = f"[keys](#{name})" if inner else range_of(field)
        yield f"| `{name}` | {kind} | {default} | {described[name]} |"
    for name, field in section.model_fields.items():
        if inner := inner_section(field):
            yield from _lines(name, inner)


def _yaml(value: object) -> str:
    if value is None:
        return "null"
    return "[]" if value == () else str(value)
