"""What the discriminator of a semi-supervised GAN knows: its test accuracy against a classifier with the same labels.

    python experiments/sgan/accuracy.py FEW.pack TEST.pack RUN RUN ...

FEW.pack is what the runs were trained on: some images with a label, the rest without. For each run the discriminator
of the newest checkpoint names one of the k classes of every test image. Beside it a LeNet that learns the labelled
images alone, plain and with classic augmentation, 160,000 images seen. Prints one JSON line each.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch

from imagemint.augment import classic
from imagemint.classifiers import evaluate, train_classifier
from imagemint.data.pack import Pack, open_pack
from imagemint.images import to_images
from imagemint.runs import Run, open_run
from imagemint.training.state import load_checkpoint, new_gan

SEEN = 160_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("few", type=Path)
    parser.add_argument("test", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    options = parser.parse_args()
    few, test = open_pack(options.few), open_pack(options.test)
    for path in options.runs:
        run = open_run(path)
        found = {"run": path.name, "images_seen": run.images_seen, "accuracy": accuracy(run, test)}
        print(json.dumps(found), flush=True)
    labelled = np.flatnonzero(np.asarray(few.labels) >= 0)
    pixels, labels = few.pixels[labelled], np.asarray(few.labels)[labelled]
    for name, augment in (("LeNet", None), ("LeNet, classic augmentation", classic)):
        net = train_classifier(pixels, labels, len(few.classes), images_seen=SEEN, seed=0, augment=augment)
        print(
            json.dumps(
                {
                    "classifier": name,
                    "labelled": len(labels),
                    "accuracy": evaluate(net, test.pixels, np.asarray(test.labels)).accuracy,
                }
            ),
            flush=True,
        )


@torch.inference_mode()
def accuracy(run: Run, test: Pack) -> float:
    """Share of the test images whose class D names, among the k real ones."""
    gan = new_gan(run.facts)
    load_checkpoint(gan, run.newest())
    d, labels, right = gan.discriminator.eval(), torch.from_numpy(np.array(test.labels)), 0
    for start in range(0, len(test), 500):
        part = slice(start, start + 500)
        logits = d(to_images(torch.from_numpy(np.array(test.pixels[part]))), labels[part])
        right += int((logits[:, :-1].argmax(1) == labels[part]).sum())
    return right / len(test)


if __name__ == "__main__":
    main()
