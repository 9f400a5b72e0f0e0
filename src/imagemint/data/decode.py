"""One encoded image -> pixels. This is what the worker processes run, so it loads Pillow and little else.

What becomes of the unusual:

    alpha, transparent colours   composited over white, as a page or a viewer would show them
    16 bits a channel            gray: value / 257, rounded (65535 -> 255); colour: the high byte, as Pillow reads it
    CMYK, YCbCr, LAB, palette    converted to RGB; embedded colour profiles are not applied
    EXIF (TIFF) orientation      applied, so that the image stands as a viewer shows it
    animations, several pages    the first frame
    floating-point pixels        not read: their range is anyone's guess
    truncated, damaged           not read: a half-gray photo would teach a network half-gray photos
"""

from __future__ import annotations

import io
import os
import pickle
import struct
import traceback
import warnings
import zlib
from collections.abc import Sequence
from typing import Any, BinaryIO, Literal, NamedTuple

from PIL import Image, UnidentifiedImageError

Fit = Literal["crop", "pad", "stretch"]

# The only formats that are tried: Pillow knows others that run programs (EPS) or that nobody checks.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP", "TIFF")
_ENDINGS = "png jpg jpeg jpe jfif bmp dib gif ppm pgm pbm pnm webp tif tiff"  # of files that are tried
ENDINGS = frozenset("." + ending for ending in _ENDINGS.split())

FILE_LIMIT = 256 << 20  # bytes of one image file, unpacked; a larger one is a mistake or an attack

# A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size while it stays this many times larger than what is wanted. At 4
# the flower photos differ from plain LANCZOS by 0.73/255 on average (144 -> 16 pixels); at 2 by 1.8/255.
_DRAFT_GAP = 4

_GRAY_MODES = frozenset(("1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"))
_UPRIGHT = {  # EXIF orientation -> what sets the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION = 0x0112


class Place(NamedTuple):
    """A file that lies inside an archive, so that any process can read it without opening the archive."""

    path: str  # of the archive
    offset: int  # of the bytes in a tar, of the local header in a zip
    stored: int  # bytes in the archive
    size: int  # bytes once unpacked
    method: int = -1  # -1 tar, 0 zip stored, 8 zip deflated
    crc: int = 0


class Raw(NamedTuple):
    """Pixels that need no decoding: bytes of uint8 `[height, width, channels]`."""

    channels: int
    height: int
    width: int
    data: bytes


class Missing(NamedTuple):
    """An image that the source names but does not hold."""

    problem: str


Item = str | Place | Raw | Missing | bytes  # a file's path, a part of an archive, pixels, nothing, an encoded image


class Wanted(NamedTuple):
    """What every image is to become."""

    size: tuple[int, int]  # height, width
    fit: Fit | None  # None: every image must have the size already
    channels: int
    only_gray: bool  # an image in colour is a surprise: the caller hoped that there is none


class Decoded(NamedTuple):
    """A chunk of images, or the surprise that ended it early."""

    pixels: bytes  # uint8 [k, h, w] (one channel) or [k, h, w, 3]: the images that could be read, in order
    problems: list[tuple[int, str]]  # position in the chunk, what is wrong
    surprise: Literal["size", "colour"] | None = None
    enlarged: int = 0  # images with a side shorter than what they were fitted to
    sides: Sequence[int] = ()  # the shorter side of each image that was fitted, as it came
    minted: int = 0  # images whose text chunks say that imagemint minted them


class Look(NamedTuple):
    """What the header of an image promises."""

    height: int
    width: int
    gray: bool


class Unreadable(Exception):
    """Why an image cannot be read, in words."""


def decode(items: Sequence[Item], wanted: Wanted) -> Decoded:
    """Read, convert and fit a chunk of images. What cannot be read becomes a problem, never an exception."""
    h, w = wanted.size
    mode = "L" if wanted.channels == 1 else "RGB"
    # One tall image takes them all: pasting is a copy in C, where an array for every image would cost more than a
    # small PNG takes to decode.
    strip = Image.new(mode, (w, h * len(items)))
    problems: list[tuple[int, str]] = []
    done = enlarged = minted = 0
    sides: list[int] = []
    with _quiet():
        for position, item in enumerate(items):
            try:
                image, gray, is_minted = _load(item, wanted)
            except Unreadable as error:
                problems.append((position, str(error)))
                continue
            if wanted.only_gray and not gray:
                return Decoded(b"", [], "colour")
            if wanted.fit is not None:
                sides.append(min(image.size))
            if image.size != (w, h):
                if wanted.fit is None:
                    return Decoded(b"", [], "size")
                enlarged += image.width < w or image.height < h
                image = fitted(image if image.mode == mode or gray else image.convert(mode), wanted.size, wanted.fit)
            minted += is_minted
            strip.paste(image, (0, h * done))  # converts to the strip's mode
            done += 1
    strip = strip.crop((0, 0, w, h * done)) if done < len(items) else strip
    return Decoded(strip.tobytes(), problems, enlarged=enlarged, sides=sides, minted=minted)


def look(items: Sequence[Item], wanted: None = None) -> list[Look | None]:
    """Sizes and colours by the headers alone; None where not even the header can be read."""
    found: list[Look | None] = []
    with _quiet():
        for item in items:
            try:
                image = _open(read(item)) if not isinstance(item, Raw) else _raw(item)
                w, h = image.size
                if image.format != "TIFF" and _orientation(image) >= 5:
                    w, h = h, w
                found.append(Look(h, w, _is_gray(image)))
            except Unreadable:
                found.append(None)
    return found


def fitted(image: Image.Image, size: tuple[int, int], fit: Fit) -> Image.Image:
    """Resample (LANCZOS) to `size` (height, width).

    crop: the largest centred part of the wanted shape; pad: the whole image, centred on black; stretch: the whole
    image, its shape changed. Nothing larger than source and result together is allocated, whatever the shapes.
    """
    (w, h), (to_h, to_w) = image.size, size
    lanczos = Image.Resampling.LANCZOS
    if fit == "stretch":
        return image.resize((to_w, to_h), lanczos)
    if fit == "crop":
        scale = min(w / to_w, h / to_h)
        left, top = (w - to_w * scale) / 2, (h - to_h * scale) / 2
        box = (max(left, 0.0), max(top, 0.0), min(w - left, w), min(h - top, h))
        return image.resize((to_w, to_h), lanczos, box=box)
    scale = max(w / to_w, h / to_h)
    inner_w, inner_h = max(1, min(to_w, round(w / scale))), max(1, min(to_h, round(h / scale)))
    canvas = Image.new(image.mode, (to_w, to_h))
    canvas.paste(image.resize((inner_w, inner_h), lanczos), ((to_w - inner_w) // 2, (to_h - inner_h) // 2))
    return canvas


def read(item: Item) -> bytes:
    """The encoded bytes of an image. Raises Unreadable."""
    if isinstance(item, str):
        return _read_file(item)
    if isinstance(item, Place):
        return _read_place(item)
    if isinstance(item, Missing):
        raise Unreadable(item.problem)
    assert isinstance(item, bytes), type(item)
    if len(item) > FILE_LIMIT:
        raise Unreadable(f"larger than {FILE_LIMIT >> 20} MiB")
    return item


def _read_file(path: str) -> bytes:
    # os.read and not open: for tens of thousands of small files the layers in between are a tenth of the time.
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        try:
            size = os.fstat(handle).st_size
            if size > FILE_LIMIT:
                raise Unreadable(f"larger than {FILE_LIMIT >> 20} MiB")
            data = os.read(handle, size)
            while len(data) < size and (more := os.read(handle, size - len(data))):
                data += more
            return data
        finally:
            os.close(handle)
    except OSError as error:
        raise Unreadable((error.strerror or "cannot be read").lower()) from None


_archive: tuple[str, BinaryIO] | None = None  # the archive that this process reads from, kept open between images


def _read_place(place: Place) -> bytes:
    global _archive
    if place.size > FILE_LIMIT:
        raise Unreadable(f"larger than {FILE_LIMIT >> 20} MiB")
    try:
        if _archive is None or _archive[0] != place.path:
            if _archive is not None:
                _archive[1].close()
            _archive = place.path, open(place.path, "rb")  # noqa: SIM115 (see close_archive)
        file = _archive[1]
        file.seek(place.offset)
        if place.method >= 0:
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise Unreadable("damaged inside its archive")
            name, extra = struct.unpack("<HH", header[26:30])
            file.seek(name + extra, os.SEEK_CUR)
        data = file.read(place.stored)
        if place.method == 8:
            # One byte more than promised is enough to know that the archive lies, and all that is ever unpacked.
            data = zlib.decompressobj(-15).decompress(data, place.size + 1)
    except OSError as error:
        raise Unreadable((error.strerror or "cannot be read").lower()) from None
    except zlib.error:
        raise Unreadable("damaged inside its archive") from None
    if len(data) != place.size or (place.method >= 0 and zlib.crc32(data) != place.crc):
        raise Unreadable("damaged inside its archive")
    return data


def close_archive() -> None:
    """Let go of the archive that was read last."""
    global _archive
    if _archive is not None:
        _archive[1].close()
        _archive = None


def _open(data: bytes) -> Image.Image:
    if not data:
        raise Unreadable("empty file")
    try:
        return Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError:
        raise Unreadable("not an image of a known kind, or its header is damaged") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged files
        raise Unreadable(_words(error)) from None


def _raw(item: Raw) -> Image.Image:
    return Image.frombytes("L" if item.channels == 1 else "RGB", (item.width, item.height), item.data)


def _load(item: Item, wanted: Wanted) -> tuple[Image.Image, bool, bool]:
    """The whole image, upright, mode L or RGB; whether it is gray by its kind; whether it says that it was minted."""
    if isinstance(item, Raw):
        return _raw(item), item.channels == 1, False
    image = _open(read(item))
    try:
        if wanted.fit is not None and image.format in ("JPEG", "MPO"):
            ratio = min(image.size) / (max(wanted.size) * _DRAFT_GAP)
            if ratio >= 2:
                image.draft(None, (int(image.width / ratio), int(image.height / ratio)))
        image.load()
    except Exception as error:  # as above
        raise Unreadable(_words(error)) from None
    upright = _UPRIGHT.get(_orientation(image))
    gray = _is_gray(image)
    minted = image.info.get("Software") == "imagemint" and "checkpoint" in image.info  # as data.export writes it
    image = _plain(image, gray)
    return (image.transpose(upright) if upright is not None else image), gray, minted


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8. Unreadable EXIF is no reason to lose an image."""
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # as above
        return 1
    return value if isinstance(value, int) else 1


def _is_gray(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GRAY_MODES
    try:
        palette = bytes(image.getpalette() or b"")
    except Exception as error:  # as above
        raise Unreadable(_words(error)) from None
    return palette[0::3] == palette[1::3] == palette[2::3]


def _plain(image: Image.Image, gray: bool) -> Image.Image:
    """Mode L or RGB, 8 bits, nothing transparent."""
    mode = image.mode
    if mode == "F":
        raise Unreadable("floating-point pixels, whose range is not known")
    if mode == "I" or mode.startswith("I;16"):
        return _from_16_bits(image)
    plain = "L" if gray else "RGB"
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if mode in ("La", "RGBa"):
            image = image.convert("LA" if mode == "La" else "RGBA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == plain else image.convert(plain)


def _from_16_bits(image: Image.Image) -> Image.Image:
    import numpy as np  # rare, and a third of a worker's start

    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise Unreadable("32-bit pixels outside 0..65535, whose range is not known")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8))


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


class _quiet(warnings.catch_warnings):
    """Pillow's warnings: too large an image is an error, the rest says nothing that matters here."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)


def serve() -> None:
    """The life of a worker process: pickled (function, items, wanted) on stdin, replies on stdout, until it ends."""
    requests, replies = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints must not end up between the replies
    try:
        while True:
            try:
                function, items, wanted = pickle.load(requests)
            except EOFError:
                return
            reply: tuple[bool, Any]
            try:
                reply = True, function(items, wanted)
            except Exception:  # a bug of ours: the parent shows it
                reply = False, traceback.format_exc()
            pickle.dump(reply, replies, pickle.HIGHEST_PROTOCOL)
            replies.flush()
    except BrokenPipeError:  # the parent is gone
        os._exit(0)
