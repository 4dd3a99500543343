"""What nobody should send: the server stays alive, right to everyone else and small, and says what was wrong."""

import io
from collections.abc import Iterator

import pytest
from PIL import Image

from cifarops.deployment.process import ServerProcess
from tests.support.abuse import survived
from tests.support.bundles import colour_bundle, colour_image
from tests.support.serving import Connection, set_version, settings_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    workspace = tmp_path_factory.mktemp("abuse")
    settings = settings_of(workspace)
    set_version(settings.ledger, 7, colour_bundle(settings.bundles))
    with ServerProcess("production", workspace=workspace) as process:
        yield process


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[Connection]:
    opened = Connection(server.url)
    yield opened
    opened.close()


def test_images_cut_anywhere_are_refused(server: ServerProcess, connection: Connection) -> None:
    with survived(server):
        for kind in ("PNG", "JPEG", "WEBP"):
            whole = colour_image("red", kind=kind, size=64)
            for length in range(1, len(whole) * 9 // 10, len(whole) // 40):
                assert connection.predict(whole[:length])[0] in (200, 422), (kind, length)


def test_files_that_are_two_things_are_read_as_an_image_or_not_at_all(
    server: ServerProcess, connection: Connection
) -> None:
    png = colour_image("red")
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
    gif, tiff = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8)).save(gif, "GIF")
    Image.new("RGB", (8, 8)).save(tiff, "TIFF")
    with survived(server):
        for tail in (b"PK\x03\x04", b"<script>alert(1)</script>", b"\x80\x04cos\nsystem\n"):
            status, answer = connection.predict(png + tail)
            assert (status, answer["label"]) == (200, "red")
        for foreign in (svg, gif.getvalue(), tiff.getvalue(), b"PK\x03\x04" + png, b"%PDF-1.7\n" + png):
            assert connection.predict(foreign)[0] == 422
