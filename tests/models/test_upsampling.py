"""How generators double the sides of their maps."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from imagemint.errors import RecipeError
from imagemint.models import ImageShape, build
from imagemint.models.layers import BlurredDoubling, DoublingConv, ImageConv
from imagemint.models.small import Generator


def test_a_blurred_doubling_is_a_transposed_convolution_and_then_a_blur() -> None:
    layer, x = BlurredDoubling(3, 5), torch.randn(2, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    assert layer.bias is not None
    plain = F.conv_transpose2d(x, layer.weight, None, stride=2, padding=1, output_padding=1)
    line = torch.tensor([0.5, 1.0, 0.5])
    blur = (line[:, None] * line).expand(5, 1, 3, 3)
    expected = F.conv2d(plain, blur, padding=1, groups=5) + layer.bias.view(-1, 1, 1)
    made = layer(x)
    assert made.shape == (2, 5, 8, 12)
    torch.testing.assert_close(made[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1])


def test_resizing_and_blurring_draw_no_checkerboard_of_a_flat_map() -> None:
    """Whatever the kernel: where the input is the same everywhere, a transposed convolution draws a grid."""

    def grid(image: Tensor) -> float:
        inside = image.detach()[..., 4:-4, 4:-4]
        return float((inside[..., ::2] - inside[..., 1::2]).abs().max())

    flat = torch.ones(1, 4, 8, 8)
    assert grid(ImageConv(4, 3, 4, stride=2, padding=1)(flat)) > 1e-2
    assert grid(DoublingConv(4, 3)(flat)) < 1e-6
    assert grid(BlurredDoubling(4, 3)(flat)) < 1e-6


def test_auto_is_without_checkerboard_for_colour_and_as_before_for_gray() -> None:
    for channels, kind in ((1, ImageConv), (3, DoublingConv)):
        generator, _ = build("small", {"upsampling": "auto"}, ImageShape(channels, 16, 16), 2, 4)
        assert isinstance(generator, Generator)
        assert isinstance(generator.last, kind)
        assert all(isinstance(up.up, kind) for up in generator.ups)


@pytest.mark.parametrize("kind", ["transposed", "resize", "blur"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_kind_doubles_the_sides_and_learns(kind: str, channels: int) -> None:
    shape = ImageShape(channels, 16, 24)
    generator, _ = build("small", {"upsampling": kind, "width": 4}, shape, 2, 4)
    made = generator(torch.randn(3, 4), torch.tensor([0, 1, 0]))
    assert made.shape == (3, *shape)
    made.square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in generator.parameters())


def test_another_kind_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"options\.upsampling"):
        build("small", {"upsampling": "nearest"}, ImageShape(1, 16, 16), 2, 4)
