"""`imagemint studio`: parse, and serve the pages."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from imagemint import progress


def studio(
    folder: Annotated[
        Path, typer.Option("--folder", metavar="DIR", help="Folder of packs, runs, studies and jobs; made if absent.")
    ] = Path("imagemint-studio"),
    port: Annotated[int, typer.Option("--port", metavar="N", help="Port to serve the page on.")] = 7860,
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", help="Address to serve on; one that other machines reach needs --auth."
        ),
    ] = "127.0.0.1",
    auth: Annotated[
        str | None, typer.Option("--auth", metavar="USER:PASSWORD", help="Ask for this user and password.")
    ] = None,
    at_once: Annotated[
        int, typer.Option("--jobs", metavar="N", min=1, help="Jobs that run at once; the others wait in line.")
    ] = 1,
) -> None:
    """Open a web page to pack, train, mint and judge without a command line. Needs the extra `studio`."""
    from imagemint.studio.app import serve

    progress.if_stopped("its jobs go on, and the same command shows them")
    serve(folder, port=port, host=host, auth=auth, at_once=at_once)
