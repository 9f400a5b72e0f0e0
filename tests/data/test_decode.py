"""Decoding: every kind of image gives the pixels that Pillow itself (or arithmetic) says, and damage is named."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import warnings
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, ImageOps

from imagemint import images
from imagemint.data.decode import (
    Fit,
    Item,
    Missing,
    Place,
    Range,
    Raw,
    Wanted,
    close_archive,
    decode,
    fitted,
    headers,
    value_range,
)
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
    (seen,) = headers([data])
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


def test_colour_to_one_channel_is_the_one_gray_of_the_package() -> None:
    expected = images.gray(np.asarray(COLOUR).transpose(2, 0, 1)[None])[0, 0]
    assert (pixels(encoded(COLOUR, "PNG"), 1)[..., 0] == expected).all()


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
        assert "10,000 x 10,000 pixels, more than the 89,478,485" in problem(bomb)


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
    assert headers([tall]) == [(1600, 1200, False)]


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


def png_file(size: tuple[int, int], bits: int, kind: int, row: bytes, **chunks: bytes) -> bytes:
    """A PNG of one row, by hand: Pillow does not write all kinds that it reads."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    parts = [(b"IHDR", struct.pack(">IIBBBBB", *size, bits, kind, 0, 0, 0))]
    parts += [(name.encode(), data) for name, data in chunks.items()]
    parts += [(b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)


def tiff_file(width: int, bits: int, photometric: int, data: bytes, kind: int = 1, samples: int = 1) -> bytes:
    """A little-endian TIFF of one row, by hand."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, samples), (278, 1)]
    tags += [(279, len(data)), (339, kind)]
    fields = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, value) for tag, value in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(data)) + data
    return head + struct.pack("<H", len(tags)) + fields + bytes(4)


def row(data: bytes, channels: int = 1, levels: tuple[float, float] | None = None) -> list[list[int]]:
    (seen,) = headers([data])
    assert seen is not None
    result = decode([data], Wanted((seen.height, seen.width), None, channels, channels == 1, levels))
    assert not result.problems and result.surprise is None, result
    return np.frombuffer(result.pixels, np.uint8).reshape(-1, channels).tolist()


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (png_file((4, 1), 2, 0, bytes([0b00011011])), [0, 85, 170, 255]),
        (png_file((2, 1), 8, 0, bytes([7, 8]), tRNS=b"\0\7"), [255, 8]),
        (png_file((2, 1), 16, 0, struct.pack(">2H", 0, 257 * 8), tRNS=b"\0\0"), [255, 8]),
        (png_file((2, 1), 16, 4, struct.pack(">4H", 257 * 7, 65535, 257 * 9, 0)), [7, 255]),
        (tiff_file(2, 1, 1, bytes([0b01000000])), [0, 255]),
        (tiff_file(2, 1, 0, bytes([0b01000000])), [255, 0]),
        (tiff_file(2, 4, 0, bytes([0x0F])), [255, 0]),
        (tiff_file(2, 8, 0, bytes([1, 2])), [254, 253]),
        (tiff_file(2, 12, 1, bytes([0xFF, 0xF0, 0x10])), [255, 1]),
        (tiff_file(3, 16, 1, struct.pack("<3H", 0, 257, 65535)), [0, 1, 255]),
        (tiff_file(3, 16, 0, struct.pack("<3H", 0, 257, 65535)), [255, 254, 0]),
        (b"P5 2 1 4095\n" + struct.pack(">2H", 4095, 2048), [255, 128]),
    ],
)
def test_gray_of_every_depth_is_the_picture(data: bytes, expected: list[int]) -> None:
    assert row(data) == [[value] for value in expected]


def test_colour_of_16_bits_keeps_the_high_byte() -> None:
    data = png_file((1, 1), 16, 2, struct.pack(">3H", 257 * 3, 257 * 7, 65535))
    assert row(data, 3) == [[3, 7, 255]]
    result = decode([data], Wanted((1, 1), None, 3, False, (0, 4095)))
    assert "--levels is for gray" in result.problems[0][1]


def test_palettes_with_transparency() -> None:
    palette = bytes([1, 2, 3, 0, 0, 0])
    data = png_file((2, 1), 4, 3, bytes([0x01]), PLTE=palette, tRNS=bytes([0, 51]))
    assert row(data, 3) == [[255, 255, 255], [204, 204, 204]]


def test_levels_spread_what_deep_images_use() -> None:
    twelve = tiff_file(3, 16, 1, struct.pack("<3H", 0, 2048, 4095))
    assert row(twelve, levels=(0, 4095)) == [[0], [128], [255]]
    assert row(tiff_file(3, 16, 0, struct.pack("<3H", 0, 2048, 4095)), levels=(0, 4095)) == [[255], [127], [0]]
    floats = tiff_file(3, 32, 1, struct.pack("<3f", -1.0, 0.0, 1.0), kind=3)
    assert row(floats, levels=(-1, 1)) == [[0], [128], [255]]
    assert row(encoded(GRAY, "PNG"), levels=(0, 4095)) == np.asarray(GRAY).reshape(-1, 1).tolist()  # 8 bits: as it is
    for data, levels, words in (
        (twelve, (0.0, 4000.0), "values from 0 to 4095, outside the levels 0 to 4000"),
        (floats, None, "--levels gives it"),
        (tiff_file(1, 32, 1, struct.pack("<f", np.nan), kind=3), (0.0, 1.0), "not finite"),
    ):
        result = decode([data], Wanted((1, 3), "stretch", 1, False, levels))
        assert words in result.problems[0][1]


def test_the_range_of_deep_images_is_known() -> None:
    deep = [tiff_file(2, 16, 1, struct.pack("<2H", low, high)) for low, high in ((5, 9), (3, 70))]
    assert value_range([*deep, encoded(GRAY, "PNG"), b"damaged"]) == Range(3, 70, 2, 2)
    assert value_range([encoded(GRAY, "PNG")]) is None
    assert decode(deep, Wanted((1, 2), None, 1, True)).deep == Range(3, 70, 2, 2)
    assert decode([tiff_file(1, 12, 1, b"\xff\xf0")], Wanted((1, 1), None, 1, True)).deep == Range(65535, 65535)


@pytest.mark.parametrize(
    "error", [RecursionError, struct.error, SyntaxError, zlib.error, OverflowError, MemoryError, KeyError]
)
def test_whatever_pillow_raises_is_an_unreadable_image(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise error

    data = encoded(COLOUR.quantize(4), "PNG")
    for holder, name in ((Image, "open"), (ImageFile.ImageFile, "load"), (Image.Image, "getpalette")):
        with monkeypatch.context() as patch:
            patch.setattr(holder, name, fail)
            headers([data])
            assert decode([data], Wanted((8, 12), None, 3, False)).problems


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "pipe.png")
    items = [str(tmp_path / "pipe.png"), str(tmp_path / "link.png"), "/dev/zero", str(tmp_path), "a\0.png"]
    problems = decode(items, Wanted((1, 1), "crop", 1, False)).problems
    assert [words for _, words in problems] == ["no regular file"] * 4 + ["a name that no file can have"]


def test_memory_is_never_asked_for_what_an_archive_claims(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"PK\3\4" + bytes(100))
    many = 200 << 20
    for claim in (Place(str(path), 0, many, many, 0), Place(str(path), -5, 10, 10), Place(str(path), 999, 1, 1)):
        assert decode([claim], Wanted((1, 1), "crop", 1, False)).problems == [(0, "damaged inside its archive")]
    close_archive()


def test_threads_share_neither_archives_nor_warnings(tmp_path: Path) -> None:
    paths = [tmp_path / f"{k}.zip" for k in range(4)]
    for k, path in enumerate(paths):
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(60):
                archive.writestr(f"{number}.png", encoded(Image.new("L", (3, 3), 60 * k + number), "PNG"))
    filters = list(warnings.filters)

    def values(path: Path) -> list[int]:
        with ExitStack() as stack:
            stack.callback(close_archive)
            items = list(open_tree(path, stack).files.values())
            chunks = [decode(items[k : k + 2], Wanted((3, 3), None, 1, True)) for k in range(0, 60, 2)]
        assert not any(chunk.problems for chunk in chunks)
        return [chunk.pixels[k] for chunk in chunks for k in (0, 9)]

    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(values, paths)) == [list(range(60 * k, 60 * k + 60)) for k in range(4)]
    assert warnings.filters == filters
