"""The training of a classifier; the same seed, data and number of threads give the same network, bit for bit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from imagemint import seeds
from imagemint.classifiers.lenet import LeNet
from imagemint.data.batches import Batches
from imagemint.images import to_images
from imagemint.progress import Advance

LEARNING_RATE = 1e-3
# System A decays by 0.95 an epoch for 500 epochs, which has all but stopped learning after 90 (0.95^90 = 0.01). Our
# reading: down to a hundredth, spread evenly over the training whatever its length, so that arms with more data are
# treated alike.
FINAL_DECAY = 0.01
BATCH = 64
AT_LEAST = 40_000  # images that a classifier sees however small its pack: 100 images x 20 epochs would not train it
_BLOCK = 8  # batches that are read and augmented in one go: part of the cost of augmentation is by the call

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def train_classifier(
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    images_seen: int,
    seed: int,
    augment: Augment | None = None,
    batch_size: int = BATCH,
    advance: Advance = lambda amount=1, note="": None,
) -> LeNet:
    """A LeNet after `images_seen` images of uint8 `[n, c, h, w]` with labels int64 `[n]` in 0..classes-1.

    Adam at 1e-3, decaying to 1e-5 over the training. Initial weights depend on `seed` and the shapes alone, not on
    the data. `augment` gets images in [-1, 1] and a generator, some batches at a time. `advance` hears of all images.
    """
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    assert labels.min() >= 0 and labels.max() < classes, "a label without a class"
    _, channels, h, w = pixels.shape
    seeds.seed_layers(seed, "classifier")
    net = LeNet(channels, (h, w), classes).train()
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True)
    generator = seeds.generator(seed, "classifier augmentation")
    order = Batches(len(pixels), seeds.derive(seed, "classifier order"))
    for block in range(0, images_seen, batch_size * _BLOCK):
        picks = order.take(block, min(batch_size * _BLOCK, images_seen - block))
        images = to_images(torch.from_numpy(pixels[picks]))
        if augment is not None:
            images = augment(images, generator)
        wanted = torch.from_numpy(labels[picks])
        for start in range(0, len(picks), batch_size):
            part = slice(start, start + batch_size)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * FINAL_DECAY ** ((block + start) / images_seen)
            loss = F.cross_entropy(net(images[part]), wanted[part])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        advance(len(picks))
    return net.eval()
