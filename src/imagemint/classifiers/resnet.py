"""A small residual network: what somebody without a pretrained network would train today at 28 to 64 pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from imagemint.classifiers.network import Network

WIDTHS = (16, 32, 64)
BLOCKS = 3  # per width: 6 x 3 + 2 = 20 layers
FROM = 48  # pixels of the longer side from which the first convolution halves the image: a quarter of the work


class ResNet(Network):
    """ResNet-20 for small images (He et al. 2016, arXiv 1512.03385, section 4.2); 269,722 parameters on CIFAR-10.

    Convolution 3, three stages of three blocks with 16, 32 and 64 channels, mean over the image, dense. Shortcuts
    have no parameters: where a stage halves the image they take every second pixel and fill up channels with zeros.
    He et al. report 91.25 % on CIFAR-10 after 64,000 batches of 128 images; ours has not been trained for so long.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__(size)
        self.first = nn.Conv2d(
            channels, WIDTHS[0], 3, stride=2 if max(self.seen) >= FROM else 1, padding=1, bias=False
        )
        self.norm = nn.BatchNorm2d(WIDTHS[0])
        widths = [width for width in WIDTHS for _ in range(BLOCKS)]
        before = [WIDTHS[0], *widths]
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(before, widths, strict=False)))
        self.out = nn.Linear(WIDTHS[-1], classes)
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):  # He et al. 2015, as the paper says
                nn.init.kaiming_normal_(module.weight)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def maps(self, images: torch.Tensor) -> torch.Tensor:
        """The mean of the last maps over the image, float `[n, 64]`, 0 or more."""
        maps: torch.Tensor = self.blocks(F.relu(self.norm(self.first(images))))
        return maps.mean((2, 3))


class Block(nn.Module):
    """Two convolutions 3 with batch normalisation beside a shortcut."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.stride, self.more = (1, 0) if before == after else (2, after - before)
        self.conv1 = nn.Conv2d(before, after, 3, stride=self.stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        """Float `[n, before, h, w]` -> `[n, after, h / stride, w / stride]`."""
        shortcut = maps[:, :, :: self.stride, :: self.stride]
        if self.more:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        maps = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(maps)))))
        return F.relu(maps + shortcut)
