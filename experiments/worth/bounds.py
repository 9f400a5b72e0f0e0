"""Bounds of what minted images can be worth, before any method: one line of JSON per classifier.

    python experiments/fewshot-study/pools.py mnist-train.pack pools
    python experiments/worth/bounds.py pools work rows.jsonl
    python experiments/worth/bounds.py pools work rows.jsonl --table

Draws of 20 and 100 images per class come from pools/tune-pool.pack, the recipe `fewshot` sees nothing else, and LeNet
is tested on pools/tune-test.pack: MNIST's test images play no part. The oracle learns from pools/final-pool.pack.
Rows that are there are not computed again, so a run can be stopped and started, also by `--seconds`.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

import imagemint
from imagemint import open_pack, seeds
from imagemint.augment import AUGMENTATIONS, augment, mix
from imagemint.classifiers import Classifier, evaluate, train_classifier
from imagemint.data.pack import Pack
from imagemint.data.rewriting import rewrite
from imagemint.studies.arms import times_seen

BUDGETS, DRAWS, SEEDS = (20, 100), 4, 3
SEEN = 80_000  # images that LeNet sees: half of what the published study gave it; `longer` sees that
ADDED = 900  # minted or fresh real images per class: a class of the pool has 1,000, and a draw takes 100
REAL_SHARE = 0.7  # of what is seen, as in the published study
RATIO = {"longer": 2}  # times SEEN
FREE = ("classic", "longer", "strong", "elastic", "cutout", "mixup", "classmix", "copies")
OTHERS = ("fresh", "fresh+elastic", "mix", "mix+oracle", "mix+elastic", "mix+strong", "minted")
CONTROLS = {  # what an arm is compared with, where that is not classic
    "fresh+elastic": "elastic",
    "mix+elastic": "elastic",
    "mix+strong": "strong",
    "mix+oracle": "mix",
}


@dataclass(frozen=True)
class Cell:
    """One draw of one budget."""

    budget: int
    draw: int
    pool: Pack
    work: Path

    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the pool that are drawn, and those of fresh images: no image is in both."""
        labels = np.asarray(self.pool.labels)
        orders = [
            seeds.rng(31, f"bounds draw {k}", self.draw).permutation(np.flatnonzero(labels == k))
            for k in range(len(self.pool.classes))
        ]
        return tuple(  # type: ignore[return-value]
            np.sort(np.concatenate([order[part] for order in orders]))
            for part in (slice(self.budget), slice(-ADDED, None))
        )

    def images(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels and labels of some rows of the pool."""
        return self.pool.pixels[rows], np.asarray(self.pool.labels)[rows]

    def minted(self) -> tuple[np.ndarray, np.ndarray]:
        """What `fewshot` mints, which saw the drawn images and nothing else."""
        name = f"{self.budget}-{self.draw}"
        dest = self.work / f"minted-{name}.pack"
        if not dest.exists():
            drawn = self.work / f"draw-{name}.pack"
            real = open_pack(drawn) if drawn.exists() else rewrite(self.pool, drawn, "draw", {}, order=self.rows()[0])
            run = imagemint.train(real, "fewshot", self.work / f"run-{name}", seed=self.draw, resume=True)
            imagemint.mint(run, dest, per_class=ADDED)
        pack = open_pack(dest)
        return pack.pixels[:], np.asarray(pack.labels)


def learned(pixels: np.ndarray, labels: np.ndarray, ranges: str, seen: int, seed: int) -> Classifier:
    row = AUGMENTATIONS[ranges]
    return train_classifier(
        pixels,
        labels,
        10,
        images_seen=seen,
        seed=seed,
        augment=partial(augment, ranges=row),
        mix=partial(mix, ranges=row) if row.mixing != "none" else None,
    )


def material(arm: str, cell: Cell, oracle: Callable[[np.ndarray], np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """What an arm's classifier learns from."""
    drawn, fresh = (cell.images(rows) for rows in cell.rows())
    if arm == "minted":
        return cell.minted()
    if arm == "copies":
        rows = np.random.default_rng(cell.draw).choice(len(drawn[1]), 10 * ADDED)
        other = drawn[0][rows], drawn[1][rows]
    elif arm.startswith("fresh"):
        other = fresh
    elif arm.startswith("mix") and arm != "mixup":
        other = cell.minted()
        if arm == "mix+oracle":
            other = other[0], oracle(other[0])
    else:
        return drawn
    times = times_seen(len(drawn[1]), len(other[1]), REAL_SHARE)
    pixels, labels = (np.concatenate(both).repeat(times, axis=0) for both in zip(drawn, other, strict=True))
    return pixels, labels


def tasks() -> Iterator[tuple[int, int, int, str]]:
    """(seed, budget, draw, arm), the most telling first."""
    for budget in BUDGETS:
        for draws in ((0, 1), (2, 3)):
            for arms in ((*FREE, "fresh", "fresh+elastic"), OTHERS[2:]):
                for draw in draws:
                    yield from ((0, budget, draw, arm) for arm in arms)
            yield from ((seed, budget, draw, "classic") for seed in (1, 2) for draw in draws)
    for seed in range(1, SEEDS):
        for budget in BUDGETS:
            for draw in range(DRAWS):
                yield from ((seed, budget, draw, arm) for arm in FREE + OTHERS if arm != "classic")


def read(path: Path) -> list[dict[str, float | str]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def compared(budget: int, arm: str, control: str, scores: np.ndarray) -> str:
    """A row of a table from the accuracies of an arm and its control, per cent `[draws, 2]`."""
    gaps = scores[:, 0] - scores[:, 1]
    reach = stats.t.ppf(0.975, len(gaps) - 1) * stats.sem(gaps) if len(gaps) > 1 else math.nan
    points = f"{gaps.mean():+.2f} ({gaps.mean() - reach:+.2f} to {gaps.mean() + reach:+.2f})"
    single = " ".join(f"{gap:+.2f}" for gap in gaps)
    return f"| {budget} | {arm} | {scores[:, 0].mean():.2f} | {control} | {points} | {single} |"


def table(path: Path) -> None:
    """Paired differences in points, means over draws with 95 % intervals (Student's t over the draws)."""
    rows = read(path)
    names = list(dict.fromkeys(str(row["arm"]) for row in rows))
    for budget in BUDGETS:
        for arm in names:
            control = CONTROLS.get(arm, "classic")

            def score(draw: int, name: str, budget: int = budget) -> float:
                found = [
                    float(row["accuracy"])
                    for row in rows
                    if (row["budget"], row["draw"], row["arm"]) == (budget, draw, name) and row["seed"] in (0, "all")
                ]
                return found[0] if found else math.nan

            scores = np.array([[score(draw, arm), score(draw, control)] for draw in range(DRAWS)])
            scores = scores[~np.isnan(scores).any(1)]
            if not len(scores):
                continue
            print(compared(budget, f"`{arm}`", f"`{control}`", scores))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pools", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--seconds", type=float, default=math.inf, help="no new row after so many")
    parser.add_argument("--table", action="store_true", help="print what there is")
    options = parser.parse_args()
    if options.table:
        table(options.rows)
        return
    started = time.monotonic()
    options.work.mkdir(parents=True, exist_ok=True)
    pool, test, others = (
        open_pack(options.pools / f"{part}.pack") for part in ("tune-pool", "tune-test", "final-pool")
    )
    test_pixels, test_labels = test.pixels[:], np.asarray(test.labels)

    def oracle(pixels: np.ndarray) -> np.ndarray:
        net = learned(others.pixels[:], np.asarray(others.labels), "classic", 5 * SEEN, seed=0)
        return net.log_probabilities(pixels).argmax(1)

    def write(row: dict[str, object]) -> None:
        with options.rows.open("a") as file:
            file.write(json.dumps(row) + "\n")

    for seed, budget, draw, arm in tasks():
        done = {(row["seed"], row["budget"], row["draw"], row["arm"]) for row in read(options.rows)}
        if (seed, budget, draw, arm) in done:
            continue
        if time.monotonic() - started > options.seconds:
            break
        cell = Cell(budget, draw, pool, options.work)
        pixels, labels = material(arm, cell, oracle)
        ranges = next((name for name in AUGMENTATIONS if arm in (name, f"mix+{name}", f"fresh+{name}")), "classic")
        net = learned(pixels, labels, ranges, RATIO.get(arm, 1) * SEEN, seeds.derive(5, "bounds", 10 * draw + seed))
        found = evaluate(net, test_pixels, test_labels)
        row: dict[str, object] = {"seed": seed, "budget": budget, "draw": draw, "arm": arm}
        write({**row, "accuracy": round(100 * found.accuracy, 2), "loss": round(found.loss, 4)})
        if arm == "classic":
            path = options.work / f"classic-{budget}-{draw}-{seed}.npy"
            np.save(path, found.log_probabilities)
            each = [options.work / f"classic-{budget}-{draw}-{k}.npy" for k in range(SEEDS)]
            if all(file.exists() for file in each):
                mean = np.mean([np.exp(np.load(file)) for file in each], 0)
                accuracy = round(100 * float((mean.argmax(1) == test_labels).mean()), 2)
                write({**row, "seed": "all", "arm": "ensemble of three", "accuracy": accuracy})


if __name__ == "__main__":
    main()
