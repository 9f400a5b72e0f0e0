"""numpy's archives of arrays, as numpy.savez, Keras' mnist.npz and MedMNIST write them."""

from __future__ import annotations

import math
import re
import tokenize
import zipfile
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.arrays import FLOOR, WANTED, of_array, planes, reading
from imagemint.data.sources.contents import Contents, choose_split, named_labels, no_splits, numbered_labels
from imagemint.data.sources.listing import cleaned
from imagemint.data.sources.tree import check_ratio
from imagemint.errors import SourceError
from imagemint.files import open_regular
from imagemint.words import counted, listed

_IMAGES, _LABELS = ("images", "x", "pixels", "data"), ("labels", "y", "label")
_CLASSES = ("classes", "class_names", "label_names")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)


class _Objects(NamedTuple):
    """An array of Python objects: it can only be read by running what the file says, so its shape is all we know."""

    shape: tuple[int, ...]


class _Keys(NamedTuple):
    images: str
    labels: str | None
    classes: str | None
    left: list[str]  # arrays that mean nothing to us


def read(file: Path, split: str | None) -> Contents:
    """`images` (or x, pixels, data) uint8 and `labels` (or y), also as `x_train` or `train_images`; maybe `classes`.

    Images are `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` (where both could be, the last axis is the channels).
    Floats are refused: 0..1, -1..1 and 0..255 look alike.
    """
    with reading(str(file)), open_regular(file) as opened:
        if not zipfile.is_zipfile(opened):
            raise ValueError("not an archive of arrays")
        with zipfile.ZipFile(opened) as archive:
            members = _members(archive, file)
            keys = _keys(list(members), split, str(file))
            wanted = [key for key in keys[:3] if key is not None]
            check_ratio(sum(members[key].file_size for key in wanted), file.stat().st_size, file, FLOOR)
            arrays = {key: _array(archive, members[key], f"{key} of {file}") for key in wanted}
    pixels = _pixels(arrays[keys.images], f"{keys.images} of {file}")
    names = _names(arrays[keys.classes], f"{keys.classes} of {file}") if keys.classes else None
    remarks = [f"arrays of {file} that are not used: {listed(keys.left)}"] if keys.left else []
    if keys.labels is None:
        remarks.append(f"{file} has no labels: all images are unlabelled")
        return of_array(pixels, np.full(len(pixels), UNLABELLED, np.int64), names or [], remarks)
    labels, classes, about = _labels(arrays[keys.labels], len(pixels), f"{keys.labels} of {file}", names)
    return of_array(pixels, labels, classes, [*remarks, *about])


def _members(archive: zipfile.ZipFile, file: Path) -> dict[str, zipfile.ZipInfo]:
    """The arrays of the archive by their names."""
    found: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        if not info.filename.endswith(".npy"):
            continue
        key = info.filename.removesuffix(".npy")
        if info.flag_bits & 1:
            raise SourceError(f"{file} is encrypted ({key})", "an archive without a password", "save it without one")
        if info.compress_type not in _METHODS:
            found_method = f"{key} of {file} is compressed by method {info.compress_type}"
            raise SourceError(found_method, "an archive that numpy wrote", "save it again with numpy.savez")
        if key in found:
            raise SourceError(f"{file} holds two arrays called {key}", "one of each name", "save it again")
        found[key] = info
    return found


def _keys(keys: list[str], split: str | None, where: str) -> _Keys:
    lower = {key.casefold(): key for key in keys}
    classes = next((lower[key] for key in _CLASSES if key in lower), None)
    plain = next((lower[key] for key in _IMAGES if key in lower), None)
    if plain is not None:
        if split is not None:
            raise no_splits(where, split)
        labels = next((lower[key] for key in _LABELS if key in lower), None)
        return _Keys(plain, labels, classes, [key for key in keys if key not in (plain, labels, classes)])
    part = re.compile(rf"(?P<a>.+)_({'|'.join(_IMAGES + _LABELS)})|({'|'.join(_IMAGES + _LABELS)})_(?P<b>.+)")
    of = {key: match["a"] or match["b"] for key in lower if (match := part.fullmatch(key))}

    def key_of(stems: tuple[str, ...], chosen: str) -> str | None:
        names = [name for stem in stems for name in (f"{stem}_{chosen}", f"{chosen}_{stem}")]
        return next((lower[name] for name in names if name in lower), None)

    splits = [each for each in dict.fromkeys(of.values()) if key_of(_IMAGES, each)]
    if not splits:
        found = f"{where} holds {listed(keys) or 'no array'}"
        raise SourceError(found, "images and labels", "call the arrays so and save them again")
    chosen = choose_split(splits, split, where)
    images, labels = key_of(_IMAGES, chosen), key_of(_LABELS, chosen)
    assert images is not None
    left = [key for key in keys if key not in (images, labels, classes) and of.get(key.casefold()) in (None, chosen)]
    return _Keys(images, labels, classes, left)


def _array(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> np.ndarray | _Objects:
    with archive.open(info) as member:
        shape, fortran, dtype, start = _header(member)
        if dtype.hasobject:
            return _Objects(shape)
        size = math.prod(shape) * dtype.itemsize
        if not dtype.itemsize:
            raise ValueError(f"{where} holds values of no bytes")
        if size != info.file_size - start:
            raise ValueError(f"{where} promises {size:,} bytes and has {info.file_size - start:,}")
        data = member.read()
    if len(data) != size:
        raise EOFError(f"{where} is cut short")
    values = np.frombuffer(data, dtype) if size else np.empty(math.prod(shape), dtype)
    return values.reshape(shape, order="F" if fortran else "C")


def _header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Shape, Fortran order, dtype and the number of bytes before the values."""
    try:
        version = np.lib.format.read_magic(member)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(member)
        elif version == (2, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
        else:
            raise ValueError(f"an array in version {version} of its format")
    except (SyntaxError, TypeError, RecursionError, MemoryError, tokenize.TokenError) as error:
        # numpy reads a header as a Python literal; these are what odd literals raise
        raise ValueError(f"an array's header cannot be read ({type(error).__name__})") from None
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array has an impossible shape")
    return shape, fortran, dtype, member.tell()


def _pixels(images: np.ndarray | _Objects, where: str) -> np.ndarray:
    """uint8 `[n, c, h, w]`. Raises SourceError, which says how to save what is there."""
    if isinstance(images, _Objects):
        found = f"{where} is an array of Python objects"
        raise SourceError(found, WANTED, "make the images one array, numpy.stack(list(images)), and save it again")
    shape = images.shape
    if images.dtype != np.uint8:
        raise _other_numbers(images, where)
    side = math.isqrt(shape[1]) if len(shape) == 2 else 0
    if side and side * side == shape[1]:
        raise SourceError(f"{where} has the shape {list(shape)}", WANTED, f"reshape it to [n, {side}, {side}]")
    if not images.size:
        raise SourceError(f"{where} has no image (its shape is {list(shape)})", "at least one", "check the file")
    return planes(shape, where)(images)


def _other_numbers(images: np.ndarray, where: str) -> SourceError:
    """What to do with values that are not bytes, by the range that they have."""
    kind = f"{where} is {images.dtype} {list(images.shape)}"
    if images.dtype.kind == "b":
        return SourceError(kind, WANTED, "save images.astype(numpy.uint8) * 255")
    if images.dtype.kind not in "iuf" or not images.size:
        return SourceError(kind, WANTED, "scale it to 0..255 and save it as uint8")
    if images.dtype.kind == "f" and not np.isfinite(images).all():
        missing = counted(int((~np.isfinite(images)).sum()), "value")
        return SourceError(f"{kind}; {missing} of it are NaN or infinite", WANTED, "find out where they come from")
    low, high = float(images.min()), float(images.max())
    kind += f" with values from {low:g} to {high:g}"
    way = "scale it to 0..255"
    if images.dtype.kind == "f" and low >= 0 and high <= 1:
        way = "if they run from 0 to 1, save (images * 255).round().astype(numpy.uint8)"
    elif images.dtype.kind == "f" and -1 <= low < 0 and high <= 1:
        way = "if they run from -1 to 1, save ((images + 1) * 127.5).round().astype(numpy.uint8)"
    elif low >= 0 and high <= 255:
        way = "if they run from 0 to 255, save images.round().astype(numpy.uint8)"
    return SourceError(kind, WANTED, way)


def _names(classes: np.ndarray | _Objects, where: str) -> list[str]:
    if isinstance(classes, _Objects) or classes.ndim != 1 or classes.dtype.kind not in "USiu":
        what = (
            "an array of Python objects" if isinstance(classes, _Objects) else f"{classes.dtype} {[*classes.shape]}"
        )
        raise SourceError(f"{where} is {what}", "a list of names", "save numpy.array(classes).astype(str)")
    return _text(classes, where) if classes.dtype.kind in "US" else [str(each) for each in classes.tolist()]


def _text(values: np.ndarray, where: str) -> list[str]:
    try:
        return [each.decode() if isinstance(each, bytes) else str(each) for each in values.tolist()]
    except (UnicodeDecodeError, ValueError):  # bytes that are not UTF-8, code points that Unicode does not have
        raise SourceError(f"{where} is not valid text", "names in UTF-8", "save them as numpy text") from None


def _labels(
    values: np.ndarray | _Objects, count: int, where: str, names: list[str] | None
) -> tuple[np.ndarray, list[str], list[str]]:
    if isinstance(values, _Objects):
        found = f"{where} is an array of Python objects, such as a column of pandas"
        remedy = "save labels.astype(str) for names or labels.astype(int) for numbers"
        raise SourceError(found, "whole numbers or names", remedy)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (count,):
        one_hot = values.ndim == 2 and len(values) == count
        remedy = "save labels.argmax(1) if they are one column per class" if one_hot else "mend the labels"
        found = f"{where} has the shape {list(values.shape)}"
        raise SourceError(found, f"[{count}], one label per image", remedy)
    if values.dtype.kind in "US":
        text, remarks = cleaned(_text(values, where))
        return *named_labels(text), remarks
    if values.dtype.kind in "fb":
        found = f"{where} are {values.dtype}"
        raise SourceError(found, "whole numbers or names", "save labels.astype(int) if they are the classes")
    return numbered_labels(values, where, names)
