"""What a trained classifier makes of images: predictions, loss, confusion, features."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from imagemint.classifiers.network import Network
from imagemint.images import to_images

_TEST_BATCH = 512  # how many images go through the network at a time when it is only asked


@dataclass(frozen=True)
class Evaluation:
    """What a classifier makes of labelled images."""

    accuracy: float  # share in 0..1
    loss: float  # mean cross-entropy, nats
    predictions: np.ndarray  # int64 [n]
    confusion: np.ndarray  # int64 [k, k]; row: label, column: prediction


def evaluate(net: Network, pixels: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Accuracy, loss, predictions and confusion on uint8 `[n, c, h, w]` with labels int64 `[n]` in 0..k-1."""
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    loss, predictions = 0.0, []
    for part, images in _blocks(pixels):
        with torch.inference_mode():
            logits = net(images)
            wanted = torch.from_numpy(np.array(labels[part]))
            loss += F.cross_entropy(logits.double(), wanted, reduction="sum").item()
            predictions.append(logits.argmax(1).numpy())
    return judged(np.concatenate(predictions), labels, net.out.out_features, loss / len(labels))


def judged(predictions: np.ndarray, labels: np.ndarray, classes: int, loss: float) -> Evaluation:
    """The Evaluation of predictions int64 `[n]` against labels int64 `[n]`."""
    confusion = np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)
    return Evaluation(float(np.mean(predictions == labels)), loss, predictions, confusion)


def features(net: Network, pixels: np.ndarray) -> np.ndarray:
    """The last hidden layer for uint8 `[n, c, h, w]`: float32 `[n, 500]`."""
    with torch.inference_mode():
        return np.concatenate([net.features(images).numpy() for _, images in _blocks(pixels)])


def _blocks(pixels: np.ndarray) -> Iterator[tuple[slice, torch.Tensor]]:
    """Images in turn; copies, since torch does not take the read-only arrays of a pack."""
    for start in range(0, len(pixels), _TEST_BATCH):
        part = slice(start, start + _TEST_BATCH)
        yield part, to_images(torch.from_numpy(np.array(pixels[part])))
