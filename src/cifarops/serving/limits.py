"""How much a request may bring, and how an image is taken out of it."""

from collections.abc import AsyncGenerator

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cifarops.serving.metrics import Metrics
from cifarops.serving.problems import ProblemError
from cifarops.serving.sizes import MAX_DOCUMENT_BYTES, MAX_IMAGE_BYTES, MAX_JSON_BYTES

_LIMITS = {"/predict": MAX_IMAGE_BYTES, "/invocations": MAX_JSON_BYTES}
_INFERENCE_ROUTE = "/infer"


class LimitedApp:
    """Middleware that refuses large bodies: declared ones unread, streamed ones at the first byte too many.

    Args:
        app: The application inside.
        held_bytes: Bytes of bodies that are held in memory at once; beyond it requests are told to come back.
        metrics: Where refusals are counted.
    """

    def __init__(self, app: ASGIApp, held_bytes: int, metrics: Metrics) -> None:
        self._app = app
        self._room = held_bytes
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        limit = _limit(scope["path"])
        if _declared_length(scope) > limit:
            await self._too_large(limit).response(scope["path"])(scope, receive, send)
            return
        received = 0

        async def counting() -> Message:
            nonlocal received
            message = await receive()
            size = len(message.get("body", b""))
            received += size
            self._room -= size
            if received > limit:
                raise self._too_large(limit)
            if self._room < 0:
                raise self._no_room()
            return message

        try:
            await self._app(scope, counting, send)
        finally:
            self._room += received

    def _too_large(self, limit: int) -> ProblemError:
        self._metrics.refused("body")
        return ProblemError(
            "too-large",
            f"The body is larger than {limit:,} bytes. Send a smaller or more compressed file.",
        )

    def _no_room(self) -> ProblemError:
        self._metrics.refused("body")
        return ProblemError(
            "overloaded",
            "Too many large requests are being read. Ask again later.",
            headers={"Retry-After": "1"},
        )


async def read_image(request: Request) -> bytes:
    """Return the image file that a request brings, as its raw body or as the first file of a multipart form.

    Raises:
        ProblemError: The body is empty, or a form without a file.
    """
    body = await request.body()
    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        body = await _first_file(request, body)
    if not body:
        raise ProblemError("missing-file", "The body is empty. Send the bytes of a PNG, JPEG or WebP file.")
    return body


async def _first_file(request: Request, body: bytes) -> bytes:
    async def whole() -> AsyncGenerator[bytes, None]:
        yield body

    try:
        form = await MultiPartParser(request.headers, whole(), max_files=1, max_fields=10).parse()
    except (MultiPartException, KeyError) as error:
        message = getattr(error, "message", f"it names no {error}")
        raise ProblemError("invalid-request", f"The form can't be read: {message}") from error
    try:
        for value in form.values():
            if isinstance(value, UploadFile):
                return await value.read()
    finally:
        await form.close()
    raise ProblemError("missing-file", "The form has no file. Send one: curl -F file=@image.png")


def _limit(path: str) -> int:
    if path.endswith(_INFERENCE_ROUTE):
        return MAX_IMAGE_BYTES
    return _LIMITS.get(path, MAX_DOCUMENT_BYTES)


def _declared_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0
