"""Do minted images help a classifier? A small study of ten real images per class, and its answer in words.

    python examples/does_it_help.py digits study/        # scikit-learn's handwritten digits: about two minutes
    python examples/does_it_help.py photos/ study/ --size 32 --recipe fewshot --repeats 5

The page with everything that the answer rests on: study/study/report.html.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import imagemint


def main(arguments: list[str] | None = None) -> imagemint.Study:
    """Keep test images aside, study, and print one sentence per comparison."""
    options = argparse.ArgumentParser(description="Find out whether minted images help.")
    options.add_argument("source", help="a folder, a zip, or the name of a data set")
    options.add_argument("out", type=Path, help="a new folder for everything that is made")
    options.add_argument("--size", type=int, help="pixels of one side; needed where the images differ in size")
    options.add_argument("--recipe", default="demo", help="see imagemint recipes; fewshot for photos")
    options.add_argument("--repeats", type=int, default=3, help="draws of the real images; 5 are good")
    options.add_argument("--images", type=int, default=18_000, help="images that each GAN sees")
    options.add_argument("--classifier-images", type=int, default=20_000, help="images that each classifier sees")
    chosen = options.parse_args(arguments)

    photos = imagemint.pack(chosen.source, chosen.out / "photos.pack", size=chosen.size)
    parts = imagemint.split(photos, chosen.out / "parts", test=0.3)
    study = imagemint.study(
        parts["train"],
        parts["test"],  # no generator and no classifier learns from these
        chosen.recipe,
        chosen.out / "study",
        budgets=["10"],
        arms=["real", "classic", "strong", "mix+strong"],  # strong is free: what minted images have to beat
        repeats=chosen.repeats,
        images=chosen.images,
        classifier_images=chosen.classifier_images,
    )
    for verdict in study.verdicts["10"]:
        print(verdict.sentence())
    print(f"the report: {study.report}")
    return study


if __name__ == "__main__":
    main()
