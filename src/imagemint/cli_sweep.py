"""`imagemint sweep PLAN.yaml --out DIR`: parse, call the function of that name, print the winners."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from imagemint import progress
from imagemint.words import shown

OnOption = Annotated[
    str | None,
    typer.Option(
        "--on",
        metavar="ray[:ADDRESS]",
        help="Compute on a Ray cluster (extra cluster) in place of processes here; ray alone starts one on this "
        "machine.",
    ),
]


def sweep(
    plan: Annotated[
        Path, typer.Argument(metavar="PLAN.yaml", help="Packs, recipes, a grid or search, seeds and a measure.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the runs, the rows and the table.")],
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            help="Trials that are computed side by side, one thread each; default: one per GPU, or one per processor "
            "where there is none. The rows are the same for every number.",
        ),
    ] = None,
    on: OnOption = None,
    scale: Annotated[
        float,
        typer.Option("--scale", metavar="X", help="Multiply the images that each training and each judge sees."),
    ] = 1.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")] = False,
) -> None:
    """Train many settings and choose by images held out of the training pack. A stopped sweep continues."""
    from imagemint.cluster import fan_out
    from imagemint.sweeps.plan import read_sweep
    from imagemint.sweeps.sweep import sweep as compute

    progress.if_stopped("the same command goes on")
    read = read_sweep(plan)
    made = compute(read, out, jobs=jobs, scale=scale, fan_out=fan_out(on, cpus=read.cpus, gpus=read.gpus))
    if as_json:
        print(json.dumps({**made.best(), "table": str(made.path / "table.md")}, allow_nan=False))
    else:
        print(shown(f"{made.summary()}\n{made.path / 'table.md'}", lines=True))
