"""Augmentation: nothing happens at range 0, something else to each image otherwise, and Pillow agrees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from PIL import Image

from imagemint.augment import CLASSIC, Movement, affine, classic

STILL = Movement(shift=0, rotate=0, shear=0, zoom=0)


def made(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def smooth(n: int = 4, side: int = 32) -> torch.Tensor:
    """Images without hard edges, so that two ways of interpolating may be compared; float `[n, 1, side, side]`."""
    axis = torch.linspace(-2, 2, side)
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    return torch.sin(2 * x + y)[None, None].repeat(n, 1, 1, 1) * 0.8


def test_ranges_of_zero_change_nothing() -> None:
    images = torch.rand(5, 3, 9, 12, generator=made()) * 2 - 1
    torch.testing.assert_close(affine(images, made(1), STILL), images, atol=1e-5, rtol=0)


def test_each_image_is_moved_differently_and_the_same_generator_gives_the_same() -> None:
    images = smooth()
    moved = classic(images, made(3))
    assert torch.equal(moved, classic(images, made(3)))
    for a in range(len(moved)):
        assert not torch.allclose(moved[a], images[a], atol=1e-3)
        for b in range(a):
            assert not torch.allclose(moved[a], moved[b], atol=1e-3)


def test_the_global_generator_is_neither_used_nor_moved() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = classic(smooth(), made(2))
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(6)
    assert torch.equal(first, classic(smooth(), made(2)))


def test_the_range_is_kept() -> None:
    images = torch.randint(0, 2, (50, 1, 8, 8), generator=made()).float() * 2 - 1
    moved = classic(images, made(1), flips=True)
    assert moved.shape == images.shape and moved.min() >= -1 and moved.max() <= 1


def test_black_stays_black_and_borders_are_repeated() -> None:
    black, white = torch.full((20, 1, 8, 8), -1.0), torch.full((20, 1, 8, 8), 1.0)
    assert torch.allclose(classic(black, made()), black, atol=1e-5)
    assert torch.allclose(affine(white, made(), CLASSIC), white, atol=1e-5)


def test_rotation_agrees_with_pillow() -> None:
    images = smooth(1, 41)
    turned = affine(images, made(4), Movement(shift=0, rotate=30, shear=0, zoom=0))[0, 0].numpy()
    draws = made(4)  # the third draw, after the two shifts, is the angle
    angle = float([torch.rand(1, generator=draws) for _ in range(3)][2]) * 60 - 30
    picture = Image.fromarray(images[0, 0].numpy())
    wanted = np.asarray(picture.rotate(-angle, resample=Image.Resampling.BILINEAR))  # kornia's call turns clockwise
    inside = slice(10, 31)  # what no border reaches
    assert abs(angle) > 3
    assert np.abs(turned[inside, inside] - wanted[inside, inside]).max() < 0.02
    assert np.abs(turned[inside, inside] - images[0, 0].numpy()[inside, inside]).max() > 0.1


def test_the_map_is_the_one_that_kornia_makes_of_the_same_draws() -> None:
    images = torch.rand(6, 3, 20, 30, generator=made()) * 2 - 1
    draws = made(8)
    x, y, angle, shear_x, shear_y, zoom = ((torch.rand(6, generator=draws) * 2 - 1) for _ in range(6))
    matrix = get_affine_matrix2d(
        torch.stack([x * CLASSIC.shift * 30, y * CLASSIC.shift * 20], 1),
        torch.tensor([[14.5, 9.5]]).expand(6, 2),
        (1 + zoom * CLASSIC.zoom)[:, None].repeat(1, 2),
        angle * CLASSIC.rotate,
        shear_x * CLASSIC.shear,
        shear_y * CLASSIC.shear,
    )
    wanted = warp_affine(images, matrix[:, :2], (20, 30), padding_mode="border", align_corners=True)
    torch.testing.assert_close(affine(images, made(8), CLASSIC), wanted, atol=1e-4, rtol=0)


def test_flips_only_where_asked() -> None:
    images = smooth(64, 16)
    mirrored = [
        bool(torch.allclose(moved, image.flip(-1), atol=1e-4))
        for moved, image in zip(affine(images, made(), STILL, flips=True), images, strict=True)
    ]
    assert 16 < sum(mirrored) < 48
    torch.testing.assert_close(affine(images, made(), STILL), images, atol=1e-5, rtol=0)


def test_gradients_flow_to_the_images() -> None:
    images = smooth().requires_grad_()
    affine(images, made(), CLASSIC).sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    # each output pixel is a weighted mean of inputs: the weights that are handed out add up to the number of pixels
    assert float(images.grad.sum()) == pytest.approx(images.numel(), rel=1e-4)


def test_a_shift_stays_within_its_range() -> None:
    images = torch.full((200, 1, 40, 40), -1.0)
    images[:, :, 20, 20] = 1.0
    moved = affine(images, made(), Movement(shift=0.1, rotate=0, shear=0, zoom=0)) + 1
    rows = (moved.sum((1, 3)) * torch.arange(40)).sum(1) / moved.sum((1, 2, 3)) - 20
    assert rows.abs().max() <= 4 + 1e-3 and rows.abs().max() > 3.5
