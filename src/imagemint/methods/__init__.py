"""Methods: what a recipe can train and images can be minted from, one table.

To add a method: a file that makes a `Method` (base.py says what it states), and one row in METHODS.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from imagemint.data.pack import Pack
from imagemint.errors import RecipeError
from imagemint.methods import flow, gan, joined, pca, per_class, ppca
from imagemint.methods.base import Asked as Asked
from imagemint.methods.base import Method as Method
from imagemint.minter import Minter
from imagemint.recipe import AnyRecipe
from imagemint.runfolder import Run, RunFacts

METHODS: dict[str, Method] = {  # the first that knows a model takes it
    "per_class": per_class.METHOD,
    "joined": joined.METHOD,
    "pca": pca.METHOD,
    "ppca": ppca.METHOD,
    "flow": flow.METHOD,
    "gan": gan.METHOD,
}


def method_of(model: Any) -> Method:
    """The method that a recipe's `model` belongs to. Raises RecipeError for an unknown one."""
    for method in METHODS.values():
        if isinstance(model, str) and model in method.models:
            return method
    known = dict.fromkeys(name for method in reversed(METHODS.values()) for name in method.models)
    raise RecipeError(f"model {model!r}", f"one of {', '.join(known)}", "change model in the recipe")


def settle(
    pack: Pack, recipe: AnyRecipe, *, seed: int = 0, device: str | None = None, continued: RunFacts | None = None
) -> RunFacts:
    """The facts of a run before it begins. Raises RecipeError, PackError or RunError where something does not fit."""
    return method_of(recipe.model).settle(pack, recipe, Asked(seed, device, continued))


def load_minter(run: Run, checkpoint: Path | None = None, device: str = "cpu") -> Minter:
    """What images are minted from: of a checkpoint, by default the newest. Raises RunError where it is damaged."""
    return method_of(run.recipe.model).load(run, checkpoint or run.newest(), device)
