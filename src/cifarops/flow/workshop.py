"""A scratch workspace in which a commit's own code ingests, trains and packages, each step a process of its own."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from cifarops.bundle.manifest import Manifest
from cifarops.data.snapshot import Snapshot
from cifarops.deployment.code import build_code
from cifarops.deployment.launch import NOT_INHERITED
from cifarops.errors import CifaropsError, IntegrityError
from cifarops.settings import Settings
from cifarops.training.run import Run

_PARAMS = "params.yaml"
_MEASURED = ("precision-*.json",)
_SPEED = "speed.json"


class Workshop:
    """The place where a bundle is made again.

    Args:
        folder: An empty directory, thrown away afterwards.
        tree: A checkout of the commit.
        settings: Of the workspace that has the bundle; nothing there is changed.
        manifest: What is to be made again.
        forced: Train in the recorded number format, whatever is faster here.
    """

    def __init__(
        self, folder: Path, tree: Path, settings: Settings, manifest: Manifest, *, forced: bool
    ) -> None:
        self._workspace = folder / "workspace"
        self._manifest = manifest
        self._params = folder / _PARAMS
        self._params.write_text(yaml.safe_dump(_params(manifest, tree / _PARAMS, forced=forced)))
        self._site = build_code(tree, releases=folder / "code").site
        own, scratch = settings.cache, self._workspace / "cache"
        scratch.mkdir(parents=True)
        for pattern in _MEASURED:  # what was measured on this machine decides the same again
            for file in own.glob(pattern):
                shutil.copy(file, scratch)
        self._link(settings.downloads)

    def take_snapshot(self, snapshot: Snapshot) -> None:
        """Use a snapshot that is there."""
        self._link(snapshot.path, "snapshots")

    def ingest(self, wanted: str, origin: str | None) -> None:
        """Make the snapshot again from its source.

        Raises:
            IntegrityError: The source gives another one by now.
        """
        words = ["data", "ingest", *self._profile()]
        made = self._run(*words, *(["--from", origin] if origin else []))["snapshot"]
        if made != wanted:
            raise IntegrityError(
                f"The source gives snapshot {made} now, not {wanted}: it has changed since.",
                fix="Restore the snapshot or the source from a copy.",
            )

    def train(self, snapshot: str, start: Path | None) -> str:
        """Train; returns the run's id.

        Args:
            snapshot: Id of the snapshot.
            start: Directory of the run whose weights are the start, or None.
        """
        words = ["train", "--snapshot", snapshot, *self._profile()]
        if start is not None:
            self._link(start, "runs")
            words += ["--warm-start", start.name]
        return str(self._run(*words)["run"])

    def package(self, run: str, like: Run | None) -> Path:
        """Package a run; returns the bundle's directory.

        Args:
            run: Its id.
            like: The run behind the recorded bundle, whose measurements count as long as they are about the same
                models; None where it is gone.
        """
        if like is not None and (like.path / _SPEED).is_file():
            shutil.copy(like.path / _SPEED, self._workspace / "runs" / run)
        return self._workspace / "bundles" / str(self._run("package", run)["bundle"])

    def _profile(self) -> list[str]:
        return ["--params", str(self._params), "--profile", self._manifest.profile]

    def _link(self, target: Path, folder: str = "") -> None:
        if target.is_dir():
            link = self._workspace / folder / target.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(target)

    def _run(self, *words: str) -> dict[str, Any]:
        """Run a command of the commit's code; its progress is shown as it comes. Returns its JSON."""
        inherited = {
            key: value
            for key, value in os.environ.items()
            if key not in NOT_INHERITED and key != "CIFAROPS_TRACKING_URI"
        }
        done = subprocess.run(
            [sys.executable, "-P", "-m", "cifarops", *words, "--json"],
            env={
                **inherited,
                "CIFAROPS_WORKSPACE": str(self._workspace),
                "OMP_NUM_THREADS": str(self._manifest.provenance.threads),
                "PYTHONPATH": str(self._site),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        try:
            answer: dict[str, Any] = json.loads(done.stdout)
        except ValueError as error:
            raise _failed(words, done.returncode) from error
        if done.returncode:
            raise CifaropsError(
                f"cifarops {words[0]}, as it was then, failed: {answer.get('error')}",
                fix=str(answer.get("fix")),
            )
        return answer


def _params(manifest: Manifest, file: Path, *, forced: bool) -> dict[str, Any]:
    """Return the commit's params.yaml with the recorded sections in place of its own, as the one profile."""
    document = yaml.safe_load(file.read_text())
    provenance = manifest.provenance
    train = dict(provenance.params["train"])
    if forced:
        train["precision"] = provenance.precision
    base = {**document["base"], "data": provenance.params["data"], "train": train}
    return {"profile": manifest.profile, "base": base, "profiles": {manifest.profile: {}}}


def _failed(words: tuple[str, ...], code: int) -> CifaropsError:
    return CifaropsError(
        f"cifarops {words[0]}, as it was then, ended with code {code}; what it said stands above.",
        fix="The packages of that time may be needed: install the commit's constraints.txt in an environment of its own.",
    )
