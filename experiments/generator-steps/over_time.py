"""What the images of each checkpoint of a run are worth, by one judge, and what a LeNet learns from them alone.

    imagemint train mnist.pack --recipe ccgan --run ccgan --set keep=20 --set ema_images=50000
    python experiments/generator-steps/over_time.py ccgan mnist.pack mnist-test.pack [--lenet 200000]

The judge is a LeNet after 5 passes over the real images (as in Rzayev & Weldegebriel). Score: the share
of minted images that it assigns to the class asked for. Distance: Fréchet, on its features, to 20,000 real images.
LeNet: test accuracy after so many images of minted ones. Where the run keeps averaged weights, both kinds are judged.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

import imagemint
from imagemint.classifiers import evaluate, features, train_classifier
from imagemint.config import Recipe
from imagemint.metrics.frechet import Moments, frechet
from imagemint.runs import Run

EPOCHS, REFERENCE = 5, 20_000


def without_average(run: Run, folder: Path) -> Path:
    """The same run as if it had kept no averaged weights."""
    facts = json.loads((run.path / "run.json").read_text())
    facts["recipe"]["ema_images"] = None
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "checkpoints").symlink_to((run.path / "checkpoints").resolve())
    return folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "real", "test"):
        parser.add_argument(name)
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--lenet", type=int, default=0, help="images that a LeNet sees (default: none is trained)")
    parser.add_argument("--after", type=int, default=0, help="only checkpoints with more images seen")
    parser.add_argument("--weights", default="averaged,last")
    options = parser.parse_args()
    run, real, test = (imagemint.open_run(options.run), *map(imagemint.open_pack, (options.real, options.test)))
    recipe = run.recipe
    assert isinstance(recipe, Recipe)
    k, real_labels, test_labels = len(real.classes), np.asarray(real.labels), np.asarray(test.labels)
    judge = train_classifier(real.pixels[:], real_labels, k, images_seen=EPOCHS * len(real), seed=0)
    some = np.linspace(0, len(real) - 1, min(REFERENCE, len(real))).astype(int)
    reference = Moments.of(features(judge, real.pixels[some]))
    found = {
        "judge": judge.weights_hash()[:12],
        "score": round(evaluate(judge, test.pixels[:], test_labels).accuracy, 4),
        "distance": round(frechet(Moments.of(features(judge, test.pixels[:])), reference), 2),
    }
    print(json.dumps({"real test images": found}), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        runs = {"averaged": run.path} if recipe.ema_images else {}
        runs |= {"last": without_average(run, Path(folder))}
        moments = [int(checkpoint.name) for checkpoint in run.checkpoints()]
        for images_seen, weights in product(moments, options.weights.split(",")):
            if images_seen <= options.after or weights not in runs:
                continue
            dest = Path(folder) / f"{images_seen} {weights}"
            minted = imagemint.mint(runs[weights], dest, per_class=options.per_class, at=images_seen)
            pixels, labels = minted.pixels[:], np.asarray(minted.labels)
            judged = evaluate(judge, pixels, labels)
            row = {
                "images_seen": images_seen,
                "weights": weights,
                "score": round(judged.accuracy, 4),
                "distance": round(frechet(Moments.of(features(judge, pixels)), reference), 2),
            }
            if options.lenet:
                net = train_classifier(pixels, labels, k, images_seen=options.lenet, seed=0)
                row["lenet"] = round(evaluate(net, test.pixels[:], test_labels).accuracy, 4)
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
