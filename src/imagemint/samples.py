"""Sample pictures of a run."""

from __future__ import annotations

import numpy as np

from imagemint import images, seeds
from imagemint.minter import Minter
from imagemint.runfolder import Run

PICTURE_COLUMNS = 10  # samples of each class in a picture
PICTURE_ROWS = 20  # classes in a picture


def draw_samples(minter: Minter, run: Run, images_seen: int) -> None:
    """Samples with the same noise every time, one class per row, as they would be minted now."""
    pack = run.facts.pack
    rows = min(max(len(pack.classes), 1), PICTURE_ROWS)
    labels = np.repeat(np.arange(rows), PICTURE_COLUMNS)
    made = minter.draw([seeds.derive(run.facts.seed, "picture", k) for k in range(len(labels))], labels)
    scale = max(1, 32 // max(pack.size))
    made = made.repeat(scale, axis=2).repeat(scale, axis=3)
    (run.path / "samples").mkdir(exist_ok=True)
    images.save_png(images.grid(made, PICTURE_COLUMNS), run.path / "samples" / f"{images_seen:012d}.png")
