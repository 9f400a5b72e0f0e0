"""Curves of the classifiers of a finished study: accuracy and loss on training and test images while they learn.

    python experiments/sterzinger/curves.py STUDY TEST.pack curves.jsonl curves.png

Every arm of the first repeat is taught again, with the same seed, images and settings, and looked at 10 times. Test
images change nothing. Training images are those of the budget, unaugmented, for every arm.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np

from imagemint import files, open_pack
from imagemint.augment import AUGMENTATIONS, augment
from imagemint.classifiers import train_classifier
from imagemint.studies.arms import Images, Sources, find_arm
from imagemint.studies.folder import Cell, read_facts


def main() -> None:
    folder, test, rows, picture = (Path(each) for each in sys.argv[1:])
    plan = read_facts(folder).plan
    cell = Cell(folder, plan.budgets[-1], 0)
    subset, asked = open_pack(cell.subset), open_pack(test)
    real = Images(np.asarray(subset.pixels), np.asarray(subset.labels))
    watched = {"training": real, "test": (np.asarray(asked.pixels), np.asarray(asked.labels))}
    curves = {}
    for name in plan.arms:
        arm = find_arm(name)
        minted = open_pack(cell.minted_for(arm.minting.name)) if arm.minting else None
        sources = Sources(
            real=real,
            minted=Images(np.asarray(minted.pixels), np.asarray(minted.labels)) if minted else None,
            pack=None,
            classes=subset.classes,
            real_share=plan.real_share,
            shares={},
            seed=plan.seed_for("classifier", cell.budget, 0),
            teacher=lambda pixels: np.empty(0),
        )
        assert arm.images is not None
        taught = arm.images(sources)
        moves = partial(augment, ranges=AUGMENTATIONS[arm.augment]) if arm.augment != "none" else None
        trained = train_classifier(
            taught.pixels,
            taught.labels,
            len(subset.classes),
            images_seen=plan.classifier_plan.images_seen(len(subset)),
            seed=plan.seed_for("classifier", cell.budget, 0),
            plan=plan.classifier_plan,
            augment=moves,
            watched=watched,
            looks=10,
        )
        for line in trained.history:
            files.append_line(rows, {"arm": name, **line})
        curves[name] = trained.history
    draw(curves, picture)


def draw(curves: dict[str, list[dict]], picture: Path) -> None:
    """Accuracy above loss, training dashed and test solid."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(7, 7), sharex=True, layout="constrained")
    for (name, lines), colour in zip(curves.items(), ("#4477aa", "#ee6677", "#228833"), strict=False):
        seen = [line["images_seen"] for line in lines]
        for axis, what in zip(axes, ("accuracy", "loss"), strict=True):
            for part, dashes in (("training", "--"), ("test", "-")):
                axis.plot(seen, [line[part][what] for line in lines], dashes, color=colour, label=f"{name}, {part}")
            axis.set_ylabel(what)
    axes[0].legend(fontsize=8)
    axes[1].set_xlabel("images seen by the classifier")
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main()
