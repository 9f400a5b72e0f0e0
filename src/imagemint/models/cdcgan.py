"""cDCGAN: Baker 2018, conditional DCGAN with the label joined at every layer.

For 28x28x1 images and 10 classes the discriminator has 3,769,479 parameters and the generator 7,065,211, as in its
tables 5.1 and 5.2. Widths that the tables derive from channels and classes (c + k and 64 + k) do so here.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.models.layers import LabelledConv, LabelledLinear
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

_LEAK = 0.2
ABOUT = "Baker 2018: conditional DCGAN, the label joined at every layer"


class Options(Strict):
    """No choices: tables 5.1 and 5.2 fix everything."""


class Generator(nn.Module):
    """z float `[n, z_size]`, labels int64 `[n]` -> images `[n, c, h, w]` in [-1, 1]."""

    def __init__(self, shape: ImageShape, classes: int, z_size: int) -> None:
        super().__init__()
        shape.check_divisible(4, "cdcgan")
        self.start = (128, shape.height // 4, shape.width // 4)
        start_size = 128 * self.start[1] * self.start[2]
        self.dense1 = LabelledLinear(z_size, classes, 1024)
        self.norm1 = nn.BatchNorm1d(1024, eps=1e-5, momentum=0.1)
        self.dense2 = LabelledLinear(1024, classes, start_size)
        self.norm2 = nn.BatchNorm1d(start_size, eps=1e-5, momentum=0.1)
        self.conv3 = LabelledConv(128, classes, 128, transposed=True)
        self.norm3 = nn.BatchNorm2d(128, eps=1e-5, momentum=0.1)
        self.conv4 = LabelledConv(128, classes, shape.channels, transposed=True)
        _initialise(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images in [-1, 1]; the last layer is a sigmoid over [0, 1], as in table 5.2."""
        x = F.relu(self.norm1(self.dense1(z, labels)))
        x = F.relu(self.norm2(self.dense2(x, labels))).view(-1, *self.start)
        x = F.relu(self.norm3(self.conv3(x, labels)))
        return 2 * self.conv4(x, labels).float().sigmoid() - 1


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1], labels int64 `[n]` -> logits `[n]`."""

    def __init__(self, shape: ImageShape, classes: int) -> None:
        super().__init__()
        shape.check_divisible(4, "cdcgan")
        narrow, wide = shape.channels + classes, 64 + classes
        self.conv1 = LabelledConv(shape.channels, classes, narrow)
        self.conv2 = LabelledConv(narrow, classes, wide)
        self.norm2 = nn.BatchNorm2d(wide, eps=1e-5, momentum=0.1)
        self.dense3 = LabelledLinear(wide * (shape.height // 4) * (shape.width // 4), classes, 1024)
        self.norm3 = nn.BatchNorm1d(1024, eps=1e-5, momentum=0.1)
        self.dense4 = LabelledLinear(1024, classes, 1)
        _initialise(self)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, 1024]`: what the last layer, with the label, makes logits from. Inside, images are in [0, 1]."""
        x = F.leaky_relu(self.conv1((images + 1) / 2, labels), _LEAK)
        x = F.leaky_relu(self.norm2(self.conv2(x, labels)), _LEAK)
        return F.leaky_relu(self.norm3(self.dense3(x.flatten(1), labels)), _LEAK)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.dense4(self.features(images, labels), labels).squeeze(1)


def _initialise(module: nn.Module) -> None:
    """Convolutions truncated normal(0, 0.02) cut at two deviations, other weights normal(0, 0.02), biases 0."""
    for layer in module.modules():
        if isinstance(layer, LabelledConv):
            for weight in (layer.weight, layer.label_weight):
                nn.init.trunc_normal_(weight, std=0.02, a=-0.04, b=0.04)
        elif isinstance(layer, LabelledLinear):
            nn.init.normal_(layer.weight, std=0.02)
            nn.init.normal_(layer.label_weight, std=0.02)


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    return Generator(shape, classes, z_size), Discriminator(shape, classes)
