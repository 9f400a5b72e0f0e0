"""Networks: one file a family, generator and discriminator side by side, the paper cited.

To add a family: a file with `Options` and `build`, and one row in MODELS. `mitlgan` has no row: it is built from
trained generators (`join`), not from options alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

from pydantic import BaseModel, ValidationError
from torch import nn

from imagemint.config import in_words
from imagemint.errors import RecipeError
from imagemint.models import cdcgan, conv, dcgan, dcgan_fd, dense, mitlgan, per_class, small, wgan_gp
from imagemint.models.shapes import ImageShape as ImageShape


class Family(NamedTuple):
    """How a family is built: `build(options, shape, classes, z_size) -> (generator, discriminator)`."""

    options: type[BaseModel]
    build: Callable[[Any, ImageShape, int, int], tuple[nn.Module, nn.Module]]
    conditional: bool  # the label reaches the networks; otherwise they take labels and ignore them
    bank: bool = False  # a pair of networks for each class (per_class.Bank), which share nothing


MODELS: dict[str, Family] = {
    "cdcgan": Family(cdcgan.Options, cdcgan.build, conditional=True),
    "dcgan": Family(dcgan.Options, dcgan.build, conditional=False),
    "dense": Family(dense.Options, dense.build, conditional=False),
    "conv": Family(conv.Options, conv.build, conditional=False),
    "dcgan-fd": Family(dcgan_fd.Options, dcgan_fd.build_dcgan, conditional=False),
    "ccgan": Family(dcgan_fd.Options, dcgan_fd.build_ccgan, conditional=True),
    "wgan-gp": Family(wgan_gp.Options, wgan_gp.build, conditional=False),
    "small": Family(small.Options, small.build, conditional=True),
    "per-class": Family(per_class.Options, per_class.build, conditional=True, bank=True),
}

JOINED = "mitlgan"  # the one model whose recipe names parents
Chosen = TypeVar("Chosen", bound=BaseModel)


def build(
    model: str, options: dict[str, Any], shape: ImageShape, classes: int, z_size: int
) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator, initialised from torch's global generator (seeds.seed_layers sets it).

    G maps z `[n, z_size]` and labels int64 `[n]` to images `[n, c, h, w]` in [-1, 1]; D maps images and labels to
    logits `[n]` (`[n, classes + 1]` where options.outputs of `conv` is k+1). Raises RecipeError for an unknown
    family, unknown options, or a size that does not fit.
    """
    if model == JOINED:
        mitlgan.check_enough(0)
    if model not in MODELS:
        raise RecipeError(f"model {model!r}", f"one of {', '.join([*MODELS, JOINED])}", "change model in the recipe")
    family = MODELS[model]
    return family.build(_chosen(model, family.options, options), shape, classes, z_size)


def join(
    options: dict[str, Any], shape: ImageShape, parents: list[mitlgan.Parent]
) -> tuple[mitlgan.MitlganGenerator, wgan_gp.Discriminator]:
    """Generator and discriminator of model mitlgan around trained generators, as `build` makes those of the others.

    z is `[n, sum of the parents' z sizes]`. Raises RecipeError as `build` does, and where the parents do not fit.
    """
    return mitlgan.build(_chosen(JOINED, mitlgan.Options, options), shape, parents)


def _chosen(model: str, known: type[Chosen], options: dict[str, Any]) -> Chosen:
    try:
        return known.model_validate(options)
    except ValidationError as error:
        raise in_words(error, f"model {model}", known, "options.") from None


def parameter_count(module: nn.Module) -> int:
    """Trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def total_count(module: nn.Module) -> int:
    """All numbers that minting needs: parameters, frozen ones too, and the statistics of normalisation."""
    buffers = sum(b.numel() for b in module.buffers() if b.is_floating_point())
    return sum(p.numel() for p in module.parameters()) + buffers
