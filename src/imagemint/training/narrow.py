"""Convolutions of maps that are one pixel wide or high: on a CPU their bf16 gradients cannot be trusted.

With torch 2.13.0 on AVX-512 bf16 the gradient of the weights of a convolution that is wider than such a map (3x3 or
5x5, plain and transposed) holds whatever stood in memory before, up to infinity: the part of the kernel that sees
padding alone is never written. In fp32 it is right. A network that halves small images often enough has such maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imagemint.models import ImageShape
from imagemint.models.layers import LabelledConv

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, LabelledConv)


@torch.no_grad()
def has_narrow_maps(generator: nn.Module, discriminator: nn.Module, shape: ImageShape, z_size: int) -> bool:
    """Whether a convolution of one of the two sees maps with a side of one pixel when images have this shape.

    Both are run once, in evaluation mode, and left in it.
    """
    found = False

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal found
        found = found or (1 in given[0].shape[-2:])

    layers = [each for network in (generator, discriminator) for each in network.modules()]
    hooks = [each.register_forward_pre_hook(look) for each in layers if isinstance(each, _CONVOLUTIONS)]
    labels = torch.zeros(2, dtype=torch.int64)
    generator.eval()(torch.zeros(2, z_size), labels)
    discriminator.eval()(torch.zeros(2, *shape), labels)
    for hook in hooks:
        hook.remove()
    return found
