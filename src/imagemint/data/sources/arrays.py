"""Images that come as arrays: scikit-learn's digits, MNIST's IDX, CIFAR's batches, npz."""

from __future__ import annotations

import gzip
import io
import math
import pickle
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from imagemint.data.decode import FILE_LIMIT
from imagemint.data.pack import BLOCK_BYTES, UNLABELLED
from imagemint.data.sources.contents import Contents, choose_split, first, named_labels, no_splits, numbered_labels
from imagemint.data.sources.files import listed_classes
from imagemint.data.sources.tree import Tree
from imagemint.errors import SourceError


def digits() -> Contents:
    """scikit-learn's 1,797 handwritten digits, 8x8; their 17 levels 0..16 become round(v * 255 / 16)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    return _of_array(levels, data.target.astype(np.int64), [str(k) for k in range(10)])


def _of_array(
    pixels: np.ndarray, labels: np.ndarray, classes: list[str], remarks: list[str] | None = None
) -> Contents:
    return Contents(
        labels, classes, blocks=lambda: iter(_in_blocks(pixels)), shape=pixels.shape[1:], remarks=remarks or []
    )


def _in_blocks(pixels: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // int(np.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), step):
        yield pixels[start : start + step]


# --- IDX: magic 0, 0, type, dimensions; big-endian sizes; values. http://yann.lecun.com/exdb/mnist/


_IDX = re.compile(r"(?P<set>.*?)(?P<split>train|t10k|test|)[-_.]?(?P<what>images|labels)[-.]idx\d-ubyte(\.gz)?", re.I)
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4"}


def is_idx(tree: Tree) -> bool:
    """Whether IDX files lie at the root."""
    return any(_IDX.fullmatch(name) for name in tree.loose())


def idx(tree: Tree, split: str | None, classes: list[str] | None = None) -> Contents:
    """MNIST's files, gzipped or not. Three dimensions are gray images, four `[n, h, w, c]` or `[n, c, h, w]`.

    Class names are `classes`, or the lines of a `labels.txt` beside the files, or "0", "1", ...
    """
    found: dict[tuple[str, str], dict[str, str]] = {}
    for name in sorted(tree.loose()):
        if match := _IDX.fullmatch(name):
            part = "test" if match["split"].casefold() == "t10k" else match["split"].casefold()
            found.setdefault((match["set"], part), {})[match["what"].casefold()] = name
    sets = sorted({prefix for prefix, _ in found})
    if len(sets) > 1:
        raise SourceError(f"{tree.title} holds IDX files of {first(sets)}", "one data set", "give each its folder")
    splits = sorted((part for _, part in found), reverse=True)  # train before test
    chosen = choose_split([part or "all" for part in splits], split, tree.title)
    pair = found[sets[0], "" if chosen == "all" else chosen]
    for what, other in (("images", "labels"), ("labels", "images")):
        if what not in pair:
            raise SourceError(f"{tree.title} has {pair[other]} but not its {what}", "both files", "fetch it too")
    shape, dtype = _idx_header(tree, pair["images"])
    if len(shape) not in (3, 4):
        raise SourceError(
            f"{tree.title}/{pair['images']} has {len(shape)} dimensions", "3 (gray) or 4 (colour)", "check the file"
        )
    values = np.concatenate([np.empty(0, np.int64), *_idx_values(tree, pair["labels"], 1)])
    if len(values) != shape[0]:
        raise SourceError(
            f"{tree.title} has {shape[0]:,} images and {len(values):,} labels", "a label for each", "fetch both again"
        )
    labels, names, remarks = numbered_labels(
        values, f"{tree.title}/{pair['labels']}", classes or listed_classes(tree)
    )
    to_planes = _planes(shape, dtype, f"{tree.title}/{pair['images']}")

    def blocks() -> Iterator[np.ndarray]:
        return (to_planes(block) for block in _idx_values(tree, pair["images"], len(shape)))

    return Contents(
        labels, names, blocks=blocks, shape=to_planes(np.empty((0, *shape[1:]), np.uint8)).shape[1:], remarks=remarks
    )


def _idx_header(
    tree: Tree, name: str, file: IO[bytes] | gzip.GzipFile | None = None
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with _whole(f"{tree.title}/{name}"):
        if file is None:
            with tree.stream(name) as file:
                return _idx_header(tree, name, file)
        start = file.read(4)
        if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _IDX_TYPES or not 1 <= start[3] <= 4:
            raise ValueError("not an IDX file of whole numbers")
        shape, dtype = struct.unpack(f">{start[3]}I", file.read(4 * start[3])), np.dtype(_IDX_TYPES[start[2]])
        if (each := math.prod(shape[1:]) * dtype.itemsize) > FILE_LIMIT:
            raise ValueError(f"images of {each:,} bytes")
        return shape, dtype


def _idx_values(tree: Tree, name: str, dimensions: int) -> Iterator[np.ndarray]:
    """Blocks `[k, ...]` of an IDX file, read front to back."""
    with _whole(f"{tree.title}/{name}"), tree.stream(name) as file:
        (count, *rest), dtype = _idx_header(tree, name, file)
        if len(rest) + 1 != dimensions:
            raise ValueError(f"{len(rest) + 1} dimensions instead of {dimensions}")
        each = math.prod(rest) * dtype.itemsize
        step = max(1, BLOCK_BYTES // max(each, 1))
        for start in range(0, count, step):
            rows = min(step, count - start)
            data = file.read(rows * each)
            if len(data) != rows * each:
                raise EOFError(f"ends within image {start + len(data) // max(each, 1):,} of {count:,}")
            yield np.frombuffer(data, dtype).reshape(rows, *rest)
        if file.read(1):
            raise ValueError("longer than its header says")


class _whole:
    """What a damaged file of numbers raises, in our words."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        damage = (EOFError, ValueError, zlib.error, struct.error, zipfile.BadZipFile, gzip.BadGzipFile, MemoryError)
        if isinstance(error, damage):
            raise SourceError(f"{self.where} is damaged ({error})", "a whole file", "fetch it again") from None


# --- CIFAR: https://www.cs.toronto.edu/~kriz/cifar.html; a row is 3 planes (red, green, blue) of 32x32.


_CIFAR_PYTHON = re.compile(r"data_batch(_\d+)?|test_batch")
_CIFAR_BINARY = re.compile(r"(data_batch(_\d+)?|test_batch|train|test)\.bin")


def is_cifar(tree: Tree) -> bool:
    """Whether CIFAR-10's or CIFAR-100's batches, python or binary, lie at the root."""
    loose = set(tree.loose())
    if any(_CIFAR_PYTHON.fullmatch(name) or _CIFAR_BINARY.fullmatch(name) for name in loose):
        return True
    return "meta" in loose and bool({"train", "test"} & loose)


def cifar(tree: Tree, split: str | None) -> Contents:
    """CIFAR's batches. CIFAR-100 takes the fine labels; the 20 coarse ones are left."""
    loose = tree.loose()
    binary = any(_CIFAR_BINARY.fullmatch(name) for name in loose)
    pattern = _CIFAR_BINARY if binary else _CIFAR_PYTHON
    batches = sorted(name for name in loose if pattern.fullmatch(name) or (not binary and name in ("train", "test")))
    of = {name: "test" if name.startswith("test") else "train" for name in batches}
    chosen = choose_split(sorted(set(of.values()), reverse=True), split, tree.title)
    parts = [name for name in batches if of[name] == chosen]
    fine = any(name.startswith(("train", "test.", "meta", "fine_")) for name in loose)  # CIFAR-100's names
    reader: Callable[[Tree, str, bool], tuple[np.ndarray, np.ndarray]] = _cifar_binary if binary else _cifar_python
    values = np.concatenate([reader(tree, name, fine)[1] for name in parts])
    labels, classes, remarks = numbered_labels(values, tree.title, _cifar_names(tree))
    if fine:
        remarks.append("the fine labels were taken, the coarse ones left")

    def blocks() -> Iterator[np.ndarray]:
        return (reader(tree, name, fine)[0] for name in parts)

    return Contents(labels, classes, blocks=blocks, shape=(3, 32, 32), remarks=remarks)


def _cifar_binary(tree: Tree, name: str, fine: bool) -> tuple[np.ndarray, np.ndarray]:
    data = np.frombuffer(tree.content(name), np.uint8)
    labels = 2 if fine else 1
    if not data.size or data.size % (labels + 3072):
        raise SourceError(
            f"{tree.title}/{name} has {data.size:,} bytes", f"rows of {labels + 3072:,} bytes", "fetch it again"
        )
    rows = data.reshape(-1, labels + 3072)
    return rows[:, labels:].reshape(-1, 3, 32, 32), rows[:, labels - 1]


def _cifar_python(tree: Tree, name: str, fine: bool) -> tuple[np.ndarray, np.ndarray]:
    batch = _unpickle(tree, name)
    data, labels = batch.get("data"), batch.get("fine_labels", batch.get("labels"))
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3072:
        raise SourceError(f"{tree.title}/{name} has no data", "uint8 rows of 3,072", "fetch it again")
    if not isinstance(labels, (list, np.ndarray)) or len(labels) != len(data):
        raise SourceError(f"{tree.title}/{name} has no label for every image", "as many as images", "fetch it again")
    return data.reshape(-1, 3, 32, 32), np.asarray(labels)


def _cifar_names(tree: Tree) -> list[str] | None:
    loose = tree.loose()
    for name in ("batches.meta.txt", "fine_label_names.txt"):
        if name in loose:
            lines = tree.content(name).decode("utf-8", "replace").splitlines()
            return [line.strip() for line in lines if line.strip()]
    for name in ("batches.meta", "meta"):
        if name in loose:
            meta = _unpickle(tree, name)
            names = meta.get("fine_label_names", meta.get("label_names"))
            if isinstance(names, list):
                return [each.decode("utf-8", "replace") if isinstance(each, bytes) else str(each) for each in names]
    return None


class _Unpickler(pickle.Unpickler):
    """CIFAR's python batches are pickles by definition; nothing but numpy arrays and plain values is let through."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np.empty(0).__reduce__()[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        if module == "_codecs" and name == "encode":  # how Python 3 writes bytes for Python 2
            return lambda text, encoding: text.encode("latin1")
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _unpickle(tree: Tree, name: str) -> dict[str, Any]:
    where = f"{tree.title}/{name}"
    try:
        content = _Unpickler(io.BytesIO(tree.content(name)), encoding="bytes").load()
    except pickle.UnpicklingError as error:
        raise SourceError(
            f"{where} is not a CIFAR batch ({error})", "arrays and plain values", "do not trust it"
        ) from None
    except Exception as error:  # a damaged pickle raises nearly anything; nothing of ours runs in it
        raise SourceError(f"{where} is damaged ({error})", "a whole CIFAR batch", "fetch it again") from None
    if not isinstance(content, dict):
        raise SourceError(f"{where} holds a {type(content).__name__}", "a CIFAR batch", "fetch it again")
    return {key.decode("utf-8", "replace") if isinstance(key, bytes) else str(key): content[key] for key in content}


# --- npz


_NPZ_IMAGES, _NPZ_LABELS = ("images", "x", "pixels", "data"), ("labels", "y", "label")


def npz(file: Path, split: str | None) -> Contents:
    """`images` (or x, pixels, data) uint8 and `labels` (or y), also as `x_train` or `train_images`; maybe `classes`.

    Images are `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` (where both could be, the last axis is the channels).
    Floats are refused: 0..1, -1..1 and 0..255 look alike.
    """
    with _whole(str(file)), open(file, "rb") as opened, _arrays(opened) as arrays:
        keys = list(arrays.keys())
        images, labels = _npz_keys(keys, split, str(file))
        pixels = arrays[images]
        values = np.asarray(arrays[labels]) if labels else None
        names = [str(each) for each in arrays["classes"].tolist()] if "classes" in keys else None
    pixels = _planes(pixels.shape, pixels.dtype, f"{images} of {file}")(pixels)
    if not len(pixels):
        raise SourceError(f"{file} has no image", "at least one", "check the file")
    if values is None:
        unlabelled = np.full(len(pixels), UNLABELLED, np.int64)
        return _of_array(pixels, unlabelled, names or [], [f"{file} has no labels: all images are unlabelled"])
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.shape != (len(pixels),):
        raise SourceError(
            f"{labels} of {file} has shape {list(values.shape)}", f"[{len(pixels)}], one per image", "mend the labels"
        )
    if values.dtype.kind in "US":
        text = [str(each) for each in values.astype(str).tolist()]
        by_name, classes = named_labels([each or None for each in text])
        return _of_array(pixels, by_name, classes)
    numbers, classes, remarks = numbered_labels(values, str(file), names)
    return _of_array(pixels, numbers, classes, remarks)


def _arrays(file: BinaryIO) -> Any:
    if not zipfile.is_zipfile(file):
        raise ValueError("not an archive of arrays")
    file.seek(0)
    return np.load(file, allow_pickle=False)


def _npz_keys(keys: list[str], split: str | None, where: str) -> tuple[str, str | None]:
    lower = {key.casefold(): key for key in keys}
    plain = next((lower[key] for key in _NPZ_IMAGES if key in lower), None)
    by_split: dict[str, str] = {}
    for key in lower:
        for stem in _NPZ_IMAGES:
            if key.startswith(stem + "_") or key.endswith("_" + stem):
                by_split[key.removeprefix(stem + "_").removesuffix("_" + stem)] = stem
    if plain is not None:
        if split is not None:
            raise no_splits(where, split)
        return plain, next((lower[key] for key in _NPZ_LABELS if key in lower), None)
    if not by_split:
        raise SourceError(f"{where} holds {first(keys) or 'nothing'}", "images and labels", "rename the arrays")
    chosen = choose_split(list(by_split), split, where)

    def key_of(stems: tuple[str, ...]) -> str | None:
        names = [name for stem in stems for name in (f"{stem}_{chosen}", f"{chosen}_{stem}")]
        return next((lower[name] for name in names if name in lower), None)

    images = key_of(_NPZ_IMAGES)
    assert images is not None
    return images, key_of(_NPZ_LABELS)


def _planes(shape: tuple[int, ...], dtype: np.dtype[Any], where: str) -> Callable[[np.ndarray], np.ndarray]:
    """How `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` becomes `[n, c, h, w]`. SourceError for anything else."""
    wanted = "uint8 [n, h, w], [n, h, w, c] or [n, c, h, w] with 1 or 3 channels"
    if dtype != np.uint8:
        raise SourceError(f"{where} is {dtype} {list(shape)}", wanted, "scale it to 0..255 and save it as uint8")
    if len(shape) == 3 and min(shape[1:]) > 0:
        return lambda pixels: pixels[:, None]
    if len(shape) == 4 and min(shape[1:]) > 0:
        if shape[3] in (1, 3):  # also where both could be the channels
            return lambda pixels: pixels.transpose(0, 3, 1, 2)
        if shape[1] in (1, 3):
            return lambda pixels: pixels
    raise SourceError(f"{where} is {dtype} {list(shape)}", wanted, "reshape it and save it again")
