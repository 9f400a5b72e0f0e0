"""A linear probe: logistic regression on the features of a network that somebody else has trained.

This is what a person with a pretrained network does first, and the strongest rival of minted images.
"""

from __future__ import annotations

import hashlib
import warnings

import numpy as np
import torch

from imagemint import seeds
from imagemint.classifiers.network import History
from imagemint.classifiers.outside import Outside
from imagemint.images import to_images, to_pixels

COPIES = 4  # augmented copies of each image, beside itself, where augmentation is asked for
PENALTY = 1.0  # on the squared weights, beside the sum of the losses; features have variance 1
_ITERATIONS = 1000


class LinearProbe:
    """Log probabilities from features: `(features - mean) / deviation @ weights + bias`, then softmax."""

    def __init__(
        self, network: Outside, mean: np.ndarray, deviation: np.ndarray, weights: np.ndarray, bias: np.ndarray
    ):
        self.network, self.mean, self.deviation, self.weights, self.bias = network, mean, deviation, weights, bias
        self.history: History = []

    def log_probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Log probability of each class for uint8 `[n, c, h, w]`: float64 `[n, classes]`."""
        rows = (self.network(pixels).astype(np.float64) - self.mean) / self.deviation
        logits = rows @ self.weights + self.bias
        logits -= logits.max(1, keepdims=True)
        found: np.ndarray = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        return found

    def weights_hash(self) -> str:
        """sha256 over the network's file and the weights."""
        digest = hashlib.sha256(self.network.sha256.encode())
        for each in (self.mean, self.deviation, self.weights, self.bias):
            digest.update(each.tobytes())
        return digest.hexdigest()


def train_linear(
    network: Outside,
    pixels: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    *,
    seed: int,
    augment: object = None,
    mix: object = None,
) -> LinearProbe:
    """A probe that has learned uint8 `[n, c, h, w]` with targets float64 `[n, k]` and weights float64 `[n]`.

    With `augment` or `mix` (as in `train_classifier`) it learns `COPIES` changed copies of each image too. A class
    without any image gets the probability 0.
    """
    from sklearn.exceptions import ConvergenceWarning  # two seconds that other commands need not wait for
    from sklearn.linear_model import LogisticRegression

    rows, wanted = [network(pixels)], [targets]
    if callable(augment) or callable(mix):
        generator = seeds.generator(seed, "linear augmentation")
        for _ in range(COPIES):
            for k in range(0, len(pixels), 512):
                images = to_images(torch.from_numpy(np.array(pixels[k : k + 512])))
                labels = torch.from_numpy(targets[k : k + 512])
                if callable(augment):
                    images = augment(images, generator)
                if callable(mix):
                    images, labels = mix(images, labels, generator)
                rows.append(network(to_pixels(images).numpy()))
                wanted.append(labels.numpy())
    features = np.concatenate(rows).astype(np.float64)
    mean, deviation = features.mean(0), np.maximum(features.std(0), 1e-6)
    features = (features - mean) / deviation
    every = np.concatenate(wanted)
    times = len(every) // len(pixels)
    share = every * np.tile(weights, times)[:, None] / times  # of each row, by class
    row, label = np.nonzero(share)
    known = np.unique(label)
    coefficients = np.zeros((features.shape[1], targets.shape[1]))
    bias = np.full(targets.shape[1], -np.inf)
    bias[known] = 0.0
    if len(known) > 1:
        model = LogisticRegression(C=1 / PENALTY, max_iter=_ITERATIONS)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # after 1,000 iterations the rest is rounding
            model.fit(features[row], label, sample_weight=share[row, label])
        if len(known) == 2:  # scikit-learn gives the difference of the two
            coefficients[:, known[1]], bias[known[1]] = model.coef_[0], model.intercept_[0]
        else:
            coefficients[:, known], bias[known] = model.coef_.T, model.intercept_
    return LinearProbe(network, mean, deviation, coefficients, bias)
