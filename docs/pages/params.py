"""docs/reference/params.md: every key of params.yaml."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from cifarops.config import Params
from cifarops.strict import Section
from docs.pages.fields import docstring, range_of


def params_page(root: Path) -> str:
    """Return the reference of params.yaml: every key, its range, its value in `base`."""
    document = yaml.safe_load((root / "params.yaml").read_text())
    lines = [
        "# Parameters",
        "",
        "`params.yaml` holds what an experiment decides. `base` gives every value once; a profile overrides what differs, and",
        "`--profile` picks one. An unknown key is refused by name. This page is made by `make docs`.",
        "",
        "Profiles: " + ", ".join(f"`{name}`" for name in document["profiles"]) + ".",
    ]
    for name, field in Params.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            lines += _section_lines(name, section, document["base"].get(name, {}))
    return "\n".join(lines) + "\n"


def _section_lines(path: str, section: type[Section], base: dict[str, Any]) -> Iterator[str]:
    summary, described = docstring(section)
    yield from (
        "",
        f"## `{path}`",
        "",
        summary,
        "",
        "| key | value | in `base` | meaning |",
        "| --- | --- | --- | --- |",
    )
    nested: list[tuple[str, type[Section]]] = []
    for name, field in section.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, Section):
            nested.append((name, inner))
            continue
        default = base.get(name, None if field.is_required() else field.default)
        yield f"| `{name}` | {range_of(field)} | `{json.dumps(default)}` | {described.get(name, '')} |"
    for name, inner in nested:
        yield from _section_lines(f"{path}.{name}", inner, base.get(name, {}))
