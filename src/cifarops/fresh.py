"""A folder that one program at a time fills anew: a demo, a rehearsal. What somebody else keeps there is never emptied."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from cifarops.errors import ConflictError, UsageError
from cifarops.files import locked


@contextmanager
def fresh_folder(folder: Path, *, maker: str, before: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold a folder alone while the block runs, and begin with an empty one.

    Args:
        folder: It is made where it does not exist.
        maker: Who fills it, in one word: "demo".
        before: Called when the folder is held, before it is emptied; may refuse by raising.

    Raises:
        UsageError: The folder holds something that no such maker made.
        ConflictError: Another one fills it now.
    """
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".cifarops-{maker}"
    if not marker.exists() and any(folder.iterdir()):
        raise UsageError(
            f"{folder} holds something that no {maker} made.",
            fix="Name another place with CIFAROPS_WORKSPACE, or unset it.",
        )
    refusal = ConflictError(
        f"Another {maker} runs in {folder}.",
        fix="Wait for it, or name another place with CIFAROPS_WORKSPACE.",
    )
    with locked(marker, otherwise=refusal):
        before()
        for leftover in folder.iterdir():
            if leftover.is_dir() and not leftover.is_symlink():
                shutil.rmtree(leftover)
            elif leftover != marker:
                leftover.unlink()
        yield
