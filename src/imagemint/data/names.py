"""Class names as folders and as lines of `labels.txt`, and back: what one function writes, the next one reads.

    to_folder     a/b  ->  a%2Fb        from_folder   a%2Fb  ->  a/b
    to_lines      [cat, dog]  ->  "cat\\ndog\\n"        from_lines    the reverse

A class name is any text. A folder's name is not, so a character that some common file system refuses is written as
in web addresses, and so is the first character of a name that would be taken for another one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from urllib.parse import unquote

from imagemint.errors import PackError

LABELS = "labels.txt"  # the file that lists class names in label order, one per line

# What some common file system refuses, at any place or at the ends, and what would be read as an escape of ours.
_REFUSED = re.compile(r'[\x00-\x1f\x7f-\x9f/\\:*?"<>|\u2028\u2029]|^[. ]|[. ]$|%(?=[0-9A-Fa-f]{2})')
# Whole names that are not free: devices of Windows, and unlabelled images beside the folders.
_RESERVED = re.compile(r"(CON|PRN|AUX|NUL|COM[0-9¹²³]|LPT[0-9¹²³])(\..*)?|\d+\.png", re.IGNORECASE)
_NAME_BYTES = 255  # the longest name of ext4, XFS, APFS and NTFS


def to_folder(name: str, taken: set[str]) -> str:
    """A folder name for the class `name` that every common file system takes; `from_folder` gives the class back.

    It is none of `taken` (`folded` names), and is added to it. Raises PackError for an empty name and for one that
    is too long for a folder.

    >>> to_folder("cats/dogs", taken := set()), to_folder("..", taken), to_folder("con", taken)
    ('cats%2Fdogs', '%2E%2E', '%63on')
    """
    letters = list(name)
    for match in _REFUSED.finditer(name):
        letters[match.start()] = _quoted(match[0])
    for k, letter in enumerate(name):
        if not _RESERVED.fullmatch("".join(letters)) and folded("".join(letters)) not in taken:
            break
        letters[k] = _quoted(letter)
    folder = "".join(letters)
    if not folder or len(folder.encode()) > _NAME_BYTES:
        raise PackError(
            f"a class name of {len(name.encode()):,} bytes ({name[:40]!r})",
            f"1 to {_NAME_BYTES} bytes, to be the name of a folder",
            "rename it with imagemint edit rename or choose another format",
        )
    taken.add(folded(folder))
    return folder


def from_folder(folder: str) -> str:
    """The class name that `to_folder` wrote as `folder`; a name without escapes is its own.

    >>> from_folder("cats%2Fdogs")
    'cats/dogs'
    """
    return unquote(folder)


def to_lines(classes: Sequence[str]) -> str:
    """The content of `labels.txt`: one class name per line. Raises PackError where a name is not exactly one line."""
    for label, name in enumerate(classes):
        if name.splitlines() != [name] or not name.strip():
            raise PackError(
                f"class {label} is called {name[:40]!r}",
                f"a name of one line for {LABELS}",
                "rename it with imagemint edit rename",
            )
    return "".join(f"{name}\n" for name in classes)


def from_lines(text: str) -> list[str]:
    """The class names in the content of a `labels.txt`, in label order; empty lines mean nothing."""
    return [line for line in text.splitlines() if line.strip()]


def folded(name: str) -> str:
    """Equal for names that a file system may take for one: Windows and macOS ignore case, macOS also composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _quoted(letter: str) -> str:
    return "".join(f"%{byte:02X}" for byte in letter.encode())
