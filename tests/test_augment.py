"""Augmentation: nothing happens at range 0, something else to each image otherwise, and Pillow agrees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from kornia.geometry.transform import get_affine_matrix2d, warp_affine
from PIL import Image

from imagemint import seeds
from imagemint.augment import (
    AUGMENTATIONS,
    CLASSIC,
    HARDER,
    NOISE,
    Movement,
    Ranges,
    _covered,
    affine,
    augment,
    classic,
    elastic,
    mix,
    photo,
    times,
)

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


@pytest.mark.parametrize(("middle", "reach"), [(1.0, 0.2), (0.6, 0.4)])
def test_light_is_multiplied_within_its_range_and_never_leaves_the_images(middle: float, reach: float) -> None:
    ranges = Ranges(STILL, light=(middle, reach))
    gray = augment(torch.zeros(400, 1, 2, 2), made(), ranges)  # half of the light of white
    factor = gray[:, 0, 0, 0] + 1
    assert torch.allclose(gray, gray[:, :1, :1, :1].expand_as(gray), atol=1e-5), "one factor per image"
    assert middle - reach - 1e-4 <= factor.min() < middle - 0.9 * reach
    assert middle + 0.9 * reach < factor.max() <= middle + reach + 1e-4
    assert float(factor.mean()) == pytest.approx(middle, abs=0.1 * reach)
    white = augment(torch.ones(400, 1, 2, 2), made(), ranges)[:, 0, 0, 0]
    torch.testing.assert_close(white, (2 * factor - 1).clamp(max=1), atol=1e-4, rtol=0)


def covered(images: torch.Tensor, share: float, cutout: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The images with squares covered in a share of them, and where: bool `[n, h, w]`."""
    ranges = Ranges(STILL, light=(1.0, 0.0), harder=STILL, harder_share=share, cutout=cutout)
    changed = augment(images, made(5), ranges)
    return changed, ((changed - images).abs() > 1e-3).any(1)


def test_a_cutout_is_a_square_of_the_mean_colour_anywhere_and_at_most_so_large() -> None:
    side, cutout = 30, 0.4
    images = torch.rand(600, 3, side, side, generator=made()) * 2 - 1
    changed, where = covered(images, 1.0, cutout)
    means = images.mean((2, 3))
    heights, widths = where.any(2).sum(1), where.any(1).sum(1)
    torch.testing.assert_close(where, where.any(2)[:, :, None] & where.any(1)[:, None, :])  # a block, none missing
    for image, mask, mean in zip(changed, where, means, strict=True):
        torch.testing.assert_close(image[:, mask], mean[:, None].expand(3, int(mask.sum())), atol=1e-4, rtol=0)
    assert heights.max() == widths.max() == round(cutout * side), "the largest that is asked for, and it occurs"
    rows, columns = where.any(2), where.any(1)
    inside = ~(rows[:, 0] | rows[:, -1] | columns[:, 0] | columns[:, -1])
    inside &= heights > 0
    assert (heights - widths)[inside].abs().max() <= 1, "a square, up to the grid"
    sizes = heights[inside].float()
    assert 0.3 * cutout * side < sizes.mean() < 0.6 * cutout * side, "sides are drawn from 0 to the largest"
    everywhere = where.float().mean(0)
    assert everywhere.min() > 0, "no part of an image is safe"
    assert everywhere[:15].sum() == pytest.approx(float(everywhere[15:].sum()), rel=0.25)
    assert everywhere[:, :15].sum() == pytest.approx(float(everywhere[:, 15:].sum()), rel=0.25)


def test_only_the_harder_share_is_covered() -> None:
    images = torch.rand(4000, 1, 20, 20, generator=made()) * 2 - 1
    _, where = covered(images, 0.3, 1.0)
    assert 0.26 < float(where.any(2).any(1).float().mean()) < 0.33  # a few squares are too small to see
    assert not covered(images, 0.0, 1.0)[1].any()


def test_strong_moves_three_in_ten_images_further() -> None:
    """The angles are read off a bar that is turned: most within the usual range, the harder share beyond it."""
    ranges = AUGMENTATIONS["strong"]
    assert ranges.harder == HARDER
    assert (HARDER.shift, HARDER.rotate, HARDER.shear, HARDER.zoom) == pytest.approx((0.1, 19.2, 0.24, 0.192))
    assert (ranges.harder_share, ranges.cutout, ranges.movement) == (0.3, 10 / 28, CLASSIC)
    turning = Ranges(
        Movement(shift=0, rotate=5, shear=0, zoom=0),
        light=(1.0, 0.0),
        harder=Movement(shift=0, rotate=30, shear=0, zoom=0),
        harder_share=0.3,
    )
    axis = torch.arange(41) - 20.0
    bar = torch.exp(-((axis / 3) ** 2)).view(1, 1, 41, 1).expand(500, 1, 41, 41) * 2 - 1
    mass = augment(bar, made(1), turning)[:, 0, 5:36, 5:36] + 1
    y, x = torch.meshgrid(axis[5:36], axis[5:36], indexing="ij")
    centre = (mass * y).sum(1) / mass.sum(1)  # of each column: the bar's height there
    slope = (centre * x[0]).sum(1) / (x[0] ** 2).sum()
    angles = torch.rad2deg(slope.atan()).abs()
    assert angles.max() < 33
    assert (
        0.18 < float((angles > 6).float().mean()) < 0.32
    )  # 0.3 of the images, five in six of them by over 5 degrees


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_single_image_and_none_can_be_augmented(name: str) -> None:
    for n in (0, 1, 1, 1):
        assert augment(torch.zeros(n, 3, 8, 8), made(n), AUGMENTATIONS[name]).shape == (n, 3, 8, 8)


def test_noise_is_as_large_as_it_says_on_as_many_images_as_it_says_and_stays_in_range() -> None:
    row = AUGMENTATIONS["noise"]
    assert (row.noise, row.noisy_share, row.movement) == (NOISE, 0.3, CLASSIC)
    still = Ranges(STILL, light=(1.0, 0.0), noise=NOISE, noisy_share=0.3)
    gray = torch.zeros(500, 1, 16, 16)
    change = augment(gray, made(), still) * 127.5  # in levels of 255
    noisy = change.abs().amax((1, 2, 3)) > 1
    assert 0.24 < float(noisy.float().mean()) < 0.36
    assert change[~noisy].abs().max() < 0.1, "moved by nothing, and the others are as they were"
    assert float(change[noisy].std()) == pytest.approx(25, rel=0.03) and abs(float(change[noisy].mean())) < 1
    assert float(augment(gray - 1, made(), still).min()) >= -1 - 1e-5
    assert times(row, 2).noise == row.noise


def test_photo_changes_stacked_images_together_and_each_row_on_its_own() -> None:
    images = torch.rand(4, 3, 16, 16, generator=seeds.generator(0, "photos")) * 2 - 1
    pairs = photo(torch.cat([images, images], 1), seeds.generator(0, "photo"), flips=True)
    assert torch.equal(pairs[:, :3], pairs[:, 3:])
    alike = photo(images[:1].expand(4, -1, -1, -1), seeds.generator(0, "photo"))
    assert len({float(each.sum()) for each in alike}) == 4


def test_photo_on_several_processes_is_what_one_does() -> None:
    images = torch.rand(6, 1, 8, 8, generator=seeds.generator(0, "photos"))
    whole = photo(images, seeds.generator(0, "photo"))
    for rank in range(2):
        part = photo(images[rank::2], seeds.generator(0, "photo"), rank=rank, world=2)
        torch.testing.assert_close(part, whole[rank::2])


def test_photo_covers_a_square_of_half_the_side_and_moves_light_by_at_most_a_half() -> None:
    """A gray image has neither colour nor contrast, so that light alone is left."""
    images = torch.full((200, 3, 16, 16), 0.9)
    changed = photo(images, seeds.generator(0, "photo"))
    covered = (changed == 0).all(1).flatten(1).sum(1)
    assert int(covered.max()) == 8 * 8
    assert int(covered.min()) < 8 * 8  # where the square reaches over the edge
    light = changed.flatten(1).amax(1) - 0.9
    assert -0.5 <= float(light.min()) < -0.4 < 0.4 < float(light.max()) <= 0.5


def test_photo_keeps_what_lies_between_colour_and_gray() -> None:
    """Saturation moves a pixel along the line from its gray: of the channels' differences the ratio stays."""
    images = torch.tensor([0.3, 0.1, -0.2]).view(1, 3, 1, 1).expand(50, 3, 8, 8)
    changed = photo(images, seeds.generator(0, "photo"))
    r, g, b = (
        changed.flatten(2)
        .gather(2, changed.abs().sum(1).flatten(1).argmax(1).view(-1, 1, 1).expand(-1, 3, 1))
        .unbind(1)
    )
    torch.testing.assert_close((r - g) * 0.3, (g - b) * 0.2, atol=1e-5, rtol=1e-4)
    assert float((r - g).min()) >= 0


def test_gradients_flow_through_photo() -> None:
    images = torch.zeros(2, 3, 8, 8, requires_grad=True)
    photo(images, seeds.generator(0, "photo")).sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None
    assert float(images.grad.abs().sum()) > 0


def test_elastic_at_reach_zero_is_the_identity_and_draws_nothing() -> None:
    generator, images = made(), smooth()
    before = generator.get_state()
    assert torch.equal(elastic(images, generator, 0.0), images) and torch.equal(before, generator.get_state())
    torch.testing.assert_close(elastic(images, made(), 1e-6), images, atol=1e-4, rtol=0)


def test_elastic_moves_pixels_as_far_as_it_says_each_image_differently() -> None:
    """Images whose value is the place itself: what is read there says from where each pixel was fetched."""
    side, reach = 29, 0.1
    axis = torch.arange(side) / (side - 1)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"))[None].repeat(400, 1, 1, 1)
    moved = elastic(places, made(), reach) - places
    inner = moved[:, :, 6:-6, 6:-6]
    assert 1.5 * reach > inner.abs().max() > 0.9 * reach  # cubic interpolation overshoots
    assert 0.04 < float(inner.std()) < 0.058  # reach / sqrt(3), smoothed
    assert abs(float(inner.mean())) < 0.003
    assert not torch.allclose(moved[0], moved[1], atol=0.01)
    assert torch.allclose(
        elastic(places, made(), 2 * reach)[0, :, 14, 14], places[0, :, 14, 14] + 2 * moved[0, :, 14, 14]
    )
    steps = moved.diff(dim=3).abs().max() * (side - 1)
    assert steps < 1.2  # smooth: neighbours stay neighbours


def test_gradients_flow_through_elastic_to_the_images() -> None:
    images = smooth().requires_grad_()
    elastic(images, made(), 0.1).sum().backward()  # type: ignore[no-untyped-call]
    assert images.grad is not None and images.grad.abs().sum() > 0


MIXED = ["mixup", "classmix", "strong+classmix"]


def batch(n: int = 60, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Images of one level each, float `[n, 2, 8, 9]`, and their one-hot targets."""
    levels = torch.linspace(-1, 1, n).view(n, 1, 1, 1).expand(n, 2, 8, 9).contiguous()
    return levels, torch.eye(classes)[torch.arange(n) % classes]


@pytest.mark.parametrize("name", MIXED)
def test_mixing_with_a_share_of_zero_is_the_identity_and_draws_as_much(name: str) -> None:
    images, targets = batch()
    one, other = made(), made()
    found, labels = mix(images, targets, one, times(AUGMENTATIONS[name], 0.0))
    assert torch.equal(found, images) and torch.equal(labels, targets)
    mix(images, targets, other, AUGMENTATIONS[name])
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.parametrize("name", MIXED)
def test_the_generator_alone_decides_what_is_mixed(name: str) -> None:
    images, targets = batch()
    torch.manual_seed(1)
    first = mix(images, targets, made(4), AUGMENTATIONS[name])
    torch.manual_seed(2)
    again = mix(images, targets, made(4), AUGMENTATIONS[name])
    other = mix(images, targets, made(5), AUGMENTATIONS[name])
    assert torch.equal(first[0], again[0]) and torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])


def test_mixup_blends_labels_exactly_as_it_blends_images() -> None:
    """Levels that are the class itself: the expected class under the soft label is then the level."""
    targets = torch.eye(5)[torch.arange(200) % 5]
    levels = torch.arange(5.0) / 2 - 1
    images = (targets @ levels).view(-1, 1, 1, 1).expand(-1, 1, 3, 3)
    found, labels = mix(images, targets, made(), AUGMENTATIONS["mixup"])
    torch.testing.assert_close(labels.sum(1), torch.ones(200))
    torch.testing.assert_close(labels.sum(0), targets.sum(0), atol=12, rtol=0)  # every image is a partner once
    torch.testing.assert_close(found[:, 0, 0, 0], labels @ levels)
    own = (labels * targets).sum(1)[labels.amax(1) < 1]
    assert 0.4 < float(own.mean()) < 0.6 and own.min() < 0.1  # uniform shares


def test_classmix_takes_pixels_of_the_same_class_alone_and_leaves_labels() -> None:
    images, targets = batch()
    found, labels = mix(images, targets, made(), AUGMENTATIONS["classmix"])
    assert torch.equal(labels, targets)
    kind = targets.argmax(1)
    changed = found != images
    assert (changed.all(1) == changed.any(1)).all()  # all channels of a pixel come from one image
    assert 0.4 < float(changed.float().mean()) < 0.6
    for k in range(4):
        assert torch.isin(found[kind == k], images[kind == k]).all()
    for image in found:  # from two images at most, and never blended
        assert len(set(image.flatten().tolist())) <= 2


def test_strong_with_classmix_moves_as_strong_does_and_mixes_as_classmix_does() -> None:
    images, targets = batch()
    both = AUGMENTATIONS["strong+classmix"]
    assert torch.equal(augment(images, made(), both), augment(images, made(), AUGMENTATIONS["strong"]))
    for one, other in zip(
        *(mix(images, targets, made(), row) for row in (both, AUGMENTATIONS["classmix"])), strict=True
    ):
        assert torch.equal(one, other)


def test_classmix_leaves_an_image_alone_that_is_alone_in_its_class() -> None:
    images, targets = batch(5, 5)
    assert torch.equal(mix(images, targets, made(), AUGMENTATIONS["classmix"])[0], images)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_a_single_image_and_none_can_be_mixed(name: str) -> None:
    for n in (0, 1):
        images, labels = mix(torch.zeros(n, 3, 8, 8), torch.eye(2)[:n], made(), AUGMENTATIONS[name])
        assert images.shape == (n, 3, 8, 8) and torch.equal(labels, torch.eye(2)[:n])


def test_cutout_covers_a_square_in_every_image() -> None:
    images = torch.rand(2000, 1, 20, 20, generator=made()) * 2 - 1
    ranges = AUGMENTATIONS["cutout"]
    assert (ranges.harder, ranges.harder_share, ranges.cutout) == (CLASSIC, 1.0, 0.5)
    still = Ranges(STILL, light=(1.0, 0.0), harder=STILL, harder_share=1.0, cutout=0.5)
    where = (augment(images, made(1), still) - images).abs() > 1e-3
    assert float(where.any(2).any(2).float().mean()) > 0.9


# --- each change against the same written out in numpy, from the same draws ----------------------------------------


def cells_covered(n: int, h: int, w: int, down: Any, across: Any, half_side: Any) -> np.ndarray:
    """Pixels whose centre lies less than `half_side` of the side from a point, both ways: bool `[n, 1, h, w]`."""
    found = np.zeros((n, 1, h, w), bool)
    for k in range(n):
        for row in range(h):
            for column in range(w):
                y, x = (row + 0.5) / h, (column + 0.5) / w
                found[k, 0, row, column] = abs(y - down[k]) < half_side[k] and abs(x - across[k]) < half_side[k]
    return found


def test_a_cutout_covers_the_pixels_whose_centres_lie_within_its_square() -> None:
    n, h, w = 40, 9, 14
    images = torch.rand(n, 3, h, w, generator=made()) * 2 - 1
    found = _covered(images, made(7), 0.6).numpy()
    draws = made(7)
    side, down, across = (torch.rand(n, 1, 1, 1, generator=draws).flatten().numpy() for _ in range(3))
    where = cells_covered(n, h, w, down, across, side * np.float32(0.6) / 2)
    wanted = np.where(where, images.mean((2, 3), keepdim=True).numpy(), images.numpy())
    np.testing.assert_allclose(found, wanted, atol=1e-6)


def test_classmix_takes_whole_cells_of_a_grid_of_4_by_4() -> None:
    """Images of one class, each of one colour, so that every pixel says whose it is."""
    n, h, w = 6, 10, 13
    colours = torch.linspace(-1, 1, n).view(n, 1, 1, 1)
    mixed, _ = mix(colours.expand(n, 1, h, w), torch.ones(n, 1), made(3), AUGMENTATIONS["classmix"])
    draws = made(3)
    order = torch.rand(n, generator=draws).argsort().tolist()
    share = torch.rand(n, 1, 1, 1, generator=draws).flatten().tolist()
    cells = torch.rand(n, 1, 4, 4, generator=draws)
    for place, k in enumerate(order):
        other = order[(place + 1) % n]
        for row in range(h):
            for column in range(w):
                taken = float(cells[k, 0, 4 * row // h, 4 * column // w]) < share[k]
                assert mixed[k, 0, row, column] == (colours[other] if taken else colours[k])


@pytest.mark.parametrize(("channels", "together"), [(1, 1), (2, 1), (3, 3), (6, 3)])
def test_photo_is_light_colour_contrast_a_shift_and_a_covered_square(channels: int, together: int) -> None:
    """Zhao et al. 2020, in this order and in their ranges; a gray image has no colour to be made stronger."""
    n, h, w = 5, 8, 12
    images = torch.rand(n, channels, h, w, generator=made()) * 2 - 1
    found = photo(images, made(9))
    draws = made(9)
    light, colour, contrast, down, across = torch.rand(5, n, 1, 1, 1, generator=draws).view(5, n).double().numpy()
    changed = np.empty((n, channels, h, w))
    for k in range(n):
        for first in range(0, channels, together):
            each = images[k, first : first + together].double().numpy() + light[k] - 0.5
            gray = each.mean(0, keepdims=True)
            each = gray + 2 * colour[k] * (each - gray)
            changed[k, first : first + together] = each.mean() + (contrast[k] + 0.5) * (each - each.mean())
    moved = affine(torch.from_numpy(changed).float(), draws, Movement(shift=1 / 8, rotate=0, shear=0, zoom=0))
    where = cells_covered(n, h, w, down, across, [0.25] * n)
    wanted = torch.where(torch.from_numpy(where), torch.zeros(()), moved)
    torch.testing.assert_close(found, wanted, atol=1e-4, rtol=1e-4)


def test_the_ranges_of_the_table_are_those_of_their_sources() -> None:
    assert Ranges().movement == CLASSIC
    assert AUGMENTATIONS["classic"] == Ranges()
    sterzinger = AUGMENTATIONS["sterzinger"]
    assert sterzinger.flips and sterzinger.light == (0.6, 0.4)  # light times 0.2 to 1
    assert sterzinger.movement == Movement(shift=0, rotate=25, shear=0, zoom=0.5, size=1.5)  # 1 to 2 times as large
    assert AUGMENTATIONS["cutout"] == Ranges(harder=CLASSIC, harder_share=1.0, cutout=0.5)
    assert (AUGMENTATIONS["mixup"].mixed, AUGMENTATIONS["classmix"].mixed) == (1.0, 1.0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_so_many_times_an_augmentation_reaches_as_far_in_light_and_never_below_black(name: str) -> None:
    middle, reach = AUGMENTATIONS[name].light
    for factor in (0.0, 0.5, 1.0, 1.6, 100.0):
        assert times(AUGMENTATIONS[name], factor).light == pytest.approx((middle, min(reach * factor, middle)))
