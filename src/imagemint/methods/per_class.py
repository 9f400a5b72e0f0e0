"""One GAN per class, side by side: Sterzinger, Stippel & Zogaj 2020. The best weights are chosen class by class."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pydantic import BaseModel
from torch import nn

from imagemint.errors import RecipeError
from imagemint.methods import gan
from imagemint.models import per_class
from imagemint.training.recipe import Recipe
from imagemint.training.state import ONE_GAN, Part


class PerClassRecipe(Recipe):
    """As for one GAN; batches are balanced, so that the GAN of every class gets full ones."""

    def _choices(self) -> BaseModel:
        if not self.balanced:
            raise RecipeError(
                f"model {self.model} with balanced false",
                "balanced: true, so that the network of every class gets full batches",
                "add --set balanced=true; batch_size then counts the images of one class",
            )
        return super()._choices()


def _parts(generator: nn.Module, classes: Sequence[str]) -> list[Part]:
    assert isinstance(generator, per_class.Bank)
    members = zip(classes, generator.members, strict=True)
    return [Part(name, label, member) for label, (name, member) in enumerate(members)]


KIND = dataclasses.replace(ONE_GAN, parts=_parts)
METHOD = gan.method(("per-class",), per_class.ABOUT, KIND, recipe=PerClassRecipe)
