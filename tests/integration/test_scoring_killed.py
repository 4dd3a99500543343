"""`cifarops predict --out`, killed and interrupted at random moments until it is through."""

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests.support.bundles import COLOURS, colour_bundle, colour_image
from tests.support.serving import settings_of

pytestmark = pytest.mark.integration
IMAGES = 6000
# What is written counts sooner than usual, so that a short scoring can be stopped many times.
PROGRAM = "from cifarops.cli.main import main; from cifarops.scoring import part; part._COMMIT_SECONDS = 0.05; main()"


def predict(workspace: Path, origin: Path, target: Path, digest: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", PROGRAM, "predict", str(origin), "--out", str(target), "--json"]
    return subprocess.Popen(
        [*command, "--bundle", digest],
        env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_killed_and_interrupted_again_and_again_it_ends_as_if_never_stopped(tmp_path: Path) -> None:
    digest = colour_bundle(settings_of(tmp_path).bundles).digest
    origin = tmp_path / "images.tar"
    with tarfile.open(origin, "w") as archive:
        for number in range(IMAGES):
            content = colour_image(COLOURS[number % 3], seed=number, size=64)
            info = tarfile.TarInfo(f"{number:05d}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    whole, target = tmp_path / "whole.csv", tmp_path / "out.csv"
    out, _ = predict(tmp_path, origin, whole, digest).communicate(timeout=120)
    assert json.loads(out)["images"] == IMAGES

    moments = random.Random(0)
    state = tmp_path / "out.csv.part.json"
    stopped = 0
    while not target.exists():
        process = predict(tmp_path, origin, target, digest)
        before = state.stat().st_mtime_ns if state.exists() else 0
        while process.poll() is None and (not state.exists() or state.stat().st_mtime_ns == before):
            time.sleep(0.01)  # each comes further than the one before
        time.sleep(moments.uniform(0, 0.8))
        process.send_signal(signal.SIGINT if stopped % 3 == 0 else signal.SIGKILL)
        process.communicate(timeout=120)
        stopped += 1
    assert stopped > 1
    assert target.read_bytes() == whole.read_bytes()
