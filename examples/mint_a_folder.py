"""Mint more images of a folder that has one sub-folder per class, and write them as labelled PNG files.

    python examples/mint_a_folder.py photos/ more/ --size 32 --recipe fewshot --per-class 500
    python examples/mint_a_folder.py digits more/        # scikit-learn's handwritten digits: about a minute

What comes out: more/minted/<class>/*.png, and more/minted.html to look at.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import imagemint
from imagemint.data.export import export


def main(arguments: list[str] | None = None) -> None:
    """Pack, train, mint, compare with the real images, and export."""
    options = argparse.ArgumentParser(description="Mint more images of a folder.")
    options.add_argument("source", help="a folder, a zip, or the name of a data set")
    options.add_argument("out", type=Path, help="a new folder for everything that is made")
    options.add_argument("--size", type=int, help="pixels of one side; needed where the images differ in size")
    options.add_argument("--recipe", default="demo", help="see imagemint recipes; fewshot for photos")
    options.add_argument("--per-class", type=int, default=100, help="images to mint per class")
    options.add_argument("--images", type=int, help="images that the training sees, instead of the recipe's")
    chosen = options.parse_args(arguments)

    out = chosen.out
    real = imagemint.pack(chosen.source, out / "real.pack", size=chosen.size)
    run = imagemint.train(real, chosen.recipe, out / "run", images=chosen.images)
    for finding in run.findings():  # a collapse, or a training that learned nothing, is said in words
        print(finding)
    minted = imagemint.mint(run, out / "minted.pack", per_class=chosen.per_class)
    print(imagemint.measure(minted, real).table())
    imagemint.show(minted, out / "minted.html")
    export(minted, out / "minted", "folder")
    print(f"{len(minted)} images in {out / 'minted'}; look at {out / 'minted.html'}")


if __name__ == "__main__":
    main()
