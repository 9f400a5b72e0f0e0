"""`train` as it is called from outside: with `track`, the run is posted while it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from imagemint import fitting
from imagemint.data.pack import Pack
from imagemint.recipe import AnyRecipe
from imagemint.runfolder import Run
from imagemint.tracking.follow import following


def train(
    pack: Pack | Path | str,
    recipe: AnyRecipe | Path | str,
    run: Path | str,
    *,
    track: str | Sequence[str] = (),
    seed: int = 0,
    epochs: float | None = None,
    images: int | None = None,
    resume: bool = False,
    device: str | None = None,
    **overrides: Any,
) -> Run:
    """`imagemint.fitting.train`, posted to the targets of `track`."""
    with following(Path(run), track):
        return fitting.train(
            pack, recipe, run, seed=seed, epochs=epochs, images=images, resume=resume, device=device, **overrides
        )


train.__doc__ = f"""{fitting.train.__doc__}
    `track`: mlflow, mlflow:URI, tensorboard, tensorboard:DIR, or several of them in a list. A server that does not
    answer stops and slows nothing. Raises TrackingError before anything is written where nothing can ever be posted.
    """
