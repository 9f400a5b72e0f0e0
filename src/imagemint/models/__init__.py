"""Networks: one file per family, generator and discriminator side by side, the paper cited.

To add a family: a file with `Options` and `build`, and one row in MODELS. `mitlgan` has no row: it is built around
trained generators (imagemint.methods.joined), not from options alone.

What every pair of networks promises: G maps z float `[n, z_size]` and labels int64 `[n]` to images float
`[n, c, h, w]` in [-1, 1]. D maps such images and labels to logits float `[n]` (`[n, classes + 1]` where its options
say so); its method `features(images, labels)`, where it has one, gives float `[n, f]`: what its last layer, which is
dense, makes the logits from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from torch import nn

from imagemint.errors import RecipeError
from imagemint.models import (
    began,
    cdcgan,
    conv,
    dcgan,
    dcgan_fd,
    dense,
    per_class,
    semi,
    small,
    triple,
    wgan_gp,
)
from imagemint.models.shapes import ImageShape as ImageShape
from imagemint.settings import in_words

Options = TypeVar("Options", bound=BaseModel)


class Family(NamedTuple):
    """How a family is built: `build(options, shape, classes, z_size) -> (generator, discriminator)`."""

    options: type[BaseModel]
    build: Callable[[Any, ImageShape, int, int], tuple[nn.Module, nn.Module]]
    conditional: bool  # the label reaches the networks; otherwise they take labels and ignore them
    about: str  # one line: what it is and where it comes from
    classifies: bool = False  # D has a classifier beside it: only a loss of three players fits
    redraws: bool = False  # D's logits are errors of an autoencoder: only a loss that keeps these in balance fits
    decide: Callable[[Any, int], BaseModel] | None = None  # options whose `auto` is settled by the images' channels


MODELS: dict[str, Family] = {
    "cdcgan": Family(cdcgan.Options, cdcgan.build, conditional=True, about=cdcgan.ABOUT),
    "dcgan": Family(dcgan.Options, dcgan.build, conditional=False, about=dcgan.ABOUT),
    "dense": Family(dense.Options, dense.build, conditional=False, about=dense.ABOUT),
    "conv": Family(conv.Options, conv.build, conditional=False, about=conv.ABOUT),
    "dcgan-fd": Family(dcgan_fd.Options, dcgan_fd.build_dcgan, conditional=False, about=dcgan_fd.ABOUT_DCGAN),
    "ccgan": Family(dcgan_fd.Options, dcgan_fd.build_ccgan, conditional=True, about=dcgan_fd.ABOUT_CCGAN),
    "wgan-gp": Family(wgan_gp.Options, wgan_gp.build, conditional=False, about=wgan_gp.ABOUT),
    "small": Family(small.Options, small.build, conditional=True, about=small.ABOUT, decide=small.decided),
    "began": Family(began.Options, began.build, conditional=False, about=began.ABOUT, redraws=True),
    "triple": Family(triple.Options, triple.build, conditional=True, about=triple.ABOUT, classifies=True),
    "semi": Family(semi.Options, semi.build, conditional=False, about=semi.ABOUT),
    "per-class": Family(per_class.Options, per_class.build, conditional=True, about=per_class.ABOUT),
}


def family(model: str) -> Family:
    """The row of a family. Raises RecipeError for an unknown one."""
    if model not in MODELS:
        raise RecipeError(f"model {model!r}", f"one of {', '.join(MODELS)}", "change model in the recipe")
    return MODELS[model]


def build(
    model: str, options: Mapping[str, Any], shape: ImageShape, classes: int, z_size: int
) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, initialised from torch's global generator (seeds.seed_layers sets it).

    Raises RecipeError for an unknown family, unknown options, or a size that does not fit.
    """
    row = family(model)
    return row.build(checked(row.options, options, model), shape, classes, z_size)


def checked(known: type[Options], options: Mapping[str, Any], model: str) -> Options:
    """The options of a family as its own model. Raises RecipeError, which names the key."""
    try:
        return known.model_validate(dict(options))
    except ValidationError as error:
        raise in_words(error, f"model {model}", known, "options.") from None


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def total_count(module: nn.Module) -> int:
    """All numbers that minting needs: parameters, frozen ones too, and the statistics of normalisation."""
    buffers = sum(b.numel() for b in module.buffers() if b.is_floating_point())
    return sum(p.numel() for p in module.parameters()) + buffers
