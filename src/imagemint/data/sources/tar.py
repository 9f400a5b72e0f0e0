"""The members of a tar, by its headers alone: POSIX ustar and pax, GNU's long names, numbers in base 256.

Python's tarfile is not used: before 3.11.14 a member of negative size keeps it busy for ever (CVE-2025-8194), it asks
memory for whatever a header claims, and it takes a damaged header in the middle for the end, so that images would be
lost without a word.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_BLOCK = 512
_MOST_EXTRA = 1 << 20  # bytes of a header that only describes the next one (a long name, pax records) ...
_MOST_IN_A_ROW = 16  # ... and how many of them may stand before one member


class Damaged(Exception):
    """What is wrong with the tar, in words."""


class Member(NamedTuple):
    """A file, folder or link in a tar, or "end": the mark after the last one."""

    name: bytes | str  # text where the tar says that it is UTF-8
    kind: str  # "file", "folder", "symbolic link", "hard link", "sparse", "other" or "end"
    target: bytes | str  # of a link
    offset: int  # of the content
    size: int  # bytes


_KINDS = {
    b"0": "file",
    b"\0": "file",
    b"7": "file",
    b"1": "hard link",
    b"2": "symbolic link",
    b"3": "other",
    b"4": "other",
    b"5": "folder",
    b"6": "other",
    b"S": "sparse",
}
_WITHOUT_CONTENT = ("hard link", "symbolic link", "folder", "other")


def members(file: BinaryIO, total: int) -> Iterator[Member]:
    """Each member of a tar of `total` bytes, in order, and the mark of its end where it is there. Raises Damaged."""
    everywhere: dict[str, bytes] = {}  # pax records for all members that follow
    extra: dict[str, bytes | str] = {}  # for the next one
    offset = in_a_row = 0
    while header := _header(file, offset, total):
        kind, name = header[156:157], _text(header[:100])
        size = _number(header[124:136])
        start = offset + _BLOCK
        if kind in b"LKxXg":
            content = _content(file, start, size, total)
            if kind in b"LK":
                extra["path" if kind == b"L" else "linkpath"] = _text(content)
            else:
                records = _pax(content)
                everywhere |= records if kind == b"g" else {}
                extra |= _decoded(records) if kind != b"g" else {}
            offset = start + _padded(size)
            in_a_row += 1
            if in_a_row > _MOST_IN_A_ROW:
                raise Damaged("too many headers for one member")
            continue
        in_a_row = 0
        known: dict[str, bytes | str] = {**_decoded(everywhere), **extra}
        extra = {}
        if header[257:263] == b"ustar\0" and (prefix := _text(header[345:500])):
            name = prefix + b"/" + name
        path, target = known.get("path", name), known.get("linkpath", _text(header[157:257]))
        meaning = _KINDS.get(kind, "other" if kind in b"DMVN" else "file")  # POSIX: unknown kinds are files
        if any(key.startswith("GNU.sparse") for key in known):
            meaning = "sparse"
        if meaning == "file" and path[-1:] in (b"/", "/"):  # as the first tars wrote folders
            meaning = "folder"
        if "size" in known and meaning not in _WITHOUT_CONTENT:
            size = _decimal(known["size"])
        if meaning in _WITHOUT_CONTENT and kind in _KINDS:
            size = 0
        if start + size > total:
            raise Damaged("cut short")
        yield Member(path, meaning, target, start, size)
        offset = start + _padded(size)
        if meaning == "sparse" and kind == b"S" and header[482:483] == b"\1":
            raise Damaged("a sparse file with a long map is not read")
    if extra:
        raise Damaged("the member that the last header describes is missing")
    if offset < total:
        yield Member(b"", "end", b"", offset, 0)


def _header(file: BinaryIO, offset: int, total: int) -> bytes | None:
    """The header at an offset; None at the end."""
    file.seek(offset)
    header = file.read(_BLOCK)
    if not header or not header.strip(b"\0"):
        if offset == 0 and not header:
            raise Damaged("it is empty")
        return None
    if len(header) < _BLOCK:
        raise Damaged("cut short" if offset else "it is no tar")
    sums = sum(header) - sum(header[148:156]) + 8 * ord(" ")
    signed = sums - 256 * sum(byte > 127 for byte in header[:148] + header[156:])  # as some old tars sum
    try:
        stated = _number(header[148:156])
    except Damaged:
        stated = -1
    if stated not in (sums, signed):
        raise Damaged("a header is damaged" if offset else "it is no tar")
    return header


def _number(field: bytes) -> int:
    """Octal digits, or base 256 where the first bit is set."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big") - (0x80 << 8 * (len(field) - 1))
        if field[0] & 0x40:
            raise Damaged("a negative number in a header")
        return value
    digits = field.replace(b"\0", b" ").strip()
    if not all(digit in b"01234567" for digit in digits):
        raise Damaged("a header is damaged")
    return int(digits or b"0", 8)


def _decimal(text: bytes | str) -> int:
    if not 0 < len(text) < 20 or not text.isdigit():
        raise Damaged("a size that is no number")
    return int(text)


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _text(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _content(file: BinaryIO, start: int, size: int, total: int) -> bytes:
    if size > min(_MOST_EXTRA, total - start):
        raise Damaged("cut short" if size <= _MOST_EXTRA else "a header of more than 1 MiB")
    file.seek(start)
    return file.read(size)


def _pax(content: bytes) -> dict[str, bytes]:
    """Records "LENGTH KEY=VALUE\\n"; LENGTH counts the whole record."""
    records = {}
    while content and content[0]:
        length, _, _ = content.partition(b" ")
        size = _decimal(length)
        record = content[len(length) + 1 : size]
        key, equals, value = record.partition(b"=")
        if size > len(content) or not equals or not value.endswith(b"\n"):
            raise Damaged("a pax record is damaged")
        records[key.decode("utf-8", "replace")] = value[:-1]
        content = content[size:]
    return records


def _decoded(records: dict[str, bytes]) -> dict[str, bytes | str]:
    """Pax values are UTF-8 by definition; those that are not stay bytes."""
    decoded: dict[str, bytes | str] = {}
    for key, value in records.items():
        try:
            decoded[key] = value.decode()
        except UnicodeDecodeError:
            decoded[key] = value
    return decoded
