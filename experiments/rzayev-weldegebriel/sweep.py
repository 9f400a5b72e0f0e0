"""Learning rates and batch sizes of the classifier, as Rzayev & Weldegebriel swept them: one study for each pair.

    python experiments/rzayev-weldegebriel/sweep.py mnist-train.pack mnist-test.pack OUT

Prints a table of mean test accuracies in per cent, learning rates down and batch sizes across.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imagemint import study

RATES = (1e-4, 1e-3, 3e-3, 1e-2)
SIZES = (16, 64, 256)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--images", type=int, default=6_000, help="that each classifier sees")
    options = parser.parse_args()
    print("learning rate |", " | ".join(f"batches of {size}" for size in SIZES))
    for rate in RATES:
        means = []
        for size in SIZES:
            found = study(
                options.train,
                options.test,
                None,
                options.out / f"{rate:g}-{size}",
                arms=["real"],
                budgets=[options.per_class],
                repeats=options.repeats,
                classifier_learning_rate=rate,
                classifier_batch_size=size,
                classifier_images=options.images,
                classifier_epochs=1,
            )
            means.append(100 * float(np.mean([row.accuracy for row in found.rows])))
        print(f"{rate:g} |", " | ".join(f"{mean:.1f}" for mean in means), flush=True)


if __name__ == "__main__":
    main()
