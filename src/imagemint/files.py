"""Files that are whole or absent: everything is written aside, flushed to the disk, then renamed."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_MANY = 100


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    handle, aside = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())  # mkstemp makes files private; ours are ordinary ones
        os.replace(aside, path)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """`write_bytes` of UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON. NaN and infinity are refused: they are not JSON."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def whole_folder(dest: Path) -> Iterator[Path]:
    """A folder to fill, beside `dest`, that becomes `dest` when the block ends well and vanishes when it does not.

    `dest` must not exist; the caller says so in its own words first.
    """
    dest.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{dest.name}.", suffix=".partial", dir=dest.parent))
    try:
        os.chmod(aside, 0o777 & ~_umask())
        yield aside
        _flush_all(aside)
        os.rename(aside, dest)
        flush(dest.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _flush_all(folder: Path) -> None:
    """Every file of a folder on the disk, before its name says that it is whole."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    if len(paths) > _MANY and hasattr(os, "sync"):  # one call for all: 60,000 small files one by one take a minute
        os.sync()
        return
    for path in paths:
        flush(path)


def flush(path: Path) -> None:
    """Ask the system to put a file or folder on the disk (folders: where the system allows it)."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except PermissionError:  # Windows does not open folders
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
