"""What a server that is started gets of the process that starts it."""

from pathlib import Path

import pytest

from cifarops.deployment.launch import launch


def test_a_server_does_not_get_the_tokens_of_the_pipeline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (
        "CIFAROPS_GITLAB_TOKEN",
        "CIFAROPS_NOTES_TOKEN",
        "CIFAROPS_SIGNING_KEY",
        "GITLAB_TOKEN",
        "CI_JOB_TOKEN",
    ):
        monkeypatch.setenv(name, "kept back")
    monkeypatch.setenv("CIFAROPS_MARK", "handed on")
    process, _ = launch("staging", ["--help"], workspace=tmp_path)
    while not (inherited := Path(f"/proc/{process.pid}/environ").read_bytes()):
        assert (
            process.poll() is None
        ), "ended before its environment could be read"  # empty until it has begun
    process.wait()
    assert b"CIFAROPS_MARK=handed on" in inherited
    assert b"kept back" not in inherited
