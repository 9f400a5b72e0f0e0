"""Images per second that a classifier of a study learns from, in fp32 and in bf16.

    python benchmarks/classifiers.py [--turns 5] [--images 6400]

Both precisions take turns on the same images, one thread, processor time, with the augmentation of arm `classic`;
ratios are taken turn by turn. Without AVX-512 bf16 or AMX, bf16 is emulated and slower: a study takes fp32 there.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch

from imagemint.augment import classic
from imagemint.classifiers import make_plan, train_classifier
from imagemint.devices import native_precision

CASES = (("lenet", 1, 28), ("lenet", 3, 32), ("cnn5", 3, 64), ("resnet", 3, 32), ("resnet", 3, 64))


def rate(classifier: str, precision: str, pixels: np.ndarray, labels: np.ndarray, images: int) -> float:
    """Images per second of processor time."""
    plan = make_plan(classifier=classifier, precision=precision)
    began = time.process_time()
    train_classifier(pixels, labels, 10, images_seen=images, seed=0, plan=plan, augment=classic)
    return images / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=6400)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}; this processor's own precision: {native_precision('cpu')}")
    rng = np.random.default_rng(0)
    for classifier, channels, size in CASES:
        pixels = rng.integers(0, 256, (1000, channels, size, size), dtype=np.uint8)
        labels = rng.integers(0, 10, 1000)
        images = options.images if classifier == "lenet" else options.images // 4
        rate(classifier, "bf16", pixels, labels, 640)  # what is loaded and set up once
        turns = [
            [rate(classifier, precision, pixels, labels, images) for precision in ("fp32", "bf16")]
            for _ in range(options.turns)
        ]
        ratios = sorted(bf16 / fp32 for fp32, bf16 in turns)
        fp32, bf16 = (statistics.median(each) for each in zip(*turns, strict=True))
        print(
            f"| `{classifier}`, {size} pixels, {'colour' if channels == 3 else 'gray'} | {fp32:.0f} | {bf16:.0f} | "
            f"**{statistics.median(ratios):.2f}** ({ratios[0]:.2f}-{ratios[-1]:.2f}) |",
            flush=True,
        )


if __name__ == "__main__":
    main()
