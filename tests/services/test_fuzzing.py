"""A short run of the fuzzers; a long one is a command: python -m benchmarks.fuzz --out FILE"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.harness import ROOT

pytestmark = pytest.mark.services


def test_the_fuzzers_find_nothing(tmp_path: Path) -> None:
    out = tmp_path / "fuzz.json"
    command = [sys.executable, "-m", "benchmarks.fuzz", "--quick", "--out", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    results = json.loads(out.read_text())["results"]
    assert set(results) == {"image", "tensors", "invocations", "http"}
    assert all(result["inputs"] > 100 for result in results.values()), results
