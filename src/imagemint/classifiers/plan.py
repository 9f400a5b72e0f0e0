"""How a classifier is trained: one strict model, of which the options of the command line are made."""

from __future__ import annotations

import math
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from imagemint.errors import ArgumentError

AT_LEAST = 40_000  # images that a classifier sees however small its pack: 100 images x 20 epochs would not train it
FINAL_DECAY = 0.01  # of the learning rate, at the end of `even`
EPOCH_DECAY = 0.95  # of the learning rate, per epoch of `epoch`: Baker 2018, section 5.5

Precision = Literal["fp32", "bf16"]
Decay = Literal["even", "epoch", "constant", "cosine"]


class ClassifierPlan(BaseModel):
    """Which classifier, and how long and how fast it learns.

    >>> ClassifierPlan(epochs=2, at_least=100).images_seen(70)
    140
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    classifier: str = Field(
        default="lenet", description="lenet, cnn5, resnet, or linear:FILE (on features of your network)."
    )
    learning_rate: float | None = Field(
        default=None, gt=0, le=10, description="At the start; default: the classifier's own."
    )
    decay: Decay = Field(
        default="even",
        description="Of the learning rate: even (down to a hundredth over the training, whatever its length), epoch "
        "(times 0.95 per epoch), constant, or cosine (half a cosine down to 0, Loshchilov & Hutter 2017).",
    )
    batch_size: int = Field(default=64, ge=1, le=65_536, description="Images per step of the optimiser.")
    precision: Precision = Field(
        default="fp32",
        description="Of the arithmetic of a training: bf16 in place of fp32 where gradients in it can be trusted "
        "(`models.narrow`). A trained classifier answers in fp32.",
    )
    epochs: float = Field(default=20, gt=0, le=10**6, description="Passes over the training images, at least.")
    at_least: int = Field(default=AT_LEAST, ge=0, le=10**12, description="Images that a classifier sees, at least.")

    def images_seen(self, images: int) -> int:
        """How many images per classifier sees that has so many different ones to learn from."""
        return max(round(self.epochs * images), self.at_least, 1)

    def rate(self, first: float, images_seen: int, of: int, images: int) -> float:
        """The learning rate after `images_seen` of `of` images, where an epoch has `images`; `first` at the start."""
        factor = {
            "even": FINAL_DECAY ** (images_seen / of),
            "epoch": EPOCH_DECAY ** (images_seen // images),
            "constant": 1.0,
            "cosine": (1 + math.cos(math.pi * images_seen / of)) / 2,
        }
        return first * factor[self.decay]


def make_plan(**options: Any) -> ClassifierPlan:
    """A plan from whatever differs from the defaults; None stands for the default. Raises ArgumentError.

    >>> make_plan(decay="constant", batch_size=None).batch_size
    64
    """
    try:
        return ClassifierPlan(**{name: value for name, value in options.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"])).replace("_", "-")
        wanted = first["msg"][0].lower() + first["msg"][1:]
        raise ArgumentError(f"--{name} {first['input']!r}", wanted, f"change --{name}") from None
