"""MNIST's training images in three disjoint parts: settings are chosen on two, the final table draws from the third.

    python experiments/fewshot-study/pools.py mnist-train.pack OUT

Writes OUT/tune-pool.pack, OUT/tune-test.pack and OUT/final-pool.pack.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from imagemint import open_pack, seeds
from imagemint.data.rewriting import rewrite

EACH = 1000  # images per class in each of the two tuning parts


def main() -> None:
    pack, out = open_pack(sys.argv[1]), Path(sys.argv[2])
    labels = np.asarray(pack.labels)
    parts: dict[str, list[np.ndarray]] = {"tune-pool": [], "tune-test": [], "final-pool": []}
    for k in range(len(pack.classes)):
        order = seeds.rng(77, f"fewshot tuning {k}").permutation(np.flatnonzero(labels == k))
        for name, rows in zip(parts, np.split(order, [EACH, 2 * EACH]), strict=True):
            parts[name].append(rows)
    for name, chosen in parts.items():
        rewrite(pack, out / f"{name}.pack", "fewshot part", {"part": name}, order=np.sort(np.concatenate(chosen)))


if __name__ == "__main__":
    main()
