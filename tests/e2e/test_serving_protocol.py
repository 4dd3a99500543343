"""The HTTP contract, asked of a real server process."""

import io
import json
import re
import struct
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from cifarops.deployment.process import ServerProcess
from cifarops.errors import ConflictError, DataError, UnavailableError, UsageError
from cifarops.ledger.store import Ledger
from cifarops.serving.batch import predict_files
from cifarops.serving.client import Answer, Client
from cifarops.serving.sizes import MAX_DOCUMENT_BYTES, MAX_IMAGE_BYTES
from tests.support.bundles import COLOURS, colour_image
from tests.support.serving import Connection, colour_workspace, settings_of

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("protocol")
    colour_workspace(path)
    return path


@pytest.fixture(scope="module")
def server(workspace: Path) -> Iterator[ServerProcess]:
    with ServerProcess("production", workspace=workspace, keep_images=True) as process:
        yield process


@pytest.fixture
def connection(server: ServerProcess) -> Iterator[Connection]:
    opened = Connection(server.url)
    yield opened
    opened.close()


def multipart(content: bytes, *, name: str = "file", filename: str | None = "a.png") -> tuple[bytes, str]:
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    head = f"--edge\r\nContent-Disposition: {disposition}\r\nContent-Type: image/png\r\n\r\n".encode()
    return head + content + b"\r\n--edge--\r\n", "multipart/form-data; boundary=edge"


def png_header(width: int, height: int) -> bytes:
    """A PNG whose header promises far more pixels than it has bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def assert_problem(answer: tuple[int, object], status: int, kind: str) -> str:
    code, document = answer
    assert code == status, document
    assert isinstance(document, dict)
    assert set(document) == {"type", "title", "status", "detail"}
    assert document["type"] == f"/problems/{kind}"
    assert document["status"] == status
    return str(document["detail"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("size", [8, 100])
def test_predict_answers_every_format_and_size(connection: Connection, kind: str, size: int) -> None:
    status, answer = connection.predict(colour_image("green", kind=kind, size=size))
    assert status == 200
    assert set(answer) == {
        "prediction_id",
        "label",
        "confidence",
        "probabilities",
        "model_version",
        "environment",
    }
    assert answer["label"] == "green"
    assert answer["model_version"] == 7
    assert answer["environment"] == "production"
    assert tuple(answer["probabilities"]) == COLOURS
    assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert answer["confidence"] == answer["probabilities"]["green"] == max(answer["probabilities"].values())


def test_multipart_and_raw_body_give_the_same_answer(connection: Connection) -> None:
    image = colour_image("blue")
    body, kind = multipart(image)
    _, raw = connection.predict(image)
    status, form = connection.ask("POST", "/predict", body, {"Content-Type": kind})
    assert status == 200
    assert form["probabilities"] == raw["probabilities"]


@pytest.mark.parametrize(
    ("body", "kind", "problem"),
    [
        (b"", "image/png", "missing-file"),
        (b"", "multipart/form-data", "invalid-request"),
        (b"no form at all", "multipart/form-data; boundary=edge", "invalid-request"),
        (multipart(b"x", filename=None)[0], "multipart/form-data; boundary=edge", "missing-file"),
        (multipart(b"")[0], "multipart/form-data; boundary=edge", "missing-file"),
    ],
)
def test_a_body_without_an_image_is_400(connection: Connection, body: bytes, kind: str, problem: str) -> None:
    assert_problem(connection.ask("POST", "/predict", body, {"Content-Type": kind}), 400, problem)


def test_a_text_file_is_no_image(connection: Connection) -> None:
    detail = assert_problem(connection.predict(b"just words"), 422, "unusable-image")
    assert "PNG, JPEG or WebP" in detail


def test_a_truncated_image_is_refused(connection: Connection) -> None:
    image = colour_image("red", size=64)
    assert_problem(connection.predict(image[: len(image) // 2]), 422, "unusable-image")


@pytest.mark.parametrize(("width", "height"), [(10_000, 10_000), (4001, 4000), (60_000, 60_000)])
def test_a_decompression_bomb_is_refused_by_its_header(
    connection: Connection, width: int, height: int
) -> None:
    assert_problem(connection.predict(png_header(width, height)), 422, "unusable-image")


def test_sixteen_megapixels_are_answered(connection: Connection) -> None:
    file = io.BytesIO()
    Image.new("RGB", (4000, 4000), (200, 10, 10)).save(file, "PNG")
    status, answer = connection.predict(file.getvalue())
    assert status == 200
    assert answer["label"] == "red"


def test_a_declared_large_body_is_refused_unread(connection: Connection) -> None:
    connection.raw.putrequest("POST", "/predict")
    connection.raw.putheader("Content-Length", str(MAX_IMAGE_BYTES + 1))
    connection.raw.endheaders()
    assert connection.raw.getresponse().status == 413


def test_a_streamed_large_body_is_refused(connection: Connection) -> None:
    piece = b"\0" * 2**16
    pieces = (piece for _ in range(MAX_IMAGE_BYTES // len(piece) + 1))
    assert_problem(connection.predict(pieces), 413, "too-large")
    assert connection.predict(colour_image("red"))[0] == 200


def test_the_largest_body_allowed_is_read(connection: Connection) -> None:
    image = colour_image("red")
    assert connection.predict(image + b"\0" * (MAX_IMAGE_BYTES - len(image)))[0] == 200


def test_tiny_chunks_are_put_together(connection: Connection) -> None:
    image = colour_image("blue", size=64)
    status, answer = connection.predict(iter([bytes([byte]) for byte in image]))
    assert status == 200
    assert answer["label"] == "blue"


def test_feedback_is_recorded_once_and_never_changed(connection: Connection, workspace: Path) -> None:
    _, prediction = connection.predict(colour_image("red"))
    said = {"prediction_id": prediction["prediction_id"], "label": "green"}
    client = Client(f"http://{connection.raw.host}:{connection.raw.port}")
    assert client.feedback(said["prediction_id"], "green") == "recorded"
    assert client.feedback(said["prediction_id"], "green") == "known"
    with pytest.raises(ConflictError, match="labelled differently"):
        client.feedback(said["prediction_id"], "red")
    with Ledger(settings_of(workspace).ledger) as ledger:
        window = ledger.window("production", last=1)
        images, labels = ledger.labelled_images("production", last=1)
    assert window.ids == (said["prediction_id"],)
    assert window.truth.tolist() == labels.tolist() == [COLOURS.index("green")]
    assert images.shape == (1, 8, 8, 3)


def test_feedback_that_makes_no_sense_is_refused(server: ServerProcess, connection: Connection) -> None:
    client = Client(server.url)
    with pytest.raises(UsageError, match="no prediction 'nonsense'"):
        client.feedback("nonsense", "red")
    with pytest.raises(DataError, match="red, green, blue"):
        client.feedback(str(connection.predict(colour_image("red"))[1]["prediction_id"]), "purple")
    json_header = {"Content-Type": "application/json"}
    for body in (b"{", b'{"prediction_id": 1, "label": "red"}', b"[" * 10_000, b'{"label": "red"}'):
        assert connection.ask("POST", "/feedback", body, json_header)[0] == 400
    large = b" " * (MAX_DOCUMENT_BYTES + 1)
    assert_problem(connection.ask("POST", "/feedback", large, json_header), 413, "too-large")
    streamed = iter([large[:40_000], large[:40_000]])
    assert_problem(connection.ask("POST", "/feedback", streamed, json_header), 413, "too-large")


def test_health_and_version(server: ServerProcess, connection: Connection) -> None:
    assert connection.ask("GET", "/v2/health/live") == (200, {"live": True})
    assert connection.ask("GET", "/v2/health/ready") == (200, {"ready": True})
    assert connection.ask("GET", "/ping") == (200, "\n")
    running = Client(server.url).version()
    assert running.model_version == 7
    assert running.generation == running.wanted_generation == 1
    assert running.error is None
    assert running.pid == server.pid


def test_unknown_paths_and_methods_are_problems(connection: Connection) -> None:
    assert_problem(connection.ask("GET", "/nope"), 404, "not-found")
    assert_problem(connection.ask("GET", "/predict"), 405, "method-not-allowed")


def test_the_home_page_tells_how_to_ask(connection: Connection) -> None:
    status, page = connection.ask("GET", "/")
    assert status == 200
    assert "version 7" in page
    assert "curl --data-binary @image.png http://127.0.0.1:" in page


def test_metrics_have_one_series_for_all_unknown_paths(connection: Connection) -> None:
    for k in range(20):
        connection.ask("GET", f"/nope/{k}")
    _, text = connection.ask("GET", "/metrics")
    unknown = [
        line
        for line in text.splitlines()
        if line.startswith("cifarops_requests_total") and 'route="other",status="404"' in line
    ]
    assert len(unknown) == 1
    assert 'route="/predict",status="200"' in text
    assert "nope" not in text


def test_the_openapi_document_describes_the_answers(connection: Connection) -> None:
    _, document = connection.ask("GET", "/openapi.json")
    predict = document["paths"]["/predict"]["post"]
    assert set(predict["requestBody"]["content"]) == {
        "image/png",
        "image/jpeg",
        "image/webp",
        "application/octet-stream",
        "multipart/form-data",
    }
    assert predict["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/Answer")
    assert set(predict["responses"]["422"]["content"]) == {"application/problem+json"}


def test_the_openapi_document_is_complete(connection: Connection) -> None:
    _, document = connection.ask("GET", "/openapi.json")
    page = Path("docs/reference/http.md").read_text()
    for path, operations in document["paths"].items():
        assert path.replace("/versions/{version}", "") in page, path
        for method, operation in operations.items():
            answers = operation["responses"]
            assert {"200", "401", "403", "500"} <= set(answers), (method, path)
            for status, answer in answers.items():
                refused = set(answer.get("content", {})) == {"application/problem+json"}
                assert refused == (int(status) >= 400), (method, path, status)
            assert ("requestBody" in operation) == (method in ("post", "put"))
    names = set(re.findall(r"#/components/schemas/(\w+)", json.dumps(document)))
    assert names == set(document["components"]["schemas"]) >= {"InferRequest", "Invocation", "Feedback"}
    infer = document["paths"]["/v2/models/{name}/infer"]["post"]
    assert set(infer["requestBody"]["content"]) == {"application/json", "application/octet-stream"}
    assert set(infer["responses"]["200"]["content"]) == {"application/json", "application/octet-stream"}
    assert "/problems/not-offered" in str(infer["responses"]["403"])
    assert "/problems/wrong-role" in str(infer["responses"]["403"])


def test_the_size_of_an_image_has_a_lower_limit(connection: Connection) -> None:
    for width, height in ((1, 1), (7, 100), (100, 7), (16_000_000, 1)):
        file = io.BytesIO()
        Image.new("RGB", (width, height)).save(file, "PNG")
        assert "8 at least" in assert_problem(connection.predict(file.getvalue()), 422, "unusable-image")


def test_files_are_answered_one_by_one(server: ServerProcess, tmp_path: Path) -> None:
    folder = tmp_path / "many"
    folder.mkdir()
    for colour in COLOURS:
        (folder / f"{colour}.png").write_bytes(colour_image(colour))
    (tmp_path / "words.png").write_text("words")
    (tmp_path / "huge.png").write_bytes(b"\0" * (MAX_IMAGE_BYTES + 1))
    paths = [folder, tmp_path / "words.png", tmp_path / "huge.png", tmp_path / "absent.png"]
    answers = predict_files(Client(server.url), paths)
    assert [Path(answer.file).name for answer in answers] == [
        "blue.png",
        "green.png",
        "red.png",
        "words.png",
        "huge.png",
        "absent.png",
    ]
    assert [answer.answer.label if answer.answer else None for answer in answers[:3]] == [
        "blue",
        "green",
        "red",
    ]
    assert all(answer.error for answer in answers[3:])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no image files"):
        predict_files(Client(server.url), [tmp_path / "empty"])


def test_one_client_serves_many_threads(server: ServerProcess) -> None:
    client = Client(server.url)
    wrong: list[Answer] = []

    def loop(colour: str) -> None:
        image = colour_image(colour)
        wrong.extend(
            answer for answer in (client.predict(image) for _ in range(30)) if answer.label != colour
        )

    threads = [threading.Thread(target=loop, args=(COLOURS[k % 3],)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_client_says_when_nobody_answers() -> None:
    with pytest.raises(UnavailableError, match="No answer from"):
        Client("http://127.0.0.1:1").version()
    with pytest.raises(UsageError, match="no URL"):
        Client("http://[broken").version()
