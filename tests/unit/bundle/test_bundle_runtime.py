import subprocess
import sys
from pathlib import Path

import pytest

from cifarops.bundle import runtime
from cifarops.bundle.runtime import OnnxModel
from tests.support.bundles import colour_bundle

# A bare environment: ONNX Runtime holds its tongue by itself where it believes to be in a pipeline.
LOAD = (
    "from cifarops.bundle.runtime import OnnxModel\n"
    "from pathlib import Path\n"
    "from tests.support.bundles import colour_bundle\n"
    "OnnxModel(colour_bundle(Path('bundles')))\n"
)


@pytest.mark.parametrize(("supported", "answers"), [(True, "int8"), (False, "float32")])
def test_int8_answers_only_where_the_bundle_says_so_and_the_processor_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, supported: bool, answers: str
) -> None:
    monkeypatch.setattr(runtime, "multiplies_int8", lambda: supported)
    bundle = colour_bundle(tmp_path)
    assert OnnxModel(bundle).precision == "float32"
    serving = bundle.manifest.serving.model_copy(update={"precision": "int8"})
    bundle.manifest = bundle.manifest.model_copy(update={"serving": serving})
    assert OnnxModel(bundle).precision == answers
    assert OnnxModel(bundle, precision="float32").precision == "float32"


def test_using_a_model_tells_nobody_and_keeps_no_machine_id(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    root = str(Path(__file__).parents[3])
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": root, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOAD], cwd=work, env=environment, check=True, timeout=120)
    assert list(home.rglob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "work"}
