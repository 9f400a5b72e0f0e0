"""Decoding: every kind of image gives the pixels that Pillow itself (or arithmetic) says, and damage is named."""

from __future__ import annotations

import io
import subprocess
import sys
import warnings
import zipfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from imagemint.data.decode import Fit, Item, Missing, Place, Raw, Wanted, close_archive, decode, fitted, look
from imagemint.data.sources.tree import open_tree
from imagemint.data.workers import spread

RNG = np.random.default_rng(0)
COLOUR = Image.fromarray(RNG.integers(0, 256, (8, 12, 3), np.uint8))
GRAY = Image.fromarray(RNG.integers(0, 256, (8, 12), np.uint8))


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(data: bytes, channels: int = 3, *, only_gray: bool = False) -> np.ndarray:
    """The one image `data`, at its own size, [h, w, c]."""
    (seen,) = look([data])
    assert seen is not None
    result = decode([data], Wanted((seen.height, seen.width), None, channels, only_gray))
    assert not result.problems and result.surprise is None
    return np.frombuffer(result.pixels, np.uint8).reshape(seen.height, seen.width, channels)


def problem(data: bytes) -> str:
    result = decode([data], Wanted((8, 12), "crop", 3, False))
    assert result.pixels == b""
    ((position, words),) = result.problems
    assert position == 0
    return words


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_colour_comes_back_exactly(kind: str) -> None:
    assert (pixels(encoded(COLOUR, kind)) == np.asarray(COLOUR)).all()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "GIF"])
def test_lossless_gray_comes_back_exactly_and_counts_as_gray(kind: str) -> None:
    data = encoded(GRAY, kind)
    assert (pixels(data, 1, only_gray=True)[..., 0] == np.asarray(GRAY)).all()
    assert (pixels(data, 3) == np.asarray(GRAY)[..., None]).all()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_lossy_kinds_are_what_pillow_decodes(kind: str) -> None:
    data = encoded(COLOUR, kind)
    assert (pixels(data) == np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))).all()


def test_colour_to_one_channel_is_the_usual_luma() -> None:
    red, green, blue = np.moveaxis(np.asarray(COLOUR, dtype=np.float64), -1, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    assert np.abs(pixels(encoded(COLOUR, "PNG"), 1)[..., 0] - luma).max() <= 0.51


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bit_gray_is_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 514, 32768, 65280, 65535]], np.uint16)
    expected = np.rint(values / 257).astype(np.uint8)
    assert (pixels(encoded(Image.fromarray(values), kind), 1, only_gray=True)[..., 0] == expected).all()


def test_transparency_is_composited_over_white() -> None:
    image = Image.new("RGBA", (3, 1), (255, 0, 0, 255))
    image.putpixel((1, 0), (255, 0, 0, 0))
    image.putpixel((2, 0), (0, 0, 0, 51))  # a fifth
    assert pixels(encoded(image, "PNG")).tolist() == [[[255, 0, 0], [255, 255, 255], [204, 204, 204]]]


def test_gray_with_alpha_stays_gray_over_white() -> None:
    image = Image.new("LA", (2, 1), (100, 255))
    image.putpixel((1, 0), (0, 0))
    assert pixels(encoded(image, "PNG"), 1, only_gray=True)[..., 0].tolist() == [[100, 255]]


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_palette_entry_is_white(kind: str) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((1, 0), 1)
    assert pixels(encoded(image, kind, transparency=0)).tolist() == [[[255, 255, 255], [200, 100, 0]]]


def test_a_gray_palette_is_gray_and_a_coloured_one_is_not() -> None:
    image = Image.new("P", (1, 1), 1)
    image.putpalette([0, 0, 0, 9, 9, 9])
    assert pixels(encoded(image, "PNG"), 1, only_gray=True).tolist() == [[[9]]]
    image.putpalette([0, 0, 0, 9, 9, 10])
    assert decode([encoded(image, "PNG")], Wanted((1, 1), None, 1, True)).surprise == "colour"


def test_cmyk_becomes_rgb() -> None:
    cyan = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    assert pixels(encoded(cyan, "TIFF")).tolist() == [[[0, 255, 255]]]


def test_only_the_first_frame_is_taken() -> None:
    frames = [Image.new("L", (2, 2), value) for value in (10, 200)]
    for kind in ("GIF", "TIFF", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert (pixels(data) == 10).all(), kind


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(COLOUR, kind, exif=exif)
    assert (pixels(data) == np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))).all()
    if orientation == 6:  # by hand: a quarter turn clockwise
        assert (pixels(data) == np.rot90(np.asarray(COLOUR), -1)).all()


def test_broken_exif_does_not_lose_the_image() -> None:
    data = encoded(COLOUR, "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff broken")
    assert pixels(data).shape == (8, 12, 3)


def test_every_way_to_be_unreadable_is_named() -> None:
    png, jpeg = encoded(COLOUR, "PNG"), encoded(COLOUR, "JPEG")
    assert problem(b"") == "empty file"
    assert "not an image" in problem(b"just text")
    assert "truncated" in problem(png[:-40]).lower()
    assert "truncated" in problem(jpeg[: len(jpeg) * 2 // 3]).lower()
    assert "floating-point" in problem(encoded(Image.new("F", (2, 2)), "TIFF"))
    flipped = bytearray(png)
    flipped[png.index(b"IDAT") + 20] ^= 0xFF
    assert problem(bytes(flipped))


def test_a_decompression_bomb_is_unreadable_and_warns_nobody() -> None:
    bomb = encoded(Image.new("1", (10_000, 10_000)), "PNG")  # 100 megapixels in 12 kB: Pillow only warns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert "decompression bomb" in problem(bomb)


def test_problems_keep_their_positions_and_the_rest_its_order() -> None:
    items: list[Item] = [Raw(1, 1, 1, b"\x07"), b"text", Raw(1, 1, 1, b"\x09"), Missing("gone")]
    result = decode(items, Wanted((1, 1), None, 1, True))
    assert result.pixels == b"\x07\x09"
    assert [position for position, _ in result.problems] == [1, 3]
    assert result.problems[1][1] == "gone"


def test_another_size_or_colour_is_a_surprise() -> None:
    assert decode([Raw(1, 2, 1, b"ab")], Wanted((1, 2), None, 1, True)).surprise == "size"
    assert decode([Raw(3, 1, 1, b"abc")], Wanted((1, 1), None, 1, True)).surprise == "colour"
    assert decode([Raw(3, 1, 1, b"abc")], Wanted((1, 1), None, 1, False)).surprise is None


@pytest.mark.parametrize("fit", ["crop", "pad", "stretch"])
@pytest.mark.parametrize("shape", [(1, 1), (10_000, 10), (10, 10_000), (1, 7), (64, 48), (65, 48)])
def test_any_shape_gets_the_size(fit: Fit, shape: tuple[int, int]) -> None:
    assert fitted(Image.new("RGB", shape), (64, 48), fit).size == (48, 64)


def test_crop_is_pillows_fit_and_stretch_its_resize() -> None:
    lanczos = Image.Resampling.LANCZOS
    assert fitted(COLOUR, (5, 5), "crop") == ImageOps.fit(COLOUR, (5, 5), lanczos)
    assert fitted(COLOUR, (5, 5), "stretch") == COLOUR.resize((5, 5), lanczos)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(1, 40))
def test_pad_shows_the_whole_image_centred_on_black(w: int, h: int, to_w: int, to_h: int) -> None:
    shown = np.asarray(fitted(Image.new("L", (w, h), 255), (to_h, to_w), "pad"))
    assert set(np.unique(shown)) <= {0, 255}
    rows, columns = np.flatnonzero(shown.any(1)), np.flatnonzero(shown.any(0))
    assert len(rows) == to_h or len(columns) == to_w  # one side is filled
    for found, full in ((rows, to_h), (columns, to_w)):
        before, after = found[0], full - 1 - found[-1]
        assert 0 <= after - before <= 1


def test_a_large_jpeg_stays_close_to_plain_lanczos() -> None:
    """Decoding at a part of the size is allowed while nobody can see it: below one level in 255 on average."""
    y, x = np.mgrid[0:1200, 0:1600] / 1600
    smooth = 127 + 60 * np.sin(25 * x + 9 * y) + 60 * np.cos(31 * y * x + 3 * x)
    noisy = np.clip(smooth[..., None] + np.random.default_rng(1).normal(0, 20, (1200, 1600, 3)), 0, 255)
    data = encoded(Image.fromarray(noisy.astype(np.uint8)), "JPEG", quality=90)
    plain = np.asarray(ImageOps.fit(Image.open(io.BytesIO(data)), (64, 64), Image.Resampling.LANCZOS))
    ours = np.frombuffer(decode([data], Wanted((64, 64), "crop", 3, False)).pixels, np.uint8).reshape(64, 64, 3)
    assert np.abs(plain.astype(int) - ours).mean() < 1
    tall = encoded(Image.open(io.BytesIO(data)), "JPEG", exif=_turned(), quality=90)
    assert look([tall]) == [(1600, 1200, False)]


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_an_archive_that_lies_about_a_member_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", encoded(COLOUR, "PNG") + bytes(10_000))
    with ExitStack() as stack:
        place = open_tree(path, stack).files["a.png"]
    assert isinstance(place, Place)
    wanted = Wanted((8, 12), None, 3, False)
    assert not decode([place], wanted).problems
    for lie in (place._replace(size=100), place._replace(size=20_000), place._replace(crc=1)):
        assert decode([lie], wanted).problems == [(0, "damaged inside its archive")]
    close_archive()


def test_workers_give_what_this_process_gives_in_order() -> None:
    images = [encoded(Image.new("L", (3, 3), k % 251), "PNG") for k in range(300)]
    images[17] = b"broken"
    chunks = [images[k : k + 7] for k in range(0, 300, 7)]
    wanted = Wanted((3, 3), None, 1, True)
    with spread(1) as over:
        alone = list(over(decode, chunks, wanted))
    with spread(3) as over:
        assert list(over(decode, chunks, wanted)) == alone


def test_workers_load_little() -> None:
    program = (
        "import sys, imagemint.data.decode; print([m for m in ('torch', 'pydantic', 'numpy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
