"""Layers that more than one family could use.

The labelled ones know the label as if its one-hot planes had been joined to their input. A convolution over [x, y] is
the sum of a convolution over x and one over y. The planes of y are constant for a class, so their part is one map per
class, computed once per call instead of once per image: an exact identity that also keeps the channel counts of x
even, which is fast on the hardware.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Output channels up to which `transposed_convolution` multiplies matrices: measured for a 5x5 kernel, forward and
# backward, with 1, 3, 4 and 8 channels it is 2.3, 1.4, 1.2 and 0.7 times as fast as the CPU's own routine.
_FEW = 3


class LabelledLinear(nn.Module):
    """Dense layer over [x, one-hot label]: `[n, in]`, int64 `[n]` -> `[n, out]`.

    Parameters: (in + classes + 1) x out.
    """

    def __init__(self, in_features: int, classes: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_features, in_features))
        self.label_weight = nn.Parameter(torch.empty(out_features, classes))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias) + F.embedding(labels, self.label_weight.t()).to(x.dtype)

    def extra_repr(self) -> str:
        """For printing a model."""
        return f"{self.weight.shape[1]} + {self.label_weight.shape[1]} labels -> {self.weight.shape[0]}"


class LabelledConv(nn.Module):
    """5x5 convolution with stride 2 over [x, label planes]: `[n, in, h, w]` -> `[n, out, h/2, w/2]`.

    `transposed` doubles the sides instead. Parameters: (in + classes) x out x 25 + out.
    """

    def __init__(self, in_channels: int, classes: int, out_channels: int, *, transposed: bool = False) -> None:
        super().__init__()
        self.transposed = transposed
        self.classes = classes

        def kernel(channels: int) -> nn.Parameter:
            pair = (channels, out_channels) if transposed else (out_channels, channels)
            return nn.Parameter(torch.empty(*pair, 5, 5))

        self.weight, self.label_weight = kernel(in_channels), kernel(classes)
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        one_hots = torch.eye(self.classes, device=x.device, dtype=self.weight.dtype)
        planes = one_hots[:, :, None, None].expand(-1, -1, *x.shape[2:])
        maps = self._convolve(planes, self.label_weight, self.bias)  # [classes, out, h', w']
        one_hot = F.one_hot(labels, self.classes).to(maps.dtype)
        label_part = (one_hot @ maps.flatten(1)).view(-1, *maps.shape[1:])  # [n, out, h', w']
        return self._convolve(x, self.weight, None) + label_part

    def _convolve(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.transposed:
            return transposed_convolution(x, weight, bias, stride=2, padding=2, output_padding=1)
        return F.conv2d(x, weight, bias, stride=2, padding=2)

    def extra_repr(self) -> str:
        """For printing a model."""
        i, o = self.weight.shape[:2]
        i, o = (i, o) if self.transposed else (o, i)
        return f"{i} + {self.classes} labels -> {o}, 5x5, {'x2' if self.transposed else '/2'}"


class ImageConv(nn.ConvTranspose2d):
    """The transposed convolution that makes an image: as nn.ConvTranspose2d, by the quicker way below.

    For square kernels, strides and paddings, without groups or dilation.
    """

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """`[n, in, h, w]` -> `[n, out, h', w']`."""
        assert output_size is None
        sizes = {"stride": self.stride[0], "output_padding": int(self.output_padding[0])}
        return transposed_convolution(x, self.weight, self.bias, padding=int(self.padding[0]), **sizes)


def transposed_convolution(
    x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int, padding: int, output_padding: int
) -> Tensor:
    """F.conv_transpose2d: `[n, in, h, w]`, weight `[in, out, k, k]` -> `[n, out, h', w']`.

    To the one or three channels of an image the CPU's routine is slow: it works on blocks of output channels, which
    are nearly empty then. So each pixel's k x k patches are made by one matrix product and added up where they
    overlap: an exact identity. The sums are fp32, under autocast too, as they are inside the routine.
    """
    n, _, h, w = x.shape
    out, k = weight.shape[1], weight.shape[2]
    if out > _FEW or x.device.type != "cpu":
        return F.conv_transpose2d(x, weight, bias, stride, padding, output_padding)
    patches = torch.bmm(weight.flatten(1).t().expand(n, -1, -1), x.flatten(2))  # [n, out x k x k, h x w]
    size = tuple(stride * (side - 1) + k - 2 * padding + output_padding for side in (h, w))
    wide = patches.float() if patches.dtype == torch.bfloat16 else patches
    images = F.fold(wide, size, k, padding=padding, stride=stride)
    return images if bias is None else images + bias.view(-1, 1, 1)


class DoublingConv(nn.Conv2d):
    """Nearest-neighbour upsampling, then a k x k convolution: `[n, in, h, w]` -> `[n, out, 2h, 2w]`; k is odd.

    An exact identity: each pixel of the small map stands for 2x2 equal ones, so the two steps are one transposed
    convolution with stride 2 whose kernel is the k x k one summed over them. With k = 3 that is 16 products where
    there were 36; measured 2 to 3 times faster on the CPU, and the large map is never made. Parameters are those of
    the k x k convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int = 3, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, kernel, padding=kernel // 2, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        kernel = self.weight.flip(2, 3).transpose(0, 1)
        kernel = F.pad(kernel, (0, 1)) + F.pad(kernel, (1, 0))
        kernel = F.pad(kernel, (0, 0, 0, 1)) + F.pad(kernel, (0, 0, 1, 0))
        padding = self.kernel_size[0] // 2
        return transposed_convolution(x, kernel, self.bias, stride=2, padding=padding, output_padding=0)


class BlurredDoubling(nn.ConvTranspose2d):
    """A 3x3 transposed convolution with stride 2, then a [1, 2, 1] blur: `[n, in, h, w]` -> `[n, out, 2h, 2w]`.

    As StyleGAN does (Karras et al. 2019, sec. 3). Both steps are linear and become one transposed convolution with a
    5x5 kernel. The blur takes the highest frequency away, which is the checkerboard's. Parameters are those of the
    3x3 kernel.
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool = True) -> None:
        super().__init__(in_channels, out_channels, 3, stride=2, padding=1, output_padding=1, bias=bias)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Shapes: see the class."""
        assert output_size is None
        line = torch.tensor([1.0, 2.0, 1.0], device=x.device) / 2  # sums to 2: zeros stood between the pixels
        blur = (line[:, None] * line).expand(len(self.weight.flatten(0, 1)), 1, 3, 3)
        kernel = F.conv2d(self.weight.flatten(0, 1)[None], blur, padding=2, groups=len(blur))[0]
        kernel = kernel.view(*self.weight.shape[:2], 5, 5)
        return transposed_convolution(x, kernel, self.bias, stride=2, padding=2, output_padding=1)


class LeakyReLU(nn.LeakyReLU):
    """nn.LeakyReLU whose slope counts as a constant in second derivatives: the same numbers, any shape, and cheaper.

    The slope is constant on either side of 0, so its own derivative is 0; PyTorch makes that a tensor of zeros and
    sends it back through all layers below. A gradient penalty on a discriminator with these layers has bit-equal
    gradients and takes two thirds of the time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        out: Tensor = _Leaky.apply(x, self.negative_slope)  # type: ignore[no-untyped-call]
        return out


class _Leaky(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: float) -> Tensor:
        ctx.set_materialize_grads(False)  # no gradient stays none: zeros would travel on
        ctx.save_for_backward(x)
        ctx.slope = slope
        return F.leaky_relu(x, slope)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor | None) -> tuple[Tensor | None, None]:
        if gradient is None:
            return None, None
        (x,) = ctx.saved_tensors
        return torch.ops.aten.leaky_relu_backward(gradient, x.detach(), ctx.slope, False), None


def normalised(x: Tensor, mean: Tensor, variance: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """(x - mean) / sqrt(variance) x weight + bias: `[n, channels, ...]`, the others one value per channel."""
    scale = weight * torch.rsqrt(variance)
    shift = bias - mean * scale
    wide = (-1,) + (1,) * (x.dim() - 2)
    return (x.float() * scale.view(wide) + shift.view(wide)).to(x.dtype)


class HalfBatchNorm(nn.Module):
    """Batch normalisation by one half of the batch: `[n, channels, ...]` -> the same shape.

    In training the first half, which is a random one because batches are shuffled, is the reference: its mean and
    variance, channel by channel, normalise both halves. With an odd n the reference is the larger half. In
    evaluation running means take their place, as in nn.BatchNorm2d, with its constants. Parameters: 2 x channels.
    """

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, *, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            reference = x[: (len(x) + 1) // 2].float().transpose(0, 1).flatten(1)  # [channels, values]
            variance, mean = torch.var_mean(reference, 1, correction=0)
            self._remember(mean.detach(), variance.detach(), reference.shape[1])
        else:
            mean, variance = self.running_mean, self.running_var
        return normalised(x, mean, variance + self.eps, self.weight, self.bias)

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, values: int) -> None:
        unbiased = variance * (values / max(values - 1, 1))
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(unbiased, self.momentum)

    def extra_repr(self) -> str:
        """For printing a model."""
        return str(len(self.weight))


def glorot(module: nn.Module) -> None:
    """Uniform weights of Glorot & Bengio 2010 and biases 0 in every dense and convolutional layer, as in Keras."""
    for layer in module.modules():
        if isinstance(layer, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def before_last(layers: nn.Sequential, x: Tensor) -> Tensor:
    """What all layers but the last make of `x`: the features that the last one turns into logits."""
    for layer in islice(layers, len(layers) - 1):
        x = layer(x)
    return x
