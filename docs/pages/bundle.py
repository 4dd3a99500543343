"""docs/reference/bundle.md: the files of a bundle, and every key of bundle.json."""

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from cifarops.bundle.manifest import Manifest
from cifarops.bundle.store import CARD, INT8_MODEL, MANIFEST, MODEL, REFERENCE, SBOM
from docs.pages.fields import docstring, inner_section, range_of

_FILES = {
    MANIFEST: "what is said below; its SHA-256 is the bundle's digest and its directory's name",
    MODEL: "the network, float32 ONNX",
    INT8_MODEL: "the same in int8",
    REFERENCE: "what monitoring compares with",
    CARD: "the model card, for people",
    SBOM: "the bill of materials: both models and every package behind them (CycloneDX 1.6)",
}


def bundle_page(root: Path) -> str:
    """Return the reference of a bundle."""
    lines = [
        "# The bundle",
        "",
        "A model as it is judged, promoted and served: one directory, `workspace/bundles/DIGEST/`, that never changes. Whoever opens",
        "it compares every file with its hash. What says where it may run, [the signatures](../how-to/keys.md), lies beside it. This",
        "page is made by `make docs`.",
        "",
        "| file | what |",
        "| --- | --- |",
        *(f"| `{name}` | {what} |" for name, what in _FILES.items()),
        *_section_lines(MANIFEST, Manifest),
    ]
    return "\n".join(lines) + "\n"


def _section_lines(path: str, model: type[BaseModel]) -> Iterator[str]:
    summary, described = docstring(model)
    yield from ("", f"## `{path}`", "", summary, "", "| key | value | meaning |", "| --- | --- | --- |")
    inner = {name: inner_section(field) for name, field in model.model_fields.items()}
    for name, field in model.model_fields.items():
        kind = "see below" if inner[name] else range_of(field)
        yield f"| `{name}` | {kind} | {described.get(name, '')} |"
    for name, section in inner.items():
        if section is not None:
            yield from _section_lines(name, section)
