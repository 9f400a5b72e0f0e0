"""`imagemint show`, `strip`, `walk` and `compare`: parse, call the function of that name, print the path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagemint.words import shown, split_list

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A folder that imagemint train wrote.")]


def show(
    what: Annotated[
        Path, typer.Argument(metavar="PACK | RUN | STUDY", help="What imagemint pack, train or study wrote.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.html|.png", help="The page (.html) or picture (.png) to write.")
    ],
) -> None:
    """Draw a page about a pack, a training or a study that needs no network and no program but a browser."""
    from imagemint.pages.show import show as draw

    typer.echo(shown(str(draw(what, out))))


def strip(
    run: RunArgument,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.png", help="The picture to write.")],
    moments: Annotated[int, typer.Option("--moments", metavar="N", min=1, max=100, help="Columns, at most.")] = 8,
) -> None:
    """Samples by time as one picture: a column per moment, a class per row, the same noise in each."""
    from imagemint.pages.strip import strip as draw

    typer.echo(shown(str(draw(run, out, moments=moments))))


def walk(
    run: RunArgument,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE.gif|.mp4", help="The film to write; .mp4 needs ffmpeg.")
    ],
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="NAME,...", help="Classes side by side; default: all.")
    ] = None,
    points: Annotated[int, typer.Option("--points", metavar="N", help="Points of noise to walk through.")] = 4,
    frames: Annotated[int, typer.Option("--frames", metavar="N", help="Frames from one to the next.")] = 24,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the points.")] = 0,
) -> None:
    """A walk through the noise as a GIF or MP4: the same path in every class."""
    from imagemint.pages.walk import walk as draw

    names = None if classes is None else split_list(classes)
    typer.echo(shown(str(draw(run, out, classes=names, points=points, frames=frames, seed=seed))))


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN RUN...", help="Folders that imagemint train wrote.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The page to write.")],
) -> None:
    """Curves and samples of several trainings side by side, and what differs between them."""
    from imagemint.pages.run_page import compare as draw

    typer.echo(shown(str(draw(runs, out))))
