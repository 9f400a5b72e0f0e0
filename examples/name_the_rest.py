"""Few images with a label and many without: learn from both, then name the rest, or abstain.

    python examples/name_the_rest.py named/              # scikit-learn's handwritten digits: about two minutes

Here every label is known, and all but ten per class are hidden, so that one can see how often a name is right. With
images of your own, pack a folder where those without a label lie beside the folders of the classes, and begin at
`train`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

import imagemint
from imagemint.data.edit.labels import unlabel


def main(arguments: list[str] | None = None) -> imagemint.Pack:
    """Hide labels, learn, name, and compare with what was hidden."""
    options = argparse.ArgumentParser(description="Name images without a label.")
    options.add_argument("out", type=Path, help="a new folder for everything that is made")
    options.add_argument("--keep", type=int, default=10, help="labels per class that are kept")
    options.add_argument("--above", type=float, default=0.95, help="probability under which no name is given")
    options.add_argument("--images", type=int, default=60_000, help="images that the training sees")
    chosen = options.parse_args(arguments)

    truth = imagemint.pack("digits", chosen.out / "truth.pack", size=16)
    few = unlabel(truth, chosen.out / "few.pack", chosen.keep)
    run = imagemint.train(few, "sgan-consistent", chosen.out / "run", images=chosen.images)
    named = imagemint.label(run, few, chosen.out / "named.pack", above=chosen.above)

    hidden = np.asarray(few.labels) == -1
    given = hidden & (np.asarray(named.labels) != -1)
    right = np.asarray(named.labels)[given] == np.asarray(truth.labels)[given]
    print(
        f"of {hidden.sum()} images without a label {given.sum()} got a name; {right.sum()} of these names are right"
    )
    return named


if __name__ == "__main__":
    main()
