"""The outputs of D's hidden layer over time, before its activation, in several runs side by side.

    python experiments/winkler-2018/layers.py OUT.png RUN [RUN ...]

Draws the first layer of D that each run's watch.jsonl names, and prints which share of its outputs lies beyond 8 at
the last look: there a sigmoid is within 4e-4 of 0 or 1.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl

from imagemint.pages.run_figures import draw_layer
from imagemint.runs import open_run
from imagemint.training.watch.measure import LOGIT_EDGES

mpl.use("Agg")
from matplotlib import pyplot as plt

FLAT = 8.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    figure, panels = plt.subplots(
        1, len(options.runs), figsize=(4 * len(options.runs), 3), layout="constrained", squeeze=False
    )
    for axes, path in zip(panels[0], options.runs, strict=True):
        run = open_run(path)
        looks = run.lines("watch.jsonl")
        name = next(name for name in looks[-1]["layers"] if name.startswith("D "))
        draw_layer(axes, looks, name)
        axes.set_title(f"{run.facts.recipe.name}, {name}")
        counts = looks[-1]["layers"][name]
        inside = counts[LOGIT_EDGES.index(-FLAT) + 1 : LOGIT_EDGES.index(FLAT) + 1]
        print(f"{path}: {1 - sum(inside) / sum(counts):.1%} beyond {FLAT:g} at {looks[-1]['images_seen']:,} images")
    figure.savefig(options.out, dpi=90)


if __name__ == "__main__":
    main()
