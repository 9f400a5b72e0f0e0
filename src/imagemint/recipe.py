"""What every recipe says, whatever its method: its name and source, and the images that it is meant for."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from imagemint.errors import RecipeError
from imagemint.settings import Strict


class Shown(Strict):
    """Images that a recipe is typically trained on."""

    size: int = Field(ge=1, description="height and width in pixels")
    channels: Literal[1, 3] = Field(description="1 gray, 3 colour")
    classes: int = Field(ge=1)


# Fields that describe a recipe and decide nothing, by dotted keys: they may differ between versions of imagemint.
DESCRIBES = frozenset({"about", "source", *(f"shown_at.{key}" for key in Shown.model_fields)})


class AnyRecipe(Strict):
    """The part that all recipes share. Each method adds its own settings (imagemint.methods)."""

    version: Literal[1] = 1
    name: str
    about: str = Field(description="one line for the list of recipes")
    source: str = Field(description="the paper that the choices come from")
    shown_at: Shown = Field(
        Shown(size=28, channels=1, classes=10), description="images that the list of recipes counts parameters for"
    )
    smallest: int = Field(8, ge=1, description="shortest side in pixels of images that the recipe is meant for")
    largest: int = Field(128, ge=1, description="longest side in pixels of images that the recipe is meant for")
    flips: bool = Field(False, description="mirrored images keep their class, so augmentation mirrors half of them")
    model: str = Field(description="what is trained: a family of networks, or a baseline")

    @model_validator(mode="after")
    def _smallest_first(self) -> AnyRecipe:
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is larger than largest {self.largest}")
        return self

    has_length: ClassVar[bool] = False  # whether it says for how long it trains

    def batch(self, classes: int) -> int:
        """Images in one step on a pack of so many classes; where there are no steps, one."""
        return 1

    def target(self, pack_images: int) -> int:
        """Images seen at which a training on so many images ends; where nothing else is said, each once."""
        return pack_images

    def decided(self, channels: int) -> dict[str, Any]:
        """Plain values of everything that the recipe decides for images of so many channels, defaults included."""
        return self.model_dump(mode="json")

    def check_fits(self, channels: int, size: tuple[int, int]) -> None:
        """Raise RecipeError unless images of this size (height, width) are what the recipe is meant for."""
        h, w = size
        if min(h, w) < self.smallest or max(h, w) > self.largest:
            meant = f"{self.smallest} to {self.largest}"
            raise RecipeError(
                f"the pack holds {h}x{w} images and recipe {self.name} is for sides of {meant} pixels",
                f"a pack whose sides are {meant} pixels",
                f"pack the images again with --size {self.largest if max(h, w) > self.largest else self.smallest}, "
                "or choose another recipe (imagemint recipes)",
            )


class TrainedRecipe(AnyRecipe):
    """The part that recipes share which are trained step by step: how long, how exactly, and what is kept of it."""

    has_length: ClassVar[bool] = True

    epochs: float | None = Field(None, gt=0, description="passes over the pack; or say `images`")
    images: int | None = Field(None, gt=0, description="images seen; or say `epochs`")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the hardware has it")
    tf32: bool = Field(True, description="CUDA: fp32 products with 10 bits of mantissa, several times faster")
    log_every: int = Field(1000, ge=1, description="images seen between lines of log.jsonl")
    picture_every: int = Field(25_000, ge=1, description="images seen between sample grids")
    checkpoint_every: int = Field(25_000, ge=1, description="images seen between checkpoints")
    keep: int = Field(2, ge=1, description="checkpoints that are kept")

    @model_validator(mode="after")
    def _one_length(self) -> TrainedRecipe:
        if (self.epochs is None) == (self.images is None):
            raise ValueError("say either epochs or images, not both or neither")
        return self

    def target(self, pack_images: int) -> int:
        """Images seen at which the training ends."""
        return self.images if self.images is not None else math.ceil((self.epochs or 0) * pack_images)
