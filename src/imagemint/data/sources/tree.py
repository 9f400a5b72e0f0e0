"""Folders, zips and tars look the same: files by their path, each readable by any process.

An archive is never unpacked to disk (a compressed tar is: into one temporary file). A member whose name or link leads
out of it refuses the whole archive, whoever wrote it had something in mind; what its headers promise is bounded here,
and never more than that is unpacked later. Every folder on the disk is entered once, whatever links lead to it.
"""

from __future__ import annotations

import bz2
import errno
import gzip
import io
import lzma
import os
import posixpath
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from imagemint import progress
from imagemint.data.decode import BZIP2, DEFLATED, ENDINGS, FILE_LIMIT, STORED, Item, Missing, Place, Unreadable, read
from imagemint.data.sources import tar
from imagemint.errors import ArgumentError, SourceError
from imagemint.files import Damaged, open_regular, temporary_folder
from imagemint.words import counted, listed

# An archive may unpack to this many times its own size (never less than the floor). Photos hardly shrink at all,
# black bitmaps 1,000 times; nothing that is worth training on comes near.
_MOST_RATIO = 200
_RATIO_FLOOR = 1 << 30

_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
ZIP_ENDINGS = (".zip",)
TAR_ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
CLOSED_ENDINGS = (".7z", ".rar", ".tar.zst", ".tzst", ".zst", ".tar.lz4", ".tar.lz", ".tar.z")  # not read
_CLOSED_STARTS = (b"7z\xbc\xaf\x27\x1c", b"Rar!", b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18", b"LZIP")
_TEXTS = (".txt", ".md", ".csv", ".json", ".pdf", ".html", ".xml")  # what may lie beside archives in an archive

_DEEPEST = 100  # folders below one another
_LONGEST = 4096  # characters of a path, or of where a link leads
# Encodings without a name of their own in archives: zips of old say that theirs is code page 437.
_ZIP_FALLBACK, _TAR_FALLBACK = "cp437", "latin-1"


@dataclass(frozen=True)
class Tree:
    """Files by their path below the root ("cat/1.png"), in the order of the disk or archive; and folders."""

    title: str  # as the user calls it
    files: dict[str, Item]
    folders: frozenset[str]  # empty ones too
    remarks: tuple[str, ...] = ()  # what the user should hear

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
        """A file to read from front to back, unpacked on the way where it is gzipped; not all in memory at once.

        Raises Damaged and FileNotFoundError, as `open_regular` does.
        """
        item = self.files[name]
        with open_regular(item) if isinstance(item, str) else io.BytesIO(self.content(name)) as file:
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


def order(name: str) -> str:
    """Sorts paths folder by folder: "a/2.png" before "a-b/1.png"."""
    return name.replace("/", "\0")


def open_tree(path: Path, stack: ExitStack, names_encoding: str | None = None) -> Tree:
    """A folder, zip or tar as a tree. What must live as long as the tree is left on the `stack`.

    `names_encoding` ("shift_jis", "gbk", "cp1252") is that of the names in an archive that does not tell it. Raises
    SourceError.
    """
    if names_encoding is not None:
        _check_encoding(names_encoding)
    if path.is_dir():
        tree = _folder(path)
    else:
        start = _start(path)
        if start.startswith(_CLOSED_STARTS):
            raise closed([path.name], str(path.parent))
        is_zip = path.name.casefold().endswith(ZIP_ENDINGS)
        tree = _zip(path, names_encoding) if is_zip else _tar(path, start, stack, names_encoding)
    _check_archives_inside(tree, path)
    return tree


def _start(path: Path) -> bytes:
    """The first bytes of a file, which tell its kind."""
    try:
        with open_regular(path) as file:
            return file.read(6)
    except Damaged as error:
        raise SourceError(f"{path} {error}", "a folder or a regular file", "check the path") from None
    except FileNotFoundError:
        raise SourceError(f"{path} is a link to nothing", "a folder or a regular file", "fetch it again") from None


def _check_encoding(name: str) -> None:
    try:
        b"name".decode(name)
    except (LookupError, UnicodeError, ValueError):
        raise ArgumentError(
            f"--names-encoding {name!r}", "an encoding that Python knows", "write shift_jis, gbk, big5 or cp1252"
        ) from None


def closed(names: Sequence[str], where: str) -> SourceError:
    """Archives of kinds that are not read."""
    kind = "an archive of a kind that is not read" if len(names) == 1 else "archives of kinds that are not read"
    return SourceError(
        f"{where} holds {listed(names)}, {kind}",
        "a folder, .zip, .tar, .tar.gz, .tar.bz2 or .tar.xz",
        "unpack (7z x, unrar x, tar --zstd -xf) and pack the folder",
    )


def _check_archives_inside(tree: Tree, path: Path) -> None:
    """Refuse, by their names, archives where images should be; a folder of tars is read as shards."""
    kinds = ZIP_ENDINGS + CLOSED_ENDINGS + (() if path.is_dir() else TAR_ENDINGS)
    archives = [name for name in tree.files if name.casefold().endswith(kinds)]
    if not archives or any(not name.casefold().endswith(kinds + _TEXTS) for name in tree.files):
        return
    if all(name.casefold().endswith(CLOSED_ENDINGS) for name in archives):
        raise closed(archives, str(path))
    raise SourceError(
        f"{path} holds {counted(len(archives), 'archive')} and no images: {listed(sorted(archives))}",
        "images",
        f"pack one of them, for example imagemint pack {path / sorted(archives)[0]}"
        if path.is_dir()
        else "unpack it, and pack one of the archives inside",
    )


def _is_junk(part: str) -> bool:
    return part.startswith(".") or part.casefold() in _JUNK


def _folder(root: Path) -> Tree:
    """Regular files below a folder. Links are followed, they are the user's own; but each folder is entered once."""
    files: dict[str, Item] = {}
    folders: set[str] = set()
    entered: set[tuple[int, int]] = set()
    links: list[tuple[str, str]] = []  # to folders: (path on the disk, name in the tree), entered after the others
    again: list[str] = []
    nowhere: list[str] = []  # links that are no image; an image is unreadable, and is said with the others

    def walk(folder: str, name: str) -> None:
        waiting = [(folder, name)]
        while waiting:
            folder, name = waiting.pop()
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in entered:
                again.append(name)
                continue
            entered.add((status.st_dev, status.st_ino))
            folders.add(name)
            if name.count("/") >= _DEEPEST:
                raise SourceError(
                    f"{root} is more than {_DEEPEST} folders deep", "class folders", "pack a part of it"
                )
            with os.scandir(folder) as entries:
                for entry in sorted(entries, key=lambda entry: entry.name):
                    inner = f"{name}/{entry.name}" if name else entry.name
                    if _is_junk(entry.name):
                        continue
                    if _is_folder(entry):
                        (links if entry.is_symlink() else waiting).append((entry.path, inner))
                    elif not _is_file(entry):
                        continue
                    elif is_image(entry.name) or not _leads_nowhere(entry):
                        files[inner] = entry.path
                    else:
                        nowhere.append(inner)

    walk(os.fspath(root), "")
    for place, name in links:  # grows while it is gone through
        walk(place, name)
    remarks = tuple(
        f"{counted(len(left), 'link')} to {what} left out: {listed(sorted(left), 3)}"
        for left, what in ((again, "folders read already"), (nowhere, "nothing"))
        if left
    )
    return Tree(str(root), files, frozenset(folders - {""}), remarks)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # links in a ring
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """No named pipe or device. A link that leads nowhere counts."""
    try:
        return entry.is_file() or _leads_nowhere(entry)
    except OSError:  # links in a ring
        return True


def _leads_nowhere(entry: os.DirEntry[str]) -> bool:
    return entry.is_symlink() and not os.path.exists(entry.path)


def _zip(path: Path, encoding: str | None) -> Tree:
    files: dict[str, Item] = {}
    folders: set[str] = set()
    unpacked = 0
    links: dict[str, str] = {}
    twice: list[str] = []
    members = _zip_members(path)
    _check_overlap(members, path)
    names, remarks = _decoded([_zip_name(info) for info in members], path, encoding, _ZIP_FALLBACK)
    for info, full_name in zip(members, names, strict=True):
        name = _inside(full_name, path)
        if full_name.endswith(("/", "\\")):
            folders.add(name)
            continue
        if info.flag_bits & 0x2041:  # encrypted, strongly encrypted, with hidden headers
            raise SourceError(
                f"{path} is encrypted ({name})", "a zip without a password", "unpack it and pack the folder"
            )
        if info.compress_type not in (STORED, DEFLATED, BZIP2) or info.flag_bits & 0x20:  # 0x20: a patch
            raise SourceError(
                f"{path} holds {name} in compression method {info.compress_type}",
                "stored, deflated or bzip2 members",
                "unpack it and pack the folder",
            )
        unpacked += _bounded(info.file_size, name, path)
        place = Place(str(path), info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC)
        if stat.S_ISLNK(info.external_attr >> 16) and info.file_size <= _LONGEST:  # its content is where it leads
            links[name] = _link(name, _content(place, name, path).decode(errors="replace"), path)
        else:
            if name in files:
                twice.append(name)
            files[name] = place
    _check_ratio(unpacked, path)
    return _tidy(path, files, folders, links, [*remarks, *_one_name(twice, path)])


def _one_name(twice: list[str], path: Path) -> list[str]:
    """What is said of members that come again under a name: the last one counts, as when an archive is unpacked."""
    names = sorted(name for name in set(twice) if not any(map(_is_junk, name.split("/"))))
    return [f"several members of {path} have one name, the last is taken: {listed(names, 3)}"] if names else []


def _zip_members(path: Path) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError, EOFError, OverflowError, struct.error) as error:
        raise SourceError(f"{path} is damaged ({error})", "a whole zip", "fetch or make it again") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # EINVAL: a place before the start of the file
            raise
        raise SourceError(f"{path} is damaged ({error})", "a whole zip", "fetch or make it again") from None


def _check_overlap(members: list[zipfile.ZipInfo], path: Path) -> None:
    """One piece of a file that stands for many members makes 10^15 bytes out of 10^7."""
    size = path.stat().st_size
    end, before = 0, ""
    for info in sorted(members, key=lambda info: info.header_offset):
        if info.header_offset < end:
            found = f"{path} holds members that overlap: {before!r} and {info.filename!r}"
            raise SourceError(found, "each in its own place", "do not trust it")
        stop = info.header_offset + 30 + info.compress_size
        if stop <= size:  # more than there is: unreadable by itself
            end, before = stop, info.filename


def _zip_name(info: zipfile.ZipInfo) -> bytes | str:
    """A member's name: text where the zip says that it is UTF-8, by a flag or in a field of its own (0x7075)."""
    if info.flag_bits & 0x800:
        return info.orig_filename
    raw = info.orig_filename.encode("cp437")  # as zipfile decodes it
    extra = info.extra
    while len(extra) >= 4:
        kind, size = struct.unpack("<HH", extra[:4])
        field, extra = extra[4 : 4 + size], extra[4 + size :]
        if kind == 0x7075 and field[:1] == b"\1" and field[1:5] == struct.pack("<I", zlib.crc32(raw)):
            with suppress(UnicodeDecodeError):
                return field[5:].decode()
    return raw


def _decoded(
    names: Sequence[bytes | str], path: Path, encoding: str | None, fallback: str
) -> tuple[list[str], list[str]]:
    """Names in an archive as text, and what to say of them. Bytes are ASCII, or in an encoding that is not told.

    That is `encoding` where the user knows it; UTF-8 where all are that; else `fallback`, and that is said. It is
    refused where half a letter could then be taken for a folder's end, or two folders for one.
    """
    unknown = [name for name in names if isinstance(name, bytes) and not name.isascii()]
    if encoding is None:
        encoding = "utf-8" if all(map(_is_utf8, unknown)) else None
    try:
        decoded = [name if isinstance(name, str) else name.decode(encoding or fallback) for name in names]
    except UnicodeError:
        bad = next(name for name in unknown if not _is_encoded(name, encoding or fallback))
        found = f"a name in {path} is not {encoding}: {bad!r}"
        raise SourceError(found, "names in one encoding", "try another --names-encoding") from None
    if encoding is not None or not unknown:
        return decoded, []
    found = f"{path} does not tell the encoding of its names"
    remedy = "give it, for example --names-encoding shift_jis (or gbk, big5, cp1252)"
    if split := next((name for name in unknown if re.search(rb"[\x80-\xff]\\", name)), None):
        found += f", and a backslash in {split.decode(fallback)!r} may be a folder's end or half a letter"
        raise SourceError(found, "names that can be read in one way", remedy)
    parents = {posixpath.dirname(name) for name in decoded}
    if len({parent.casefold() for parent in parents}) < len(parents):
        raise SourceError(f"{found}, and read as {fallback} some folders are one", "a folder per class", remedy)
    first = next(name for name in decoded if not name.isascii())
    return decoded, [f"{found}: read as {fallback}, as in {first}. If that looks wrong, pack again and {remedy}"]


def _is_utf8(name: bytes) -> bool:
    return _is_encoded(name, "utf-8")


def _is_encoded(name: bytes, encoding: str) -> bool:
    try:
        name.decode(encoding)
    except UnicodeError:
        return False
    return True


def _tar(path: Path, start: bytes, stack: ExitStack, encoding: str | None) -> Tree:
    plain = _without_compression(path, start, stack)
    size = plain.stat().st_size
    files: dict[str, Item] = {}
    folders: set[str] = set()
    links: dict[str, str] = {}
    twice: list[str] = []
    try:
        with open(plain, "rb") as file:
            members = list(tar.members(file, size))
        texts = [text for member in members for text in (member.name, member.target)]
        decoded, remarks = _decoded(texts, path, encoding, _TAR_FALLBACK)
        for member, full_name, target in zip(members, decoded[::2], decoded[1::2], strict=True):
            name = _inside(full_name, path)
            if member.kind == "folder":
                folders.add(name)
            elif member.kind == "symbolic link":
                links[name] = _link(name, target, path)
            elif member.kind == "hard link":
                links[name] = _inside(target, path)
            elif member.kind in ("file", "sparse"):
                if member.kind == "sparse":
                    raise tar.Damaged(f"{name} is sparse")
                _bounded(member.size, name, path)
                if name in files:
                    twice.append(name)
                files[name] = Place(str(plain), member.offset, member.size, member.size)
    except tar.Damaged as error:
        raise SourceError(f"{path} is damaged ({error})", "a whole tar", "fetch or make it again") from None
    if members and members[-1].kind != "end":
        remarks.append(f"{path} has no mark at its end: the last images may be missing")
    return _tidy(path, files, folders, links, [*remarks, *_one_name(twice, path)])


_OPENERS: dict[bytes, Callable[..., Any]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}


def _without_compression(path: Path, start: bytes, stack: ExitStack) -> Path:
    """The tar itself; a compressed one goes into a temporary file, so that its members can be read in any order."""
    opener = next((opener for magic, opener in _OPENERS.items() if start.startswith(magic)), None)
    if opener is None:
        return path
    plain = temporary_folder(stack) / "unpacked.tar"
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
    if len(name) > _LONGEST or name.count("/") > _DEEPEST:
        found = f"{path} holds a name of {len(name):,} characters in {name.count('/'):,} folders"
        raise SourceError(found, f"at most {_LONGEST:,}, in {_DEEPEST}", "do not trust it")
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
    check_ratio(unpacked, path.stat().st_size, path)


def check_ratio(unpacked: int, packed: int, where: Path | str, floor: int | None = None) -> None:
    """Refuse what unpacks to more than 200 times its size; `floor` bytes (1 GiB) are always allowed."""
    if unpacked > max(_RATIO_FLOOR if floor is None else floor, _MOST_RATIO * packed):
        raise SourceError(
            f"{where} unpacks to {unpacked:,} bytes or more from {packed:,}",
            f"at most {_MOST_RATIO} times its size",
            "do not trust it, or unpack it yourself and pack the folder",
        )


def _tidy(
    path: Path, files: dict[str, Item], folders: set[str], links: dict[str, str], remarks: Sequence[str]
) -> Tree:
    """Links to files take their target's content; other links, and junk, go."""
    nothing = Missing("a link to nothing in its archive")
    found = {name: files.get(target, nothing) for name, target in links.items()}
    files |= {name: item for name, item in found.items() if item is not nothing or is_image(name)}
    return Tree(
        str(path),
        {name: item for name, item in files.items() if name and not any(map(_is_junk, name.split("/")))},
        frozenset(name for name in folders if name and not any(map(_is_junk, name.split("/")))),
        tuple(remarks),
    )
