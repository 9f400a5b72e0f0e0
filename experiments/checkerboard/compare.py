"""The checkerboard in photographs, by how a generator doubles the sides of its maps, and what each way costs.

    imagemint pack DATA/flower_photos.zip flowers.pack --size 32
    OMP_NUM_THREADS=1 python experiments/checkerboard/compare.py flowers.pack WORK --out experiments/checkerboard

Trains `fewshot` on 100 images per class with each kind of upsampling and each seed, and writes one row per run: the
Fréchet distance of 300 minted images per class by `imagemint measure`, its floor, and the checkerboard. That is the
power of luminance at the highest frequency of rows or of columns (alternate pixels) divided by the power at the three
frequencies beside it. Seconds per step are of one thread, the variants in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

import imagemint
from imagemint import images
from imagemint.config import Recipe, load_recipe
from imagemint.data.edit import slice as edit_slice
from imagemint.data.pack import Pack
from imagemint.methods import settle
from imagemint.training.feed import Feed
from imagemint.training.loop import iterate
from imagemint.training.state import new_gan

KINDS = ("transposed", "resize", "blur")
GRAY = np.array([0.2989, 0.5870, 0.1140])


def checkerboard(pixels: np.ndarray) -> float:
    """uint8 `[n, 3, h, w]` -> power at the highest frequency of rows and columns / power at those beside it."""
    gray = np.tensordot(pixels.astype(np.float64), GRAY, (1, 0))
    power = np.square(np.abs(np.fft.fft2(gray))).mean(0)
    ratios = []
    for lines in (power.mean(1), power.mean(0)):
        top = len(lines) // 2
        ratios.append(lines[top] / lines[top - 3 : top].mean())
    return float(np.mean(ratios))


def recipe_of(kind: str, images_seen: int) -> Recipe:
    settings = {"options": {"width": 32, "upsampling": kind}, "images": images_seen, "precision": "fp32"}
    recipe = load_recipe("fewshot", {**settings, "picture_every": images_seen, "checkpoint_every": images_seen})
    assert isinstance(recipe, Recipe)
    return recipe


def seconds_per_step(pack: Pack, turns: int = 7, steps: int = 16) -> dict[str, float]:
    """Median over turns, in which the kinds follow each other, of the processor seconds of one iteration."""
    gans = {kind: new_gan(settle(pack, recipe_of(kind, 1000), device="cpu")) for kind in KINDS}
    feeds = {kind: Feed(pack, gan) for kind, gan in gans.items()}
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(turns + 1):
        for kind, gan in gans.items():
            started = time.process_time()
            for _ in range(steps):
                iterate(gan, feeds[kind])
            if turn:  # the first warms up
                found[kind].append((time.process_time() - started) / steps)
    return {kind: statistics.median(times) for kind, times in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=60_000)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    whole, small = imagemint.open_pack(options.pack), options.work / "small.pack"
    pack = imagemint.open_pack(small) if small.exists() else edit_slice(whole, small, per_class=100)
    rows = options.out / "rows.jsonl"
    with rows.open("w") as file:

        def write(row: dict[str, object]) -> None:
            print(json.dumps(row), flush=True)
            file.write(json.dumps(row) + "\n")

        write({"real": round(checkerboard(whole.pixels[:]), 3)})
        write({"seconds_per_step": {kind: round(each, 4) for kind, each in seconds_per_step(pack).items()}})
        for seed in range(options.seeds):
            for kind in KINDS:
                name = f"{kind}-{seed}"
                run = imagemint.train(
                    pack,
                    recipe_of(kind, options.images),
                    options.work / name,
                    seed=seed,
                    device="cpu",
                    resume=True,
                )
                minted = options.work / f"{name}.pack"
                made = imagemint.open_pack(minted) if minted.exists() else imagemint.mint(run, minted, per_class=300)
                fd = imagemint.measure(made, whole)["fd_lenet"]
                grid = round(checkerboard(made.pixels[:]), 3)
                distance = {"fd_lenet": round(fd.value, 2), "floor": round(fd.floor, 2)}
                write({"kind": kind, "seed": seed, "images_seen": run.images_seen, **distance, "checkerboard": grid})
                if seed == 0:
                    few = np.concatenate([np.flatnonzero(np.asarray(made.labels) == k)[:10] for k in range(5)])
                    images.save_png(images.grid(made.pixels[few], 10), options.out / f"{kind}.png", scale=2)


if __name__ == "__main__":
    main()
