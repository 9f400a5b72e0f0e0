"""`imagemint monitor` and `imagemint track`: parse, call the function of that name, print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from imagemint.tracking.targets import HOST, PORT
from imagemint.words import counted, shown

TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        metavar="mlflow[:URI] | tensorboard[:DIR]",
        help="Post values, samples and findings there while it goes on; may be repeated.",
    ),
]


def monitor(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Where the database and the artifacts lie.")
    ] = Path("monitor"),
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port to listen on.")] = PORT,
    host: Annotated[
        str, typer.Option("--host", metavar="H", help="Address to listen on; by default this machine alone.")
    ] = HOST,
    backend: Annotated[
        str | None, typer.Option("--backend", metavar="URI", help="Another database, such as postgresql://...")
    ] = None,
    artifacts: Annotated[
        str | None, typer.Option("--artifacts", metavar="URI", help="Another place for artifacts, such as s3://...")
    ] = None,
    allow: Annotated[
        str | None,
        typer.Option("--allow", metavar="HOST:PORT,...", help="Names by which other machines call this one."),
    ] = None,
) -> None:
    """Run MLflow's server: an overview of all trainings, their curves, samples and findings."""
    from imagemint.tracking.monitor import monitor as run

    sys.exit(run(folder, port=port, host=host, backend=backend, artifacts=artifacts, allow=allow))


def track(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders of runs or studies, of any age.")],
    to: Annotated[str, typer.Option("--to", metavar="mlflow:URI | tensorboard:DIR", help="Where to post them.")],
    checkpoints: Annotated[bool, typer.Option("--checkpoints", help="Post the newest weights too (MLflow).")] = False,
) -> None:
    """Post finished or unfinished runs and studies; what is there already is not posted again."""
    from imagemint.tracking.follow import track as post
    from imagemint.tracking.targets import target_of

    target = target_of(to)
    for run in runs:
        new = post(run, target, checkpoints=checkpoints)
        typer.echo(shown(f"{run}: {counted(new, 'value')} posted to {target.where}"))
