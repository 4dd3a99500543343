import json
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

from cifarops.packaging.sbom import write_sbom

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def sbom() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_sbom({"model.onnx": b"a model"}))
    return document


def test_it_is_what_the_standard_says(sbom: dict[str, Any]) -> None:
    folder = files("cyclonedx.schema") / "_res"
    schemas = {
        name: json.loads((folder / f"{name}.SNAPSHOT.schema.json").read_text())
        for name in ("bom-1.6", "spdx", "jsf-0.82")
    }
    resources = [
        (f"http://cyclonedx.org/schema/{name}.SNAPSHOT.schema.json", Resource.from_contents(schema))
        for name, schema in schemas.items()
    ]
    validator = Draft7Validator(schemas["bom-1.6"], registry=Registry().with_resources(resources))
    assert [error.message for error in validator.iter_errors(sbom)] == []
    broken = {**sbom, "components": [{"type": "nonsense", "name": "x"}]}
    assert len(list(validator.iter_errors(broken))) == 1


def test_it_lists_the_model_and_every_package_at_its_pinned_version(sbom: dict[str, Any]) -> None:
    model, *libraries = sbom["components"]
    assert (model["name"], model["type"]) == ("model.onnx", "machine-learning-model")
    assert len(model["hashes"][0]["content"]) == 64
    pins = dict(
        line.lower().replace("_", "-").split("==")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    )
    listed = {each["name"].lower().replace("_", "-"): each["version"].partition("+")[0] for each in libraries}
    assert {"torch", "onnxruntime", "numpy", "mlflow-skinny", "cryptography"} <= listed.keys()
    assert {name: pins[name] for name in listed} == listed
    direct = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert set(direct) <= listed.keys()
    assert not {"pytest", "mypy"} & listed.keys()


def test_who_needs_whom_names_only_what_is_listed(sbom: dict[str, Any]) -> None:
    refs = {each["bom-ref"] for each in sbom["components"]} | {"cifarops"}
    for edge in sbom["dependencies"]:
        assert {edge["ref"], *edge["dependsOn"]} <= refs
    (root,) = (edge for edge in sbom["dependencies"] if edge["ref"] == "cifarops")
    assert any(ref.startswith("pkg:pypi/torch@") for ref in root["dependsOn"])


def test_licences_and_files_are_known_of_nearly_all(sbom: dict[str, Any]) -> None:
    libraries = sbom["components"][1:]
    assert sum("licenses" in each for each in libraries) > 0.95 * len(libraries)
    assert all(len(each["properties"][0]["value"]) == 64 for each in libraries)
    (numpy,) = (each for each in libraries if each["name"] == "numpy")
    assert "BSD" in json.dumps(numpy["licenses"])


def test_the_same_model_and_packages_give_the_same_bytes() -> None:
    assert write_sbom({"model.onnx": b"a"}) == write_sbom({"model.onnx": b"a"})
    assert write_sbom({"model.onnx": b"a"}) != write_sbom({"model.onnx": b"b"})
