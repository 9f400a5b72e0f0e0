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


def predict(net: Network, pixels: np.ndarray) -> np.ndarray:
    """Log probability of each class for uint8 `[n, c, h, w]`: float64 `[n, classes]`."""
    with torch.inference_mode():
        return np.concatenate([F.log_softmax(net(images).double(), 1).numpy() for images in _blocks(pixels)])


def evaluate(net: Network, pixels: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Accuracy, loss, predictions and confusion on uint8 `[n, c, h, w]` with labels int64 `[n]` in 0..k-1."""
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    found = predict(net, pixels)
    loss = -float(found[np.arange(len(labels)), labels].mean())
    return judged(found.argmax(1), labels, found.shape[1], loss)


def judged(predictions: np.ndarray, labels: np.ndarray, classes: int, loss: float) -> Evaluation:
    """The Evaluation of predictions int64 `[n]` against labels int64 `[n]`."""
    confusion = np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)
    return Evaluation(float(np.mean(predictions == labels)), loss, predictions, confusion)


def features(net: Network, pixels: np.ndarray) -> np.ndarray:
    """The last hidden layer for uint8 `[n, c, h, w]`: float32 `[n, 500]`."""
    with torch.inference_mode():
        return np.concatenate([net.features(images).numpy() for images in _blocks(pixels)])


def _blocks(pixels: np.ndarray) -> Iterator[torch.Tensor]:
    """Images in turn; copies, since torch does not take the read-only arrays of a pack."""
    for start in range(0, len(pixels), _TEST_BATCH):
        yield to_images(torch.from_numpy(np.array(pixels[start : start + _TEST_BATCH])))
