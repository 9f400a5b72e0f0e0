"""`imagemint push` and `imagemint pull`: parse, call the function of that name, say in one line what is where."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagemint.words import shown


def push(
    source: Annotated[Path, typer.Argument(metavar="PACK | RUN", help="A pack, or a run's folder.")],
    to: Annotated[str, typer.Argument(metavar="hub:OWNER/NAME", help="A repository of the Hugging Face hub.")],
    licence: Annotated[
        str | None,
        typer.Option("--licence", metavar="NAME", help="The hub's name of a licence, such as cc-by-4.0."),
    ] = None,
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; by default it is private.")
    ] = False,
) -> None:
    """Send a pack or a run to the Hugging Face hub, with a card that says what it is."""
    from imagemint.publishing import push as send

    typer.echo(shown(f"{source} is at {send(source, to, licence=licence, public=public)}"))


def pull(
    source: Annotated[
        str, typer.Argument(metavar="hub:OWNER/NAME[@REVISION]", help="What imagemint push sent there.")
    ],
    dest: Annotated[Path, typer.Argument(metavar="DEST", help="A new folder; nothing may be there yet.")],
) -> None:
    """Fetch a pack or a run from the Hugging Face hub, and check that it is whole."""
    from imagemint.publishing import pull as fetch

    typer.echo(shown(f"{fetch(source, dest).path}: whole, and what its fingerprint says"))
