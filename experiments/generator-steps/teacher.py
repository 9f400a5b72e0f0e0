"""LeNet on minted images alone: with the labels asked for, and with those of a teacher of the real images.

    imagemint train mnist.pack --recipe cdcgan-balanced --run balanced
    imagemint mint balanced minted-60k.pack --per-class 6000
    imagemint mint balanced minted-240k.pack --per-class 24000
    python experiments/generator-steps/teacher.py mnist.pack mnist-test.pack rows.jsonl minted-*.pack

Every classifier sees as many images. The teacher is the mean of the classifiers that learned the real images; it
gives each minted image a probability for every class. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import imagemint
from imagemint import files
from imagemint.classifiers import Classifier, evaluate, train_classifier


def probabilities(teachers: Sequence[Classifier], pixels: np.ndarray) -> np.ndarray:
    """The mean over the teachers, float64 `[n, classes]`."""
    return np.mean([np.exp(teacher.log_probabilities(pixels)) for teacher in teachers], axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real")
    parser.add_argument("test")
    parser.add_argument("rows", type=Path)
    parser.add_argument("minted", nargs="+")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images-seen", type=int, default=400_000)
    options = parser.parse_args()
    real, test = imagemint.open_pack(options.real), imagemint.open_pack(options.test)
    done = {(row["images"], row["labels"], row["seed"]) for row in files.read_lines(options.rows)}

    def teach(pixels: np.ndarray, labels: np.ndarray, images: str, kind: str, seed: int) -> Classifier:
        classes = len(real.classes)
        net = train_classifier(pixels, labels, classes, images_seen=options.images_seen, seed=seed)
        accuracy = 100 * evaluate(net, test.pixels[:], np.asarray(test.labels)).accuracy
        row = {"images": images, "labels": kind, "seed": seed, "accuracy": round(accuracy, 2)}
        print(row, flush=True)
        if (images, kind, seed) not in done:
            files.append_line(options.rows, row)
        return net

    seeds = range(options.seeds)
    teachers = [teach(real.pixels[:], np.asarray(real.labels), "real", "own", seed) for seed in seeds]
    for path in options.minted:
        minted = imagemint.open_pack(path)
        name = f"{len(minted):,} minted"
        labels = {"teacher": probabilities(teachers, minted.pixels[:]), "asked for": np.asarray(minted.labels)}
        for kind, given in labels.items():
            for seed in seeds:
                if (name, kind, seed) not in done:
                    teach(minted.pixels[:], given, name, kind, seed)


if __name__ == "__main__":
    main()
