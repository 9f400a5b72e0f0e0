"""Classifier scores of PCA's images by a judge that has seen none of the images that PCA was fitted on.

    imagemint train mnist-10k.pack --recipe pca --set components=1 --run pca-1     # and 4, 16, 32, 64, 784; and ppca
    imagemint mint pca-1 pca-1.pack --per-class 1000
    python experiments/pca/scores.py mnist.pack mnist-10k.pack pca-1.pack ... --strip strip.png

The judge is a LeNet after 5 passes over the images of the first pack that are not in the second (50,000 of MNIST's).
It also judges reconstructions from one PCA for all classes together, the other way to read Rzayev & Weldegebriel,
section 5.1. `--strip` draws two images of each class, one row per minted pack; a column of `pca` rows shows the same
training image.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from imagemint.classifiers import evaluate, train_classifier
from imagemint.data.duplicates import digests
from imagemint.data.pack import Pack, open_pack
from imagemint.images import grid, save_png, to_pixels
from imagemint.methods.linear import principal_axes

EPOCHS = 5  # as in Rzayev & Weldegebriel, section 3.3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("all")
    parser.add_argument("fitted", help="what PCA was fitted on, a part of ALL")
    parser.add_argument("minted", nargs="*")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--strip", type=Path)
    options = parser.parse_args()
    whole, fitted = open_pack(options.all), open_pack(options.fitted)
    minted = [open_pack(path) for path in options.minted]
    if options.strip:
        strip(minted, options.strip)
    others = np.flatnonzero(~np.isin(digests(whole), digests(fitted)))
    judge = train_classifier(
        whole.pixels[others],
        np.asarray(whole.labels)[others],
        len(whole.classes),
        images_seen=EPOCHS * len(others),
        seed=options.seed,
    )

    def say(name: str, pixels: np.ndarray, labels: np.ndarray) -> None:
        print(f"{name:<28} {100 * evaluate(judge, pixels, np.asarray(labels)).accuracy:6.2f} %", flush=True)

    say(f"real ({fitted.path.name})", fitted.pixels[:], fitted.labels)
    for pack in minted:
        say(pack.path.name, pack.pixels[:], pack.labels)
    found = principal_axes(np.array(fitted.pixels), 64)
    for n in (1, 4, 16, 64):
        made = (found.codes[:, :n] @ found.axes[:n] + found.mean).view(fitted.pixels.shape)
        say(f"all classes together, {n}", to_pixels(made.to(torch.float32)).numpy(), fitted.labels)


def strip(packs: list[Pack], path: Path) -> None:
    two = [np.concatenate([np.flatnonzero(pack.labels == k)[:2] for k in range(len(pack.classes))]) for pack in packs]
    tiles = np.concatenate([pack.pixels[rows] for pack, rows in zip(packs, two, strict=True)])
    save_png(grid(tiles, len(two[0])), path)


if __name__ == "__main__":
    main()
