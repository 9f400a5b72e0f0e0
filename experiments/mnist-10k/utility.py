"""The utility experiment of Baker 2018, section 5.6.2: LeNet on real images, on minted ones, and on both.

    imagemint pack DATA/mnist mnist.pack --split train
    imagemint pack DATA/mnist mnist-test.pack --split test
    imagemint edit slice mnist.pack mnist-10k.pack --per-class 1000
    imagemint train mnist-10k.pack --recipe cdcgan --run cdcgan-10k
    imagemint mint cdcgan-10k minted-10k.pack --per-class 1000
    imagemint measure minted-10k.pack --against mnist-10k.pack --json > measures.json
    python experiments/mnist-10k/utility.py mnist-10k.pack minted-10k.pack mnist-test.pack

Every classifier sees as many images, whatever its arm (by default 200,000: 20 passes over 10,000), and is tested on
MNIST's test images; three seeds each.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

import imagemint
from imagemint.classifiers import evaluate, train_classifier


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("real")
    parser.add_argument("minted")
    parser.add_argument("test")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images-seen", type=int, default=200_000)
    parser.add_argument("--arms", default="real,minted,mix")
    options = parser.parse_args()
    real, minted, test = (imagemint.open_pack(path) for path in (options.real, options.minted, options.test))
    known = {"real": [real], "minted": [minted], "mix": [real, minted]}
    arms = {name: known[name] for name in options.arms.split(",")}
    accuracies: dict[str, list[float]] = {name: [] for name in arms}
    for seed in range(options.seeds):
        for name, packs in arms.items():
            pixels = np.concatenate([pack.pixels for pack in packs])
            labels = np.concatenate([pack.labels for pack in packs])
            net = train_classifier(pixels, labels, 10, images_seen=options.images_seen, seed=seed)
            accuracies[name].append(evaluate(net, test.pixels[:], np.asarray(test.labels)).accuracy)
            print(f"{name:<7} seed {seed}: {100 * accuracies[name][-1]:.2f} %", flush=True)
    medians = {name: float(np.median(values)) for name, values in accuracies.items()}
    print(json.dumps({"accuracy": accuracies, "median": medians}))


if __name__ == "__main__":
    main()
