"""What nobody should send: the server stays alive, right to everyone else and small, and says what was wrong."""

import base64
import io
import json
import pickle
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from cifarops.deployment.process import ServerProcess
from cifarops.serving.sizes import MAX_DOCUMENT_BYTES, MAX_IMAGE_BYTES, MAX_IMAGES, MAX_JSON_BYTES
from tests.support.abuse import survived
from tests.support.bundles import SIZE, colour_image
from tests.support.serving import Connection, colour_workspace

pytestmark = pytest.mark.e2e

_INFER = "/v2/models/cifarops/infer"
_HEAD = "Inference-Header-Content-Length"
_PIXELS = SIZE * SIZE * 3
_TENSOR = {"name": "images", "datatype": "UINT8", "shape": [1, SIZE, SIZE, 3]}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("abuse")
    colour_workspace(path)
    return path


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace) as process:
        yield process


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[Connection]:
    opened = Connection(server.url)
    yield opened
    opened.close()


def infer(
    connection: Connection, tail: bytes = b"", length: object = None, **changes: Any
) -> tuple[int, str]:
    """Send a tensor; returns the status and the kind of problem."""
    head = json.dumps({"inputs": [{**_TENSOR, **changes}]}).encode()
    headers = {_HEAD: str(len(head) if length is None else length)} if tail or length is not None else {}
    return kind(connection.ask("POST", _INFER, head + tail, headers))


def kind(answer: tuple[int, Any]) -> tuple[int, str]:
    status, document = answer
    return status, document["type"].removeprefix("/problems/") if isinstance(document, dict) else document


def raw(url: str, sent: bytes) -> bytes:
    """Send bytes that no HTTP client would, and return everything that comes back until the server closes."""
    parts = urlsplit(url)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=10) as opened:
        opened.sendall(sent)
        opened.shutdown(socket.SHUT_WR)
        received = b""
        while more := opened.recv(65536):
            received += more
    return received


def test_7_images_cut_anywhere_are_refused(server: ServerProcess, connection: Connection) -> None:
    with survived(server):
        for form in ("PNG", "JPEG", "WEBP"):
            whole = colour_image("red", kind=form, size=64)
            for length in range(1, len(whole) * 9 // 10, len(whole) // 40):
                assert kind(connection.predict(whole[:length])) == (422, "unusable-image"), (form, length)


def test_7_files_that_are_two_things_are_read_as_an_image_or_not_at_all(
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
            assert kind(connection.predict(foreign)) == (422, "unusable-image")


@pytest.mark.parametrize(
    "shape",
    [
        [-1, SIZE, SIZE, 3],
        [0, SIZE, SIZE, 3],
        [2**63, SIZE, SIZE, 3],
        [2**32, 2**32, 2**32, 3],
        [2**62, 4, SIZE, 3],
        [MAX_IMAGES + 1, SIZE, SIZE, 3],
        [1] * 16,
    ],
)
def test_8_impossible_shapes(server: ServerProcess, connection: Connection, shape: list[int]) -> None:
    with survived(server):
        assert infer(connection, data=[0] * _PIXELS, shape=shape) == (422, "unusable-tensor")
        assert infer(connection, bytes(_PIXELS), shape=shape, parameters={"binary_data_size": _PIXELS}) == (
            422,
            "unusable-tensor",
        )


@pytest.mark.parametrize("length", [0, 1, _PIXELS - 1, _PIXELS + 1, MAX_IMAGE_BYTES // 2])
def test_9_data_of_another_length(server: ServerProcess, connection: Connection, length: int) -> None:
    with survived(server):
        assert infer(connection, data=[0] * min(length, 100_000)) == (422, "unusable-tensor")
        for claimed in {length, _PIXELS}:
            parameters = {"binary_data_size": claimed}
            assert infer(connection, bytes(length), parameters=parameters) == (422, "unusable-tensor")


def test_10_other_types_and_numbers_that_are_none(server: ServerProcess, connection: Connection) -> None:
    zeros = [0] * (_PIXELS - 1)
    with survived(server):
        assert infer(connection, data=[0.0] * _PIXELS, datatype="FP32") == (422, "unusable-tensor")
        for value in (0.5, True, "0", None, 256, -1, 2**64, [0]):
            assert infer(connection, data=[value, *zeros]) == (422, "unusable-tensor")
        for token in ("NaN", "Infinity", "-Infinity", "1e400", "9" * 5000):
            body = json.dumps({"inputs": [{**_TENSOR, "data": ["X", *zeros]}]}).replace('"X"', token)
            assert kind(connection.ask("POST", _INFER, body)) == (400, "invalid-request")


@pytest.mark.parametrize("route", [_INFER, "/invocations", "/feedback"])
def test_11_deep_and_ambiguous_json(server: ServerProcess, connection: Connection, route: str) -> None:
    documents = (
        b"[" * 10_000,
        b'{"inputs":' * 5000,
        b'{"inputs":[],"inputs":[]}',
        b'{"label":"a","label":"b"}',
    )
    with survived(server):
        for document in documents:
            answer = connection.ask("POST", route, document, {"Content-Type": "application/json"})
            assert kind(answer) == (400, "invalid-request")


def test_11_json_that_is_large_in_memory_is_bounded(server: ServerProcess, connection: Connection) -> None:
    with survived(server):
        for piece in (b"[],", b"{},", b'{"":0},', b"0,", b'"",'):
            count = MAX_JSON_BYTES // len(piece) - 50
            lists = b"[" + piece * count + b"0]"
            assert kind(connection.ask("POST", "/invocations", b'{"inputs":' + lists + b"}"))[0] in (400, 422)
            tensor = json.dumps({**_TENSOR, "data": "X"}).encode().replace(b'"X"', lists)
            body = b'{"inputs":[' + tensor + b"]}"
            assert kind(connection.ask("POST", _INFER, body))[0] in (400, 413, 422)
        for route in (_INFER, "/invocations"):
            large = b"[" * (MAX_JSON_BYTES + 1)
            assert kind(connection.ask("POST", route, large)) == (413, "too-large")


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10", "", "9" * 4000, str(2**64), "0", "17", "100000000"])
def test_12_a_header_length_that_lies(server: ServerProcess, connection: Connection, length: str) -> None:
    parameters = {"binary_data_size": _PIXELS}
    with survived(server):
        assert infer(connection, bytes(_PIXELS), length, parameters=parameters)[0] == 400


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        b"Content-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
        b"Content-Length: +5\r\n\r\nhello",
        b"Content-Length: 5, 5\r\n\r\nhello",
        b"Content-Length : 5\r\n\r\nhello",
        b"Transfer-Encoding: xchunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_13_two_lengths_and_bad_chunks_smuggle_no_second_request(
    server: ServerProcess, headers: bytes
) -> None:
    second = b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n"
    with survived(server):
        received = raw(server.url, b"POST /predict HTTP/1.1\r\nHost: x\r\n" + headers + second)
        assert b"code_version" not in received
        assert received == b"" or received.startswith(b"HTTP/1.1 4")


_NAMES = (
    "%00",
    "cifarops%00",
    "..",
    "%2e%2e",
    "%2f",
    "..%2f..%2fetc%2fpasswd",
    "%252e%252e%252f",
    "cifarops%2f..%2fcifarops",
    "$(touch%20hacked)",
    "%3Btouch%20hacked",
    "`id`",
    "cifarops%0d%0aX-Injected:1",
    "file:%2f%2f%2fetc%2fpasswd",
    "http:%2f%2f169.254.169.254%2flatest",
    "%ff%fe",
    "a" * 5000,
)


@pytest.mark.parametrize(
    "pattern", ["/v2/models/{}", "/v2/models/{}/infer", "/v2/models/cifarops/versions/{}"]
)
def test_14_and_22_names_that_are_paths_commands_or_lines(
    server: ServerProcess, workspace: Path, connection: Connection, pattern: str
) -> None:
    method = "POST" if pattern.endswith("infer") else "GET"
    with survived(server):
        for name in _NAMES:
            status, document = connection.ask(method, pattern.format(name))
            assert status in (404, 405), name
            assert "root:" not in str(document)
            assert len(str(document)) < 1000
        status, document = connection.ask("GET", "/v2/models/cifarops/versions/7")
        assert (status, document["name"]) == (200, "cifarops")
    assert not list(workspace.rglob("hacked"))
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/systemsharedmemory/region/r/register"),
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/cudasharedmemory/region/r/register"),
        ("POST", "/v2/repository/models/cifarops/load"),
        ("POST", "/v2/repository/models/cifarops/unload"),
        ("POST", "/v2/repository/index"),
    ],
)
def test_15_shared_memory_and_the_repository_are_refused(
    server: ServerProcess, connection: Connection, method: str, path: str
) -> None:
    region = {"key": "/etc/passwd", "offset": 0, "byte_size": 64}
    with survived(server):
        status, document = connection.ask(method, path, json.dumps(region) if method == "POST" else None)
        assert (status, document["type"]) == (403, "/problems/not-offered")
        assert document["error"] == document["detail"]
        assert infer(connection, parameters={"shared_memory_region": "r"}) == (403, "not-offered")


class _Marker:
    """Writes a file if anybody unpickles it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, Sequence[Any]]:
        return Path.write_text, (self._path, "unpickled")


def test_16_a_pickle_is_never_opened(server: ServerProcess, connection: Connection, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    content = pickle.dumps(_Marker(marker))
    pickle.loads(content)
    assert marker.exists(), "the attack itself works"
    marker.unlink()
    kinds = ("application/octet-stream", "application/x-pickle", "image/png", "application/json")
    with survived(server):
        for sent_as in kinds:
            for route in ("/predict", _INFER, "/invocations", "/feedback"):
                status, _ = connection.ask("POST", route, content, {"Content-Type": sent_as})
                assert status in (400, 422), route
    assert not marker.exists()


def test_21_addresses_are_no_images(server: ServerProcess, connection: Connection) -> None:
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/image.png"
        addresses = (url, "http://169.254.169.254/latest/meta-data", "file:///etc/passwd", "data:image/png,x")
        with survived(server):
            for address in addresses:
                assert kind(connection.predict(address.encode())) == (422, "unusable-image")
                body = json.dumps({"instances": [address]})
                assert kind(connection.ask("POST", "/invocations", body)) == (422, "unusable-tensor")
        with pytest.raises(TimeoutError):
            trap.accept()


def test_every_count_of_one_request_is_limited(server: ServerProcess, connection: Connection) -> None:
    file = io.BytesIO()
    Image.new("RGB", (3000, 3000)).save(file, "PNG")
    large = json.dumps({"instances": [_base64(file.getvalue())] * 2})
    assert len(large) < MAX_JSON_BYTES
    many = json.dumps({"instances": [_base64(colour_image("red"))] * (MAX_IMAGES + 1)})
    form = b"".join(b'--e\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n' for _ in range(5000))
    with survived(server):
        # Two images of nine megapixels: together more than one request may bring.
        assert kind(connection.ask("POST", "/invocations", large)) == (422, "unusable-image")
        assert kind(connection.ask("POST", "/invocations", many)) == (422, "unusable-tensor")
        two = json.dumps({"inputs": [{**_TENSOR, "data": [0] * _PIXELS}] * 2})
        assert kind(connection.ask("POST", _INFER, two)) == (400, "invalid-request")
        headers = {"Content-Type": "multipart/form-data; boundary=e"}
        assert kind(connection.ask("POST", "/predict", form + b"--e--\r\n", headers)) == (
            400,
            "invalid-request",
        )
        label = json.dumps({"prediction_id": "x", "label": "y" * (MAX_DOCUMENT_BYTES - 100)})
        assert kind(connection.ask("POST", "/feedback", label)) == (400, "invalid-request")


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
