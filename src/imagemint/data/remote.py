"""Packs at addresses (`s3://bucket/photos.pack`, `gs://`, `hf://`, `file://`) and in shards, through fsspec.

A pack in shards has `shards/00000.npy`, ... in place of `pixels.npy`; fingerprint and order are the same.
Pixels are read by ranges, several at once: what is asked for crosses the network, and nothing is kept on the disk.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagemint.errors import ArgumentError, PackError
from imagemint.progress import say
from imagemint.words import first_line, shown

SHARD_MEGABYTES = 64  # of pixels per shard, 2**20 bytes each: a worker's memory holds a few shards
_ADDRESS = re.compile(r"([a-z][a-z0-9+-]+):/+(.+)", re.DOTALL)  # two letters or more: C:/ is a disk
_TRIES = 4  # of a read that the network cuts short
_PAUSE = 0.5  # seconds before the second try, doubled each time
_FOLDERS = {"file", "memory"}  # kinds of address with real folders
_NEEDED = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "hf": "huggingface_hub", "abfs": "adlfs", "az": "adlfs"}


def address_of(path: Path | str) -> str | None:
    """The address that a path stands for, or None for a place on a disk; `Path` has swallowed one of the slashes.

    >>> address_of("s3://bucket/a.pack"), address_of(Path("s3://bucket/a.pack")), address_of("photos.pack")
    ('s3://bucket/a.pack', 's3://bucket/a.pack', None)
    """
    found = _ADDRESS.fullmatch(str(path))
    if not found:
        return None
    return f"{found[1]}://{'/' if found[1] == 'file' else ''}{found[2].rstrip('/')}"


def on_this_machine(path: Path | str, what: str) -> Path:
    """`path`, if it is a place on a disk; packs alone may lie at addresses. Raises ArgumentError.

    >>> on_this_machine("runs/first", "a run").name
    'first'
    """
    address = address_of(path)
    if address is not None:
        raise ArgumentError(f"{what} at {shown(address)[:200]}", "a folder of this machine", "choose a folder")
    return Path(path)


@dataclass(frozen=True)
class Store:
    """A folder of files at an address; every error of the network is a PackError in one line."""

    address: str
    system: Any  # fsspec's
    root: str

    @staticmethod
    def at(address: str) -> Store:
        """Raises PackError where fsspec has no way there, or the library for it is missing."""
        import fsspec

        scheme = address.partition(":")[0]
        try:
            system, root = fsspec.core.url_to_fs(address, use_listings_cache=False)
        except ImportError:
            remedy = f"pip install {_NEEDED.get(scheme, 'the library that fsspec names for ' + scheme)}"
            raise PackError(f"nothing here can read {scheme}://", "the library for it", remedy) from None
        except ValueError:
            wanted = "an address that fsspec knows, such as s3://BUCKET/NAME"
            raise PackError(f"the address {shown(address)[:200]}", wanted, "check the spelling") from None
        return Store(address, system, root)

    def exists(self, name: str = "") -> bool:
        """Whether a file is there; without a name, whether anything is."""
        with self._in_words(f"cannot look at {self.address}"):
            return bool(self.system.exists(self._path(name) if name else self.root))

    def size(self, name: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        with self._in_words(f"cannot look at {self.address}/{name}"):
            return int(self.system.size(self._path(name)))

    def read(self, name: str, most: int | None = None) -> bytes:
        """A whole file, or its first bytes. Raises FileNotFoundError."""
        with self._in_words(f"cannot read {self.address}/{name}"):
            part = {} if most is None else {"start": 0, "end": most}
            return bytes(_again(lambda: self.system.cat_file(self._path(name), **part)))

    def read_ranges(self, names: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Bytes from start to end of each file named, several requests at a time."""
        paths = [self._path(name) for name in names]
        with self._in_words(f"cannot read {self.address}"):
            return list(_again(lambda: self.system.cat_ranges(paths, list(starts), list(ends), on_error="raise")))

    def send(self, file: Path, name: str) -> None:
        """Copy a file of this disk to `name`."""
        with self._in_words(f"cannot write {self.address}/{name}"):
            if _FOLDERS & set(np.atleast_1d(self.system.protocol)):  # elsewhere it would make a bucket
                self.system.makedirs(self._path(name).rpartition("/")[0], exist_ok=True)
            try:
                _again(lambda: self.system.put_file(str(file), self._path(name)))
            except FileNotFoundError as error:
                found = f"cannot write {self.address}: {shown(str(error))[:200]}"
                raise PackError(
                    found, "a bucket or folder that is there", "make it first, or check the name"
                ) from None

    def remove(self) -> None:
        """Everything at the address; what cannot be removed stays, and that is said."""
        try:
            with self._in_words(f"cannot remove what was begun at {self.address}"):
                if self.system.exists(self.root):
                    self.system.rm(self.root, recursive=True)
        except (PackError, FileNotFoundError) as error:
            say(f"left at {self.address}: {shown(str(error))[:200]}")

    def local(self, name: str) -> Path | None:
        """Where a file lies on this machine's disk, if it does."""
        return Path(self._path(name)) if "file" in np.atleast_1d(self.system.protocol) else None

    def _path(self, name: str) -> str:
        return f"{self.root}/{name}"

    @contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except _troubles() as error:
            remedy = "check the address, the network, and the credentials of this kind of address, and try again"
            raise PackError(f"{what}: {first_line(error)}", "a place that answers", remedy) from None


class Shards:
    """Pixels in several files, read as one array: uint8 `[n, c, h, w]`. An index reads what it asks for, no more."""

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(
        self,
        store: Store,
        counts: Sequence[int],
        image: tuple[int, int, int],
        heads: Sequence[int],
        names: Sequence[str],
    ) -> None:
        """Of each shard its images, the bytes before the first of them, and its name; `image`: c, h, w."""
        self.store, self.heads, self.names = store, list(heads), list(names)
        self.first = np.concatenate([[0], np.cumsum(counts)])  # of each shard, its first image; then how many in all
        self.shape = (int(self.first[-1]), *image)
        self.nbytes = int(np.prod(self.shape))
        self._open: dict[int, np.ndarray] = {}  # shards that lie on this disk

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        assert not isinstance(index, tuple), "images first, then parts of them"
        rows = np.arange(len(self))[index]
        return self.take(np.atleast_1d(rows)).reshape(*np.shape(rows), *self.shape[1:])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.take(np.arange(len(self))).astype(dtype or self.dtype, copy=False)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The images `rows`, int64 `[k]` in any order: uint8 `[k, c, h, w]`, a copy."""
        wanted, places = np.unique(rows, return_inverse=True)
        found = np.empty((len(wanted), *self.shape[1:]), np.uint8)
        if not len(wanted):
            return found
        shards = np.searchsorted(self.first, wanted, "right") - 1
        # Runs of neighbours in one shard, each one range of bytes.
        breaks = np.flatnonzero((np.diff(wanted, prepend=-2) != 1) | (np.diff(shards, prepend=-1) != 0)).tolist()
        names, starts, ends, spans = [], [], [], []
        for a, b in zip(breaks, [*breaks[1:], len(wanted)], strict=True):
            shard = int(shards[a])
            inside = int(wanted[a] - self.first[shard])
            here = self._mapped(shard)
            if here is not None:
                found[a:b] = here[inside : inside + b - a]
                continue
            size = int(np.prod(self.shape[1:]))
            names.append(self.names[shard])
            starts.append(self.heads[shard] + inside * size)
            ends.append(self.heads[shard] + (inside + b - a) * size)
            spans.append((a, b))
        if names:
            for (a, b), data, start, end in zip(
                spans, self.store.read_ranges(names, starts, ends), starts, ends, strict=True
            ):
                if len(data) != end - start:
                    problem = f"a shard of {self.store.address} has been cut short"
                    raise PackError(problem, "the files that were opened", "make the pack again")
                found[a:b] = np.frombuffer(data, np.uint8).reshape(b - a, *self.shape[1:])
        return found[places.reshape(-1)] if len(wanted) != len(rows) or (np.diff(rows) < 0).any() else found

    def _mapped(self, shard: int) -> np.ndarray | None:
        file = self.store.local(self.names[shard])
        if file is None:
            return None
        if shard not in self._open:
            count = int(self.first[shard + 1] - self.first[shard])
            try:
                self._open[shard] = np.memmap(file, np.uint8, "r", self.heads[shard], (count, *self.shape[1:]))
            except (FileNotFoundError, ValueError):
                found = f"{file} has gone or been cut short"
                raise PackError(found, "the file that was opened", "make the pack again") from None
        return self._open[shard]


def shard_name(number: int) -> str:
    """Of a shard, in its pack.

    >>> shard_name(7)
    'shards/00007.npy'
    """
    return f"shards/{number:05d}.npy"


def _troubles() -> tuple[type[Exception], ...]:
    """What the network and its libraries raise: OSError, and what is no OSError in libraries that are loaded."""
    modules = {"botocore.exceptions": ("BotoCoreError", "ClientError"), "aiohttp": ("ClientError",)}
    found = [
        getattr(sys.modules[name], each) for name, kinds in modules.items() if name in sys.modules for each in kinds
    ]
    return (OSError, TimeoutError, *found)


def _again(read: Any) -> Any:
    """What `read` gives; once more after a pause where the network drops it."""
    for attempt in range(_TRIES):
        try:
            return read()
        except (FileNotFoundError, PermissionError):
            raise
        except _troubles():
            if attempt == _TRIES - 1:
                raise
            time.sleep(_PAUSE * 2**attempt)
    raise AssertionError
