"""Which share of what a classifier sees should be real, and when? One line of JSON per classifier.

    python experiments/worth/shares.py pools work rows-shares.jsonl            # after bounds.py, whose GANs it takes
    python experiments/worth/shares.py pools work rows-shares.jsonl --table

The draws, the minted images, the classifier and its seeds are those of bounds.py. A constant share says how often a
real image is seen for each minted one; a rising one starts there and goes to 1 in a straight line, so that a share
that rises from 0.4 shows as many real images in all as a constant 0.7. `elastic` and `strong` with parts of two
images of one class, which need no minted images, stand beside it. Rows that are there are not computed again.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from bounds import BUDGETS, DRAWS, SEEN, Cell, compared, read

from imagemint import open_pack, seeds
from imagemint.augment import AUGMENTATIONS, augment, mix
from imagemint.classifiers import evaluate, train_classifier
from imagemint.data.batches import RisingBatches
from imagemint.studies.arms import times_seen

CONTROL = "0.7"
SHARES = {"0.3": 0.3, "0.5": 0.5, CONTROL: 0.7, "0.9": 0.9}
RISING = {"rising from 0.4": 0.4}
CLASSMIX = AUGMENTATIONS["classmix"]
FREE = {
    "strong+classmix": AUGMENTATIONS["strong+classmix"],
    "elastic+classmix": replace(AUGMENTATIONS["elastic"], mixing=CLASSMIX.mixing, mixed=CLASSMIX.mixed),
}


def accuracy(arm: str, cell: Cell, test: tuple[np.ndarray, np.ndarray]) -> float:
    """Of LeNet on the test images, 0 to 1."""
    seed = seeds.derive(5, "bounds", 10 * cell.draw)  # as seed 0 of bounds.py
    ranges = FREE.get(arm, AUGMENTATIONS["classic"])
    learn = partial(
        train_classifier,
        images_seen=SEEN,
        seed=seed,
        augment=partial(augment, ranges=ranges),
        mix=partial(mix, ranges=ranges) if ranges.mixing != "none" else None,
    )
    real = cell.images(cell.rows()[0])
    if arm in FREE:
        return evaluate(learn(*real, 10), *test).accuracy
    other = cell.minted()
    pixels, labels = (np.concatenate(both) for both in zip(real, other, strict=True))
    if arm in RISING:
        order = RisingBatches(
            len(real[1]),
            len(other[1]),
            share=RISING[arm],
            length=SEEN,
            seed=seeds.derive(seed, "classifier order"),
        )
        return evaluate(learn(pixels, labels, 10, order=order), *test).accuracy
    times = times_seen(len(real[1]), len(other[1]), SHARES[arm])
    return evaluate(learn(pixels.repeat(times, axis=0), labels.repeat(times), 10), *test).accuracy


def table(path: Path) -> None:
    """Paired differences in points to the control, means over draws with 95 % intervals (Student's t)."""
    rows = {(row["budget"], row["draw"], row["arm"]): float(row["accuracy"]) for row in read(path)}
    for budget in BUDGETS:
        for arm in (*SHARES, *RISING, *FREE):
            control = next(iter(FREE)) if arm in FREE else CONTROL
            draws = [k for k in range(DRAWS) if {(budget, k, arm), (budget, k, control)} <= rows.keys()]
            if not draws:
                continue
            scores = np.array([[rows[budget, k, arm], rows[budget, k, control]] for k in draws])
            print(compared(budget, arm, control, scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--table", action="store_true", help="print what there is")
    options = parser.parse_args()
    if options.table:
        table(options.rows)
        return
    pool, test = (open_pack(options.pools / f"{part}.pack") for part in ("tune-pool", "tune-test"))
    images = test.pixels[:], np.asarray(test.labels)
    done = {(row["budget"], row["draw"], row["arm"]) for row in read(options.rows)}
    for budget in BUDGETS:
        for draw in range(DRAWS):
            for arm in (*SHARES, *RISING, *FREE):
                if (budget, draw, arm) not in done:
                    found = accuracy(arm, Cell(budget, draw, pool, options.work), images)
                    row = {"budget": budget, "draw": draw, "arm": arm, "accuracy": round(100 * found, 2)}
                    with options.rows.open("a") as file:
                        file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
