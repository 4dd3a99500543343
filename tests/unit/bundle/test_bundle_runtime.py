import subprocess
import sys
from pathlib import Path

# A bare environment: ONNX Runtime holds its tongue by itself where it believes to be in a pipeline.
LOAD = (
    "from cifarops.bundle.runtime import OnnxModel\n"
    "from pathlib import Path\n"
    "from tests.support.bundles import colour_bundle\n"
    "OnnxModel(colour_bundle(Path('bundles')))\n"
)


def test_using_a_model_tells_nobody_and_keeps_no_machine_id(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    root = str(Path(__file__).parents[3])
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "PYTHONPATH": root, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", LOAD], cwd=work, env=environment, check=True, timeout=120)
    assert list(home.rglob("*")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"home", "work"}
