"""Convolutions of maps that are one pixel wide or high: on a CPU their bf16 gradients cannot be trusted.

With torch 2.13.0 on AVX-512 bf16 the gradient of the weights of a convolution that is wider than such a map (3x3 or
5x5, plain and transposed) holds whatever stood in memory before, up to infinity: the part of the kernel that sees
padding alone is never written. In fp32 it is right. A network that halves small images often enough has such maps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from imagemint.models.layers import LabelledConv

_CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d, LabelledConv)


@torch.no_grad()
def has_narrow_maps(network: nn.Module, *inputs: Tensor) -> bool:
    """Whether a convolution of a network sees maps with a side of one pixel, given these inputs.

    The network is run once, in evaluation mode, and left in it.
    """
    found = False

    def look(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        nonlocal found
        found = found or (1 in given[0].shape[-2:])

    layers = [each for each in network.modules() if isinstance(each, _CONVOLUTIONS)]
    hooks = [each.register_forward_pre_hook(look) for each in layers]
    network.eval()(*inputs)
    for hook in hooks:
        hook.remove()
    return found
