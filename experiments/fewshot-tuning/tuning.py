"""Trials of settings for `fewshot` on the tuning parts of MNIST: one line of JSON per classifier.

    python experiments/fewshot-tuning/tuning.py POOLS WORK --draws 0,1,2,3 --images 250000 --mixes 500:0.5,2000:0.75

fewshot-study/pools.py writes POOLS. For each draw of 20 images per class from POOLS/tune-pool.pack: train the recipe,
mint 2,000 per class, then train LeNet on `classic`, on `mix+classic` with the first N minted of each class and a
share of real images (N:SHARE), and on `minted+classic`; test on POOLS/tune-test.pack. What WORK holds is
not made again.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np

import imagemint
from imagemint import open_pack, seeds
from imagemint.augment import classic
from imagemint.classifiers import evaluate, train_classifier
from imagemint.data.pack import Pack
from imagemint.data.rewriting import rewrite
from imagemint.studies.arms import times_seen

EACH, MINTED, CLASSIFIER_IMAGES = 20, 2000, 160_000


def drawn(pool: Pack, dest: Path, draw: int) -> Pack:
    """20 images per class."""
    if dest.exists():
        return open_pack(dest)
    labels = np.asarray(pool.labels)
    rows = [
        seeds.rng(31, f"tuning draw {k}", draw).permutation(np.flatnonzero(labels == k))[:EACH]
        for k in range(len(pool.classes))
    ]
    return rewrite(pool, dest, "draw", {"draw": draw}, order=np.sort(np.concatenate(rows)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--draws", default="0,1,2,3")
    parser.add_argument("--images", type=int, default=250_000)
    parser.add_argument("--mixes", default="500:0.5,2000:0.75")
    parser.add_argument("--recipe", default="fewshot")
    options = parser.parse_args()
    pool, test = (open_pack(options.pools / f"tune-{part}.pack") for part in ("pool", "test"))
    mixes = [(int(count), float(share)) for count, share in (each.split(":") for each in options.mixes.split(","))]
    for draw in map(int, options.draws.split(",")):
        real = drawn(pool, options.work / f"draw{draw}.pack", draw)
        run = imagemint.train(real, options.recipe, options.work / f"run{draw}", images=options.images, resume=True)
        dest = options.work / f"minted{draw}-{options.images}.pack"
        minted = open_pack(dest) if dest.exists() else imagemint.mint(run, dest, per_class=MINTED)
        k = len(pool.classes)
        ordinal = np.tile(np.arange(MINTED), k)  # minted images come class by class

        def score(name: str, pixels: np.ndarray, labels: np.ndarray, draw: int = draw, k: int = k) -> None:
            seed = seeds.derive(5, "clf", 0)
            augment = partial(classic, flips=False)
            net = train_classifier(pixels, labels, k, images_seen=CLASSIFIER_IMAGES, seed=seed, augment=augment)
            accuracy = evaluate(net, test.pixels[:], np.asarray(test.labels)).accuracy
            found = {"draw": draw, "images": options.images, "arm": name, "accuracy": round(100 * accuracy, 2)}
            print(json.dumps(found), flush=True)

        score("classic", real.pixels[:], np.asarray(real.labels))
        for count, share in mixes:
            some = ordinal < count
            times = times_seen(len(real), int(some.sum()), share)
            pixels = np.concatenate([real.pixels, minted.pixels[some]])
            labels = np.concatenate([real.labels, np.asarray(minted.labels)[some]])
            score(f"mix+classic {count}:{share}", np.repeat(pixels, times, 0), np.repeat(labels, times, 0))
        score("minted+classic", minted.pixels[:], np.asarray(minted.labels))


if __name__ == "__main__":
    main()
