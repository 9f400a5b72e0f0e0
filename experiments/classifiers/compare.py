"""Every classifier on few real images per class, augmented classically: test accuracy and seconds.

    python experiments/classifiers/compare.py TRAIN.pack TEST.pack --per-class 20 100 --images 20000

The first images per class of the training pack are learned, one seed; 3,000 test images, drawn with seed 0.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch

from imagemint.augment import classic
from imagemint.classifiers import CLASSIFIERS, ClassifierPlan, evaluate, train_classifier
from imagemint.data.pack import open_pack

ASKED = 3_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("--per-class", type=int, nargs="+", default=[20, 100])
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--flips", action="store_true")
    parser.add_argument("--classifiers", nargs="+", default=list(CLASSIFIERS))
    given = parser.parse_args()
    torch.set_num_threads(1)
    train, test = open_pack(given.train), open_pack(given.test)
    names = np.array([train.classes.index(name) for name in test.classes])
    asked = np.sort(np.random.default_rng(0).permutation(len(test))[:ASKED])
    pixels, labels = test.pixels[asked], names[test.labels[asked]]
    known = np.asarray(train.labels)
    for count in given.per_class:
        rows = np.concatenate([np.flatnonzero(known == k)[:count] for k in range(len(train.classes))])
        for name in given.classifiers:
            started = time.process_time()
            net = train_classifier(
                train.pixels[rows],
                known[rows],
                len(train.classes),
                images_seen=given.images,
                seed=0,
                plan=ClassifierPlan(classifier=name),
                augment=partial(classic, flips=given.flips),
            )
            seconds = time.process_time() - started
            accuracy = evaluate(net, pixels, labels).accuracy
            print(f"{count} per class, {name}: {accuracy:.1%}, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
