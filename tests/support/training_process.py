"""Trains in a process of its own, so that tests can kill it: `python -m tests.support.training_process ROOT [RUN]`.

Prints the number of steps done after each step, and the run's id at the end.
"""

import sys
from pathlib import Path

import torch

from cifarops.data.snapshot import newest_snapshot
from cifarops.errors import CifaropsError
from cifarops.training.trainer import train
from tests.support.training import tiny_params


def say(what: str, done: int, total: int, note: str = "") -> None:
    """Print where the training stands."""
    sys.stdout.write(f"{done}\n")
    sys.stdout.flush()


def main() -> None:
    """Train the newest snapshot under ROOT, or carry on RUN."""
    root = Path(sys.argv[1])
    torch.set_num_threads(1)
    try:
        run = train(
            newest_snapshot(root / "snapshots"),
            tiny_params(epochs=6),
            runs=root / "runs",
            tracking_uri=f"sqlite:///{root / 'mlflow.db'}",
            cache=root / "cache",
            resume=sys.argv[2] if len(sys.argv) > 2 else None,
            progress=say,
        )
    except CifaropsError as error:
        sys.exit(f"{error.message} | {error.fix}")
    sys.stdout.write(f"{run.id}\n")


if __name__ == "__main__":
    main()
