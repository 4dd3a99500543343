"""The files in deploy/ and the scripts that build from them, read by the programs that know their formats."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from cifarops.serving.metrics import Metrics

pytestmark = pytest.mark.flow
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
BIN = Path(sys.executable).parent


def accepted(*command: str) -> bool:
    done = subprocess.run([BIN / command[0], *command[1:]], capture_output=True, text=True, check=False)
    sys.stdout.write(done.stdout + done.stderr)
    return done.returncode == 0


def document(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def test_the_containerfile_is_sound_and_its_base_pinned() -> None:
    assert accepted("hadolint", str(DEPLOY / "Containerfile"))
    [base] = re.findall(r"^ARG BASE=(\S+)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE)
    assert re.fullmatch(r"docker\.io/library/python:3\.11\.\d+-slim-\w+@sha256:[0-9a-f]{64}", base)


@pytest.mark.promise("B11", "A1")
def test_compose_runs_staging_and_production_alike() -> None:
    assert accepted(
        "check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")
    )
    services = document(DEPLOY / "compose.yaml")["services"]
    staging, production = services["staging"], services["production"]
    assert set(services) == {"staging", "production"}
    assert {key for key in staging if staging[key] != production[key]} == {"command", "ports"}
    for name, service in services.items():
        [published] = service["ports"]
        host, port, inside = published.split(":")
        assert (host, inside) == ("127.0.0.1", "8080")
        command = service["command"]
        assert command[: command.index("--host")] == ["serve", "--environment", name]
        assert command[-1] == f"http://127.0.0.1:{port}"
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]


def test_every_kubernetes_resource_is_valid_and_listed() -> None:
    every = {path for path in KUBERNETES.rglob("*.yaml") if path.name != "kustomization.yaml"}
    assert accepted("kubernetes-validate", "--strict", *map(str, sorted(every)))
    assert resources(KUBERNETES) == every


@pytest.mark.promise("B11", "A1")
def test_kubernetes_runs_staging_and_production_alike() -> None:
    staging, production = (
        (KUBERNETES / name / "kustomization.yaml").read_text() for name in ("staging", "production")
    )
    assert staging.replace("staging", "production") == production
    assert "images" not in yaml.safe_load(staging)  # named once, for both
    [image] = document(KUBERNETES / "kustomization.yaml")["images"]
    [container] = document(KUBERNETES / "base" / "deployment.yaml")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == image["name"]
    assert "digest" in image


def test_pods_are_added_by_a_metric_that_servers_have_and_the_adapter_makes(tmp_path: Path) -> None:
    [patch] = document(KUBERNETES / "kustomization.yaml")["patches"]
    [added] = yaml.safe_load(patch["patch"])
    [rule] = document(DEPLOY / "prometheus" / "adapter.yaml")["rules"]["custom"]
    assert added["value"]["pods"]["metric"]["name"] == rule["name"]["as"]
    used = set(re.findall(r"cifarops_\w+", rule["seriesQuery"] + rule["metricsQuery"]))
    served = Metrics("staging", "0").exposition().decode()
    assert used == {"cifarops_queue_seconds_sum", "cifarops_queue_seconds_count"}
    assert all(f"\n{name} " in served for name in used)
    scaling, _ = yaml.safe_load_all((KUBERNETES / "base" / "scaling.yaml").read_text())
    scaling["spec"]["metrics"].append(added["value"])
    patched = tmp_path / "scaling.yaml"
    patched.write_text(yaml.safe_dump(scaling))
    assert accepted("kubernetes-validate", "--strict", str(patched))


def resources(folder: Path) -> set[Path]:
    """Return the files that kustomize would read from a folder."""
    found: set[Path] = set()
    for name in document(folder / "kustomization.yaml")["resources"]:
        path = (folder / name).resolve()
        found |= resources(path) if path.is_dir() else {path}
    return found


@pytest.mark.promise("B7")
@pytest.mark.parametrize("script", ["images.sh", "base.sh"])
def test_without_a_builder_the_script_says_what_to_install(script: str, tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("bash", "dirname"):
        (programs / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/usr/bin/bash", ROOT / "ci" / script],
        env={**os.environ, "PATH": str(programs)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "nothing here that builds images" in done.stderr
    assert "apt-get install -y buildah" in done.stderr
