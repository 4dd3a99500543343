"""`cifarops flow`: the branch process. Each module `cli/flow_*.py` brings its commands in an `app`."""

import importlib

from cifarops.cli.common import group

# Groups of their own, by name; and modules whose commands stand directly under `flow`. One a line.
_GROUPS = (
    "policy",
    "check",
    "gitlab",
    "release",
    "hotfix",
)
_COMMANDS = ("install", "work", "model", "rehearse")

app = group("Follow the branch process: its policy, its checks, its releases.")
for _name in _GROUPS:
    app.add_typer(importlib.import_module(f"cifarops.cli.flow_{_name}").app, name=_name)
for _name in _COMMANDS:
    app.add_typer(importlib.import_module(f"cifarops.cli.flow_{_name}").app)
