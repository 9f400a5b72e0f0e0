"""Files that are whole or absent, and files that nobody vouches for.

What is written is written aside, flushed to the disk, then renamed. What a process that was killed left aside is
removed by the next one that writes into the same folder. What is read from outside goes through `open_regular`,
`read_bytes`, `read_json`, `read_model` and `read_lines`: regular files only, of bounded size and depth; whatever is
wrong with one is a `Damaged`, which each room puts into its own words.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError

from imagemint.errors import ImagemintError

if sys.platform != "win32":  # there, what a killed process leaves stays until somebody removes it
    import fcntl

SMALL = 64 << 20  # bytes: the most that a file of settings, facts or lines may hold
_MANY = 100  # files that are flushed one by one
_LEFT = re.compile(r"(?:\..+\.|imagemint-)(\d+)-\w{8}(?:\.partial)?")  # what `_aside` makes; the number is a process
_SURROGATE = re.compile("[\ud800-\udfff]")
_SETTLED = 60.0  # seconds after which an unlocked leftover of a living process is not one that was just made

Model = TypeVar("Model", bound=BaseModel)


class Damaged(Exception):
    """A file is not what it should be; the text says in a few words why ("is a named pipe", "is not JSON")."""


# ---------------------------------------------------------------------------------------------------- reading


def open_regular(path: Path | str) -> BinaryIO:
    """Open a regular file for reading. Raises Damaged for a folder, pipe, device or a ring of links.

    A named pipe would wait for a writer for ever, and a device has no end. FileNotFoundError and PermissionError
    are raised as they are.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except IsADirectoryError:
        raise Damaged("is a folder") from None
    except (FileNotFoundError, PermissionError):
        if os.name == "nt" and os.path.isdir(path):
            raise Damaged("is a folder") from None
        raise
    except (OSError, ValueError) as error:  # a ring of links, a NUL in the name, a device without a driver
        raise Damaged(f"cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):
        os.close(handle)
        raise Damaged("is a folder" if stat.S_ISDIR(mode) else "is no regular file but a pipe or device")
    return os.fdopen(handle, "rb")


def read_bytes(path: Path | str, *, limit: int = SMALL) -> bytes:
    """The whole content of a regular file of at most `limit` bytes. Raises Damaged."""
    with open_regular(path) as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise Damaged(f"holds more than {limit >> 20} MiB")
    return data


def read_text(path: Path | str, *, limit: int = SMALL) -> str:
    """`read_bytes` as UTF-8; a byte order mark is dropped. Raises Damaged."""
    try:
        return read_bytes(path, limit=limit).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Damaged("is not UTF-8 text") from None


def sha256(path: Path | str) -> str:
    """The sha256 of a regular file of any size, in hexadecimal digits. Raises Damaged."""
    with open_regular(path) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def read_json(path: Path | str, *, limit: int = SMALL) -> Any:
    """A JSON file. NaN, infinity, numbers of thousands of digits and bottomless nesting are Damaged."""
    return parse_json(read_text(path, limit=limit))


def parse_json(text: str) -> Any:
    """JSON text -> its value. Raises Damaged.

    >>> parse_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        return json.loads(text, parse_constant=_refuse, parse_float=_finite)
    except RecursionError:
        raise Damaged("is nested too deeply") from None
    except ValueError as error:
        raise Damaged(f"is not JSON ({error})"[:200]) from None


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON number")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number is too large")
    return value


def read_model(path: Path | str, model: type[Model], *, limit: int = SMALL) -> Model:
    """A JSON file as a pydantic model. Raises Damaged, which names the field."""
    try:
        return model.model_validate_json(read_bytes(path, limit=limit))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise Damaged(f"is damaged ({where + ': ' if where else ''}{first['msg']})") from None


def read_lines(path: Path, *, limit: int = 16 * SMALL) -> list[dict[str, Any]]:
    """A JSON-lines file of objects; a last line that a kill cut short is left out, a missing file is empty.

    Raises Damaged, which names the line.
    """
    if not os.path.lexists(path):
        return []
    lines = read_bytes(path, limit=limit).split(b"\n")[:-1]  # what follows the last newline was never finished
    return [_object(line, number) for number, line in enumerate(lines, 1)]


class Growing:
    """A file of JSON lines that another process appends to: what was read once is not read again.

    Where the file was cut back or written anew in between, it is read from its beginning.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines, self._end, self._last = 0, 0, b""  # whole lines read, their bytes, and the last of these bytes

    def after(self, known: int, *, limit: int = 16 * SMALL) -> list[dict[str, Any]]:
        """The lines after the first `known`; then `lines` is how many there are. Raises Damaged, as `read_lines`."""
        if not os.path.lexists(self.path):
            self.lines, self._end, self._last = 0, 0, b""
            return []
        with open_regular(self.path) as file:
            file.seek(max(self._end - _SIGN, 0))
            if known != self.lines or file.read(len(self._last)) != self._last:
                self.lines, self._end, self._last = 0, 0, b""
            file.seek(self._end)
            data = file.read(limit + 1)
        if len(data) > limit:
            raise Damaged(f"holds more than {limit >> 20} MiB")
        whole = data[: data.rfind(b"\n") + 1]  # what follows the last newline is not finished
        new = [_object(line, self.lines + number) for number, line in enumerate(whole.split(b"\n")[:-1], 1)]
        skipped = max(known - self.lines, 0)
        self.lines += len(new)
        self._end += len(whole)
        self._last = (self._last + whole)[-_SIGN:]
        return new[skipped:]


_SIGN = 200  # bytes by whose equality a file is known to be as it was


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = parse_json(line.decode())
    except UnicodeDecodeError:
        raise Damaged(f"is damaged (line {number} is not UTF-8 text)") from None
    except Damaged as error:
        raise Damaged(f"is damaged (line {number} {error})") from None
    if not isinstance(value, dict):
        raise Damaged(f"is damaged (line {number} is not an object)")
    return value


# ---------------------------------------------------------------------------------------------------- writing


def to_json(value: Any, *, indent: int | None = None) -> str:
    """JSON text that is valid UTF-8. numpy's numbers are written as numbers; NaN and infinity are refused.

    A lone surrogate (a byte of a file name that is no UTF-8) becomes the six characters of its escape.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False, default=_plain)
    return text if text.isascii() else _SURROGATE.sub(lambda found: rf"\\u{ord(found[0]):x}", text)


def _plain(value: Any) -> Any:
    """What JSON does not know: numpy's numbers and arrays, paths."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part."""
    remove_left(path.parent)
    handle, aside = tempfile.mkstemp(prefix=_aside(path.name), suffix=".partial", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _lock(file.fileno())
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
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, value: Any) -> None:
    """`write_bytes` of indented JSON. NaN and infinity are refused: they are not JSON."""
    write_text(path, to_json(value, indent=1) + "\n")


def append_line(path: Path, value: dict[str, Any]) -> None:
    """Append one JSON line and hand it to the system at once."""
    with path.open("a", encoding="utf-8") as file:
        file.write(to_json(value) + "\n")


def keep_lines(path: Path, lines: list[dict[str, Any]]) -> None:
    """Replace a JSON-lines file, whole or not at all."""
    write_text(path, "".join(to_json(line) + "\n" for line in lines))


@contextmanager
def whole_file(dest: Path) -> Iterator[Path]:
    """The path of a file to write, beside `dest`, that becomes `dest` when the block ends well, or else vanishes.

    `dest` must not exist, as for `whole_folder`.
    """
    _make_parent(dest)
    handle, aside = tempfile.mkstemp(prefix=_aside(dest.name), suffix=".partial", dir=dest.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            _lock(file.fileno())
            yield Path(aside)
            os.fsync(file.fileno())
        os.chmod(aside, 0o666 & ~_umask())
        _rename(Path(aside), dest)
        flush(dest.parent)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise


@contextmanager
def whole_folder(dest: Path) -> Iterator[Path]:
    """A folder to fill, beside `dest`, that becomes `dest` when the block ends well and vanishes when it does not.

    `dest` must not exist; the caller says so in its own words first. Raises ImagemintError where a part of the path
    is a file, or where another process made `dest` in the meantime.
    """
    _make_parent(dest)
    aside = Path(tempfile.mkdtemp(prefix=_aside(dest.name), suffix=".partial", dir=dest.parent))
    with _locked(aside):
        try:
            os.chmod(aside, 0o777 & ~_umask())
            yield aside
            _flush_all(aside)
            _rename(aside, dest)
            flush(dest.parent)
        except BaseException:
            shutil.rmtree(aside, ignore_errors=True)
            raise


def _make_parent(dest: Path) -> None:
    try:
        dest.parent.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ImagemintError(f"a part of the path {dest} is a file", "a folder", "choose another path") from None
    remove_left(dest.parent)


def _rename(aside: Path, dest: Path) -> None:
    taken = ImagemintError(
        f"another process made {dest} in the meantime", "a new path", "choose another name or remove it"
    )
    if os.path.lexists(dest):
        raise taken
    try:
        os.rename(aside, dest)
    except OSError:
        if os.path.lexists(dest):
            raise taken from None
        raise


def temporary_folder(stack: ExitStack) -> Path:
    """An empty folder in the system's place for temporary files that vanishes when `stack` is closed.

    What processes that were killed left there is removed first.
    """
    parent = Path(tempfile.gettempdir())
    remove_left(parent)
    folder = Path(tempfile.mkdtemp(prefix=f"imagemint-{os.getpid()}-", dir=parent))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    stack.enter_context(_locked(folder))
    return folder


# ------------------------------------------------------------------------- what processes that were killed left

_cleaned: set[str] = set()


def remove_left(folder: Path) -> None:
    """Remove what dead processes left aside in a folder, once per folder and process; never what a live one writes.

    A live process holds a lock on what it writes. The lock is taken a moment after the folder or file is made: what
    belongs to a living process is therefore left alone while it is young.
    """
    key = os.fspath(folder)
    if key in _cleaned or sys.platform == "win32":
        return
    _cleaned.add(key)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            left = _LEFT.fullmatch(entry.name)
            if left and not entry.is_symlink():
                _remove_if_dead(entry, int(left[1]))


def _remove_if_dead(entry: os.DirEntry[str], process: int) -> None:
    with suppress(OSError), _locked(Path(entry.path), blocking=False):
        if _lives(process) and time.time() - entry.stat(follow_symlinks=False).st_mtime < _SETTLED:
            return
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        else:
            os.unlink(entry.path)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


@contextmanager
def _locked(path: Path, *, blocking: bool = True) -> Iterator[None]:
    """Hold the lock on a file or folder; OSError where another process holds it and `blocking` is false."""
    if sys.platform == "win32":
        yield
        return
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        _lock(handle, blocking=blocking)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, *, blocking: bool = True) -> None:
    if sys.platform == "win32":
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if blocking else fcntl.LOCK_NB))
    except OSError:
        if not blocking:  # a file system without locks keeps its leftovers
            raise


def _aside(name: str) -> str:
    """How the names of unfinished files and folders begin; long names are cut, since the whole has 255 bytes."""
    return f".{os.fsdecode(os.fsencode(name)[:100])}.{os.getpid()}-"


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
