"""Recipes of GANs for tests: `load_recipe` may also give a baseline."""

from __future__ import annotations

from typing import Any

from imagemint.config import Recipe, load_recipe


def gan_recipe(name: str | Recipe, overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe that is trained, not fitted."""
    recipe = load_recipe(name, overrides)
    assert isinstance(recipe, Recipe)
    return recipe
