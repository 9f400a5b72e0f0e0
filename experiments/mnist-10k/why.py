"""Why minted-only stays behind real at 10,000 images: diversity and usefulness of what each checkpoint mints.

    imagemint train mnist-10k.pack --recipe cdcgan --run cdcgan-10k --epochs 50 --resume --set keep=20
    python experiments/mnist-10k/why.py cdcgan-10k mnist-10k.pack mnist-test.pack

For every checkpoint of the run: the spread of pixel values within a class (0 to 1; for real images first), and the
test accuracy of a LeNet that saw 60,000 of 10,000 minted images, with batch normalisation by its running
statistics (as `mint` does) and by those of the batch.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import imagemint
from imagemint import images, seeds
from imagemint.classifiers import evaluate, train_classifier
from imagemint.methods import load_minter
from imagemint.minter import NetworkMinter

COUNT, BATCH = 10_000, 200


def spread(pixels: np.ndarray, labels: np.ndarray) -> float:
    values = pixels.reshape(len(pixels), -1) / 255
    return float(np.mean([values[labels == k].std(0).mean() for k in np.unique(labels)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("run", "real", "test"):
        parser.add_argument(name)
    options = parser.parse_args()
    run, real, test = (imagemint.open_run(options.run), *map(imagemint.open_pack, (options.real, options.test)))
    print(f"real: spread {spread(np.array(real.pixels), np.array(real.labels)):.4f}")
    labels = np.arange(COUNT) % len(real.classes)
    for checkpoint in run.checkpoints():
        minter = load_minter(run, checkpoint)
        assert isinstance(minter, NetworkMinter)
        for statistics in ("running", "batch"):
            minter.generator.train(statistics == "batch")
            made = []
            with torch.no_grad():
                for start in range(0, COUNT, BATCH):
                    image_seeds = [seeds.derive(5, "why", k) for k in range(start, start + BATCH)]
                    z = minter.z(image_seeds)
                    made.append(
                        images.to_pixels(minter.generator(z, torch.from_numpy(labels[start : start + BATCH]))).numpy()
                    )
            pixels = np.concatenate(made)
            net = train_classifier(pixels, labels, len(real.classes), images_seen=60_000, seed=0)
            accuracy = evaluate(net, np.array(test.pixels), np.array(test.labels)).accuracy
            print(
                f"{checkpoint.name} {statistics}: spread {spread(pixels, labels):.4f}, test {accuracy:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
