"""A pack: a labelled image data set on disk, of the same form for real and minted images.

    PACK/
      pixels.npy      uint8 [n, c, h, w], memory-mapped when opened
      labels.npy      int64 [n]: class index, -1 = unlabelled
      shards/         instead of pixels.npy where the pack is cut into several files (data.remote)
      seed.npy, ...   optional columns, int64 [n], one value per image (named in the manifest)
      manifest.json   written last: class names, sizes, fingerprint, origin, history

A pack never changes once it is there: every edit writes another one.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Literal, NoReturn, cast

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, field_validator

from imagemint import files
from imagemint.data.remote import SHARD_MEGABYTES, Shards, Store, address_of, shard_name
from imagemint.errors import PackError
from imagemint.words import listed

UNLABELLED = -1
_UINT8 = np.dtype(np.uint8)
BLOCK_BYTES = 32 << 20  # how much of a pack is held in memory at a time when it is read through

Origin = Literal["real", "minted", "augmented", "mixed"]

_COLUMN = re.compile(r"[a-z][a-z0-9_]{0,63}")  # of a column, which is the name of a file too
_TAKEN = {"pixels", "labels"}
# What numpy writes at the head of an .npy file, and we accept: the type, the order of the axes, the shape.
_NPY = re.compile(
    rb"\{'descr': '([|<>=][a-z]\d{1,2})', 'fortran_order': (False|True), "
    rb"'shape': \((\d{1,18}(?:, \d{1,18}){0,7}),?\), \} *\n"
)
_NPY_HEAD = 10  # bytes before that: magic, version, length
_NPY_MOST = _NPY_HEAD + 1024  # bytes that hold any head that is accepted
_TOGETHER = 4096  # files of which the heads are read at a time


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Step(_Strict):
    """One command in the life of a pack."""

    command: str
    parameters: dict[str, Any] = {}
    parents: list[str] = []  # fingerprints of the packs that it was made from


class Unreadable(_Strict):
    """A file that could not be packed, and why."""

    name: str
    problem: str


class Minting(_Strict):
    """Where minted images come from: enough, with the columns `seed` and `minting`, to mint each of them again.

    Column `seed` holds the seed of every image, column `minting` the index into the manifest's list of mintings
    (-1 in both: the image was not minted). Edits carry the two columns along; a merge shifts `minting`.
    """

    run: str
    checkpoint: str  # sha256 of the weights file
    images_seen: int
    recipe: str
    seed: int
    image_seeds: str = "seed.npy"
    trained_on: str  # fingerprint of the training pack
    chosen: dict[str, int] | None = None  # images seen when the best weights were taken, by class or of "all"
    spread: float | None = None  # what z was multiplied by; None: 1


class Manifest(_Strict):
    """`manifest.json`, checked when it is read."""

    format: Literal[1] = 1
    images: int = Field(gt=0)
    channels: Literal[1, 3]
    size: tuple[PositiveInt, PositiveInt]  # height, width
    classes: list[str]  # label k is classes[k]
    fingerprint: str
    origin: Origin
    columns: list[str] = []
    history: list[Step] = []
    unreadable: list[Unreadable] = []
    source_sides: list[tuple[int, int, int]] = []  # of images that were fitted: shorter sides from, to; how many
    mintings: list[Minting] = []
    shards: list[PositiveInt] | None = None  # images of each file in shards/; None: all in pixels.npy
    starts: list[str] | None = None  # of each shard, how it begins (`_start`), so that no other takes its place
    remarks: list[str] = []  # what packing had to say about labels, files left out and readings that are not certain

    @field_validator("classes")
    @classmethod
    def _different_names(cls, names: list[str]) -> list[str]:
        check_classes(names)
        return names

    @field_validator("columns")
    @classmethod
    def _names_of_files(cls, names: list[str]) -> list[str]:
        wrong = [name for name in names if name in _TAKEN or not _COLUMN.fullmatch(name)]
        if wrong or len(set(names)) < len(names):
            raise ValueError(f"{(wrong or names)[0][:64]!r} cannot be the name of a column, or not twice")
        return names


def check_classes(names: list[str]) -> None:
    """Raise PackError where two classes have one name, or a name is no text that can be written down."""
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        found = f"more than one class is called {listed([repr(name[:64]) for name in twice])}"
        raise PackError(found, "a name of its own for every class", "rename or join them first")
    broken = [name for name in names if any("\ud800" <= letter <= "\udfff" for letter in name)]
    if broken:
        raise PackError(f"class name {broken[0][:64]!r}", "Unicode text", "rename it first")


@dataclass(frozen=True, eq=False)
class Pack:
    """An open pack. Indexing `pixels` or `labels` reads from the disk what is asked for and no more."""

    path: Path
    pixels: np.ndarray  # uint8 [n, c, h, w], memory-mapped
    labels: np.ndarray  # int64 [n], memory-mapped
    columns: dict[str, np.ndarray]  # int64 [n] each, memory-mapped
    manifest: Manifest

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> list[str]:
        """Class names; label k means `classes[k]`."""
        return self.manifest.classes

    @property
    def channels(self) -> int:
        """1 (gray) or 3 (RGB)."""
        return self.manifest.channels

    @property
    def size(self) -> tuple[int, int]:
        """Height, width."""
        return self.manifest.size

    @property
    def fingerprint(self) -> str:
        """Of pixels, labels and class names: equal fingerprints, equal data."""
        return self.manifest.fingerprint

    @property
    def place(self) -> Path:
        """Where another process finds it: an absolute path, or an address as `open_pack` takes it."""
        return self.path if address_of(self.path) else self.path.absolute()

    def counts(self) -> dict[str, int]:
        """Images of each class, by name, in label order; unlabelled images are not counted."""
        labels = np.asarray(self.labels)
        per_class = np.bincount(labels[labels >= 0], minlength=len(self.classes))
        return dict(zip(self.classes, per_class.tolist(), strict=True))

    def unlabelled(self) -> int:
        """Images without a label."""
        return int((np.asarray(self.labels) == UNLABELLED).sum())

    def blocks(self, order: np.ndarray | None = None, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
        """Index arrays that cover the pack (or `order`) in turn, each at most `block_bytes` of pixels."""
        order = np.arange(len(self)) if order is None else order
        step = max(1, block_bytes // int(np.prod(self.pixels.shape[1:])))
        for start in range(0, len(order), step):
            yield order[start : start + step]

    def read(self, index: np.ndarray) -> np.ndarray:
        """Pixels of the images `index` (int64 `[k]`, quickest in rising order): uint8 `[k, c, h, w]`, a copy.

        Read from the file and not through the memory map, whose pages count as this process's memory until the system
        wants them back (up to 2 MB for one scattered image). Raises PackError where the file is gone or too short.
        """
        source: Any = self.pixels
        if isinstance(source, Shards):
            return source.read(np.asarray(index))
        if not isinstance(source, np.memmap):
            return np.asarray(source[index])
        pixels = np.empty((len(index), *source.shape[1:]), np.uint8)
        starts = np.flatnonzero(np.diff(index, prepend=-2) != 1).tolist()  # of runs of neighbours, each read at once
        ends = [*starts[1:], len(index)] if starts else []
        image_bytes = prod(source.shape[1:])
        path = self.path / "pixels.npy"
        try:
            with files.open_regular(path) as file:
                for start, end in zip(starts, ends, strict=True):
                    file.seek(source.offset + int(index[start]) * image_bytes)
                    if file.readinto(pixels[start:end].data.cast("B")) != (end - start) * image_bytes:  # type: ignore[attr-defined]
                        raise files.Damaged("has been cut short")
        except (files.Damaged, FileNotFoundError) as error:
            problem = "has gone" if isinstance(error, FileNotFoundError) else str(error)
            raise PackError(f"{path} {problem}", "the file that was opened", f"make {self.path} again") from None
        return pixels

    def info(self) -> dict[str, Any]:
        """What `imagemint info --json` prints."""
        return {
            "path": str(self.path),
            "images": len(self),
            "classes": self.counts(),
            "unlabelled": self.unlabelled(),
            "size": list(self.size),
            "channels": self.channels,
            "fingerprint": self.fingerprint,
            "origin": self.manifest.origin,
            "history": [step.model_dump() for step in self.manifest.history],
            "remarks": self.manifest.remarks,
            "unreadable": [each.model_dump() for each in self.manifest.unreadable],
            "mintings": [each.model_dump() for each in self.manifest.mintings],
        }


def open_pack(path: Path | str | Pack) -> Pack:
    """Open a pack without reading its pixels. Raises PackError where it is missing, damaged or cut short.

    >>> import imagemint
    >>> _ = imagemint.pack("digits", "digits.pack")
    >>> digits = open_pack("digits.pack")
    >>> len(digits), digits.size, digits.pixels.shape
    (1797, (8, 8), (1797, 1, 8, 8))
    """
    if isinstance(path, Pack):
        return path
    path = Path(path)
    address = address_of(path)
    if address is not None:
        return _open_at(path, Store.at(address))
    if not (path / "manifest.json").is_file():
        found = f"no pack at {path}" if not path.exists() else f"{path} has no manifest.json"
        raise PackError(found, "a folder that imagemint pack or mint wrote", "check the path or pack it first")
    manifest = _read_manifest(path)
    if manifest.shards is not None:
        return _open_at(path, Store.at(f"file://{path.absolute().as_posix()}"))
    n, (h, w) = manifest.images, manifest.size
    pixels = _map(path, "pixels", np.dtype(np.uint8), (n, manifest.channels, h, w))
    labels = _map(path, "labels", np.dtype(np.int64), (n,))
    columns = {name: _map(path, name, np.dtype(np.int64), (n,)) for name in manifest.columns}
    return _checked(Pack(path, pixels, labels, columns, manifest))


def _open_at(path: Path, store: Store) -> Pack:
    """A pack at an address, or in shards. Labels and columns are read, pixels are not."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "manifest.json"
        try:
            file.write_bytes(store.read_first("manifest.json", files.SMALL))
        except FileNotFoundError:
            found = f"no pack at {store.address}"
            raise PackError(
                found, "what imagemint pack or mint wrote", "check the address or pack it first"
            ) from None
        manifest = _read_manifest(Path(folder))
    n, image = manifest.images, (manifest.channels, *manifest.size)
    counts = manifest.shards or [n]
    names = [shard_name(k) for k in range(len(counts))] if manifest.shards else ["pixels.npy"]
    if sum(counts) != n:
        _damaged(path, f"the shards of {store.address} hold {sum(counts):,} images", f"{n:,}, as its manifest says")
    heads = _heads_at(path, store, manifest, names, counts)
    arrays = {}
    for name in ("labels", *manifest.columns):
        head = _head_at(path, store, f"{name}.npy", np.dtype(np.int64), (n,))
        arrays[name] = np.frombuffer(store.read(f"{name}.npy"), np.int64, n, head)
    pixels = cast(np.ndarray, Shards(store, counts, image, heads, names))
    return _checked(Pack(path, pixels, arrays.pop("labels"), arrays, manifest))


def _checked(pack: Pack) -> Pack:
    _check_range(pack.path, "labels", pack.labels, len(pack.classes))
    if "minting" in pack.columns:
        _check_range(pack.path, "minting", pack.columns["minting"], len(pack.manifest.mintings))
    return pack


def _read_manifest(path: Path) -> Manifest:
    file = path / "manifest.json"
    try:
        return Manifest.model_validate(files.read_json(file))
    except (files.Damaged, PackError) as error:
        problem = error.found if isinstance(error, PackError) else f"it {error}"
        _damaged(path, f"{file} is damaged: {problem}", "a whole manifest")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        _damaged(path, f"{file} is damaged ({where + ': ' if where else ''}{first['msg']})", "a whole manifest")


def _map(path: Path, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    """The array in `name`.npy, memory-mapped, if it is what the manifest says, byte for byte."""
    file = path / f"{name}.npy"
    try:
        with files.open_regular(file) as opened:
            size = os.fstat(opened.fileno()).st_size
            offset = _head(path, str(file), opened.read(_NPY_MOST), size, dtype, shape)
            return np.memmap(opened, dtype, "r", offset, shape)
    except FileNotFoundError:
        _damaged(path, f"{file} is missing", f"{dtype} {list(shape)}, as its manifest says")
    except files.Damaged as error:
        _damaged(path, f"{file} is damaged: it {error}", f"{dtype} {list(shape)}, as its manifest says")


def _heads_at(path: Path, store: Store, manifest: Manifest, names: list[str], counts: list[int]) -> list[int]:
    """Of each file of pixels the bytes before the first image, if all are what the manifest says.

    One listing and one short read per file, many at a time: a large pack has many thousand files.
    """
    image = (manifest.channels, *manifest.size)
    if manifest.shards is None:
        return [_head_at(path, store, names[0], _UINT8, (counts[0], *image))]
    starts: Sequence[str | None] = manifest.starts or [None] * len(names)
    if len(starts) != len(names):
        _damaged(path, f"the manifest of {store.address} tells the starts of {len(starts)} shards", f"{len(names)}")
    sizes, heads = store.sizes("shards"), list[int]()
    for k, name in enumerate(names):
        if name not in sizes:
            wanted = f"uint8 {[counts[k], *image]}, as its manifest says"
            _damaged(path, f"{store.address}/{name} is missing", wanted)
    for first in range(0, len(names), _TOGETHER):
        some = names[first : first + _TOGETHER]
        ends = [min(sizes[name], _NPY_MOST) for name in some]
        for name, data in zip(some, store.read_ranges(some, [0] * len(some), ends), strict=True):
            k, file = len(heads), f"{store.address}/{name}"
            try:
                heads.append(_head(path, file, data, sizes[name], _UINT8, (counts[k], *image)))
            except files.Damaged as error:
                wanted = f"uint8 {[counts[k], *image]}, as its manifest says"
                _damaged(path, f"{file} is damaged: it {error}", wanted)
            if starts[k] not in (None, _start(data)):
                _damaged(path, f"{file} is a shard of another pack, or not in its place", "the file that was written")
    return heads


def _start(data: bytes) -> str:
    """What tells a file of pixels from others of the same shape: 16 digits of the sha256 of how it begins."""
    return hashlib.sha256(data[:_NPY_MOST]).hexdigest()[:16]


def _head_at(path: Path, store: Store, name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """The bytes before the numbers of an array at an address, if it is what the manifest says."""
    file, wanted = f"{store.address}/{name}", f"{dtype} {list(shape)}, as its manifest says"
    try:
        return _head(path, file, store.read(name, _NPY_MOST), store.size(name), dtype, shape)
    except FileNotFoundError:
        _damaged(path, f"{file} is missing", wanted)
    except files.Damaged as error:
        _damaged(path, f"{file} is damaged: it {error}", wanted)


def _head(path: Path, file: str, head: bytes, size: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """How many bytes come before the numbers of an .npy file of `size` bytes. Raises Damaged and PackError."""
    length = _NPY_HEAD + int.from_bytes(head[8:_NPY_HEAD], "little")
    header = _NPY.fullmatch(head[_NPY_HEAD:length])
    if head[:8] != b"\x93NUMPY\x01\x00" or header is None:
        raise files.Damaged("does not begin as an array does")
    kind, order = header[1].decode(), header[2]
    kind = dtype.name if kind == dtype.str else kind
    sides = [int(side) for side in header[3].split(b",")]
    if (kind, tuple(sides)) != (dtype.name, shape):
        _damaged(path, f"{file} holds {kind} {sides}", f"{dtype} {list(shape)}, as its manifest says")
    if order == b"True" and len(shape) > 1:
        raise files.Damaged("holds its numbers in Fortran's order, where C's was written")
    if size != length + prod(shape) * dtype.itemsize:
        raise files.Damaged(f"has {size:,} bytes instead of {length + prod(shape) * dtype.itemsize:,}")
    return length


def _check_range(path: Path, name: str, values: np.ndarray, count: int) -> None:
    """Raise PackError unless all values are indices into a list of `count`, or -1."""
    low, high = int(values.min()), int(values.max())
    if low < UNLABELLED or high >= count:
        _damaged(path, f"{name}.npy of {path} holds {low if low < -1 else high}", f"-1..{count - 1}")


def _damaged(path: Path, found: str, wanted: str) -> NoReturn:
    raise PackError(found, wanted, f"make the pack {path.name} again")


def check_absent(dest: Path | str, error: type[PackError] = PackError, *, local: bool = False) -> Path:
    """`dest` as a path, if something can be made there and nothing is: data is never overwritten.

    An address is refused where it must be `local`.
    """
    dest = Path(dest)
    address = address_of(dest)
    if address is not None:
        if local:
            remedy = "write into a folder, then copy packs there with imagemint edit shard"
            raise error(f"{address} is no folder of this machine", "a folder", remedy)
        if Store.at(address).exists():
            raise error(f"something is already at {address}", "a new address", "choose another name")
        return dest
    if os.path.lexists(dest):
        raise error(f"{dest} is already there", "a new folder", "choose another name or remove it")
    above = next((folder for folder in dest.parents if os.path.lexists(folder)), None)
    if above is not None and not above.is_dir():
        raise error(f"{dest} would lie below {above}, which is a file", "a folder", "choose another path")
    return dest


class PackWriter:
    """Collects images block by block; see `writing`. Memory stays at one block whatever the size of the pack."""

    def __init__(
        self,
        folder: Path,
        dest: Path,
        classes: list[str],
        origin: Origin,
        history: list[Step],
        shard_bytes: int | None = None,
        store: Store | None = None,
    ) -> None:
        self.dest = dest
        self.classes, self.origin, self.history = classes, origin, history
        self.unreadable: list[Unreadable] = []
        self.source_sides: list[tuple[int, int, int]] = []
        self.mintings: list[Minting] = []
        self.remarks: list[str] = []
        self._folder, self._store = folder, store
        self._columns: dict[str, _Appender] = {}
        self._pixels = (
            _ShardAppender(folder, shard_bytes, store) if shard_bytes else _Appender(folder / "pixels.npy", _UINT8)
        )
        self._labels = _Appender(folder / "labels.npy", np.dtype(np.int64))

    def add(self, pixels: np.ndarray, labels: np.ndarray, **columns: np.ndarray) -> None:
        """Append uint8 `[k, c, h, w]`, int64 `[k]` and the same columns (int64 `[k]`) as every time before."""
        assert pixels.ndim == 4 and pixels.shape[1] in (1, 3), pixels.shape
        assert len(pixels) == len(labels), (pixels.shape, labels.shape)
        assert ((labels >= UNLABELLED) & (labels < len(self.classes))).all(), "a label without a class name"
        if not self._pixels.count:
            self._columns = {name: _Appender(self._folder / f"{name}.npy", np.dtype(np.int64)) for name in columns}
        assert set(columns) == set(self._columns), (set(columns), set(self._columns))
        self._pixels.append(pixels)
        self._labels.append(labels)
        for name, values in columns.items():
            assert len(values) == len(labels), name
            self._columns[name].append(values)

    @property
    def images(self) -> int:
        """How many images were added so far."""
        return self._pixels.count

    def finish(self) -> None:
        """Close the arrays and write the manifest, last."""
        if not self.images:
            raise PackError("no image is left", "at least one", "ask for more images, or check what was dropped")
        arrays = [self._pixels, self._labels, *self._columns.values()]
        for array in arrays:
            array.close()
        channels, h, w = self._pixels.tail
        manifest = Manifest(
            images=self.images,
            channels=channels,  # type: ignore[arg-type]
            size=(h, w),
            classes=self.classes,
            fingerprint=_fingerprint(self._pixels, self._labels, self.classes),
            origin=self.origin,
            columns=list(self._columns),
            history=self.history,
            unreadable=self.unreadable,
            source_sides=self.source_sides,
            mintings=self.mintings,
            remarks=self.remarks,
            shards=self._pixels.counts if isinstance(self._pixels, _ShardAppender) else None,
            starts=self._pixels.starts if isinstance(self._pixels, _ShardAppender) else None,
        )
        files.write_json(self._folder / "manifest.json", manifest.model_dump(exclude_none=True))
        if self._store is not None:
            for name in ("labels.npy", *(f"{column}.npy" for column in self._columns), "manifest.json"):
                self._store.send(self._folder / name, name)

    def pack(self) -> Pack:
        """The pack, once the `writing` block has ended."""
        return open_pack(self.dest)

    def abandon(self) -> None:
        """Close what is open; the folder is about to vanish."""
        for array in [self._pixels, self._labels, *self._columns.values()]:
            array.file.close()


@contextmanager
def writing(
    dest: Path | str,
    *,
    classes: list[str],
    origin: Origin,
    history: list[Step],
    shard_bytes: int | None = None,
) -> Iterator[PackWriter]:
    """`with writing(dest, classes=..., origin="real", history=[...]) as writer: writer.add(...)`.

    The pack stands at `dest` when the block has ended well; an error or an interrupt leaves nothing behind. With
    `shard_bytes` pixels go into files of at most so many bytes; at an address they always do, and of the pack no more
    than one of them is on this machine at a time.
    """
    dest = check_absent(dest)
    check_classes(classes)
    address = address_of(dest)
    with ExitStack() as stack:
        if address is None:
            store, folder = None, stack.enter_context(files.whole_folder(dest))
        else:
            store, folder = Store.at(address), files.temporary_folder(stack)
            shard_bytes = shard_bytes or SHARD_MEGABYTES << 20
        writer = PackWriter(folder, dest, classes, origin, history, shard_bytes, store)
        try:
            yield writer
            writer.finish()
        except BaseException:
            writer.abandon()
            if store is not None:
                store.remove()
            raise


class _Appender:
    """An .npy file that grows along its first axis, hashed as it goes."""

    def __init__(self, path: Path, dtype: np.dtype[Any]) -> None:
        self.dtype, self.count, self.tail = dtype, 0, tuple[int, ...]()
        self.hash = hashlib.sha256()
        self.file = open(path, "w+b")  # noqa: SIM115 (lives as long as the writer, which closes it)

    def append(self, values: np.ndarray) -> None:
        values = np.ascontiguousarray(values, dtype=self.dtype)
        if not self.count:
            self.tail = values.shape[1:]
            self._header()
        assert values.shape[1:] == self.tail, (values.shape, self.tail)
        data = values.data.cast("B") if values.size else b""
        self.hash.update(data)
        self.file.write(data)
        self.count += len(values)

    def close(self) -> None:
        self.file.seek(0)
        self._header()  # numpy leaves room in the header for the first axis to grow, so its length is the same
        self.file.close()

    def _header(self) -> None:
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False}
        np.lib.format.write_array_header_1_0(self.file, {**header, "shape": (self.count, *self.tail)})


class _ShardAppender:
    """Files of pixels, each closed (and sent away) as soon as it is full; counted and hashed as one array."""

    def __init__(self, folder: Path, shard_bytes: int, store: Store | None) -> None:
        self.folder, self.shard_bytes, self.store = folder, shard_bytes, store
        self.hash = hashlib.sha256()
        self.count, self.tail = 0, tuple[int, ...]()
        self.counts: list[int] = []  # of the shards that are full
        self.starts: list[str] = []
        self.shard: _Appender | None = None
        (folder / "shards").mkdir()

    def append(self, values: np.ndarray) -> None:
        self.tail = values.shape[1:]
        most = max(self.shard_bytes // prod(self.tail), 1)  # images per shard
        while len(values):
            if self.shard is None:
                self.shard = _Appender(self.folder / shard_name(len(self.counts)), _UINT8)
            part, values = np.split(values, [most - self.shard.count])
            self.shard.append(part)
            self.hash.update(np.ascontiguousarray(part, _UINT8).data.cast("B"))
            self.count += len(part)
            if self.shard.count == most:
                self._full()

    def close(self) -> None:
        if self.shard is not None:
            self._full()

    def _full(self) -> None:
        assert self.shard is not None
        self.shard.close()
        name = shard_name(len(self.counts))
        with open(self.folder / name, "rb") as shard:
            self.starts.append(_start(shard.read(_NPY_MOST)))
        if self.store is not None:
            self.store.send(self.folder / name, name)
            (self.folder / name).unlink()
        self.counts.append(self.shard.count)
        self.shard = None

    @property
    def file(self) -> Any:
        """What is open."""
        return self.shard.file if self.shard is not None else io.BytesIO()


def _fingerprint(pixels: _Appender | _ShardAppender, labels: _Appender, classes: list[str]) -> str:
    return _fingerprint_from([pixels.count, *pixels.tail], pixels.hash.hexdigest(), labels.hash.hexdigest(), classes)


def _fingerprint_from(shape: list[int], pixels: str, labels: str, classes: list[str]) -> str:
    """sha256 over shape, pixels, labels and class names: what the pack is, not where it came from."""
    return hashlib.sha256(json.dumps([shape, pixels, labels, classes], ensure_ascii=True).encode()).hexdigest()


def fingerprint_of(pack: Pack) -> str:
    """The fingerprint of what is on the disk, read through; the manifest's, unless the files have changed.

    >>> import imagemint
    >>> made = imagemint.pack("digits", "whole.pack")
    >>> fingerprint_of(made) == made.fingerprint
    True
    """
    pixels = hashlib.sha256()
    for index in pack.blocks():
        pixels.update(pack.read(index).tobytes())
    labels = hashlib.sha256(np.ascontiguousarray(pack.labels, "<i8").tobytes())
    return _fingerprint_from(list(pack.pixels.shape), pixels.hexdigest(), labels.hexdigest(), pack.classes)
