"""Samples of a run, and below each the image of a pack that is nearest by l1(a, b) = sum over pixels of |a - b|.

    python experiments/winkler-2018/neighbours.py RUN PACK OUT.png [--columns 12] [--samples 500]

Prints how far samples are from their nearest image, beside how far images of the pack are from theirs (medians, in
levels per pixel). Winkler 2018 looks at such pairs for copies.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from imagemint import seeds
from imagemint.data.pack import open_pack
from imagemint.images import grid, to_pil
from imagemint.methods import load_minter
from imagemint.runs import open_run


def nearest(
    some: np.ndarray, others: np.ndarray, *, leave_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """uint8 `[n, ...]` and `[m, ...]` -> int64 `[n]`, which of the others is nearest, and float64 `[n]`, how far.

    `leave_out` int64 `[n]`: an index that does not count, because it is the image itself.
    """
    flat = others.reshape(len(others), -1).astype(np.int16)
    places, distances = [], []
    for k, one in enumerate(some.reshape(len(some), -1).astype(np.int16)):
        apart = np.abs(flat - one).mean(1)
        if leave_out is not None:
            apart[leave_out[k]] = np.inf
        places.append(int(apart.argmin()))
        distances.append(float(apart.min()))
    return np.array(places), np.array(distances)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("pack", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--columns", type=int, default=12)
    parser.add_argument("--samples", type=int, default=200)
    options = parser.parse_args()
    run, pack = open_run(options.run), open_pack(options.pack)
    wanted = [seeds.derive(0, "neighbours", k) for k in range(options.samples)]
    made = load_minter(run, run.newest(), "cpu").draw(wanted, np.zeros(options.samples, np.int64))
    real = np.array(pack.pixels)
    places, distances = nearest(made, real)
    themselves = seeds.rng(0, "neighbours of real images").permutation(len(real))[: options.samples]
    _, usual = nearest(real[themselves], real, leave_out=themselves)
    print(f"samples: {np.median(distances):.1f} (least {distances.min():.1f}); real: {np.median(usual):.1f}")
    shown = np.concatenate([made[: options.columns], real[places[: options.columns]]])
    picture = to_pil(grid(shown, options.columns))
    picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.NEAREST).save(options.out)


if __name__ == "__main__":
    main()
