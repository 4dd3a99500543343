"""`cifarops simulate`."""

from pathlib import Path
from typing import Annotated

import typer

from cifarops.cli.common import JsonFlag, emit, facts, group, progress_bars
from cifarops.settings import EnvironmentName, Settings

app = group("Play traffic against a running server, with the truth known.")


@app.command()
def traffic(
    environment: Annotated[EnvironmentName, typer.Option(help="Whose server is asked.")] = "production",
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 500,
    shift: Annotated[str | None, typer.Option(help="How the images are changed, for example fog.")] = None,
    severity: Annotated[float, typer.Option(min=0, max=1, help="How strongly.")] = 0.7,
    labels: Annotated[float, typer.Option(min=0, max=1, help="Share of true labels sent afterwards.")] = 0.0,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Send images as requests: fresh synthetic ones, or those of `valid` where the snapshot is real."""
    from cifarops.simulation.play import play

    with progress_bars() as progress:
        played = play(
            environment,
            settings=Settings.from_environment(),
            requests=requests,
            shift=shift,
            severity=severity,
            coverage=labels,
            seed=seed,
            progress=progress,
        )
    emit(played, as_json=as_json, human=facts(f"Traffic to {environment}", played))
    if played["failed"]:
        raise typer.Exit(1)


@app.command()
def scenario(
    file: Annotated[Path, typer.Argument(help="For example scenarios/fog.yaml.")],
    environment: Annotated[EnvironmentName, typer.Option(help="Whose server is asked.")] = "staging",
    as_json: JsonFlag = False,
) -> None:
    """Play a scenario from a file: changes with onset and ramp, labels that come late or wrong, more load."""
    from cifarops.simulation.perform import perform
    from cifarops.simulation.play import open_stage
    from cifarops.simulation.scenario import load_scenario

    settings = Settings.from_environment()
    wanted = load_scenario(file)
    stage = open_stage(environment, settings=settings, seed=wanted.seed)
    with progress_bars() as progress:
        played = perform(wanted, stage, folder=settings.monitoring / "simulated", progress=progress)
    emit(played, as_json=as_json, human=facts(f"{wanted.name} to {environment}", played))
    if played["failed"]:
        raise typer.Exit(1)


@app.command()
def shadow(
    environment: Annotated[EnvironmentName, typer.Option(help="Whose server is asked.")] = "staging",
    requests: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many.")] = 500,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    as_json: JsonFlag = False,
) -> None:
    """Compare a server's answers with those of production's model on the same images; refuse what is surely worse."""
    from cifarops.simulation.shadow import shadow as compare

    with progress_bars() as progress:
        found = compare(
            environment,
            settings=Settings.from_environment(),
            requests=requests,
            seed=seed,
            progress=progress,
        )
    emit(found, as_json=as_json, human=facts(f"{environment} next to production", found))


@app.command()
def replacement(
    file: Annotated[Path, typer.Argument(help="release.json, by cifarops deploy pin.")],
    as_json: JsonFlag = False,
) -> None:
    """Replace what production runs by a release and go back, under traffic, in a scratch workspace."""
    from cifarops.deployment.release import load_release
    from cifarops.simulation.replacement import rehearse

    done = rehearse(load_release(file), settings=Settings.from_environment())
    emit(done, as_json=as_json, human=facts("Rehearsed", done))
