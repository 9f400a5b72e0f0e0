"""Does `torch.compile` pay? Iterations of the same training, compiled and not, in turns.

    python benchmarks/compiled.py TRAIN.pack [--recipes fewshot,cdcgan] [--turns 5] [--iterations 10]

One thread, processor time of this process and of the compilers that it starts. Nothing asserts a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from pathlib import Path

import torch

from imagemint.config import load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.methods import settle
from imagemint.training.feed import Feed
from imagemint.training.loop import iterate
from imagemint.training.state import Gan, new_gan


def made(pack: Pack, recipe: str, compiled: bool) -> tuple[Gan, Feed]:
    """A training on the CPU that has not begun."""
    gan = new_gan(settle(pack, load_recipe(recipe, {"compile": compiled}), device="cpu"))
    return gan, Feed(pack, gan)


def seconds(gan: Gan, feed: Feed, iterations: int) -> float:
    """Processor time per iteration."""
    started = time.process_time()
    for _ in range(iterations):
        iterate(gan, feed)
    gan.unread.clear()
    return (time.process_time() - started) / iterations


def compare(pack: Pack, recipe: str, turns: int, iterations: int) -> str:
    """A row of the table."""
    before = os.times()
    compiled = made(pack, recipe, True)
    seconds(*compiled, 2)
    after = os.times()
    plain = made(pack, recipe, False)
    seconds(*plain, 2)
    pairs = [(seconds(*plain, iterations), seconds(*compiled, iterations)) for _ in range(turns)]
    ratios = [a / b for a, b in pairs]
    ours, theirs = (1000 * statistics.median(each) for each in zip(*pairs, strict=True))
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
    return f"| {recipe} | {ours:.1f} | {theirs:.1f} | {spread} | {sum(after[:4]) - sum(before[:4]):.0f} s |"


def main() -> None:
    """Parse, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("--recipes", default="fewshot,cdcgan")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=10)
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("| recipe | plain, ms per iteration | compiled | times plain (range) | compiling |\n|---|---|---|---|---|")
    for recipe in given.recipes.split(","):
        print(compare(open_pack(given.pack), recipe, given.turns, given.iterations), flush=True)


if __name__ == "__main__":
    main()
