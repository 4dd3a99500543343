import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from cifarops import machine
from cifarops.machine import usable_cores


def test_a_process_tied_to_one_core_has_one() -> None:
    program = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from cifarops.machine import usable_cores; print(usable_cores())"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout == b"1\n"


def test_where_the_system_does_not_say_all_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    assert usable_cores() == (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ("model name\t: A\nflags\t\t: fpu avx2 avx512_vnni\n", True),
        ("model name\t: A\nflags\t\t: fpu avx2 avx512f\n", False),
        ("CPU part\t: 0xd0c\nFeatures\t: fp asimd asimddp\n", True),
        ("", False),
    ],
)
def test_int8_instructions_are_read_off_the_processors_own_list(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, facts: str, expected: bool
) -> None:
    monkeypatch.setattr(machine, "_FACTS", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(facts)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert machine.multiplies_int8() is expected


def test_a_processor_that_linux_does_not_name_is_named_by_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(machine, "_FACTS", tmp_path / "cpuinfo")
    assert machine.processor_name() == platform.processor()
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Some CPU\n")
    assert machine.processor_name() == "Some CPU"
