"""What a trained classifier makes of labelled images."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from imagemint.classifiers.network import Classifier, Network, blocks


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Log probabilities of labelled images, and what follows from them."""

    log_probabilities: np.ndarray  # float64 [n, k]
    labels: np.ndarray  # int64 [n] in 0..k-1

    @cached_property
    def predictions(self) -> np.ndarray:
        """The most probable class of each image, int64 `[n]`."""
        return self.log_probabilities.argmax(1)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """float64 `[n, k]`, 0 to 1."""
        return np.exp(self.log_probabilities)

    @property
    def accuracy(self) -> float:
        """Share of images whose most probable class is their label, 0 to 1."""
        return float(np.mean(self.predictions == self.labels))

    @property
    def loss(self) -> float:
        """Mean cross-entropy, nats."""
        return -float(self.log_probabilities[np.arange(len(self.labels)), self.labels].mean())

    @cached_property
    def confusion(self) -> np.ndarray:
        """Images by label (row) and prediction (column), int64 `[k, k]`."""
        k = self.log_probabilities.shape[1]
        return np.bincount(self.labels * k + self.predictions, minlength=k * k).reshape(k, k)


def evaluate(classifier: Classifier, pixels: np.ndarray, labels: np.ndarray) -> Evaluation:
    """What a classifier makes of uint8 `[n, c, h, w]` with labels int64 `[n]`, at least one image."""
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    return Evaluation(classifier.log_probabilities(pixels), np.array(labels))


def features(net: Network, pixels: np.ndarray) -> np.ndarray:
    """What the last layer of a network sees for uint8 `[n, c, h, w]`: float32 `[n, d]`."""
    with torch.inference_mode():
        return np.concatenate([net.features(images).numpy() for images in blocks(pixels)])
