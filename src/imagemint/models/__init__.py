"""Networks: one file a family, generator and discriminator side by side, the paper cited.

To add a family: a file with `Options` and `build`, and one row in MODELS.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel, ValidationError
from torch import nn

from imagemint.errors import RecipeError
from imagemint.models import cdcgan, small
from imagemint.models.shapes import ImageShape as ImageShape


class Family(NamedTuple):
    """How a family is built: `build(options, shape, classes, z_size) -> (generator, discriminator)`."""

    options: type[BaseModel]
    build: Callable[[Any, ImageShape, int, int], tuple[nn.Module, nn.Module]]


MODELS: dict[str, Family] = {
    "cdcgan": Family(cdcgan.Options, cdcgan.build),
    "small": Family(small.Options, small.build),
}


def build(
    model: str, options: dict[str, Any], shape: ImageShape, classes: int, z_size: int
) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, initialised from torch's global generator (seeds.seed_layers sets it).

    G maps z `[n, z_size]` and labels int64 `[n]` to images `[n, c, h, w]` in [-1, 1]; D maps images and labels to
    logits `[n]`. Raises RecipeError for an unknown family, unknown options, or a size that does not fit.
    """
    if model not in MODELS:
        raise RecipeError(f"model {model!r}", f"one of {', '.join(MODELS)}", "change model in the recipe")
    family = MODELS[model]
    try:
        chosen = family.options.model_validate(options)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        known = ", ".join(family.options.model_fields) or "no options"
        raise RecipeError(f"options.{key} of model {model}: {first['msg']}", known, "mend the recipe") from None
    return family.build(chosen, shape, classes, z_size)


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)
