"""`fewshot` against another recipe on the same few images and in the same processor time, measured by the same judge.

    python experiments/fewshot-equal-time/equal_time.py pools/final-pool.pack mnist-test.pack work --each 20,50,100
    python experiments/fewshot-equal-time/equal_time.py cifar-train.pack cifar-test.pack work-cifar --each 100

For each draw of so many images per class of POOL: train `fewshot` as it is, then `--other` until it has used as many
processor seconds (one thread each), mint 500 images per class from both, and measure them against TEST, which neither
was drawn from. One line of JSON per recipe; `nearer` is how often a minted image is nearer to the drawn ones by l1
than a test image is, one half where nothing is copied. `--worth N` then asks in a study of N repeats what the two
packs are worth to LeNet. What WORK holds already is not made again.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import imagemint
from imagemint import open_pack, seeds
from imagemint.data.pack import Pack
from imagemint.data.rewriting import rewrite
from imagemint.metrics.copies import nearness
from imagemint.metrics.nearest import Nearest
from imagemint.runs import Run

FIRST, MINTED = 6_400, 500  # images that show the other recipe's pace; minted per class


def drawn(pool: Pack, dest: Path, each: int, draw: int) -> Pack:
    """`each` images of every class."""
    labels = np.asarray(pool.labels)
    rows = [
        seeds.rng(59, f"equal time {k} of {each}", draw).permutation(np.flatnonzero(labels == k))[:each]
        for k in range(len(pool.classes))
    ]
    return rewrite(pool, dest, "draw", {"draw": draw, "each": each}, order=np.sort(np.concatenate(rows)))


def trained(seconds: float | None, images: int, *given: Any, **settings: Any) -> tuple[Run, float]:
    """A run of so many images and the processor seconds it took; where `seconds` are given, as long as these last."""
    started = time.process_time()
    run = imagemint.train(*given, images=images, resume=True, device="cpu", **settings)
    used = time.process_time() - started
    if seconds is None:
        return run, used
    run, more = trained(None, round(images * seconds / used), *given, **settings)
    return run, used + more


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("pool", "test", "work"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--each", default="20,50,100")
    parser.add_argument("--draws", default="0")
    parser.add_argument("--images", type=int, default=250_000, help="that fewshot sees")
    parser.add_argument("--other", default="cdcgan", help="the recipe beside fewshot")
    parser.add_argument("--worth", type=int, default=0, metavar="N", help="repeats of the study; 0: none")
    options = parser.parse_args()
    torch.set_num_threads(1)
    pool, test = open_pack(options.pool), open_pack(options.test)
    for each in map(int, options.each.split(",")):
        for draw in map(int, options.draws.split(",")):
            work: Path = options.work / f"{each}-{draw}"
            if work.exists():
                continue
            real = drawn(pool, work / "real.pack", each, draw)
            seconds: float | None = None
            learned = Nearest(real.pixels[:])
            apart = learned.of(test.pixels[:])[1]
            for recipe in ("fewshot", options.other):
                wider = {"largest": max(real.size)} if recipe == "cdcgan" else {}  # it is said to be for 28 pixels
                images = options.images if recipe == "fewshot" else FIRST
                run, used = trained(seconds, images, real, recipe, work / recipe, seed=draw, **wider)
                seconds = used
                started = time.process_time()
                minted = imagemint.mint(run, work / f"{recipe}.pack", per_class=MINTED)
                minting = time.process_time() - started
                found = imagemint.measure(minted, test).values
                row = {"each": each, "draw": draw, "recipe": recipe, "images_seen": run.images_seen}
                row |= {"seconds": round(used), "findings": [finding.name for finding in run.findings()]}
                near = nearness(learned.of(minted.pixels[:])[1], apart, seed=draw)
                row |= {"seconds of minting": round(minting, 1), "nearer": round(near.share, 4), "close": near.close}
                for name, value in found.items():
                    row |= {name: round(value.value, 4), f"{name} of real images": round(value.floor, 4)}
                print(json.dumps(row), flush=True)
            if options.worth:
                others = [f"pack:{work / recipe}.pack" for recipe in ("fewshot", options.other)]
                arms = ["classic", "strong", *others]
                study = imagemint.study(
                    real, test, None, work / "study", budgets="all", repeats=options.worth, arms=arms
                )
                for arm in study.arms:
                    row = {"each": each, "draw": draw, "arm": Path(arm.removeprefix("pack:")).stem}
                    row["accuracy"] = [round(100 * found.accuracy, 2) for found in study.rows if found.arm == arm]
                    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
