"""The classifier of Sterzinger, Stippel & Zogaj 2020, section 3."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from imagemint.classifiers.network import Network

# The text of section 3 gives the order of the layers; their widths stand in a figure (15) whose numbers we do not
# have. Ours: doubling up to 128 channels, and Keras' customary dense layer and dropout.
WIDTHS = (32, 64, 128, 128, 128)
HIDDEN = 512
DROPOUT = 0.5


class Cnn5(Network):
    """Five times convolution 3 with relu and max-pool 2; flatten, dropout, dense 512 relu, dense classes.

    The last odd row and column of a map is pooled too (Keras' "same"), so that 28 pixels last for five poolings.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__(size)
        widths = (channels, *WIDTHS)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(widths, WIDTHS, strict=False)
        )
        h, w = self.seen
        for _ in WIDTHS:
            h, w = -(-h // 2), -(-w // 2)
        self.hidden = nn.Linear(WIDTHS[-1] * h * w, HIDDEN)
        self.out = nn.Linear(HIDDEN, classes)
        for layer in (*self.convolutions, self.hidden, self.out):  # Keras' default: Glorot & Bengio 2010
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """The last hidden layer, float `[n, 512]`, 0 or more."""
        for convolution in self.convolutions:
            images = F.max_pool2d(F.relu(convolution(images)), 2, ceil_mode=True)
        return F.relu(self.hidden(F.dropout(images.flatten(1), DROPOUT, self.training)))
