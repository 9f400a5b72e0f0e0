"""The twelve phases of Baker 2018, table 5.5: 10,000 to 60,000 images, 25 or 100 epochs, batches of 64 or 100.

    imagemint pack DATA/mnist mnist.pack --split train
    python experiments/mnist-10k/phases.py A mnist.pack phase-A     # slices and trains; run it again to continue
    python experiments/mnist-10k/phases.py H mnist.pack phase-H      # the utility study uses H and K (table 5.7)

Writes DEST/real.pack, the images that the phase is trained on, and DEST/run. Then mint, measure or study the run.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import imagemint
from imagemint.data.edit import slice as slice_pack
from imagemint.progress import turn_on


class Phase(NamedTuple):
    images: int
    epochs: int
    batch_size: int


_SIZES = (10_000, 20_000, 30_000, 60_000)
_LENGTHS = ((25, 64), (100, 64), (100, 100))  # epochs, batch size
PHASES = dict(zip("ABCDEFGHIJKL", (Phase(n, *length) for n in _SIZES for length in _LENGTHS), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=list(PHASES))
    parser.add_argument("pack", help="60,000 images of MNIST or Fashion-MNIST")
    parser.add_argument("dest", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    turn_on()
    phase = PHASES[options.phase]
    print(f"phase {options.phase}: {phase.images:,} images, {phase.epochs} epochs, batches of {phase.batch_size}")
    real = options.dest / "real.pack"
    if not real.exists():
        options.dest.mkdir(parents=True, exist_ok=True)
        slice_pack(options.pack, real, total=phase.images, seed=options.seed)
    run = imagemint.train(
        real,
        "cdcgan",
        options.dest / "run",
        seed=options.seed,
        epochs=phase.epochs,
        batch_size=phase.batch_size,
        resume=True,
    )
    print(f"{run.path}: {run.images_seen:,} images seen")


if __name__ == "__main__":
    main()
