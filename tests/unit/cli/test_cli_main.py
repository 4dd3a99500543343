"""The command line as a user meets it: a real process, its output and its exit code."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(*arguments: str, workspace: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cifarops.cli.main", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "CIFAROPS_WORKSPACE": str(workspace), "COLUMNS": "160", **environment},
    )


def test_help_lists_the_groups_of_the_design(tmp_path: Path) -> None:
    answer = run("--help", workspace=tmp_path)
    assert answer.returncode == 0
    groups = "data train package evaluate registry serve predict deploy monitor retrain simulate demo doctor"
    for group in groups.split():
        assert f"  {group} " in answer.stdout


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['cifarops', '--help']\n"
        "from cifarops.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'torch', 'mlflow', 'numpy', 'onnxruntime', 'fastapi', 'matplotlib'}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [("nonsense",), ("doctor", "--nonsense"), ("data", "show")])
def test_bad_usage_exits_with_2(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert run(*arguments, workspace=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("arguments", "error", "fix"),
    [
        (("nonsense",), "No such command 'nonsense'.", "--help"),
        (("--nonsense",), "No such option: --nonsense", "--help"),
        (("doctor", "--nonsense"), "No such option: --nonsense", "doctor --help"),
        (("data", "show"), "Missing argument 'ID'.", "data show --help"),
    ],
)
def test_bad_usage_is_told_to_programs_as_any_refusal(
    arguments: tuple[str, ...], error: str, fix: str, tmp_path: Path
) -> None:
    answer = run(*arguments, "--json", workspace=tmp_path)
    assert answer.returncode == 2
    assert json.loads(answer.stdout) == {"error": error, "fix": f"See: python -m cifarops.cli.main {fix}"}
    assert "Usage: " in answer.stderr


def test_only_the_group_that_is_asked_for_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['cifarops', 'flow', '--help']\n"
        "from cifarops.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'cifarops.cli.data', 'cifarops.cli.flow', 'cifarops.config'}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.splitlines()[-1] == "['cifarops.cli.flow']"


def test_a_refusal_exits_with_its_code_and_says_what_to_do(tmp_path: Path) -> None:
    answer = run("data", "show", "abc", "--json", workspace=tmp_path)
    assert answer.returncode == 2
    assert set(json.loads(answer.stdout)) == {"error", "fix"}
    assert "error: No snapshots" in answer.stderr
    assert "do: List them with: cifarops data list" in answer.stderr
    assert "Traceback" not in answer.stderr


def test_ctrl_c_while_the_program_is_loaded_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("import signal\nsignal.raise_signal(signal.SIGINT)\n")
    answer = subprocess.run(
        [sys.executable, "-m", "cifarops", "doctor"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: Interrupted.\n  do: ")
    assert "Traceback" not in answer.stderr


def test_ctrl_c_while_a_compiled_package_is_loaded_is_told_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text(
        "import signal\n"
        "try: signal.raise_signal(signal.SIGINT)\n"
        "except KeyboardInterrupt: raise ImportError('initialization failed') from None\n"
    )
    answer = run("evaluate", "report", workspace=tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: Interrupted.\n  do: ")
    assert "Traceback" not in answer.stderr


def test_a_failure_of_our_own_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise RuntimeError('a bug')")
    answer = run("evaluate", "report", workspace=tmp_path, PYTHONPATH=str(tmp_path))
    assert answer.returncode == 1
    assert answer.stderr.endswith("RuntimeError: a bug\n")


def test_json_goes_to_stdout_and_nothing_else(tmp_path: Path) -> None:
    answer = run("doctor", "--json", workspace=tmp_path)
    assert {"name", "state", "found", "purpose"} == set(json.loads(answer.stdout)[0])


def test_a_workspace_that_is_a_file_is_explained(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    answer = run("deploy", "status", workspace=blocked / "workspace")
    assert answer.returncode == 1
    assert "do: " in answer.stderr
    assert "Traceback" not in answer.stderr


def test_the_version_is_the_package_version(tmp_path: Path) -> None:
    from cifarops import __version__

    assert run("--version", workspace=tmp_path).stdout.strip() == __version__
