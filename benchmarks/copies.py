"""The nearest of many training images by l1 over pixels: imagemint's exact search against scipy's `cdist`.

    python benchmarks/copies.py TRAIN.pack ASKED.pack --images 10000 --beside 100

Both are timed in turns in one run, on one thread, on the same images: scipy on `--beside` of them (the whole table of
10,000 by 50,000 would take over an hour and 4 GB), imagemint on these and then on all `--images`. scipy is given
float64 copies made before the clock starts, imagemint the pack on the disk. Answers are compared, index by index.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import cdist

from imagemint.data.pack import open_pack
from imagemint.metrics.nearest import Nearest

TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path)
    parser.add_argument("asked", type=Path)
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--beside", type=int, default=100)
    given = parser.parse_args()
    torch.set_num_threads(1)
    train, asked = open_pack(given.train), open_pack(given.asked).pixels[: given.images]
    clock = time.process_time
    rows = np.asarray(train.pixels).reshape(len(train), -1).astype(np.float64)

    started = clock()
    search = Nearest(train.pixels)
    prepared = clock() - started
    per_turn = max(given.beside // TURNS, 1)
    times: list[tuple[float, float]] = []
    for turn in range(TURNS):
        part = asked[turn * per_turn : (turn + 1) * per_turn]
        wide = part.reshape(len(part), -1).astype(np.float64)
        started = clock()
        table = cdist(wide, rows, "cityblock")
        wanted, distances = table.argmin(1), table.min(1)
        theirs = clock() - started
        started = clock()
        found = search.of(part)
        ours = clock() - started
        assert np.array_equal(found[0], wanted) and np.array_equal(found[1], distances)
        times.append((theirs / len(part), ours / len(part)))
    theirs, ours = np.median(np.array(times), axis=0)
    started = clock()
    search.of(asked)
    whole = clock() - started
    print(f"{len(train):,} training images of {rows.shape[1]:,} values; {TURNS} turns of {per_turn}, processor time")
    print(f"scipy cdist     {theirs * 1e3:9.2f} ms per image ({theirs * len(asked):,.0f} s for {len(asked):,})")
    print(f"imagemint       {ours * 1e3:9.2f} ms per image, after {prepared:.1f} s of preparation")
    print(f"imagemint, all  {prepared + whole:9.1f} s for {len(asked):,} images")
    print(f"times faster    {theirs * len(asked) / (prepared + whole):9.1f} whole job, {theirs / ours:.1f} per image")


if __name__ == "__main__":
    main()
