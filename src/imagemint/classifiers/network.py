"""What every classifier that is a network offers: features, logits, and a hash that names its weights."""

from __future__ import annotations

import hashlib

import torch
from torch import nn


class Network(nn.Module):
    """A classifier of images; a subclass defines `features` and the last layer `out`."""

    out: nn.Linear

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> what the last layer sees, float `[n, d]`."""
        raise NotImplementedError

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> logits `[n, classes]`."""
        logits: torch.Tensor = self.out(self.features(images))
        return logits

    def weights_hash(self) -> str:
        """sha256 over the weights, in order: names the network that a number was computed with."""
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()
