"""`cifarops doctor`."""

from cifarops.cli.common import JsonFlag, emit, table
from cifarops.settings import Settings


def command(as_json: JsonFlag = False) -> None:
    """Say what this machine has and what is missing for what."""
    from cifarops.doctor import examine

    checks = examine(Settings.from_environment())
    marks = {"ok": "✓", "missing": "✗", "absent": "–"}
    emit(
        [check.__dict__ for check in checks],
        as_json=as_json,
        human=table(
            "This machine",
            ("", "what", "found", "needed for"),
            [(marks[check.state], check.name, check.found, check.purpose) for check in checks],
        ),
    )
    if any(check.state == "missing" for check in checks):
        raise SystemExit(1)
