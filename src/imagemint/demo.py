"""The whole job on scikit-learn's handwritten digits: what `make demo` shows, and a pattern to copy."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from imagemint import files, images
from imagemint.data.pack import Pack, open_pack
from imagemint.data.packing import pack
from imagemint.data.split import split
from imagemint.fitting import train
from imagemint.metrics.measures import measure
from imagemint.minting import mint
from imagemint.pages.study_page import report, study
from imagemint.progress import say
from imagemint.studies.results import Study

STUDY_IMAGES = 18_000  # images seen by each of the study's small GANs; enough at 8x8
CLASSIFIER_IMAGES = 20_000  # and by each of its classifiers


def demo(out: Path | str) -> Study:
    """Pack, split, train, mint, measure, study and report into the folder `out`; what is there is not done again."""
    out = Path(out)
    say("1/6 pack the 1,797 digits and keep a fifth aside as the test pack")
    digits = out / "digits.pack"
    if not digits.exists():
        pack("digits", digits)
    parts = out / "parts"
    if not parts.exists():
        split(digits, parts, train=0.8, validation=0.0, test=0.2)
    training, test = open_pack(parts / "train"), open_pack(parts / "test")

    say("2/6 train a conditional GAN on the training pack")
    run = train(training, "demo", out / "run", resume=True)

    say("3/6 mint as many labelled images as there are real ones")
    minted = out / "minted.pack"
    if not minted.exists():
        mint(run, minted, counts=training.counts())

    beside = out / "real-beside-minted.png"
    images.save_png(real_beside_minted(training, open_pack(minted)), beside)
    say(f"    {beside}")

    say("4/6 measure them against the real ones")
    measures = measure(minted, training)
    files.write_json(out / "measures.json", measures.model_dump(mode="json"))
    for line in measures.table().splitlines():
        say(line)

    say("5/6 study: does a classifier get better with them?")
    done = study(
        training,
        test,
        "demo",
        out / "study",
        budgets=["10", "40"],
        repeats=3,
        images=STUDY_IMAGES,
        classifier_images=CLASSIFIER_IMAGES,
    )
    say("6/6 the report")
    report(done, measures=measures)
    return done


def real_beside_minted(real: Pack, minted: Pack, columns: int = 10, height: int = 40) -> np.ndarray:
    """One picture uint8 `[c, H, W]`: the first images of each class, real left, minted right, one class per row."""
    scale = max(1, height // real.size[0])
    halves = []
    for side in (real, minted):
        labels = np.asarray(side.labels)
        first = np.concatenate([np.flatnonzero(labels == k)[:columns] for k in range(len(side.classes))])
        tiles = side.pixels[first].repeat(scale, axis=2).repeat(scale, axis=3)
        halves.append(images.grid(tiles, columns))
    gap = np.full((real.channels, halves[0].shape[1], height // 2), 255, np.uint8)
    return np.concatenate([halves[0], gap, halves[1]], axis=2)
