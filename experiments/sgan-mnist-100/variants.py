"""What else might lower the error with 100 labels of MNIST, tried without the generator on one tuning draw.

    python experiments/sgan-mnist-100/variants.py mnist-train.pack "as it is" >> variants.jsonl       # and so on

D of `sgan-consistent` learns from 100 labels and from views of the other images as the recipe says, and a variant
changes one thing. One line of JSON per 100,000 images seen: the share of the training images that the averaged D
names wrongly. Its labels (draw 10) are none of those that the page tests, and no test image is read.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from dataclasses import dataclass

import numpy as np
import torch
from spread import COMPONENTS, spread
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint import open_pack
from imagemint.augment import AUGMENTATIONS, CLASSIC, HARDER, Movement, Ranges, affine, augment
from imagemint.models.semi import Options, build
from imagemint.models.shapes import ImageShape

SEED, KEPT, CLASSES = 10, 10, 10  # the draw, labels per class
BATCH, LABELLED, RATE, AVERAGED, SURE = 128, 32, 0.001, 20_000, 0.95  # as in the recipe
LOOK, ROWS = 100_000, 2000


@dataclass(frozen=True)
class Variant:
    """One change of the recipe."""

    strong: Ranges = AUGMENTATIONS["strong"]
    weak: Movement = CLASSIC
    aligned: bool = False  # classes that are named too rarely are named more readily (Berthelot et al. 2020)
    falling: bool = False  # the rate falls in a straight line
    graph: float = 0.0  # share of the images whose labels come from a graph of neighbours
    until: float = 1.0  # share of the training in which those count


VARIANTS = {
    "as it is": Variant(),
    "classes aligned": Variant(aligned=True),
    "every strong view moved far": Variant(strong=Ranges(harder=HARDER, harder_share=1.0, cutout=10 / 28)),
    "and distorted": Variant(strong=Ranges(harder=HARDER, harder_share=1.0, cutout=10 / 28, elastic=0.1)),
    "larger squares, weak views half as far": Variant(
        Ranges(harder=HARDER, harder_share=1.0, cutout=0.5), Movement(shift=0.05, rotate=6, shear=0.075, zoom=0.06)
    ),
    "rate falling to 0": Variant(falling=True),
    "labels from a graph, a quarter": Variant(graph=0.25),
    "labels from a graph, a half": Variant(graph=0.5),
    "labels from a graph, a quarter, at first": Variant(graph=0.25, until=0.25),
}


def from_graph(images: Tensor, labels: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the surest `share` of each class, and the classes that a graph of neighbours gives all images."""
    flat = (images.flatten(1) + 1) / 2
    flat = flat - flat.mean(0)
    torch.manual_seed(0)
    found = spread(flat @ torch.pca_lowrank(flat, COMPONENTS, center=False, niter=3)[2], labels, CLASSES)
    found[labels >= 0] = 2 * np.eye(CLASSES)[labels[labels >= 0]]
    named, sure = found.argmax(1), found.max(1)
    members = [np.flatnonzero(named == k) for k in range(CLASSES)]
    each = int(share * len(images) / CLASSES)
    return np.sort(np.concatenate([rows[np.argsort(-sure[rows])][:each] for rows in members])), named


def main(path: str, name: str, length: int = 400_000) -> None:
    """Train, and look every LOOK images."""
    torch.set_num_threads(1)
    variant, pack, rng = VARIANTS[name], open_pack(path), np.random.default_rng(SEED)
    images, truth = torch.from_numpy(pack.pixels[:].copy()).float() / 127.5 - 1, np.asarray(pack.labels).astype(int)
    given = np.concatenate([rng.permutation(np.flatnonzero(truth == k))[:KEPT] for k in range(CLASSES)])
    rows, labels = given, truth
    if variant.graph:
        known = np.full(len(truth), -1)
        known[given] = truth[given]
        rows, labels = from_graph(images, known, variant.graph)
    others = np.setdiff1d(np.arange(len(truth)), given)
    torch.manual_seed(SEED)
    _, judge = build(Options(), ImageShape(1, 28, 28), CLASSES, 100)
    average = copy.deepcopy(judge).requires_grad_(False).eval()
    optimizer = torch.optim.Adam(judge.parameters(), lr=RATE, betas=(0.5, 0.999))
    draws, shares = torch.Generator().manual_seed(SEED), torch.full((CLASSES,), 1 / CLASSES)
    order, at, started, seen, look = rng.permutation(others), 0, time.process_time(), 0, LOOK
    while seen < length:
        if variant.falling:
            optimizer.param_groups[0]["lr"] = RATE * max(0.01, 1 - seen / length)
        if at + BATCH - LABELLED > len(order):
            order, at = rng.permutation(others), 0
        batch, at = images[order[at : at + BATCH - LABELLED]], at + BATCH - LABELLED
        if seen >= variant.until * length:
            rows, labels = given, truth
        chosen = rows[rng.integers(0, len(rows), LABELLED)]
        weak, strong = affine(batch, draws, variant.weak), augment(batch, draws, variant.strong)
        moved = affine(images[chosen], draws, CLASSIC)
        with torch.autocast("cpu", torch.bfloat16):
            with torch.no_grad():
                found = logits(average, weak).softmax(1)
            out = logits(judge, torch.cat([moved, strong]))
        if variant.aligned:
            shares = 0.99 * shares + 0.01 * found.mean(0)
            found = F.normalize(found / shares, p=1, dim=1)
        sure, classes = found.max(1)
        agreement = F.cross_entropy(out[LABELLED:], classes, reduction="none") * (sure >= SURE)
        loss = F.cross_entropy(out[:LABELLED], torch.from_numpy(labels[chosen])) + agreement.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for slow, fast in zip(average.parameters(), judge.parameters(), strict=True):
                slow.lerp_(fast, 1 - 0.5 ** (BATCH / AVERAGED))
        seen += BATCH
        if seen >= look:
            look += LOOK
            line = {"variant": name, "images_seen": seen, "error": wrong(average, images, truth)}
            print(json.dumps(line | {"seconds": round(time.process_time() - started)}), flush=True)


def logits(network: nn.Module, images: Tensor) -> Tensor:
    """Of the classes alone, float32 `[n, classes]`."""
    found: Tensor = network(images, None).float()[:, :CLASSES]
    return found


def wrong(network: nn.Module, images: Tensor, truth: np.ndarray) -> float:
    """Per cent of the images that the network names wrongly."""
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        named = torch.cat([logits(network, block).argmax(1) for block in images.split(ROWS)])
    return round(100 * float((named.numpy() != truth).mean()), 2)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
