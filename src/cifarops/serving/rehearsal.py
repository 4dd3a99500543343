"""A last look before a process answers for an environment: real requests over HTTP, to itself, on a private port."""

import io
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import uvicorn
from PIL import Image

from cifarops.errors import CifaropsError, UnavailableError
from cifarops.serving.app import create_app
from cifarops.serving.client import Client
from cifarops.serving.metrics import Metrics
from cifarops.serving.mirror import Mirror
from cifarops.serving.problems import ProblemError
from cifarops.serving.queue import Queue
from cifarops.serving.recorder import Recorder
from cifarops.serving.service import Service

_SIDE = 64
_SUM_TOLERANCE = 1e-3


def rehearse(service: Service) -> None:
    """Be asked whether it is ready and what an image shows; nothing of it is recorded or counted.

    Raises:
        UnavailableError: It is not ready, or the answer is wrong.
    """
    try:
        assignment = service.assign()
    except ProblemError as error:
        raise _refused(str(error.detail)) from error
    with _private(service) as url:
        client = Client(url)
        try:
            answer = client.predict(_image())
        except CifaropsError as error:
            raise _refused(f"a smoke prediction failed: {error.message}") from error
        if not client.ready():
            raise _refused("it does not say that it is ready")
    total = sum(answer.probabilities.values())
    engine, canary = assignment.engine, service.router.route.canary
    if (
        answer.model_version not in {engine.version, canary and canary.version}
        or abs(total - 1) > _SUM_TOLERANCE
    ):
        raise _refused(
            f"a smoke prediction by version {engine.version} came back from version {answer.model_version}"
            f" with probabilities that sum to {total:.4g}"
        )


@contextmanager
def _private(service: Service) -> Iterator[str]:
    """Answer on a port of its own while the block runs, without a trace in the ledger and the counters."""
    metrics = Metrics(service.environment, service.code_version)
    nowhere = Recorder(Path(), metrics=metrics, capacity=0)
    mirror = Mirror(service.environment, recorder=nowhere, metrics=metrics)
    private = replace(service, metrics=metrics, recorder=nowhere, mirror=mirror, queue=Queue(1, metrics))
    app = create_app(private)
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, name="rehearsal")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


def _image() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (_SIDE, _SIDE, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _refused(what: str) -> UnavailableError:
    return UnavailableError(
        f"This server is not ready to take over: {what}",
        fix="Nothing has changed. Correct the cause, then release again; or see: cifarops deploy status",
    )
