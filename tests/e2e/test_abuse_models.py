"""Models that nobody should run, promoted all the same: the old version answers on, and nothing else is read."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cifarops.bundle.store import Bundle
from cifarops.deployment.process import ServerProcess
from cifarops.serving.client import Client
from tests.support.abuse import survived
from tests.support.bundles import colour_bundle, unloadable_bundle
from tests.support.hostile_models import with_data_in, with_foreign_operator, with_promised_weights
from tests.support.serving import colour_workspace, set_version, settings_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("models")
    colour_workspace(path)
    return path


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace) as process:
        yield process


def altered(bundles: Path) -> Bundle:
    bundle = colour_bundle(bundles, sharpness=5)
    content = bytearray(bundle.model_path.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.model_path.write_bytes(content)
    return bundle


def linked(bundles: Path) -> Bundle:
    bundle = colour_bundle(bundles, sharpness=6)
    outside = bundles.parent / "outside.onnx"
    bundle.model_path.rename(outside)
    bundle.model_path.symlink_to(outside)
    return bundle


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda root: unloadable_bundle(root, with_data_in("../../../etc/passwd")), id="17-up"),
        pytest.param(lambda root: unloadable_bundle(root, with_data_in("/etc/passwd")), id="17-absolute"),
        pytest.param(lambda root: unloadable_bundle(root, with_data_in("README.md")), id="17-here"),
        pytest.param(lambda root: unloadable_bundle(root, with_foreign_operator()), id="18-operator"),
        pytest.param(lambda root: unloadable_bundle(root, with_promised_weights(8, 2**40)), id="18-huge"),
        pytest.param(altered, id="19-altered"),
        pytest.param(linked, id="20-link"),
    ],
)
def test_the_old_version_answers_on(
    server: ServerProcess, workspace: Path, make: Callable[[Path], Bundle]
) -> None:
    settings = settings_of(workspace)
    client = Client(server.url)
    with survived(server) as bystander:
        state = set_version(settings.ledger, 8, make(settings.bundles))
        deadline = time.monotonic() + 20
        while (running := client.version()).wanted_generation < state.generation or not running.error:
            assert time.monotonic() < deadline, running
            time.sleep(0.02)
        asked = bystander.answers
        while bystander.answers < asked + 4:
            time.sleep(0.02)
        assert client.version().model_version == 7
