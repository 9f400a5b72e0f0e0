"""Folders, zips and tars look the same: files by their path, each readable by any process.

An archive is never unpacked to disk. A member whose name or link leads out of it refuses the whole archive, whoever
wrote it had something in mind; what its headers promise is bounded here, and never more than that is unpacked later.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import posixpath
import re
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imagemint import progress
from imagemint.data.decode import ENDINGS, FILE_LIMIT, Item, Missing, Place, Unreadable, read
from imagemint.errors import SourceError

# An archive may unpack to this many times its own size (never less than the floor). Photos hardly shrink at all,
# black bitmaps 1,000 times; nothing that is worth training on comes near.
_MOST_RATIO = 200
_RATIO_FLOOR = 1 << 30

_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
ZIP_ENDINGS = (".zip",)
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")


@dataclass(frozen=True)
class Tree:
    """Files by their path below the root ("cat/1.png"), in the order of the disk or archive; and folders."""

    title: str  # as the user calls it
    files: dict[str, Item]
    folders: frozenset[str]  # empty ones too

    def top(self) -> list[str]:
        """Folders at the root, sorted."""
        inside = {name.split("/", 1)[0] for name in self.files if "/" in name}
        return sorted(inside | {name.split("/", 1)[0] for name in self.folders})

    def loose(self) -> list[str]:
        """Files at the root."""
        return [name for name in self.files if "/" not in name]

    def below(self, folder: str) -> Tree:
        """What lies in one of the folders."""
        start = folder + "/"
        return Tree(
            f"{self.title}/{folder}",
            {name[len(start) :]: item for name, item in self.files.items() if name.startswith(start)},
            frozenset(name[len(start) :] for name in self.folders if name.startswith(start)),
        )

    def content(self, name: str) -> bytes:
        """A small file's content. Raises SourceError where it cannot be read."""
        return _content(self.files[name], name, self.title)

    @contextmanager
    def stream(self, name: str) -> Iterator[BinaryIO | gzip.GzipFile]:
        """A file to read from front to back, unpacked on the way where it is gzipped; not all in memory at once."""
        item = self.files[name]
        with open(item, "rb") if isinstance(item, str) else io.BytesIO(self.content(name)) as file:
            if name.casefold().endswith(".gz"):
                with gzip.GzipFile(fileobj=file) as unpacked:
                    yield unpacked
            else:
                yield file


def _content(item: Item, name: str, where: Path | str) -> bytes:
    try:
        return read(item)
    except Unreadable as error:
        raise SourceError(f"{name} of {where}: {error}", "a readable file", "fetch or make it again") from None


def is_image(name: str) -> bool:
    """Whether a file's name ends as an image's does."""
    return name[name.rfind(".") :].casefold() in ENDINGS


def order(name: str) -> tuple[str, ...]:
    """Sorts paths folder by folder: "a/2.png" before "a-b/1.png"."""
    return tuple(name.split("/"))


def open_tree(path: Path, stack: ExitStack) -> Tree:
    """A folder, zip or tar as a tree. What must live as long as the tree is left on the `stack`."""
    if path.is_dir():
        return _folder(path)
    return _zip(path) if path.name.casefold().endswith(ZIP_ENDINGS) else _tar(path, stack)


def _is_junk(part: str) -> bool:
    return part.startswith(".") or part.casefold() in _JUNK


def _folder(root: Path) -> Tree:
    files: dict[str, Item] = {}
    folders: set[str] = set()

    def walk(folder: str, start: str, above: tuple[tuple[int, int], ...]) -> None:
        # Links are followed, they are the user's own; a link to a folder above itself would never end.
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        with os.scandir(folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                if _is_junk(entry.name):
                    continue
                if _is_folder(entry):
                    folders.add(start + entry.name)
                    walk(entry.path, f"{start}{entry.name}/", (*above, here))
                elif entry.is_symlink() or entry.is_file():  # a broken link is an unreadable file, and is said
                    files[start + entry.name] = entry.path

    walk(os.fspath(root), "", ())
    return Tree(str(root), files, frozenset(folders))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a ring
        return False


def _zip(path: Path) -> Tree:
    files: dict[str, Item] = {}
    folders: set[str] = set()
    unpacked = 0
    links: dict[str, str] = {}
    for info in _zip_members(path):
        name = _inside(_zip_name(info), path)
        if info.is_dir():
            folders.add(name)
            continue
        if info.flag_bits & 0x1:
            raise SourceError(
                f"{path} is encrypted ({name})", "a zip without a password", "unpack it and pack the folder"
            )
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise SourceError(
                f"{path} holds {name} in compression method {info.compress_type}",
                "stored or deflated members",
                "unpack it and pack the folder",
            )
        unpacked += _bounded(info.file_size, name, path)
        place = Place(str(path), info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
        if stat.S_ISLNK(info.external_attr >> 16):  # such a member's content is where it leads
            links[name] = _link(name, _content(place, name, path).decode(errors="replace"), path)
        else:
            files[name] = place
    _check_ratio(unpacked, path)
    return _tidy(path, files, folders, links)


def _zip_members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, UnicodeDecodeError, EOFError) as error:
        raise SourceError(f"{path} is damaged ({error})", "a whole zip", "fetch or make it again") from None


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Many programs write UTF-8 without saying so; Python then reads it as code page 437."""
    name = info.filename
    if not info.flag_bits & 0x800 and not name.isascii():
        try:
            return name.encode("cp437").decode()
        except UnicodeError:
            pass
    return name


def _tar(path: Path, stack: ExitStack) -> Tree:
    plain = _without_compression(path, stack)
    size = plain.stat().st_size
    files: dict[str, Item] = {}
    folders: set[str] = set()
    links: dict[str, str] = {}
    try:
        with tarfile.open(plain, "r:") as archive:
            for member in archive:
                name = _inside(member.name, path)
                if member.isdir():
                    folders.add(name)
                elif member.issym():
                    links[name] = _link(name, member.linkname, path)
                elif member.islnk():
                    links[name] = _inside(member.linkname, path)
                elif member.isreg():
                    if member.issparse() or member.offset_data + member.size > size:
                        raise tarfile.ReadError(f"{name} is {'sparse' if member.issparse() else 'cut short'}")
                    _bounded(member.size, name, path)
                    files[name] = Place(str(plain), member.offset_data, member.size, member.size)
    except (tarfile.TarError, EOFError, ValueError) as error:
        raise SourceError(f"{path} is damaged ({error})", "a whole tar", "fetch or make it again") from None
    return _tidy(path, files, folders, links)


_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def _without_compression(path: Path, stack: ExitStack) -> Path:
    """The tar itself; a compressed one goes into a temporary file, so that its members can be read in any order."""
    with open(path, "rb") as file:
        magic = file.read(6)
    opener = next((opener for start, opener in _OPENERS.items() if magic.startswith(start)), None)
    if opener is None:
        return path
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="imagemint-", ignore_cleanup_errors=True))
    plain = Path(folder) / "unpacked.tar"
    progress.say(f"{path.name}: decompressing")
    written = 0
    with open(plain, "wb") as file:
        for block in _unpacked(path, opener):
            written += len(block)
            _check_ratio(written, path)
            file.write(block)
    return plain


def _unpacked(path: Path, opener: Callable[..., Any]) -> Iterator[bytes]:
    try:
        with opener(path, "rb") as file:
            while block := file.read(1 << 20):
                yield block
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, ValueError) as error:
        raise SourceError(f"{path} is damaged ({error})", "a whole archive", "fetch or make it again") from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise SourceError(f"{path} is damaged ({error})", "a whole archive", "fetch or make it again") from None


def _inside(name: str, path: Path) -> str:
    """A member's name as a path below the root. Raises SourceError where it leads out."""
    name = name.replace("\\", "/")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        raise SourceError(
            f"{path} holds a member that leads out of it: {name!r}", "members inside", "do not trust it"
        )
    return "/".join(parts)


def _link(name: str, target: str, path: Path) -> str:
    """Where a symbolic link inside an archive leads, as a member's name. Raises SourceError where that is outside."""
    target = target.replace("\\", "/")
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(name), target))
    if target.startswith("/") or re.match(r"[A-Za-z]:", target) or joined.split("/")[0] == "..":
        raise SourceError(
            f"{path} holds a link that leads out of it: {name!r} -> {target!r}", "links inside", "do not trust it"
        )
    return joined


def _bounded(size: int, name: str, path: Path) -> int:
    """The size of an image once unpacked; 0 for what is none and will not be unpacked as one."""
    if not is_image(name):
        return 0
    if size > FILE_LIMIT:
        raise SourceError(
            f"{path} holds {name} of {size:,} bytes unpacked",
            f"images of at most {FILE_LIMIT >> 20} MiB",
            "do not trust it",
        )
    return size


def _check_ratio(unpacked: int, path: Path) -> None:
    packed = path.stat().st_size
    if unpacked > max(_RATIO_FLOOR, _MOST_RATIO * packed):
        raise SourceError(
            f"{path} unpacks to {unpacked:,} bytes or more from {packed:,}",
            f"at most {_MOST_RATIO} times its size",
            "do not trust it, or unpack it yourself and pack the folder",
        )


def _tidy(path: Path, files: dict[str, Item], folders: set[str], links: dict[str, str]) -> Tree:
    """Links to files take their target's content; other links, and junk, go."""
    nothing = Missing("a link to nothing in its archive")
    found = {name: files.get(target, nothing) for name, target in links.items()}
    files |= {name: item for name, item in found.items() if item is not nothing or is_image(name)}
    return Tree(
        str(path),
        {name: item for name, item in files.items() if name and not any(map(_is_junk, name.split("/")))},
        frozenset(name for name in folders if name and not any(map(_is_junk, name.split("/")))),
    )
