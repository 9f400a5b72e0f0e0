"""Data sets by name: fetched once, verified, kept in the cache.

The cache is `$IMAGEMINT_CACHE`, else `$XDG_CACHE_HOME/imagemint`, else where the system keeps caches. A download that
was cut off goes on where it stopped. Checksums are those that the data sets' keepers or the large libraries publish.
"""

from __future__ import annotations

import hashlib
import os
import sys
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from typing import NamedTuple

from imagemint.errors import SourceError
from imagemint.progress import progress, say


class File(NamedTuple):
    """A file of a data set: its name, "algorithm:hex digest", and where to find it, in the order to try."""

    name: str
    checksum: str
    addresses: tuple[str, ...]


class Named(NamedTuple):
    """A data set that can be fetched."""

    files: tuple[File, ...]
    classes: list[str] | None = None  # where the files have none


def _idx(bases: tuple[str, ...], *checksums: str) -> tuple[File, ...]:
    names = (
        "train-images-idx3-ubyte.gz",
        "train-labels-idx1-ubyte.gz",
        "t10k-images-idx3-ubyte.gz",
        "t10k-labels-idx1-ubyte.gz",
    )
    pairs = zip(names, checksums, strict=True)
    return tuple(File(name, f"md5:{checksum}", tuple(base + name for base in bases)) for name, checksum in pairs)


SETS: dict[str, Named] = {
    # Checksums of the two MNISTs: as in torchvision's datasets/mnist.py.
    "mnist": Named(
        _idx(
            ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "9fb629c4189551a2d022fa330f9573f3",
            "ec29112dd5afa0611ce80d1b7f02629c",
        )
    ),
    "fashion-mnist": Named(
        _idx(
            (
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "25c81989df183df01b3e8a0aad5dffbe",
            "bef4ecab320f06d8554ea6380940ec79",
            "bb300cfdad3c16e7a12a480ee83cd310",
        ),
        ["T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"],
    ),
    "cifar10": Named(
        (
            File(
                "cifar-10-python.tar.gz",
                # as in Keras
                "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
                ("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",),
            ),
        )
    ),
    "flowers": Named(
        (
            File(
                "flower_photos.tgz",
                # as in TensorFlow Datasets
                "sha256:4c54ace7911aaffe13a365c34f650e71dd5bf1be0a58b464e5a7183e3e595d9c",
                ("https://storage.googleapis.com/download.tensorflow.org/example_images/flower_photos.tgz",),
            ),
        )
    ),
}


def cache_folder() -> Path:
    """Where fetched data sets are kept."""
    if chosen := os.environ.get("IMAGEMINT_CACHE"):
        return Path(chosen).expanduser()
    if xdg := os.environ.get("XDG_CACHE_HOME"):
        return Path(xdg) / "imagemint"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData/Local") / "imagemint" / "cache"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "imagemint"


def fetch(name: str) -> Path:
    """The folder of a named set's files, or its one archive, in the cache; fetched where it is not there."""
    folder = cache_folder() / name
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_fetch_file(file, folder) for file in SETS[name].files]
    return paths[0] if len(paths) == 1 else folder


def _fetch_file(file: File, folder: Path) -> Path:
    path = folder / file.name
    if path.exists():  # also one that the user put there by hand
        if _checksum_fits(path, file):
            return path
        say(f"{path} does not have its checksum: fetching it again")
    part = folder / (file.name + ".part")
    problems = []
    for address in file.addresses:
        # A second time from the start, since a part of long ago may be of another file.
        for _ in range(2 if part.exists() else 1):
            try:
                _download(address, part)
            except (urllib.error.URLError, HTTPException, TimeoutError, ConnectionError) as error:
                problems.append(f"{address}: {getattr(error, 'reason', None) or error or type(error).__name__}")
                break
            if _checksum_fits(part, file):
                os.replace(part, path)
                return path
            part.unlink()
        else:
            problems.append(f"{address}: the file does not have the checksum {file.checksum}")
    raise SourceError(
        f"{file.name} could not be fetched ({'; '.join(problems)})",
        f"the network, or the file in {folder}",
        f"try again (it goes on where it stopped), or put {file.addresses[0]} there by hand",
    )


def _download(address: str, part: Path) -> None:
    """Append to `part` what is missing; start over where the server cannot."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "imagemint"} | ({"Range": f"bytes={have}-"} if have else {})
    try:
        response = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30)
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 416 and have:  # nothing is missing; the checksum will tell
                return
        raise
    with response:
        if response.status != 206:
            have = 0
        length = response.headers.get("Content-Length")
        missing = int(length) if length and length.isdecimal() else 0
        unit = 1 << 10
        with (
            open(part, "ab" if have else "wb") as file,
            progress((have + missing) // unit, f"{part.stem} KiB", done=have // unit) as advance,
        ):
            received = 0
            while block := response.read(1 << 18):
                file.write(block)
                received += len(block)
                advance(len(block) // unit)
    if received < missing:
        raise ConnectionError(f"stopped after {have + received:,} of {have + missing:,} bytes")


def _checksum_fits(path: Path, file: File) -> bool:
    algorithm, _, wanted = file.checksum.partition(":")
    digest = hashlib.new(algorithm)
    with open(path, "rb") as content:
        while block := content.read(1 << 20):
            digest.update(block)
    return digest.hexdigest() == wanted
