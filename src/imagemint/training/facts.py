"""What decides a training, settled before it begins: recipe, pack, parents, device, precision."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

import imagemint
from imagemint.config import Baseline, Recipe
from imagemint.data.pack import Pack
from imagemint.errors import PackError, RunError
from imagemint.losses import LOSSES
from imagemint.progress import say
from imagemint.runs import PackFacts, ParentFacts, RunFacts
from imagemint.training.feed import usable_images
from imagemint.training.parents import with_parents
from imagemint.training.state import check_parts, sees_labels


def run_facts(
    pack: Pack,
    recipe: Recipe | Baseline,
    seed: int = 0,
    device: str | None = None,
    known: Sequence[ParentFacts] = (),
) -> RunFacts:
    """Everything that decides what a training computes. Raises where recipe, parents and pack do not fit.

    `known`: the parents of a run that is continued, in case their folders are gone.
    """
    parents: list[ParentFacts] = []
    recipe.check_fits(pack.channels, pack.size)
    if isinstance(recipe, Recipe):
        check_parts(recipe)
        recipe, parents = with_parents(recipe, pack, known)
    usable = usable_images(pack, recipe, sees_labels(recipe, parents))
    _check_labels(pack, recipe, usable)
    chosen = usable_device(device)
    if isinstance(recipe, Baseline):
        if chosen != "cpu" and device:
            say(f"recipe {recipe.name} is fitted on the CPU, not on {device}")
        chosen = "cpu"
    return RunFacts(
        imagemint=imagemint.__version__,
        recipe=recipe,
        seed=seed,
        precision=_precision(recipe, chosen),
        device=chosen,
        pack=PackFacts(
            fingerprint=pack.fingerprint,
            images=len(usable),
            classes=pack.classes,
            channels=pack.channels,
            size=pack.size,
        ),
        parents=parents,
    )


def _check_labels(pack: Pack, recipe: Recipe | Baseline, usable: np.ndarray) -> None:
    counts = np.bincount(np.asarray(pack.labels) + 1, minlength=len(pack.classes) + 1)[1:]
    semi = isinstance(recipe, Recipe) and LOSSES[recipe.loss].outputs == "k+1"
    if not len(usable) or (semi and not counts.any()):
        raise PackError(f"no image of {pack.path} has a label", "labelled images", "pack a folder with classes")
    if isinstance(recipe, Recipe) and recipe.balanced and not counts.all():
        name = pack.classes[int(np.flatnonzero(counts == 0)[0])]
        raise PackError(
            f"class {name!r} of {pack.path} has no image and recipe {recipe.name} takes as many of every class",
            "images of every class",
            f"drop the class first (imagemint edit drop --classes {name})",
        )


def usable_device(device: str | None = None) -> str:
    """`device` if it is there, by default the fastest that is: cuda, mps or cpu. Raises RunError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name, is_there in there.items() if is_there]
    if device is not None and device not in found:
        problem = f"device {device} is not on this machine" if device in there else f"device {device!r}"
        raise RunError(problem, f"one of {', '.join(found)}", "leave --device out to take the fastest")
    return device or found[0]


def set_tf32(on: bool) -> None:
    """Whether CUDA may multiply fp32 as TF32, for the whole process; other devices take no notice."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch 2.9 on; it refuses a mixture of both ways
        torch.backends.cuda.matmul.fp32_precision = "tf32" if on else "ieee"
        torch.backends.cudnn.conv.fp32_precision = "tf32" if on else "ieee"  # type: ignore[attr-defined]
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def _precision(recipe: Recipe | Baseline, device: str) -> str:
    """bf16 where the hardware multiplies it natively; elsewhere it is emulated and slower than fp32."""
    if isinstance(recipe, Baseline):
        return "fp64"
    if recipe.precision != "auto":
        return recipe.precision
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return "bf16" if native else "fp32"
