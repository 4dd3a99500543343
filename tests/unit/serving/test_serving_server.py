import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cifarops.bundle.signature import Signatures
from cifarops.errors import UnavailableError, UsageError
from cifarops.serving.options import Options
from cifarops.serving.server import serve
from cifarops.serving.tokens import TokenFile
from tests.support.serving import settings_of


def start(host: str, port: int, folder: Path, announce: str | None = None) -> None:
    serve(
        "production",
        host=host,
        port=port,
        ledger=folder / "ledger.db",
        bundles=folder / "bundles",
        signatures=Signatures.of(settings_of(folder)),
        run=folder / "run",
        keep_images=False,
        options=Options(),
        tokens=TokenFile(folder / "tokens.json"),
        announce=announce,
    )


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.1", "example.org", ""])
def test_only_loopback_addresses_are_served(host: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="without a token"):
        start(host, 0, tmp_path)


def test_a_container_names_the_address_outside_and_listens_everywhere(tmp_path: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"Port {port} on 0.0.0.0 is taken"):
            start("0.0.0.0", port, tmp_path, announce="http://127.0.0.1:8081")


@pytest.mark.parametrize("announce", ["", "8081", "127.0.0.1:8081", "http://", "ftp://here:8081"])
def test_what_is_announced_must_be_an_address(announce: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no address of a server"):
        start("0.0.0.0", 0, tmp_path, announce)


def test_a_taken_port_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UnavailableError, match=f"Port {port} on 127.0.0.1 is taken") as caught:
            start("127.0.0.1", port, tmp_path)
    assert "--port 0" in caught.value.fix
    assert list(tmp_path.iterdir()) == []


def test_serving_imports_nothing_heavy() -> None:
    heavy = ("torch", "mlflow", "dvc", "scipy", "sqlalchemy", "matplotlib", "onnx", "pandas")
    check = (
        "import sys, cifarops.cli.main, cifarops.serving.server, cifarops.serving.client;"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
