"""Which images of a pack a training sees, and in what order."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from imagemint import devices, images, seeds
from imagemint.data.batches import Batches
from imagemint.data.pack import Pack
from imagemint.devices import on_device
from imagemint.losses import LOSSES
from imagemint.metrics.judge import JudgeSplit
from imagemint.training.choice import hold_out
from imagemint.training.recipe import Recipe
from imagemint.training.state import Gan


class Feed:
    """The images of a pack that a recipe can use, batch by batch, addressed by images seen.

    They stay uint8 till then: on the disk, or on the device where that has room for the whole pack. A batch is drawn
    from the whole pack; or, where the recipe is `balanced`, as much from every class, class by class; or, where it is
    semi-supervised and some images have no label, from both kinds in `labelled_share`. Where the best weights are
    wanted, images are held out to choose them by, and neither they nor exact copies of them are ever fed.
    """

    def __init__(self, pack: Pack, gan: Gan) -> None:
        self.pack, self.device, self.batch_size, self.ranks = pack, gan.device, gan.batch, gan.ranks
        self.resident = _resident(pack, gan.device) if devices.holds(gan.device, int(pack.pixels.nbytes)) else None
        self.held_out = hold_out(pack, gan.recipe, gan.seed)
        parts = _parts(pack, gan, self.held_out)
        gan.ranks.check_shares([count for _, count in parts])
        orders = [gan.seed] if len(parts) == 1 else [seeds.derive(gan.seed, "part", k) for k in range(len(parts))]
        self.parts = [
            (indices, Batches(len(indices), seed), count)
            for (indices, count), seed in zip(parts, orders, strict=True)
        ]

    def indices(self) -> np.ndarray:
        """Indices of the images that the networks ever see, int64, ascending."""
        return np.sort(np.concatenate([indices for indices, _, _ in self.parts]))

    def batch(self, images_seen: int) -> tuple[Tensor, Tensor]:
        """Images float `[n, c, h, w]` in [-1, 1] and labels int64 `[n]`, -1 where there is none: this rank's rows."""
        batches = images_seen // self.batch_size
        chosen = [indices[order.take(batches * count, count)] for indices, order, count in self.parts]
        picks = self.ranks.mine(np.concatenate(chosen))
        if self.resident is None:
            pixels = on_device(torch.from_numpy(self.pack.pixels[picks]), self.device)
        else:
            pixels = self.resident[on_device(torch.from_numpy(picks), self.device)]
        return images.to_images(pixels), on_device(torch.from_numpy(self.pack.labels[picks]), self.device)


def _resident(pack: Pack, device: torch.device) -> Tensor:
    """All pixels of a pack on a device, uint8 `[n, c, h, w]`."""
    pixels = torch.empty(pack.pixels.shape, dtype=torch.uint8, device=device)
    for index in pack.blocks():
        pixels[index[0] : index[-1] + 1] = torch.from_numpy(pack.read(index)).to(device)
    return pixels


def usable_images(pack: Pack, recipe: Recipe, sees_labels: bool) -> np.ndarray:
    """Indices of the images that a recipe can learn from: all, or those with a label where batches need labels."""
    needs_labels = (sees_labels and not LOSSES[recipe.loss].triple) or recipe.balanced
    return np.flatnonzero(np.asarray(pack.labels) >= 0) if needs_labels else np.arange(len(pack))


def _parts(pack: Pack, gan: Gan, held_out: JudgeSplit | None) -> list[tuple[np.ndarray, int]]:
    """Which images make up a batch, and how many of each kind."""
    recipe, batch = gan.recipe, gan.batch
    labels, usable = np.asarray(pack.labels), usable_images(pack, recipe, gan.sees_labels)
    if held_out is not None:
        usable = np.setdiff1d(usable, np.union1d(held_out.held_out, held_out.twins))
    if recipe.balanced:
        return [(usable[labels[usable] == k], recipe.batch_size) for k in range(len(pack.classes))]
    without = usable[labels[usable] < 0]
    if LOSSES[recipe.loss].semi_supervised and len(without):
        count = min(max(round(batch * recipe.labelled_share), 1), batch - 1)
        return [(usable[labels[usable] >= 0], count), (without, batch - count)]
    return [(usable, batch)]
