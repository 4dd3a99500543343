"""Starting `cifarops serve` as a process of its own, and learning when it answers, or why it never will."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cifarops.errors import UnavailableError
from cifarops.ledger.records import EnvironmentName

_LISTENING = re.compile(r"^serving \w+ on (https?://\S+)$", re.MULTILINE)
_START_SECONDS = 30.0
_LONGEST_LINE = 800
# What the pipeline that starts a server may do is nothing that the server may do.
NOT_INHERITED = {
    "CIFAROPS_TOKEN",
    "CIFAROPS_GITLAB_TOKEN",
    "CIFAROPS_NOTES_TOKEN",
    "CIFAROPS_SIGNING_KEY",
    "GITLAB_TOKEN",
    "CI_JOB_TOKEN",
}


def launch(
    environment: EnvironmentName,
    arguments: Sequence[str],
    *,
    workspace: Path,
    site: Path | None = None,
    trusted: Path | None = None,
    stdin: int = subprocess.DEVNULL,
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a server; it outlives this process, and Ctrl-C here does not reach it.

    Args:
        environment: Which environment it serves.
        arguments: Further arguments of `cifarops serve`.
        workspace: The workspace it works in; its output goes to `logs/` there.
        site: Directory whose code it runs; None runs the code of this process.
        trusted: Directory of the public keys that it trusts; None lets it decide as this process does.
        stdin: Its standard input, as `subprocess` takes it.

    Returns:
        The process and its log.
    """
    workspace = workspace.absolute()
    log = workspace / "logs" / f"serve-{environment}-{time.time_ns()}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    inherited = {key: value for key, value in os.environ.items() if key not in NOT_INHERITED}
    variables = {**inherited, "CIFAROPS_WORKSPACE": str(workspace)}
    # -P: whatever lies in the current directory is not imported.
    command = [sys.executable, "-P", "-m", "cifarops.cli.main", "serve", "--environment", environment]
    if site is not None:
        variables["PYTHONPATH"] = str(site)
    if trusted is not None:
        variables["CIFAROPS_TRUSTED_KEYS"] = str(trusted)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, *arguments],
            env=variables,
            cwd=workspace,
            stdin=stdin,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    return process, log


def await_url(process: subprocess.Popen[bytes], log: Path, environment: EnvironmentName) -> str:
    """Wait until a server that was launched answers requests; returns its URL.

    Raises:
        UnavailableError: It ended, or doesn't answer in time.
    """
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        # Looked at before the log, so that what a process says last is not missed.
        code = process.poll()
        if found := _LISTENING.search(log.read_text(errors="replace")):
            return found.group(1)
        if code is not None:
            raise UnavailableError(
                f"The {environment} server ended with code {code}: {last_words(log)}",
                fix=f"The whole log: {log}",
            )
        time.sleep(0.02)
    raise UnavailableError(
        f"The {environment} server does not listen after {_START_SECONDS:.0f} s.", fix=f"Its log: {log}"
    )


def last_words(log: Path) -> str:
    """Return why a server ended, by its log: its last error message, or else its last line."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("error: ")]
    return (errors or lines or ["it said nothing."])[-1][-_LONGEST_LINE:]
