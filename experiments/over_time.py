"""What the images of each checkpoint of a run are worth, by one judge, and what a LeNet learns from them alone.

    imagemint train mnist.pack --recipe ccgan --run ccgan --set keep=20 --set ema_images=50000
    python experiments/over_time.py ccgan mnist.pack mnist-test.pack [--per-class 1000] [--lenet 200000]

The judge is a LeNet after 5 passes over the real images (as in Rzayev & Weldegebriel). Score: the share
of minted images that it assigns to the class asked for. Distance: Fréchet, on its features, to 20,000 real images.
LeNet: test accuracy after so many images of minted ones. Where the run keeps averaged weights, both kinds are judged.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import imagemint  # first: it chooses how waiting threads wait

# isort: split
import numpy as np

from imagemint.classifiers import evaluate, features, train_classifier
from imagemint.config import Recipe
from imagemint.metrics.frechet import Moments, frechet
from imagemint.runs import Run

EPOCHS, REFERENCE = 5, 20_000


def views(run: Run, folder: Path) -> Iterator[tuple[str, Path]]:
    """The run as it was at each checkpoint, as run folders of their own; without averaged weights too."""
    assert isinstance(run.recipe, Recipe)
    for checkpoint in run.checkpoints():
        for weights in ("averaged", "last") if run.recipe.ema_images else ("last",):
            path = folder / f"{checkpoint.name} {weights}"
            (path / "checkpoints").mkdir(parents=True)
            (path / "checkpoints" / checkpoint.name).symlink_to(checkpoint.resolve())
            facts = json.loads((run.path / "run.json").read_text())
            if weights == "last":
                facts["recipe"]["ema_images"] = None
            (path / "run.json").write_text(json.dumps(facts))
            yield weights, path


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
        for weights, path in views(run, Path(folder)):
            images_seen = imagemint.open_run(path).images_seen
            if weights not in options.weights.split(",") or images_seen <= options.after:
                continue
            minted = imagemint.mint(path, path / "minted", per_class=options.per_class)
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
