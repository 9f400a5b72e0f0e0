"""Packs at addresses (`s3://bucket/photos.pack`, `gs://`, `hf://`, `file://`) and in shards, through fsspec.

A pack in shards has `shards/00000.npy`, ... in place of `pixels.npy`; fingerprint and order are the same.
Pixels are read by ranges, several at once: what is asked for crosses the network, and nothing is kept on the disk.
"""

from __future__ import annotations

import itertools
import mmap
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from math import prod
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
_SECONDS_TO_ANSWER = 20.0  # of the first request to a place; libraries alone would wait for minutes
# Each map of a file keeps it open before Python 3.13, and 1,024 files are what most systems allow; then the system's
# own limit is 65,530 maps. A pack with more shards is read from its files, image by image.
_MOST_MAPPED = 32_768 if sys.version_info >= (3, 13) else 512
_UNTRACKED: dict[str, Any] = {"trackfd": False} if sys.version_info >= (3, 13) else {}
_FOLDERS = {"file", "memory"}  # kinds of address with real folders
# botocore would try five times, s3fs five times more, and then we: it is enough that botocore does so once again.
_OPTIONS: dict[str, dict[str, Any]] = {"s3": {"config_kwargs": {"retries": {"max_attempts": 1}}}}
_CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials (aws configure)",
    "gs": "gcloud auth application-default login, or set GOOGLE_APPLICATION_CREDENTIALS",
    "hf": "set HF_TOKEN, or hf auth login",
}
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
            system, root = fsspec.core.url_to_fs(address, use_listings_cache=False, **_OPTIONS.get(scheme, {}))
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
            return bool(self.system.exists(self._path(name) if name else self.root, **self._soon()))

    def size(self, name: str) -> int:
        """Bytes of a file. Raises FileNotFoundError."""
        with self._in_words(f"cannot look at {self.address}/{name}"):
            return int(self.system.size(self._path(name)))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each file in a folder, by name ("shards/00000.npy"): one listing, however many there are."""
        with self._in_words(f"cannot look at {self.address}/{folder}"):
            found = _again(lambda: self.system.find(self._path(folder), detail=True))
        return {f"{folder}/{path.rpartition('/')[2]}": int(facts["size"]) for path, facts in found.items()}

    def read_first(self, name: str, most: int) -> bytes:
        """The first bytes of the first file that is read: one try, so that a place that is silent is said soon."""
        with self._in_words(f"cannot read {self.address}/{name}"):
            return bytes(self.system.cat_file(self._path(name), start=0, end=most, **self._soon()))

    def read(self, name: str, most: int | None = None) -> bytes:
        """A whole file, or its first bytes. Raises FileNotFoundError."""
        with self._in_words(f"cannot read {self.address}/{name}"):
            part = {} if most is None else {"start": 0, "end": most}
            return bytes(_again(lambda: self.system.cat_file(self._path(name), **part)))

    def read_ranges(self, names: Sequence[str], starts: Sequence[int], ends: Sequence[int]) -> list[bytes]:
        """Bytes from start to end of each file named, several requests at a time."""
        paths = [self._path(name) for name in names]
        with self._in_words(f"cannot read {self.address}"):
            try:
                return list(_again(lambda: self.system.cat_ranges(paths, list(starts), list(ends), on_error="raise")))
            except FileNotFoundError:
                found = f"a file of {self.address} has gone"
                raise PackError(found, "the files that were opened", "make the pack again") from None

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

    def _soon(self) -> dict[str, float]:
        """How long a request may take, for the libraries of fsspec that can be told so."""
        return {"timeout": _SECONDS_TO_ANSWER} if self.system.async_impl else {}

    @contextmanager
    def _in_words(self, what: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except _troubles() as error:
            raise PackError(f"{what}: {_why(error)}", *self._wanted(error)) from None

    def _wanted(self, error: Exception) -> tuple[str, str]:
        """What a place should do that raised this, and what to do about it."""
        if isinstance(error, PermissionError) or "Credential" in type(error).__name__:
            scheme = self.address.partition(":")[0]
            return "credentials that may do this", _CREDENTIALS.get(scheme, "check the credentials for this address")
        return "a place that answers", "check the address and the network, then give the same command again"


@dataclass(frozen=True)
class _At:
    """Memory as an array, by numpy's array interface; what lies there must outlive it."""

    __array_interface__: dict[str, Any]


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
        self.nbytes = prod(self.shape)
        self.image, self._bytes, self._ends = image, prod(image), self.first[1:]
        self._on_disk = store.local(self.names[0]) is not None
        self._mappable = self._on_disk and len(self.names) <= _MOST_MAPPED
        self._open: dict[int, np.ndarray] = {}  # shards that lie on this disk, mapped

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> np.ndarray:
        assert not isinstance(index, tuple), "images first, then parts of them"
        if self._on_disk and len(self.names) == 1:
            found = self._mapped(0)[index]
            return found if found.base is None else found.copy()  # never a view of the file
        rows = self._rows(index)
        return self.take(rows) if rows.ndim == 1 else self.take(rows.ravel()).reshape(*rows.shape, *self.image)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.take(np.arange(len(self))).astype(dtype or self.dtype, copy=False)

    def take(self, rows: np.ndarray) -> np.ndarray:
        """The images `rows`, int64 `[k]` from 0 to n - 1 in any order: uint8 `[k, c, h, w]`, a copy."""
        if self._mappable:
            memory, at = self._memory
            return memory[rows * self._bytes + at[self._shards(rows)]].reshape(len(rows), *self.image)
        if not len(rows):
            return np.empty((0, *self.image), np.uint8)
        if not self._on_disk:
            return self._from_network(rows)
        order = np.argsort(rows, kind="stable")
        found = np.empty((len(rows), *self.image), np.uint8)
        found[order] = self.read(rows[order])
        return found

    def _shards(self, rows: np.ndarray) -> np.ndarray:
        """The shard that each of the images `rows` lies in."""
        return self._ends.searchsorted(rows, "right")

    def _rows(self, index: Any) -> np.ndarray:
        """What an index means, int64: without a list of all images, which could be a thousand million."""
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        rows = np.asarray(index)
        if rows.dtype.kind == "b":
            assert rows.shape == (len(self),), rows.shape
            return np.flatnonzero(rows)
        if not rows.size:
            return np.empty(rows.shape, np.int64)
        rows = rows.astype(np.int64, casting="same_kind", copy=False)
        if int(rows.view(np.uint64).max()) < self.shape[0]:  # below 0 is above all of them
            return rows
        if (low := int(rows.min())) < -len(self) or int(rows.max()) >= len(self):
            raise IndexError(f"images {low} to {int(rows.max())} of {len(self)}")
        return np.where(rows < 0, rows + len(self), rows)

    @cached_property
    def _memory(self) -> tuple[np.ndarray, np.ndarray]:
        """All shards as one array, so that one index picks images of any of them, and where in it each shard begins.

        Row b of the array are the bytes of an image that begins b bytes after the lowest address of any map. Between
        the maps is memory that is not ours: `at` leads to images alone.
        """
        maps = [self._mapped(shard) for shard in range(len(self.names))]
        begins = np.array([mapped.__array_interface__["data"][0] for mapped in maps])
        low, size = int(begins.min()), self._bytes
        high = max(int(begin) + mapped.nbytes for begin, mapped in zip(begins, maps, strict=True))
        span = {"version": 3, "typestr": "|u1", "shape": (high - low - size + 1, size), "strides": (1, 1)}
        memory = np.asarray(_At({**span, "data": (low, True)}))
        return memory, begins - low - self.first[:-1] * size

    def read(self, rows: np.ndarray) -> np.ndarray:
        """As `take`, quickest in rising order; on this disk from the files, whose maps would count as our memory."""
        if not self._on_disk or not len(rows):
            return self.take(rows)
        found, size = np.empty((len(rows), *self.image), np.uint8), self._bytes
        shards = self._shards(rows)
        begins = np.flatnonzero((np.diff(rows, prepend=-2) != 1) | (np.diff(shards, prepend=-1) != 0)).tolist()
        for shard, runs in itertools.groupby(
            itertools.pairwise([*begins, len(rows)]), lambda run: int(shards[run[0]])
        ):
            with self._gone_or_short(shard), open(self._file(shard), "rb", buffering=0) as file:
                for a, b in runs:
                    file.seek(self.heads[shard] + int(rows[a] - self.first[shard]) * size)
                    if file.readinto(found[a:b].data.cast("B")) != (b - a) * size:
                        raise ValueError
        return found

    def _from_network(self, rows: np.ndarray) -> np.ndarray:
        """Every image once, neighbours of one shard in one range of bytes, all ranges at once."""
        wanted, places = np.unique(rows, return_inverse=True)
        shards, size = self._shards(wanted), self._bytes
        begins = np.flatnonzero((np.diff(wanted, prepend=-2) != 1) | (np.diff(shards, prepend=-1) != 0))
        spans = list(itertools.pairwise([*begins.tolist(), len(wanted)]))
        of = shards[begins].tolist()
        starts = [self.heads[k] + int(wanted[a] - self.first[k]) * size for k, (a, _) in zip(of, spans, strict=True)]
        ends = [start + (b - a) * size for start, (a, b) in zip(starts, spans, strict=True)]
        found = np.empty((len(wanted), *self.image), np.uint8)
        parts = self.store.read_ranges([self.names[k] for k in of], starts, ends)
        for (a, b), data in zip(spans, parts, strict=True):
            if len(data) != (b - a) * size:
                problem = f"a shard of {self.store.address} has been cut short"
                raise PackError(problem, "the files that were opened", "make the pack again")
            found[a:b] = np.frombuffer(data, np.uint8).reshape(b - a, *self.image)
        in_order = len(wanted) == len(rows) and (np.diff(rows) > 0).all()
        return found if in_order else found[places.reshape(-1)]

    def _mapped(self, shard: int) -> np.ndarray:
        if shard not in self._open:
            count = int(self.first[shard + 1] - self.first[shard])
            with self._gone_or_short(shard), open(self._file(shard), "rb") as file:
                mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ, **_UNTRACKED)
                pixels = np.frombuffer(mapped, np.uint8, count * self._bytes, self.heads[shard])
            self._open[shard] = pixels.reshape(count, *self.image)
        return self._open[shard]

    def _file(self, shard: int) -> Path:
        file = self.store.local(self.names[shard])
        assert file is not None
        return file

    @contextmanager
    def _gone_or_short(self, shard: int) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, ValueError):
            found = f"{self._file(shard)} has gone or been cut short"
            raise PackError(found, "the file that was opened", "make the pack again") from None


def shard_name(number: int) -> str:
    """Of a shard, in its pack.

    >>> shard_name(7)
    'shards/00007.npy'
    """
    return f"shards/{number:05d}.npy"


def _troubles() -> tuple[type[Exception], ...]:
    """What the network and its libraries raise: OSError, and what is no OSError in libraries that are loaded."""
    modules = {
        "botocore.exceptions": ("BotoCoreError", "ClientError"),
        "aiohttp": ("ClientError",),
        "fsspec.exceptions": ("FSTimeoutError",),
        "huggingface_hub.errors": ("HTTPError", "HFValidationError"),
        "gcsfs.retry": ("HttpError",),
        "google.auth.exceptions": ("GoogleAuthError",),
        "azure.core.exceptions": ("AzureError",),
    }
    found = [
        getattr(sys.modules[name], each) for name, kinds in modules.items() if name in sys.modules for each in kinds
    ]
    return (OSError, TimeoutError, *found)


def _why(error: Exception) -> str:
    """What went wrong, in a line."""
    if type(error).__name__ == "FSTimeoutError":
        return f"no answer in {_SECONDS_TO_ANSWER:g} seconds"
    return first_line(error)


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
