"""Looks for input that the server does not take as it should: coverage-guided in its decoders, and over HTTP by its schema.

python -m benchmarks.fuzz [--quick] --out FILE

Exits with 1 where something was found; the inputs lie beside FILE then.
"""

import base64
import io
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.harness import ROOT, arguments, write
from benchmarks.serving import promote
from benchmarks.tools import environment
from cifarops.deployment.process import ServerProcess

_SECONDS, _QUICK_SECONDS = 600, 8
_SIDE = 4
_MEMORY_MB = 1024
_TARGETS = ("image", "tensors", "invocations")


def main() -> None:
    """Try every target for a while, and write what was found."""
    options = arguments("Input that the server does not take as it should")
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    out = options.out.absolute()
    with tempfile.TemporaryDirectory() as folder:
        results = {name: _fuzz(name, Path(folder), seconds, out) for name in _TARGETS}
        much = ("--max-examples", "10") if options.quick else ("--max-time", str(seconds))
        results["http"] = _over_http(Path(folder), much)
    write(out, "fuzz", seconds_each=seconds, target_findings=0, results=results)
    for name, result in results.items():
        if result["findings"]:
            print(f"{name}:\n{result['output']}", file=sys.stderr)
    sys.exit(any(result["findings"] for result in results.values()))


def _fuzz(target: str, folder: Path, seconds: int, out: Path) -> dict[str, Any]:
    """Run libFuzzer, through atheris, on one target."""
    corpus = folder / target
    corpus.mkdir()
    for number, content in enumerate(_seeds(target)):
        (corpus / str(number)).write_bytes(content)
    limits = (f"-max_total_time={seconds}", f"-rss_limit_mb={_MEMORY_MB}", "-timeout=10", "-max_len=8192")
    keep = ("-print_final_stats=1", f"-artifact_prefix={out.parent / f'fuzz-{target}-'}")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.fuzz_targets", target, str(corpus), *limits, *keep],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
    )
    return {
        "inputs": _number(r"stat::number_of_executed_units:\s*(\d+)", done.stderr),
        "covered": _number(r"cov: (\d+)", done.stderr),
        "peak_resident_mb": _number(r"stat::peak_rss_mb:\s*(\d+)", done.stderr),
        "findings": int(done.returncode != 0),
        "output": done.stderr[-4000:] if done.returncode else "",
    }


def _over_http(workspace: Path, much: tuple[str, str]) -> dict[str, Any]:
    """Let schemathesis ask a running server whatever its OpenAPI document allows, and what it does not."""
    promote(workspace)
    with ServerProcess("production", workspace=workspace) as server:
        # Whether an image shows what the model expects is more than a schema can say.
        # Under /admin everything is 401 without a token, and with one it would take the version away from the rest.
        left_out = ("--exclude-checks", "positive_data_acceptance", "--exclude-path-regex", "^/admin")
        choices = (*left_out, *much)
        quiet = ("--no-color", "--warnings", "off")
        done = subprocess.run(
            [sys.executable, "-m", "schemathesis.cli", "run", f"{server.url}/openapi.json", *choices, *quiet],
            cwd=workspace,
            env={**environment(), "SCHEMATHESIS_HOOKS": "benchmarks.schema_hooks"},
            capture_output=True,
            text=True,
        )
    return {
        "inputs": _number(r"(\d+) generated", done.stdout),
        "findings": int(done.returncode != 0),
        "output": done.stdout[-4000:] + done.stderr[-1000:] if done.returncode else "",
    }


def _number(pattern: str, text: str) -> int:
    """Return the last number that a pattern finds."""
    found = re.findall(pattern, text)
    return int(found[-1]) if found else 0


def _seeds(target: str) -> Iterator[bytes]:
    files = list(_images())
    if target == "image":
        yield from files
    elif target == "tensors":
        yield from _requests()
    else:
        texts = [base64.b64encode(file).decode() for file in files[:3]]
        pixels = np.zeros((1, _SIDE, _SIDE, 3), int).tolist()
        for document in (
            {"instances": texts},
            {"inputs": pixels},
            {"inputs": {"image": texts}},
            {"dataframe_records": [{"image": texts[0]}]},
            {"dataframe_split": {"columns": ["image"], "data": [texts[:1]], "index": [0]}},
        ):
            yield json.dumps(document).encode()


def _images() -> Iterator[bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 7, 4), dtype=np.uint8)
    rgba = Image.fromarray(pixels)
    rgb = rgba.convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6
    deep = Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
    for image, kind, options in (
        (rgb, "PNG", {}),
        (rgb, "JPEG", {"exif": turned}),
        (rgb, "WEBP", {}),
        (rgba, "PNG", {}),
        (rgb.convert("P"), "PNG", {"transparency": 3}),
        (rgb.convert("1"), "PNG", {}),
        (rgb.convert("LA"), "PNG", {}),
        (deep, "PNG", {}),
        (rgb, "PNG", {"save_all": True, "append_images": [rgb]}),
        (rgb.convert("L"), "JPEG", {"progressive": True}),
        (rgb.convert("CMYK"), "JPEG", {}),
        (rgba, "WEBP", {"lossless": True}),
        (rgba, "WEBP", {"save_all": True, "append_images": [rgba]}),
    ):
        file = io.BytesIO()
        image.save(file, kind, **options)
        yield file.getvalue()


def _requests() -> Iterator[bytes]:
    size = _SIDE * _SIDE * 3
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, _SIDE, _SIDE, 3]}
    outputs = [{"name": name, "parameters": {"binary_data": True}} for name in ("label", "probabilities")]
    for data in ([0] * size, np.zeros((1, _SIDE, _SIDE, 3), int).tolist()):
        document = {"id": "1", "inputs": [{**tensor, "data": data}], "outputs": outputs}
        yield b"\xff\xff" + json.dumps(document).encode()
    binary = {**tensor, "parameters": {"binary_data_size": size}}
    head = json.dumps({"inputs": [binary], "parameters": {"binary_data_output": True}}).encode()
    yield len(head).to_bytes(2, "little") + head + os.urandom(size)


if __name__ == "__main__":
    main()
