"""GANs: one generator and one discriminator, of any family of networks. `method` makes the other kinds too."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel

from imagemint.checkpoints import load_weights, read_tensors
from imagemint.data.pack import Pack
from imagemint.devices import native_precision, set_tf32, usable_device
from imagemint.errors import RecipeError
from imagemint.losses import LOSSES
from imagemint.methods.base import Asked, Method, Sketch, members, settled
from imagemint.minter import Minter, NetworkMinter
from imagemint.models import MODELS, ImageShape, build
from imagemint.models.narrow import has_narrow_maps
from imagemint.progress import say
from imagemint.runfolder import Run, RunFacts
from imagemint.training.feed import Feed, usable_images
from imagemint.training.loop import train_from_folder
from imagemint.training.ranks import Ranks
from imagemint.training.recipe import Recipe
from imagemint.training.state import ONE_GAN, Kind, gan_recipe, image_shape, new_gan, saved_generator


def method(
    models: Collection[str],
    about: str,
    kind: Kind,
    *,
    recipe: type[Recipe] = Recipe,
    facts: type[RunFacts] = RunFacts,
    own: Callable[[Pack, Any, Asked], tuple[Recipe, dict[str, Any]]] = lambda pack, recipe, asked: (recipe, {}),
    sketch: Callable[[Any, ImageShape, int], Sketch] | None = None,
    options: type[BaseModel] | None = None,
) -> Method:
    """A method that trains GANs. `own` gives the recipe as it is trained, and the method's own facts."""

    def settle(pack: Pack, wanted: Recipe, asked: Asked) -> RunFacts:
        wanted.check_fits(pack.channels, pack.size)
        wanted, extra = own(pack, wanted, asked)
        device = usable_device(asked.device)
        precision = native_precision(device) if wanted.precision == "auto" else wanted.precision
        made = settled(facts, pack, wanted, len(pack), asked, device=device, precision=precision, **extra)
        if (device, precision) == ("cpu", "bf16"):
            made = _precise_enough(made, kind)
        labels_matter = kind.sees_labels(made) or wanted.balanced
        if labels_matter or LOSSES[wanted.loss].semi_supervised:
            members(pack)
        images = len(usable_images(pack, wanted, labels_matter))
        return made.model_copy(update={"pack": made.pack.model_copy(update={"images": images})})

    def prepare(pack: Pack, made: RunFacts, ranks: Ranks, begins: bool) -> Callable[[Run], None]:
        ranks.take_device(made.device)
        gan = new_gan(made, ranks, kind)
        set_tf32(gan.recipe.tf32)
        if begins:
            kind.begin(gan, made)
        feed = Feed(pack, gan)
        if len(pack.classes) > 1 and not gan.sees_labels:
            say(f"model {gan.recipe.model} does not look at labels: what it mints will have none")
        return lambda run: train_from_folder(gan, feed, run, kind)

    def load(run: Run, checkpoint: Path, device: str) -> Minter:
        state, wanted = run.state(checkpoint), gan_recipe(run.facts)
        generator, _ = kind.networks(run.facts)
        weights = read_tensors(checkpoint, "weights", state.weights)
        load_weights(generator, saved_generator(run, state), weights, checkpoint)
        generator.to(torch.device(device)).requires_grad_(False).eval()
        return NetworkMinter(generator, wanted.z_size, wanted.noise, device)

    return Method(
        models=models,
        about=about,
        recipe=recipe,
        facts=facts,
        settle=settle,
        prepare=prepare,
        load=load,
        sees_labels=kind.sees_labels,
        sketch=sketch or _sketch,
        options=options,
    )


def _precise_enough(made: RunFacts, kind: Kind) -> RunFacts:
    """The same in fp32 where gradients in bf16 are wrong (`models.narrow`), unless the recipe insists on bf16."""
    recipe = gan_recipe(made)
    generator, discriminator = kind.networks(made)
    labels = torch.zeros(2, dtype=torch.int64)
    inputs = {generator: torch.zeros(2, recipe.z_size), discriminator: torch.zeros(2, *image_shape(made))}
    if not any(has_narrow_maps(network, given, labels) for network, given in inputs.items()):
        return made
    if recipe.precision == "bf16":
        h, w = made.pack.size
        raise RecipeError(
            f"precision bf16 and recipe {recipe.name} on {h}x{w} images, which it halves to a single pixel",
            "fp32: bf16 gradients of such maps are wrong on a CPU",
            "leave precision out, or set it to fp32",
        )
    return made.model_copy(update={"precision": "fp32"})


def _sketch(recipe: Recipe, shape: ImageShape, classes: int) -> Sketch:
    return Sketch(*build(recipe.model, recipe.options, shape, classes, recipe.z_size), recipe.z_size)


METHOD = method(MODELS, "a generator and a discriminator against each other", ONE_GAN)
