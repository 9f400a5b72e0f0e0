"""What every classifier offers: log probabilities, a history and a hash; and what those that are networks share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imagemint.images import to_images

SMALLEST, LARGEST = 16, 64  # sides in pixels that networks see as they are; others are scaled by a whole factor first
_BATCH = 512  # how many images go through a network at a time when it is only asked

History = list[dict[str, Any]]


class Classifier(Protocol):
    """A trained classifier.

    `history` has one line per look: images_seen, and for each watched set of images by name its loss and accuracy.
    """

    history: History

    def log_probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Log probability of each class for uint8 `[n, c, h, w]`: float64 `[n, classes]`."""

    def weights_hash(self) -> str:
        """sha256 over the weights: names the classifier that a number was computed with."""


class Network(nn.Module):
    """A classifier that is a network; a subclass defines `maps` and the last layer `out`."""

    out: nn.Linear

    def __init__(self, size: tuple[int, int]) -> None:
        super().__init__()
        self.history: History = []
        self.enlarge = -(-SMALLEST // min(size))
        self.shrink = 1 if self.enlarge > 1 else -(-max(size) // LARGEST)
        while self.shrink > 1 and min(size) // self.shrink < SMALLEST:  # long and narrow
            self.shrink -= 1
        self.seen: tuple[int, int] = (size[0] * self.enlarge // self.shrink, size[1] * self.enlarge // self.shrink)

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> what the last layer sees, float `[n, d]`.

        Images with a side under 16 px are enlarged by the smallest whole factor that reaches 16 (bilinear); images
        with a side over 64 px are averaged over whole blocks.
        """
        if self.enlarge > 1:
            images = F.interpolate(images, scale_factor=float(self.enlarge), mode="bilinear")
        elif self.shrink > 1:
            images = F.avg_pool2d(images, self.shrink)
        return self.maps(images.contiguous(memory_format=torch.channels_last))

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, *seen]` -> float `[n, d]`."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> logits `[n, classes]`."""
        logits: torch.Tensor = self.out(self.features(images))
        return logits

    def log_probabilities(self, pixels: np.ndarray) -> np.ndarray:
        """Log probability of each class for uint8 `[n, c, h, w]`: float64 `[n, classes]`."""
        with torch.inference_mode():
            found = [F.log_softmax(self(images).double(), 1).numpy() for images in blocks(pixels)]
        return np.concatenate(found)

    def weights_hash(self) -> str:
        """sha256 over the weights, in order: names the network that a number was computed with."""
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


def blocks(pixels: np.ndarray) -> Iterator[torch.Tensor]:
    """Images in turn, as networks see them; copies, since torch does not take the read-only arrays of a pack."""
    for start in range(0, len(pixels), _BATCH):
        yield to_images(torch.from_numpy(np.array(pixels[start : start + _BATCH])))
