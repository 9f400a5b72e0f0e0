"""Convolutional networks: Winkler 2018, sections 4.7.5 and 4.8, one row of NETS per experiment, in order.

    mirrored            an MNIST classifier with strides for pooling as D, its mirror as G
    mirrored-dense      + a dense layer of 1024 after z
    mirrored-two        + two transposed convolutions 4/2 in place of four
    mirrored-wider      + 32 and 64 channels in D
    mnist               the best one for MNIST
    pooled              the same G; D is the MNIST classifier with max-pooling, relu and one dense layer of 1000
    cifar               `mnist` with a map of 40 channels; gray or colour as the pack is
    cifar-wider         + a 5x5 convolution of 128 channels after G's map and before D's dense layer
    cifar-final         three convolutions each

Where the thesis is silent or contradicts itself, we read:

    stride      2 in D's 2x2 convolutions: it prints 1, and a map of 7x7 after two of them
    borders     padded, so that sides are kept or halved; G's map is a quarter of the image
    order       layer, normalisation, activation, dropout
    linear      D's 5x5 convolutions in `mirrored`, as printed: each stands before a 2x2 one that was its pooling
    leaky       D's hidden dense layer, though printed without: a linear one before the linear output would be none
    leak        0.01, the only one that it names
    pooled      pooling with stride 2, though it prints 1; its dropout is `dropout: 0.5`, which G gets too
    cifar       it names a map of 40 channels, which only `mirrored` has, but means the best net: `mnist` at 40
    weights     Glorot uniform, biases 0: TensorFlow's default
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from imagemint.models.layers import ImageConv, before_last, glorot
from imagemint.models.shapes import ImageShape
from imagemint.settings import Strict

Variant = Literal[
    "mirrored",
    "mirrored-dense",
    "mirrored-two",
    "mirrored-wider",
    "mnist",
    "pooled",
    "cifar",
    "cifar-wider",
    "cifar-final",
]  # the keys of NETS
ABOUT = "Winkler 2018: convolutional networks, one variant per experiment"


class Options(Strict):
    """The family's choices; the last four are the ablations of section 4.7.5."""

    variant: Variant = Field("mnist", description="a row of NETS")
    outputs: Literal[1, "k+1"] = Field(
        1, description="k+1: one logit per class and a last one for *generated* (semi-supervised)"
    )
    leak: float = Field(0.01, ge=0, le=1, description="slope below zero of leaky relu")
    dropout: float | None = Field(
        None, ge=0, lt=1, description="after G's map and before D's output; empty: as the variant says"
    )
    bn_g: bool = Field(True, description="false: no batch normalisation in G")
    bn_d: bool | None = Field(
        None, description="true: in all layers of D but the first and the last; empty: as the variant says"
    )
    leaky_g: bool = Field(False, description="leaky relu in place of relu in G")


class Conv(NamedTuple):
    """A convolution in D, a transposed one in G."""

    channels: int
    kernel: int
    stride: int
    norm: bool = False
    active: bool = True
    pooled: bool = False  # D: the larger of each 2x2, before the activation


class Net(NamedTuple):
    """The two networks. G's dense layers are all normalised; its last convolution makes the image."""

    g_dense: tuple[int, ...]  # units between z and the map
    g_map: int  # channels of the map
    g_convs: tuple[Conv, ...]
    g_last: tuple[int, int]  # kernel and stride of the last transposed convolution
    d_convs: tuple[Conv, ...]
    d_dense: int = 0  # units before the output; 0: none
    d_dense_norm: bool = False
    dropout: float = 0.0
    d_plain: bool = False  # relu in D, too


_MIRRORED = Net(
    g_dense=(),
    g_map=40,
    g_convs=(Conv(40, 5, 1, norm=True), Conv(40, 2, 2, norm=True), Conv(20, 5, 1)),
    g_last=(2, 2),
    d_convs=(
        Conv(20, 5, 1, active=False),
        Conv(20, 2, 2, norm=True),
        Conv(40, 5, 1, norm=True, active=False),
        Conv(40, 2, 2, norm=True),
    ),
    dropout=0.5,
)
_DENSE = _MIRRORED._replace(g_dense=(1024,))
_TWO = _DENSE._replace(g_convs=(Conv(64, 4, 2, norm=True),), g_last=(4, 2))
_WIDER = _TWO._replace(
    d_convs=tuple(conv._replace(channels={20: 32, 40: 64}[conv.channels]) for conv in _TWO.d_convs)
)
_MNIST = Net(
    g_dense=(1024,),
    g_map=128,
    g_convs=(Conv(64, 4, 2, norm=True),),
    g_last=(4, 2),
    d_convs=(Conv(32, 5, 1), Conv(32, 2, 2), Conv(64, 5, 1), Conv(64, 2, 2)),
    d_dense=4 * 4 * 64,
)
_CIFAR = _MNIST._replace(g_map=40)
_CIFAR_FINAL = Net(
    g_dense=(1024,),
    g_map=128,
    g_convs=(Conv(128, 5, 1, norm=True), Conv(64, 4, 2, norm=True)),
    g_last=(4, 2),
    d_convs=(Conv(32, 5, 2), Conv(64, 5, 2, norm=True), Conv(128, 5, 1, norm=True)),
    d_dense=4 * 4 * 64,
    d_dense_norm=True,
)
NETS: dict[Variant, Net] = {
    "mirrored": _MIRRORED,
    "mirrored-dense": _DENSE,
    "mirrored-two": _TWO,
    "mirrored-wider": _WIDER,
    "mnist": _MNIST,
    "pooled": _MNIST._replace(
        d_convs=(Conv(20, 5, 1, pooled=True), Conv(40, 5, 1, pooled=True)), d_dense=1000, d_plain=True
    ),
    "cifar": _CIFAR,
    "cifar-wider": _CIFAR._replace(
        g_convs=(Conv(128, 5, 1, norm=True), *_CIFAR.g_convs), d_convs=(*_CIFAR.d_convs, Conv(128, 5, 1))
    ),
    "cifar-final": _CIFAR_FINAL,
}


class Generator(nn.Module):
    """z float `[n, z_size]` -> images `[n, c, h, w]` in [-1, 1]; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape, z_size: int) -> None:
        super().__init__()
        net = NETS[options.variant]
        h, w = shape.height // 4, shape.width // 4
        layers: list[nn.Module] = []
        before = z_size
        for units in (*net.g_dense, net.g_map * h * w):
            layers += [nn.Linear(before, units), *_norm1(units, options.bn_g), _relu(options, options.leaky_g)]
            before = units
        layers += [*_dropout(options, net), nn.Unflatten(1, (net.g_map, h, w))]
        before = net.g_map
        for conv in net.g_convs:
            layers += [_transposed(before, conv.channels, conv.kernel, conv.stride)]
            layers += [*_norm2(conv.channels, conv.norm and options.bn_g), _relu(options, options.leaky_g)]
            before = conv.channels
        kernel, stride = net.g_last
        last = ImageConv(before, shape.channels, kernel, stride, padding=(kernel - stride) // 2)
        self.layers = nn.Sequential(*layers, last)
        glorot(self)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        return self.layers(z).float().tanh()


class Discriminator(nn.Module):
    """Images `[n, c, h, w]` in [-1, 1] -> logits `[n]`, or `[n, classes + 1]`; labels are ignored."""

    def __init__(self, options: Options, shape: ImageShape, classes: int) -> None:
        super().__init__()
        net = NETS[options.variant]
        layers: list[nn.Module] = []
        before = shape.channels
        for k, conv in enumerate(net.d_convs):
            normed = conv.norm if options.bn_d is None else options.bn_d and k > 0
            layers += [_convolution(before, conv.channels, conv.kernel, conv.stride), *_norm2(conv.channels, normed)]
            layers += [nn.MaxPool2d(2)] if conv.pooled else []
            layers += [_relu(options, leaky=not net.d_plain)] if conv.active else []
            before = conv.channels
        layers.append(nn.Flatten())
        before *= (shape.height // 4) * (shape.width // 4)
        if net.d_dense:
            normed = net.d_dense_norm if options.bn_d is None else options.bn_d
            layers += [nn.Linear(before, net.d_dense), *_norm1(net.d_dense, normed)]
            layers += [_relu(options, leaky=not net.d_plain)]
            before = net.d_dense
        self.single = options.outputs == 1
        self.layers = nn.Sequential(
            *layers, *_dropout(options, net), nn.Linear(before, 1 if self.single else classes + 1)
        )
        glorot(self)

    def features(self, images: Tensor, labels: Tensor) -> Tensor:
        """Float `[n, f]`: what the last layer makes logits from."""
        return before_last(self.layers, images)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        logits = self.layers[-1](self.features(images, labels))
        return logits.squeeze(1) if self.single else logits


def _convolution(before: int, after: int, kernel: int, stride: int) -> nn.Conv2d:
    """Sides divided by the stride."""
    return nn.Conv2d(before, after, kernel, stride, padding=(kernel - 1) // 2)


def _transposed(before: int, after: int, kernel: int, stride: int) -> nn.ConvTranspose2d:
    """Sides multiplied by the stride; kernel and stride are both even, or the stride is 1."""
    return nn.ConvTranspose2d(before, after, kernel, stride, padding=(kernel - stride) // 2)


def _norm1(units: int, wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm1d(units)] if wanted else []


def _norm2(channels: int, wanted: bool) -> list[nn.Module]:
    return [nn.BatchNorm2d(channels)] if wanted else []


def _relu(options: Options, leaky: bool) -> nn.Module:
    return nn.LeakyReLU(options.leak) if leaky else nn.ReLU()


def _dropout(options: Options, net: Net) -> list[nn.Module]:
    share = net.dropout if options.dropout is None else options.dropout
    return [nn.Dropout(share)] if share else []


def build(options: Options, shape: ImageShape, classes: int, z_size: int) -> tuple[Generator, Discriminator]:
    """The pair of networks for one pack."""
    shape.check_divisible(4, "conv")
    return Generator(options, shape, z_size), Discriminator(options, shape, classes)
