"""Image files and folders of them, made of noise, so that no two are alike."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(count: int, *, size: int = 32, seed: int = 0) -> np.ndarray:
    """Draw smooth random images, uint8 (N, S, S, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    images = [np.asarray(Image.fromarray(tile).resize((size, size))) for tile in coarse]
    return np.stack(images) if images else np.empty((0, size, size, 3), dtype=np.uint8)


def encoded(pixels: np.ndarray, kind: str = "PNG", **options: object) -> bytes:
    """Encode an image."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **options)
    return file.getvalue()


def class_files(
    classes: tuple[str, ...] = ("cat", "dog"),
    each: int = 12,
    *,
    prefix: str = "",
    seed: int = 0,
    size: int = 32,
) -> dict[str, bytes]:
    """Make files `PREFIX/CLASS/NN.png`."""
    images = iter(noise(len(classes) * each, seed=seed, size=size))
    return {f"{prefix}{name}/{n:02}.png": encoded(next(images)) for name in classes for n in range(each)}


def write_directory(root: Path, files: dict[str, bytes]) -> Path:
    """Write files under a directory."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def write_tar(path: Path, files: dict[str, bytes], mode: str = "w:gz") -> Path:
    """Write files into a tar or tar.gz."""
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    """Write files into a zip."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path
