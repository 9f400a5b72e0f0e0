"""Mint labelled images from a small data set, and learn honestly whether they help.

The public surface, in the order of the story:

    pack("photos/", "photos.pack", size=64)                 -> Pack
    open_pack("photos.pack")                                -> Pack
    train("photos.pack", "demo", "runs/first")              -> Run
    mint("runs/first", "minted.pack", per_class=500)        -> Pack
    label("runs/semi", "photos.pack", "labelled.pack")      -> Pack
    measure("minted.pack", "photos.pack")                   -> Measures
    study("photos.pack", "test.pack", "demo", "study/")     -> Study
    show("study/", "study.html")                            -> Path; strip, walk, compare and track take runs
    sweep("plan.yaml", "sweep/")                            -> Sweep
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from imagemint.config import Recipe as Recipe
    from imagemint.config import load_recipe as load_recipe
    from imagemint.data.pack import Pack as Pack
    from imagemint.data.pack import open_pack as open_pack
    from imagemint.data.packing import pack as pack
    from imagemint.data.split import split as split
    from imagemint.errors import ImagemintError as ImagemintError
    from imagemint.labelling import label as label
    from imagemint.metrics.measures import Measures as Measures
    from imagemint.metrics.measures import measure as measure
    from imagemint.minting import mint as mint
    from imagemint.pages.run_page import compare as compare
    from imagemint.pages.show import show as show
    from imagemint.pages.strip import strip as strip
    from imagemint.pages.study_page import study as study
    from imagemint.pages.walk import walk as walk
    from imagemint.publishing import pull as pull
    from imagemint.publishing import push as push
    from imagemint.runs import Run as Run
    from imagemint.runs import open_run as open_run
    from imagemint.studies.results import Study as Study
    from imagemint.sweeps.results import Sweep as Sweep
    from imagemint.sweeps.sweep import sweep as sweep
    from imagemint.tracking.follow import track as track
    from imagemint.tracking.tracked import train as train

# Where each public name lives. They are loaded when first used, so that looking at a pack does not wait for torch.
_HOMES = {
    "ImagemintError": "errors",
    "Measures": "metrics.measures",
    "Pack": "data.pack",
    "Recipe": "config",
    "Run": "runs",
    "Study": "studies.results",
    "Sweep": "sweeps.results",
    "compare": "pages.run_page",
    "label": "labelling",
    "load_recipe": "config",
    "measure": "metrics.measures",
    "mint": "minting",
    "open_pack": "data.pack",
    "open_run": "runs",
    "pack": "data.packing",
    "pull": "publishing",
    "push": "publishing",
    "show": "pages.show",
    "split": "data.split",
    "strip": "pages.strip",
    "study": "pages.study_page",
    "sweep": "sweeps.sweep",
    "track": "tracking.follow",
    "train": "tracking.tracked",
    "walk": "pages.walk",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'imagemint' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"imagemint.{_HOMES[name]}"), name)
    globals()[name] = value
    if "ipykernel" in sys.modules:  # in a notebook things show themselves
        importlib.import_module("imagemint.pages.notebook").attach()
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
