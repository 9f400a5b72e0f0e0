"""Samples of a run over time, side by side, with the images seen above each.

    python experiments/strips/strip.py RUN OUT.png [--moments 6] [--columns 4]

Takes evenly spaced sample grids of the run (the same noise at each moment) and the first columns of each.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from imagemint.runs import Run, open_run
from imagemint.samples import PICTURE_COLUMNS

HEAD, GAP = 14, 8  # pixels: the line of text, the space between two moments


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--moments", type=int, default=6)
    parser.add_argument("--columns", type=int, default=4, help=f"samples in a row, at most {PICTURE_COLUMNS}")
    options = parser.parse_args()
    strip(open_run(options.run), options.moments, options.columns).save(options.out)


def strip(run: Run, moments: int, columns: int) -> Image.Image:
    """The picture: `moments` sample grids from first to last, `columns` samples wide each."""
    files = run.samples()
    chosen = sorted({round(k) for k in np.linspace(0, len(files) - 1, moments)})
    parts = []
    for file in (files[k] for k in chosen):
        with Image.open(file) as grid:
            whole = grid.convert("RGB")
        cell = round((whole.width + 2) / PICTURE_COLUMNS)  # images.grid leaves two pixels between samples
        parts.append((int(file.stem), whole.crop((0, 0, columns * cell - 2, whole.height))))
    width = sum(part.width + GAP for _, part in parts) - GAP
    out = Image.new("RGB", (width, HEAD + max(part.height for _, part in parts)), "white")
    left = 0
    for images_seen, part in parts:
        ImageDraw.Draw(out).text((left, 1), f"{images_seen:,}", fill="black")
        out.paste(part, (left, HEAD))
        left += part.width + GAP
    return out


if __name__ == "__main__":
    main()
