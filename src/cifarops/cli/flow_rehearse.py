"""`cifarops flow rehearse`: the whole branch process, played on this machine."""

from pathlib import Path

from cifarops.cli.common import JsonFlag, emit, group, notes
from cifarops.settings import Settings

app = group("Rehearse the branch process.")


@app.command()
def rehearse(as_json: JsonFlag = False) -> None:
    """Play the whole branch process for real in workspace/flow-demo, with no server and no network."""
    from cifarops.flow.git import Git
    from cifarops.flow.rehearsal.story import rehearse as play
    from cifarops.flow.rehearsal.terminal import Terminal

    place = Settings.from_environment().workspace / "flow-demo"
    summary = play(Git.find(Path.cwd()).root, place, Terminal(notes))
    emit(
        summary.as_json(),
        as_json=as_json,
        human=f"Done in {summary.seconds:.0f} s: {summary.requests_sent:,} requests while production was replaced,"
        f" {summary.requests_failed} failed. Look at {place / 'transcript.html'}",
    )
