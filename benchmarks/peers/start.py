"""Starting a peer: installed into a virtual environment of its own, which is thrown away, and asked until it answers."""

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import urllib3

_HERE = Path(__file__).parent
_RUNTIME = ("onnxruntime==1.32.0", "pillow==13.0.0", "numpy==2.4.6")
_READY_SECONDS = 60


@dataclass(frozen=True)
class Request:
    """How an image is sent: path, content type, and what stands around its bytes."""

    path: str
    kind: str
    wrap: Callable[[bytes], bytes]


@dataclass(frozen=True)
class Peer:
    """A server beside ours.

    Attributes:
        packages: What is installed; nothing where this project has it all.
        command: Arguments after the path of its programs, given a free port and a folder for its files.
        request: How it is asked.
    """

    packages: tuple[str, ...]
    command: Callable[[int, Path], list[str]]
    request: Request


def _as_it_is(content: bytes) -> bytes:
    return content


def _in_json(content: bytes) -> bytes:
    return json.dumps({"image": base64.b64encode(content).decode()}).encode()


def _in_tensor(content: bytes) -> bytes:
    data = [base64.b64encode(content).decode()]
    return json.dumps(
        {"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES", "data": data}]}
    ).encode()


def _mlserver(port: int, folder: Path) -> list[str]:
    ports = {"http_port": port, "grpc_port": free_port(), "metrics_port": free_port()}
    (folder / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "debug": False, "metrics_dir": str(folder), **ports})
    )
    model = {"name": "images", "implementation": "ml_server.Images"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    return ["mlserver", "start", str(folder)]


RAW = Request("/predict", "image/jpeg", _as_it_is)
PEERS: Mapping[str, Peer] = {
    "plain": Peer(
        (),
        lambda port, _: [
            "uvicorn",
            "plain:app",
            "--port",
            str(port),
            "--log-level",
            "warning",
            "--no-access-log",
        ],
        RAW,
    ),
    "bentoml": Peer(
        ("bentoml==1.4.40",),
        lambda port, _: [
            "bentoml",
            "serve",
            "bento:Images",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--quiet",
        ],
        RAW,
    ),
    "litserve": Peer(
        ("litserve==0.2.19",),
        lambda port, _: ["python", "lit.py", str(port)],
        Request("/predict", "application/json", _in_json),
    ),
    "mlserver": Peer(
        ("mlserver==1.7.1", "uvloop==0.21.0"),
        _mlserver,
        Request("/v2/models/images/infer", "application/json", _in_tensor),
    ),
}


@dataclass(frozen=True)
class Running:
    """A server that answers.

    Attributes:
        url: Where images are sent.
        request: How.
        process: The process that was started; others may be below it.
        ready_s: Seconds from its start to its first answer.
    """

    url: str
    request: Request
    process: psutil.Process
    ready_s: float

    def cpu_seconds(self) -> float:
        """Return the processor time of the server and the processes below it."""
        return sum(sum(each.cpu_times()[:2]) for each in self._all())

    def resident_bytes(self) -> int:
        """Return the memory of the server and the processes below it; what they share counts once."""
        return sum(int(each.memory_full_info().pss) for each in self._all())

    def _all(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]


def programs(peer: Peer, folder: Path) -> Path:
    """Install a peer into an environment in `folder`, if need be, and return where its programs lie."""
    if not peer.packages:
        return Path(sys.executable).parent
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [str(folder / "bin" / "pip"), "--disable-pip-version-check", "--quiet", "--quiet", "install"]
    subprocess.run([*pip, *peer.packages, *_RUNTIME], check=True)
    return folder / "bin"


@contextmanager
def started(
    peer: Peer, bins: Path, folder: Path, model: Mapping[str, str], image: bytes
) -> Iterator[Running]:
    """Start a peer and yield it when it has answered an image.

    Args:
        peer: Which.
        bins: Where its programs lie.
        folder: For its files.
        model: Environment variables that name the model.
        image: What it is asked until it answers.
    """
    port = free_port()
    program, *arguments = peer.command(port, folder)
    environment = {
        **os.environ,
        **model,
        "PYTHONPATH": str(_HERE),
        "BENTOML_HOME": str(folder),
        "PATH": f"{bins}:{os.environ['PATH']}",
    }
    environment |= {"BENTOML_DO_NOT_TRACK": "True"}
    begun = time.perf_counter()
    process = subprocess.Popen(
        [bins / program, *arguments],
        cwd=_HERE,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seen = psutil.Process(process.pid)
    try:
        url = f"http://127.0.0.1:{port}{peer.request.path}"
        wait_for_answer(url, peer.request, image, process)
        yield Running(url, peer.request, seen, time.perf_counter() - begun)
    finally:
        below = seen.children(recursive=True) if process.poll() is None else []
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        _, alive = psutil.wait_procs(below, timeout=5)
        for each in alive:
            each.kill()


def wait_for_answer(url: str, request: Request, image: bytes, process: "subprocess.Popen[bytes]") -> None:
    """Ask until a server answers an image."""
    pool = urllib3.PoolManager(retries=False)
    end = time.monotonic() + _READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            answer = pool.request(
                "POST", url, body=request.wrap(image), headers={"Content-Type": request.kind}, timeout=5
            )
        except urllib3.exceptions.HTTPError:
            time.sleep(0.01)
            continue
        if answer.status == 200:
            return
        time.sleep(0.05)
    raise RuntimeError(f"{url} did not answer; its process returned {process.poll()}.")


def free_port() -> int:
    """Return a TCP port that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])
