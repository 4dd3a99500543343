"""The bill of materials: the model and every installed package that made it or runs it (CycloneDX 1.6).

It names no time and no machine: the same packages and the same model give the same bytes.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any
from urllib.parse import quote

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cifarops.bundle.code import code_identity

_PROJECT, _EXTRA = "cifarops", "train"
_SCHEMA = "http://cyclonedx.org/schema/bom-1.6.schema.json"
_NAMESPACE = uuid.UUID("b5ad1d1c-6f6b-5c0e-9d0e-3d6f1c1f7f6a")
_LICENCE_CLASSIFIER = "License :: "
_LONGEST_LICENCE = 80
# What an installer writes besides the files of the package.
_INSTALLER = re.compile(
    r"\.dist-info/(INSTALLER|RECORD|REQUESTED|direct_url\.json|uv_\w+\.json)$|^\.\.|\.pyc$"
)


def write_sbom(models: Mapping[str, bytes]) -> bytes:
    """Return the bill of materials of a bundle.

    Args:
        models: The model files by name.
    """
    libraries, edges = _installed()
    code = code_identity()
    files = [
        {
            "type": "machine-learning-model",
            "bom-ref": name,
            "name": name,
            "hashes": [{"alg": "SHA-256", "content": hashlib.sha256(content).hexdigest()}],
        }
        for name, content in sorted(models.items())
    ]
    root = {"type": "application", "bom-ref": _PROJECT, "name": _PROJECT, "version": code.version}
    document: dict[str, Any] = {
        "$schema": _SCHEMA,
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": root},
        "components": [*files, *libraries],
        "dependencies": [{"ref": ref, "dependsOn": sorted(needs)} for ref, needs in sorted(edges.items())],
    }
    content = json.dumps(document, sort_keys=True, ensure_ascii=False)
    serial = uuid.uuid5(_NAMESPACE, content).urn
    return (
        json.dumps(
            {**document, "serialNumber": serial}, indent=1, sort_keys=True, ensure_ascii=False
        ).encode()
        + b"\n"
    )


@cache
def _installed() -> tuple[list[dict[str, Any]], dict[str, set[str]]]:
    """Return the packages behind this project's extra `train`, and who needs whom; one process has one set of them."""
    found: dict[str, Distribution] = {}
    edges: dict[str, set[str]] = {}
    queue = [(_PROJECT, _EXTRA), (_PROJECT, "")]
    seen = set(queue)
    while queue:
        name, extra = queue.pop()
        own = distribution(name)
        found[name] = own
        needs = edges.setdefault(_ref(own), set())
        for requirement in _requirements(own, extra):
            needed = canonicalize_name(requirement.name)
            try:
                needs.add(_ref(distribution(needed)))
            except PackageNotFoundError:
                continue  # not installed here, so it neither made nor runs anything
            new = {(needed, each) for each in ("", *requirement.extras)} - seen
            seen |= new
            queue += sorted(new)
    edges[_PROJECT].discard(_PROJECT)
    return [_component(own) for name, own in sorted(found.items()) if name != _PROJECT], edges


def _requirements(own: Distribution, extra: str) -> Iterator[Requirement]:
    for line in own.requires or ():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            yield requirement


def _ref(own: Distribution) -> str:
    name = canonicalize_name(own.name)
    return _PROJECT if name == _PROJECT else f"pkg:pypi/{name}@{quote(own.version)}"


def _component(own: Distribution) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": _ref(own),
        "name": own.name,
        "version": own.version,
        "purl": _ref(own),
    }
    if licences := _licences(own):
        component["licenses"] = licences
    if digest := _content_hash(own):
        component["properties"] = [{"name": "cifarops:files-sha256", "value": digest}]
    return component


def _licences(own: Distribution) -> list[dict[str, Any]]:
    """Return what a package says of its licence: an SPDX expression, its classifiers, or a short text; or nothing."""
    said = {
        name: own.metadata.get_all(name) or [] for name in ("License-Expression", "License", "Classifier")
    }
    if said["License-Expression"]:
        return [{"expression": said["License-Expression"][0]}]
    names = [
        line.rpartition(" :: ")[2]
        for line in said["Classifier"]
        if line.startswith(_LICENCE_CLASSIFIER) and not line.endswith("OSI Approved")
    ]
    text = "".join(said["License"]).strip()
    if not names and 0 < len(text) <= _LONGEST_LICENCE and "\n" not in text and text != "UNKNOWN":
        names = [text]
    return [{"license": {"name": name}} for name in names]


def _content_hash(own: Distribution) -> str | None:
    """Return the SHA-256 of the names and hashes of a package's files, as its wheel lists them; None where it doesn't."""
    listed = sorted(
        f"{file}={file.hash.value}\n"
        for file in own.files or ()
        if file.hash and not _INSTALLER.search(str(file))
    )
    return hashlib.sha256("".join(listed).encode()).hexdigest() if listed else None
