"""`cifarops flow hotfix`: a critical correction on its way to every branch."""

from dataclasses import asdict

from cifarops.cli.common import JsonFlag, emit, group
from cifarops.cli.flow_common import DryRun, open_flow, tell_step

app = group("Bring a hotfix everywhere.")


@app.callback()
def _group() -> None:
    """Bring a hotfix everywhere."""


@app.command()
def finish(dry_run: DryRun = False, as_json: JsonFlag = False) -> None:
    """Push the current hotfix and open its merge requests: into main first, then into the other branches."""
    from cifarops.flow import hotfix

    git, policy, forge = open_flow()
    found = hotfix.finish(git, policy, forge, dry_run=dry_run, listener=tell_step)
    emit(asdict(found), as_json=as_json, human=str(found))
