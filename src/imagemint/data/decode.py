"""One encoded image -> pixels. This is what the worker processes run, so it loads Pillow and little else.

What becomes of the unusual:

    alpha, transparent colours   composited over white, as a page or a viewer would show them
    gray of more than 8 bits     0..65535 (12-bit TIFF: 0..4095) to 0..255, or the range that `Wanted.levels` gives
    colour of 16 bits            the high byte, as Pillow reads it
    floating-point pixels        read with `Wanted.levels` only: without, their range is anyone's guess
    CMYK, YCbCr, LAB, palette    converted to RGB; embedded colour profiles are not applied
    colour asked for as gray     `images.gray`, after the resampling
    TIFF with white as zero      shown as a viewer shows it
    EXIF (TIFF) orientation      applied, so that the image stands as a viewer shows it
    animations, several pages    the first frame
    truncated, damaged           not read: a half-gray photo would teach a network half-gray photos
"""

from __future__ import annotations

import bz2
import io
import os
import pickle
import re
import stat
import struct
import threading
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple

from PIL import Image, UnidentifiedImageError

from imagemint import images

if TYPE_CHECKING:
    import numpy as np

Fit = Literal["crop", "pad", "stretch"]

# The only formats that are tried: Pillow knows others that run programs (EPS) or that nobody checks.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP", "TIFF")
_ENDINGS = "png jpg jpeg jpe jfif bmp dib gif ppm pgm pbm pnm webp tif tiff"  # of files that are tried
ENDINGS = frozenset("." + ending for ending in _ENDINGS.split())

FILE_LIMIT = 256 << 20  # bytes of one image file, packed or unpacked; a larger one is a mistake or an attack
MOST_PIXELS = 89_478_485  # of one image, as Pillow has it: 256 MiB in RGB. Decoding asks for about 12 bytes of each

# A JPEG may be decoded at 1/2, 1/4 or 1/8 of its size while it stays this many times larger than what is wanted. At 4
# the flower photos differ from plain LANCZOS by 0.73/255 on average (144 -> 16 pixels); at 2 by 1.8/255.
_DRAFT_GAP = 4

_DEEP_MODES = frozenset(("I", "I;16", "I;16B", "I;16L", "I;16N", "F"))
_GRAY_MODES = _DEEP_MODES | {"1", "L", "LA", "La"}
_UPRIGHT = {  # EXIF orientation -> what sets the image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ORIENTATION, _PHOTOMETRIC, _BITS = 0x0112, 262, 258  # TIFF's numbers of these tags

STORED, DEFLATED, BZIP2 = 0, 8, 12  # compression methods of zip members that are read


class Place(NamedTuple):
    """A file that lies inside an archive, so that any process can read it without opening the archive."""

    path: str  # of the archive
    offset: int  # of the bytes in a tar, of the local header in a zip
    stored: int  # bytes in the archive
    size: int  # bytes once unpacked
    method: int | None = None  # None: in a tar; else the compression method of a zip member
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
    levels: tuple[float, float] | None = None  # values of deep gray images that become 0 and 255


class Decoded(NamedTuple):
    """A chunk of images, or the surprise that ended it early."""

    pixels: bytes  # uint8 [k, h, w] (one channel) or [k, h, w, 3]: the images that could be read, in order
    problems: list[tuple[int, str]]  # position in the chunk, what is wrong
    surprise: Literal["size", "colour"] | None = None
    enlarged: int = 0  # images with a side shorter than what they were fitted to
    sides: Sequence[int] = ()  # the shorter side of each image that was fitted, as it came
    minted: int = 0  # images whose text chunks say that imagemint minted them
    deep: Range | None = None  # of the images of more than 8 bits


class Range(NamedTuple):
    """What the values of some images of more than 8 bits per sample span."""

    low: float
    high: float
    images: int = 1
    gray: int = 1  # of the images

    def __or__(self, other: Range | None) -> Range:
        """Both together."""
        if other is None:
            return self
        low, high = min(self.low, other.low), max(self.high, other.high)
        return Range(low, high, self.images + other.images, self.gray + other.gray)


class Loaded(NamedTuple):
    """One whole image, upright, mode L or RGB, and what is known of it."""

    image: Image.Image
    gray: bool  # by its kind
    minted: bool = False  # as its text chunks say
    deep: Range | None = None


class Header(NamedTuple):
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
    deep: Range | None = None
    core = strip.im  # `strip.paste` comes down to its `paste`, after checks that cost as much as that
    sides: list[int] = []
    with _quiet():
        for position, item in enumerate(items):
            try:
                loaded = _load(item, wanted)
            except Unreadable as error:
                problems.append((position, str(error)))
                continue
            image = loaded.image
            if wanted.only_gray and not loaded.gray:
                return Decoded(b"", [], "colour")
            if wanted.fit is not None:
                sides.append(min(image.size))
            if image.size != (w, h):
                if wanted.fit is None:
                    return Decoded(b"", [], "size")
                enlarged += image.width < w or image.height < h
                image = fitted(image, wanted.size, wanted.fit)
            if image.mode != mode:
                image = images.gray_pil(image) if mode == "L" else image.convert(mode)
            minted += loaded.minted
            if loaded.deep:
                deep = loaded.deep | deep
            core.paste(image.im, (0, h * done, w, h * done + h))
            done += 1
    strip = strip.crop((0, 0, w, h * done)) if done < len(items) else strip
    return Decoded(strip.tobytes(), problems, enlarged=enlarged, sides=sides, minted=minted, deep=deep)


def headers(items: Sequence[Item], wanted: None = None) -> list[Header | None]:
    """Sizes and colours by the headers alone; None where not even the header can be read."""
    found: list[Header | None] = []
    with _quiet():
        for item in items:
            try:
                found.append(_header(item))
            except Unreadable:
                found.append(None)
    return found


def _header(item: Item) -> Header:
    if isinstance(item, Raw):
        return Header(item.height, item.width, item.channels == 1)
    image = _open(read(item))
    w, h = image.size
    if image.format != "TIFF" and _orientation(image) >= 5:
        w, h = h, w
    try:
        return Header(h, w, _is_gray(image) or _layout_of_16_bits(image).startswith("LA"))
    except Exception as error:
        raise _reason(error) from None


def value_range(items: Sequence[Item], wanted: None = None) -> Range | None:
    """What the values of the images of more than 8 bits among the items span; None where there are none."""
    found: Range | None = None
    with _quiet():
        for item in items:
            if isinstance(item, Raw):
                continue
            with suppress(Unreadable):
                image = _open(read(item))
                if image.mode in _DEEP_MODES:
                    found = _range(_loaded_values(image)) | found
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
        handle = os.open(path, _OPEN)
        try:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise Unreadable("no regular file")
            size = status.st_size
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
    except ValueError:  # a NUL, or what the system's encoding does not have
        raise Unreadable("a name that no file can have") from None


# A named pipe would otherwise wait for a writer for ever.
_OPEN = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)


class _Archive(threading.local):
    """The archive that this thread reads from, kept open between images, and its bytes on the disk."""

    path: str | None = None
    file: BinaryIO
    size: int

    def open(self, path: str) -> BinaryIO:
        if self.path != path:
            self.close()
            self.file = open(path, "rb")  # noqa: SIM115 (see close_archive)
            self.path, self.size = path, os.fstat(self.file.fileno()).st_size
        return self.file

    def close(self) -> None:
        if self.path is not None:
            self.path = None
            self.file.close()


_archive = _Archive()


def close_archive() -> None:
    """Let go of the archive that this thread read last."""
    _archive.close()


_UNPACKERS: dict[int, Callable[[], Any]] = {
    DEFLATED: lambda: zlib.decompressobj(-15),
    BZIP2: bz2.BZ2Decompressor,
}


def _read_place(place: Place) -> bytes:
    if max(place.size, place.stored) > FILE_LIMIT:
        raise Unreadable(f"larger than {FILE_LIMIT >> 20} MiB")
    damaged = Unreadable("damaged inside its archive")
    try:
        file = _archive.open(place.path)
        if not 0 <= place.offset <= place.offset + place.stored <= _archive.size:  # memory is never asked for a claim
            raise damaged
        file.seek(place.offset)
        if place.method is not None:
            header = file.read(30)
            if len(header) < 30 or header[:4] != b"PK\x03\x04":
                raise damaged
            name, extra = struct.unpack("<HH", header[26:30])
            file.seek(name + extra, os.SEEK_CUR)
        data = file.read(place.stored)
        if place.method:
            # One byte more than promised is enough to know that the archive lies, and all that is ever unpacked.
            data = _UNPACKERS[place.method]().decompress(data, place.size + 1)
    except (zlib.error, EOFError):
        raise damaged from None
    except OSError as error:
        if error.errno is None:  # bz2's word for damage
            raise damaged from None
        raise Unreadable((error.strerror or "cannot be read").lower()) from None
    if len(data) != place.size or (place.method is not None and zlib.crc32(data) != place.crc):
        raise damaged
    return data


def _reason(error: Exception) -> Unreadable:
    """Pillow's readers raise nearly anything on damaged files: struct.error, SyntaxError, RecursionError, ..."""
    if isinstance(error, Unreadable):
        return error
    if isinstance(error, UnidentifiedImageError):
        return Unreadable("not an image of a known kind, or its header is damaged")
    if isinstance(error, MemoryError):
        return Unreadable("not enough memory to decode it")
    return Unreadable(" ".join(str(error).split())[:200] or type(error).__name__)


def _open(data: bytes) -> Image.Image:
    if not data:
        raise Unreadable("empty file")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
    except Exception as error:
        raise _reason(error) from None
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise Unreadable(f"{width:,} x {height:,} pixels, more than the {MOST_PIXELS:,} that are read")
    return image


def _raw(item: Raw) -> Image.Image:
    return Image.frombytes("L" if item.channels == 1 else "RGB", (item.width, item.height), item.data)


def _load(item: Item, wanted: Wanted) -> Loaded:
    if isinstance(item, Raw):
        return Loaded(_raw(item), item.channels == 1)
    image = _open(read(item))
    try:
        return _whole(image, wanted)
    except Exception as error:
        raise _reason(error) from None


def _whole(image: Image.Image, wanted: Wanted) -> Loaded:
    if wanted.fit is not None and image.format in ("JPEG", "MPO"):
        ratio = min(image.size) / (max(wanted.size) * _DRAFT_GAP)
        if ratio >= 2:
            image.draft(None, (int(image.width / ratio), int(image.height / ratio)))
    layout = "" if image.mode == "L" else _layout_of_16_bits(image)
    image.load()
    upright = _UPRIGHT.get(_orientation(image))
    gray = _is_gray(image) or layout.startswith("LA")
    minted = image.info.get("Software") == "imagemint" and "checkpoint" in image.info  # as data.export writes it
    deep: Range | None = None
    if image.mode in _DEEP_MODES:
        image, deep = _from_deep(image, wanted.levels)
    else:
        if layout and wanted.levels is not None:
            raise Unreadable("16 bits in colour or with alpha, of which the upper 8 are read: --levels is for gray")
        image = _plain(image, gray)
        if layout:
            used = [level for level, count in enumerate(image.convert("L").histogram()) if count]
            deep = Range(257 * used[0], 257 * used[-1], gray=0)
    return Loaded(image.transpose(upright) if upright is not None else image, gray, minted, deep)


def _layout_of_16_bits(image: Image.Image) -> str:
    """Pillow's name for how colour, or gray with alpha, of 16 bits per sample lies in the file ("RGB;16B"), or ""."""
    if image.mode not in ("RGB", "RGBA") or image.format not in ("PNG", "TIFF"):
        return ""
    layouts = (str(tile[3]).strip("('") for tile in getattr(image, "tile", ()))
    return next((layout for layout in layouts if ";16" in layout), "")


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8. Unreadable EXIF is no reason to lose an image."""
    if "exif" not in image.info and image.format != "TIFF":
        return 1
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # as in `_reason`
        return 1
    return value if isinstance(value, int) else 1


def _is_gray(image: Image.Image) -> bool:
    if image.mode != "P":
        return image.mode in _GRAY_MODES
    palette = bytes(image.getpalette() or b"")
    return palette[0::3] == palette[1::3] == palette[2::3]


def _plain(image: Image.Image, gray: bool) -> Image.Image:
    """Mode L or RGB, 8 bits, nothing transparent."""
    mode = image.mode
    plain = "L" if gray else "RGB"
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        if mode in ("La", "RGBa"):
            image = image.convert("LA" if mode == "La" else "RGBA")
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == plain else image.convert(plain)


def _loaded_values(image: Image.Image) -> np.ndarray:
    """The numbers of an image of more than 8 bits per sample. Raises Unreadable where some are none."""
    import numpy as np  # rare, and a third of a worker's start

    try:
        values = np.asarray(image)  # loads it
    except Exception as error:
        raise _reason(error) from None
    if not np.isfinite(values).all():
        raise Unreadable("pixels that are not finite numbers")
    return values


def _range(values: np.ndarray) -> Range:
    return Range(float(values.min()), float(values.max()))


def _from_deep(image: Image.Image, levels: tuple[float, float] | None) -> tuple[Image.Image, Range]:
    """Gray of more than 8 bits -> mode L: `levels` (default: the range of its kind) become 0 and 255."""
    values = _loaded_values(image)
    deep = _range(values)
    tags = getattr(image, "tag_v2", {})
    if levels is not None:
        low, high = levels
        if deep.low < low or deep.high > high:
            raise Unreadable(f"values from {deep.low:g} to {deep.high:g}, outside the levels {low:g} to {high:g}")
    elif image.mode == "F":
        raise Unreadable("floating-point pixels, whose range is not known (--levels gives it)")
    else:
        low, high = 0, 4095 if tags.get(_BITS) == (12,) else 65535
        if deep.low < low or deep.high > high:
            raise Unreadable(f"pixels outside 0..{high}, whose range is not known (--levels gives it)")
        deep = Range(deep.low * 65535 / high, deep.high * 65535 / high)  # comparable
    pixels = images.to_levels(values, low, high)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero; Pillow turns such images of at most 8 bits itself
        pixels = 255 - pixels
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        pixels[values == transparent] = 255
    return Image.fromarray(pixels), deep


# Pillow's own warnings, attributed to it or to this file. `warnings.catch_warnings` would be simpler, but puts back
# what another thread has changed meanwhile.
_FILTER = ("ignore", None, Warning, re.compile(r"(PIL\.|imagemint\.data\.decode$)"), 0)
_filter_lock, _filter_users = threading.Lock(), 0


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Pillow's warnings, in all threads while one of them decodes: they say nothing that matters here."""
    global _filter_users
    with _filter_lock:
        if not _filter_users:
            warnings.filterwarnings("ignore", module=_FILTER[3].pattern)
        _filter_users += 1
    try:
        yield
    finally:
        with _filter_lock:
            _filter_users -= 1
            if not _filter_users:
                with suppress(ValueError):  # the host put its own list in place meanwhile
                    warnings.filters.remove(_FILTER)  # type: ignore[attr-defined]


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
