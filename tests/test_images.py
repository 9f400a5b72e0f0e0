from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image

from imagemint import images


def test_every_pixel_value_goes_round() -> None:
    pixels = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    made = images.to_images(pixels)
    assert float(made.min()) == -1
    assert float(made.max()) == 1
    assert torch.equal(images.to_pixels(made), pixels)


def test_what_lies_outside_is_clipped() -> None:
    assert images.to_pixels(torch.tensor([[[[-9.0, 9.0]]]])).flatten().tolist() == [0, 255]


def test_a_grid_holds_every_tile_once_in_reading_order() -> None:
    tiles = np.arange(5, dtype=np.uint8).repeat(4).reshape(5, 1, 2, 2)
    picture = images.grid(tiles, 3, gap=1)
    assert picture.shape == (1, 5, 8)
    assert [int(picture[0, y, x]) for y, x in ((0, 0), (0, 3), (0, 6), (3, 0), (3, 3))] == [0, 1, 2, 3, 4]
    assert (picture[0, 3:, 6:] == 255).all()


def test_png_is_lossless_and_carries_text() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (3, 4, 5), np.uint8)
    opened = Image.open(io.BytesIO(images.png(picture, text={"class": "Gänseblümchen"})))
    assert np.array_equal(np.asarray(opened).transpose(2, 0, 1), picture)
    assert opened.text["class"] == "Gänseblümchen"  # type: ignore[attr-defined]


def test_gray_is_one_definition_for_all_colours() -> None:
    for red in range(0, 256, 5):  # arithmetic in whole numbers, and Pillow's in single precision
        green, blue = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
        colours = np.stack([np.full_like(green, red), green, blue])
        exact = (5_000 + 2_989 * red + 5_870 * green.astype(int) + 1_140 * blue.astype(int)) // 10_000
        assert (images.gray(colours[None])[0, 0] == exact).all()
        assert (np.asarray(images.gray_pil(images.to_pil(colours))) == exact).all()


def test_gray_pixels_stay_as_they_are() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    assert (images.gray(levels) == levels).all()
    assert (images.gray(levels.repeat(3, axis=1)) == levels).all()


def test_levels_are_the_nearest_and_what_lies_outside_is_clipped() -> None:
    twelve = np.arange(4096)
    assert (images.to_levels(twelve, 0, 4095) == np.rint(twelve * 255 / 4095)).all()
    assert images.to_levels(np.array([-5.0, 0.0, 0.25, 1.0, 9.0]), 0, 1).tolist() == [0, 0, 64, 255, 255]
    assert (images.to_levels(np.arange(256)) == np.arange(256)).all()
