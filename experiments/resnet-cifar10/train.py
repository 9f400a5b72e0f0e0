"""ResNet-20 on all of CIFAR-10, to see whether `resnet` is a fair classifier.

    imagemint pack cifar10.zip cifar-train.pack --split train
    imagemint pack cifar10.zip cifar-test.pack --split test
    OMP_NUM_THREADS=1 python experiments/resnet-cifar10/train.py cifar-train.pack cifar-test.pack rows.jsonl

Mirrored and shifted by up to 4 pixels, by parts of pixels or (`--whole-pixels`, as He et al. 2016 did) not; 24 passes
with the learning rate falling evenly, where they took 164. One seed. The test images are looked at along the way and
nothing is chosen by them.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from imagemint import open_pack
from imagemint.augment import Movement, affine
from imagemint.classifiers import ClassifierPlan, evaluate, train_classifier
from imagemint.files import append_line

SHIFT = 4  # pixels


def whole_pixels(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirrored and shifted by whole pixels, zeros outside, as He et al. 2016: float `[n, c, h, w]` -> the same."""
    n, _, h, w = images.shape
    flipped = torch.rand(n, generator=generator) < 0.5
    images = torch.where(flipped[:, None, None, None], images.flip(-1), images)
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, n), generator=generator)
    windows = F.pad(images, (SHIFT,) * 4).unfold(2, h, 1).unfold(3, w, 1)  # [n, c, 9, 9, h, w]
    return windows[torch.arange(n), :, down, right]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train")
    parser.add_argument("test")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--epochs", type=float, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--whole-pixels", action="store_true", help="shift by whole pixels, which blurs nothing")
    parser.add_argument("--decay", default="even", help="of the learning rate: even, epoch, constant or cosine")
    options = parser.parse_args()
    train, test = open_pack(options.train), open_pack(options.test)
    pixels, labels = np.asarray(train.pixels), np.asarray(train.labels)
    watched = {"test": (np.asarray(test.pixels), np.asarray(test.labels))}
    movement = Movement(shift=SHIFT / 32, rotate=0, shear=0, zoom=0)
    moves = whole_pixels if options.whole_pixels else partial(affine, movement=movement, flips=True)
    plan = ClassifierPlan(classifier="resnet", batch_size=128, epochs=options.epochs, decay=options.decay)
    trained = train_classifier(
        pixels,
        labels,
        len(train.classes),
        images_seen=plan.images_seen(len(train)),
        seed=options.seed,
        plan=plan,
        augment=moves,
        watched=watched,
    )
    for line in trained.history:
        append_line(options.rows, line)
    found = evaluate(trained, *watched["test"])
    print(f"test accuracy {found.accuracy:.4f}, log loss {found.loss:.4f}")


if __name__ == "__main__":
    main()
