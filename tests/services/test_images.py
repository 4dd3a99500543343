"""The serving image: built by the pipeline's script, run as deploy/compose.yaml says, asked as a user asks."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cifarops.bundle.store import Bundle, open_bundle
from cifarops.data.snapshot import newest_snapshot
from cifarops.deployment.code import find_code
from cifarops.ledger.records import EnvironmentName
from cifarops.ledger.store import Ledger
from cifarops.serving.client import Client
from cifarops.serving.engine import Engine
from cifarops.settings import Settings
from tests.support.bundles import colour_bundle
from tests.support.containers import (
    ROOT,
    Images,
    Service,
    committed_copy,
    need_programs,
    pipeline_environment,
)
from tests.support.serving import set_version, settings_of

pytestmark = pytest.mark.services
LARGEST = 350_000_000
USER = "12345:12345"  # not the image's own: any user may own a workspace


@dataclass(frozen=True)
class Built:
    """What ci/images.sh made of the project as it stands here."""

    images: Images
    commit: str
    workspace: Path
    serve: dict[str, Any]

    @property
    def reference(self) -> str:
        return f"{self.serve['reference']}"

    def configuration(self) -> dict[str, Any]:
        described = self.images("buildah", "inspect", "--type", "image", self.reference)
        found: dict[str, Any] = json.loads(described)["Docker"]["config"]
        return found

    def once(self, *command: str) -> str:
        """Run a command in a container that is gone afterwards."""
        words = self.service("staging", self.workspace).run("once")
        options = ["--rm" if word == "--detach" else word for word in words[: words.index(self.reference)]]
        return self.images(*options, "--entrypoint", command[0], self.reference, *command[1:])

    def service(self, name: str, workspace: Path) -> Service:
        """Return a service of compose with this image."""
        variables = {
            "CIFAROPS_IMAGE": self.reference,
            "CIFAROPS_USER": USER,
            "CIFAROPS_WORKSPACE": str(workspace),
        }
        return Service(name, _free_port(), variables)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    need_programs()
    images = Images(Path(tempfile.mkdtemp(prefix="oci-")))
    folder = tmp_path_factory.mktemp("images")
    workspace = folder / "workspace"
    environment = pipeline_environment(images, workspace, folder / "copy")
    copy = committed_copy(folder / "copy", environment)
    # A base takes a minute to make and is the same every time: it is kept where the script keeps it.
    kept = ROOT / "build" / "images-base"
    kept.mkdir(parents=True, exist_ok=True)
    (copy / "build").mkdir()
    (copy / "build" / "images-base").symlink_to(kept)
    images.environment.update(environment)
    try:
        images.environment["CIFAROPS_BASE_IMAGE"] = images("bash", "ci/base.sh", cwd=copy)
        images("bash", "ci/images.sh", "serve", cwd=copy)
        report = json.loads((copy / "reports" / "images.json").read_text())
        yield Built(images, report["commit"], workspace, report["images"][0])
    finally:
        images.remove()


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, Bundle]:
    """A workspace with a bundle that was really trained."""
    settings = settings_of(tmp_path_factory.mktemp("smoke"))
    environment = {**os.environ, "CIFAROPS_WORKSPACE": str(settings.workspace), "OMP_NUM_THREADS": "1"}
    for command in (["data", "ingest", "--profile", "smoke"], ["train", "--profile", "smoke"], ["package"]):
        program = (sys.executable, "-m", "cifarops.cli.main")
        subprocess.run([*program, *command], cwd=ROOT, env=environment, check=True, capture_output=True)
    (bundle,) = settings.bundles.iterdir()
    return settings, open_bundle(bundle)


def give_away(workspace: Path) -> None:
    """Let the container's user own the workspace."""
    for path in (workspace, *workspace.rglob("*")):
        shutil.chown(path, *map(int, USER.split(":")))


def png(pixels: NDArray[np.uint8]) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.promise("B7")
def test_the_image_is_small_and_says_what_it_is(built: Built) -> None:
    assert 0 < built.serve["bytes_over_base"] <= LARGEST
    configuration = built.configuration()
    assert configuration["User"] == "10001:10001"
    assert configuration["Labels"]["org.opencontainers.image.revision"] == built.commit
    assert configuration["Labels"]["org.opencontainers.image.title"] == "cifarops serve"
    assert configuration["Healthcheck"]["Test"][0] == "CMD"


@pytest.mark.promise("A1")
def test_the_image_is_recorded_by_digest_with_the_code_release_that_is_in_it(built: Built) -> None:
    code = find_code(settings_of(built.workspace).releases, commit=built.commit)
    assert code.record.image is not None
    assert code.record.image.digest == built.serve["digest"]
    assert re.fullmatch(r"sha256:[0-9a-f]{64}", built.serve["digest"])
    [listed] = [
        line
        for line in (code.site / "cifarops-0.1.0.dist-info" / "RECORD").read_text().splitlines()
        if "serving/server.py," in line
    ]
    inside = built.once(
        "sh", "-c", "cat /opt/cifarops/lib/python3*/site-packages/cifarops-*.dist-info/RECORD"
    )
    assert listed in inside.splitlines()


def test_the_image_holds_the_pinned_packages_and_none_that_trains(built: Built) -> None:
    ask = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    found = {package.lower().replace("_", "-") for package in built.once("python", "-c", ask).split()}
    pinned = {line.lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert {package for package in found if not package.startswith("cifarops==")} <= pinned
    names = {package.split("==")[0] for package in found}
    assert {"onnxruntime", "fastapi", "uvicorn"} <= names
    assert not {"torch", "mlflow", "mlflow-skinny", "dvc", "matplotlib", "sqlalchemy", "pip"} & names


@pytest.mark.promise("B11", "A1")
@pytest.mark.parametrize("environment", ["staging", "production"])
def test_compose_runs_it_read_only_as_nobody_and_it_answers(
    built: Built, smoke: tuple[Settings, Bundle], environment: EnvironmentName
) -> None:
    settings, bundle = smoke
    set_version(settings.ledger, 1, bundle, environment)
    give_away(settings.workspace)
    service = built.service(environment, settings.workspace)
    client = Client(service.url, timeout=20)
    pictures = [png(pixels) for pixels in newest_snapshot(settings.snapshots).images("test")[:20]]
    with running(built.images, service), Ledger(settings.ledger) as ledger:
        eventually(client.ready)
        engine = Engine(settings.bundles, bundle.digest, 1)
        for picture in pictures:
            answer = client.predict(picture)
            assert answer.label == bundle.manifest.classes[engine.answer(picture).label]
            assert (answer.model_version, answer.environment) == (1, environment)

        inside = ("podman", "exec", environment)
        status = built.images(*inside, "cat", "/proc/1/status")
        assert re.findall(r"^(?:CapEff|NoNewPrivs):\t(\w+)$", status, re.MULTILINE) == ["0" * 16, "1"]
        assert built.images(*inside, "id", "-u") == USER.split(":")[0]
        assert "Read-only file system" in built.images(*inside, "sh", "-c", "touch /opt/x 2>&1 || true")
        assert built.images(*inside, "ls", "-A", "/tmp") == ""
        built.images(*inside, *service.health_check)

        # Servers and deployments share the workspace: each sees at once what the other writes.
        assert ledger.servers(environment) == [service.url]
        eventually(lambda: len(ledger.window(environment, last=100).ids) == len(pictures))
        set_version(settings.ledger, 2, colour_bundle(settings.bundles), environment)
        eventually(lambda: client.version().model_version == 2)
    with Ledger(settings.ledger) as ledger:
        assert ledger.servers(environment) == []


@contextmanager
def running(images: Images, service: Service) -> Iterator[None]:
    """Run a service; stopped, it must end by itself and without an error."""
    images(*service.run(service.name))
    try:
        yield
    finally:
        images("podman", "stop", "--time", "20", service.name)
        code = images("podman", "inspect", "--format", "{{.State.ExitCode}}", service.name)
        images("podman", "rm", service.name)
    assert code == "0"
