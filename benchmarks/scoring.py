"""Scoring many images to a file beside what the same processor cores can do at most; and int8 beside float32.

python -m benchmarks.scoring [--quick] --out FILE
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.harness import Sample, arguments, sample, summary, write
from benchmarks.network import DESCRIPTION, network_bundle
from benchmarks.serving import images as jpegs
from cifarops.bundle.manifest import Precision
from cifarops.bundle.runtime import OnnxModel
from cifarops.bundle.store import Bundle
from cifarops.data.preprocess import decode
from cifarops.machine import multiplies_int8, usable_cores
from cifarops.scoring.score import score

_PRECISIONS: tuple[Precision, ...] = ("float32", "int8")
_TOGETHER = 16


def main() -> None:
    """Measure the raw engine and the scoring of a folder, a tar and a Parquet file in turn."""
    options = arguments("Scoring to a file beside the raw engine")
    images, rounds = (2_000, 2) if options.quick else (20_000, 7)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = network_bundle(folder / "bundles")
        contents = list(islice(cycle(jpegs()), images))
        inputs = {
            "folder": _folder(folder, contents),
            "tar": _tar(folder, contents),
            "parquet": _parquet(folder, contents),
        }
        target = folder / "rows.csv"
        samples: dict[str, list[Sample]] = {"raw": [], **{kind: [] for kind in inputs}}
        for _ in range(rounds):  # in turn, so that a noisy moment hits all
            samples["raw"] += sample(_raw(bundle, contents), 1)
            for kind, origin in inputs.items():
                work = _scoring(origin, target, bundle)
                samples[kind] += sample(work, 1, before=lambda: target.unlink(missing_ok=True))
        models = _models(bundle, rounds)
    raw = median(each.seconds for each in samples["raw"])
    write(
        options.out,
        "scoring",
        model=f"{DESCRIPTION}; JPEG in, CSV out",
        images=images,
        scoring={
            kind: summary(found, images_per_second=images / median(s.seconds for s in found))
            for kind, found in samples.items()
        },
        share_of_raw={
            "target": 0.9,
            **{kind: raw / median(s.seconds for s in samples[kind]) for kind in inputs},
        },
        one_image_ms=models,
        int8_speedup={
            "target": 2.0,
            "measured": median(models["float32"]) / median(models["int8"]),
            "instructions_for_int8": multiplies_int8(),
        },
    )


def _raw(bundle: Bundle, contents: Sequence[bytes]) -> Callable[[], object]:
    """Decode and answer files that lie in memory, on all cores, and forget the answers: nothing is read or written."""
    model = OnnxModel(bundle)
    size = bundle.manifest.preprocessing.size

    def some(start: int) -> None:
        pixels = np.stack([decode(content, size).pixels for content in contents[start : start + _TOGETHER]])
        model.probabilities(pixels)

    def work() -> None:
        with ThreadPoolExecutor(usable_cores()) as threads:
            list(threads.map(some, range(0, len(contents), _TOGETHER)))

    return work


def _scoring(origin: Path, target: Path, bundle: Bundle) -> Callable[[], object]:
    return lambda: score(origin, target, bundle)


def _models(bundle: Bundle, rounds: int) -> dict[Precision, list[float]]:
    """Return milliseconds for one image by one thread, of both models in turn."""
    models = {precision: OnnxModel(bundle, precision=precision) for precision in _PRECISIONS}
    size = bundle.manifest.preprocessing.size
    image = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), dtype=np.uint8)
    times: dict[Precision, list[float]] = {precision: [] for precision in _PRECISIONS}
    calls = 100
    for _ in range(rounds):
        for precision, model in models.items():

            def work(model: OnnxModel = model) -> None:
                for _ in range(calls):
                    model.logits(image)

            (found,) = sample(work, 1)
            times[precision].append(found.seconds * 1000 / calls)
    return times


def _folder(root: Path, contents: Sequence[bytes]) -> Path:
    folder = root / "images"
    folder.mkdir()
    for number, content in enumerate(contents):
        (folder / f"{number:06d}.jpg").write_bytes(content)
    return folder


def _tar(root: Path, contents: Sequence[bytes]) -> Path:
    with tarfile.open(root / "images.tar", "w") as archive:
        for number, content in enumerate(contents):
            info = tarfile.TarInfo(f"{number:06d}.jpg")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return root / "images.tar"


def _parquet(root: Path, contents: Sequence[bytes]) -> Path:
    import pyarrow
    from pyarrow import parquet

    parquet.write_table(
        pyarrow.table({"image": list(contents)}), root / "images.parquet", row_group_size=1000
    )
    return root / "images.parquet"


if __name__ == "__main__":
    main()
