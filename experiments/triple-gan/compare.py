"""Few labels of many images: LeNet, a semi-supervised GAN and a Triple-GAN on scikit-learn's 8x8 digits.

    python experiments/triple-gan/compare.py WORK [--seeds 2] [--images 12000]

Of the first 1,000 digits ten per class, drawn anew with each seed, keep their label; the other 797 are the test
images, and nothing is chosen by them. Each method sees so many images. One JSON line each; the runs are in WORK.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

import imagemint
from imagemint.augment import classic
from imagemint.classifiers import evaluate, train_classifier
from imagemint.data.edit import filter, unlabel
from imagemint.data.pack import Pack, open_pack
from imagemint.labelling import class_probabilities

LEARNED, LABELS = 1000, 10
SETTINGS: dict[str, dict[str, Any]] = {
    "sgan-mnist": {"batch_size": 64},
    "triple-gan": {"batch_size": 64, "smallest": 8},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--images", type=int, default=12_000)
    options = parser.parse_args()
    digits = open_pack(imagemint.pack("digits", options.work / "digits.pack").path)
    (options.work / "learn.txt").write_text("\n".join(map(str, range(LEARNED))))
    learn = filter(digits, options.work / "learn.pack", file=options.work / "learn.txt")
    pixels, labels = np.array(digits.pixels[LEARNED:]), np.array(digits.labels[LEARNED:])
    for seed in range(options.seeds):
        few = unlabel(learn, options.work / f"few-{seed}.pack", LABELS, seed=seed)
        for row in rows(few, pixels, labels, options, seed):
            print(json.dumps(row), flush=True)


def rows(few: Pack, pixels: np.ndarray, labels: np.ndarray, options: argparse.Namespace, seed: int) -> Any:
    """One row per method: accuracy on the test images."""
    known = np.flatnonzero(np.asarray(few.labels) >= 0)
    some = np.array(few.pixels[known]), np.array(few.labels[known])
    for name, augment in (("lenet", None), ("lenet, classic", classic)):
        net = train_classifier(*some, len(few.classes), images_seen=options.images, seed=seed, augment=augment)
        yield {"method": name, "seed": seed, "accuracy": round(evaluate(net, pixels, labels).accuracy, 4)}
    for name, settings in SETTINGS.items():
        run = imagemint.train(
            few, name, options.work / f"{name}-{seed}", seed=seed, images=options.images, **settings
        )
        right = class_probabilities(run, pixels).argmax(1) == labels
        yield {"method": name, "seed": seed, "accuracy": round(float(right.mean()), 4)}


if __name__ == "__main__":
    main()
