"""The studio's folder: names that a browser sends become paths inside it, and nowhere else.

DIR/
  packs/NAME        packs; packs/NAME/train and packs/NAME/test after a split
  runs/NAME         trainings
  studies/NAME      studies, each with its report.html
  jobs/0001/        one folder per job (imagemint.studio.jobs)
  incoming/NAME     archives and folders of photos that a person puts there by hand
  walks/NAME.gif    walks through what runs can draw
  uploads/          what browsers sent, and what they are given to download
  studio.lock       held by the studio that is open on the folder
"""

from __future__ import annotations

import re
import tarfile
import zipfile
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Literal

from imagemint.errors import SourceError, StudioError
from imagemint.files import Damaged, read_json
from imagemint.words import shortened

Kind = Literal["packs", "runs", "studies"]
# What a folder of the kind holds when it is one.
MARKS: dict[Kind, str] = {"packs": "manifest.json", "runs": "run.json", "studies": "study.json"}

MOST_BYTES = 2 << 30  # of one upload
MOST_UNPACKED = 8 << 30  # bytes of what it holds
MOST_MEMBERS = 50_000  # files in it

_NAME = re.compile(r"[^\W_][\w.-]{0,63}")  # begins with a letter or digit: no hidden file, no option, no ".."
_DEPTH = 2  # parts of a name: a split is a folder of packs


def path_of(folder: Path, kind: Kind, name: str) -> Path:
    """The path of a pack, run or study of this name, relative to the folder. Raises StudioError.

    >>> path_of(Path("."), "packs", "digits/train").as_posix()
    'packs/digits/train'
    """
    parts = name.split("/") if isinstance(name, str) else []
    if not 1 <= len(parts) <= _DEPTH or not all(_NAME.fullmatch(part) and ".." not in part for part in parts):
        raise StudioError(
            f"the name {shortened(str(name))!r}",
            "letters, digits, hyphens, dots and underscores, a letter or digit first, at most 64",
            "choose another name",
        )
    path = Path(kind, *parts)
    if not (folder / path).resolve().is_relative_to(folder.resolve()):
        raise StudioError(f"{path} leads out of the studio's folder", "a folder inside it", "remove the link")
    return path


def new_path(folder: Path, kind: Kind, name: str) -> Path:
    """`path_of` something that is not there yet. Raises StudioError where it is."""
    path = path_of(folder, kind, name)
    if (folder / path).exists():
        raise StudioError(f"there is already something called {name} in {kind}", "a new name", "choose another one")
    return path


def old_path(folder: Path, kind: Kind, name: str | None) -> Path:
    """`path_of` something that is there. Raises StudioError where it is not, or no longer."""
    what = {"packs": "pack", "runs": "run", "studies": "study"}[kind]
    if not name:
        raise StudioError(f"no {what} was chosen", f"one of those in {kind}", "choose one, or make one first")
    path = path_of(folder, kind, name)
    if not (folder / path / MARKS[kind]).is_file():
        raise StudioError(f"there is no {what} called {name} (any more)", f"one of those in {kind}", "choose another")
    return path


def names(folder: Path, kind: Kind) -> list[str]:
    """Names of the packs, runs or studies that are there, in order. Links are not followed."""
    found, mark = [], MARKS[kind]
    level = [folder / kind]
    for _ in range(_DEPTH):
        inside = [each for parent in level if parent.is_dir() for each in sorted(parent.iterdir())]
        inside = [each for each in inside if _NAME.fullmatch(each.name) and not each.is_symlink()]
        found += [each for each in inside if (each / mark).is_file()]
        level = [each for each in inside if each.is_dir() and each not in found]
    return sorted(each.relative_to(folder / kind).as_posix() for each in found)


def made(folder: Path, kind: Kind, name: str) -> tuple[int, str]:
    """What puts packs, runs or studies into the order in which they were made: nanoseconds, and the name for a tie.

    The file that makes a folder one is written last and not again. The parts of a split are of one moment, that of
    the newest, so that it does not matter which was written first. What has gone meanwhile comes first.
    """
    top = folder / kind / name.split("/")[0]
    moments = [0]
    for mark in (top / MARKS[kind], *top.glob(f"*/{MARKS[kind]}")):
        with suppress(FileNotFoundError, NotADirectoryError):
            moments.append(mark.stat().st_mtime_ns)
    return max(moments), name


def is_minted(folder: Path, name: str) -> bool:
    """Whether all images of a pack were minted; of one that is gone or damaged, no."""
    manifest = folder / "packs" / name / MARKS["packs"]
    with suppress(OSError):
        return _origin(manifest, manifest.stat().st_mtime_ns) == "minted"
    return False


@lru_cache(maxsize=1024)
def _origin(manifest: Path, written: int) -> object:
    """The origin that a manifest states; `written`, when it was, makes a new pack of an old name another one."""
    try:
        tree = read_json(manifest)
    except Damaged:
        return None
    return tree.get("origin") if isinstance(tree, dict) else None


def free_name(folder: Path, kind: Kind, wanted: str) -> str:
    """A name that nothing has yet: `wanted`, or with a number behind it.

    >>> free_name(Path("nowhere"), "packs", "my photos (2).zip")
    'my-photos-2'
    """
    stem = re.sub(r"(\.tar)?\.\w{1,4}$", "", wanted)
    stem = re.sub(r"\W+", "-", stem).strip("-_")[:48] or "images"
    taken = {each.name for each in (folder / kind).iterdir()} if (folder / kind).is_dir() else set()
    return next(name for name in (stem, *(f"{stem}-{k}" for k in range(2, 10**6))) if name not in taken)


def check_values(folder: Path, *values: object) -> None:
    """Raise StudioError where a text among values (lists and dicts of them too) could lead out of the folder.

    An arm, a classifier or a setting of a recipe may name a file. Whatever could be one is looked at as if it were.

    >>> check_values(Path("."), "real,classic", {"parents": ["runs/a"]}, 0.5)
    """
    for value in values:
        if isinstance(value, dict):
            check_values(folder, *value, *value.values())
        elif isinstance(value, (list, tuple)):
            check_values(folder, *value)
        elif isinstance(value, str):
            for part in re.split(r"[\s,;:='\"\[\]{}]+", value):
                inside = "\0" not in part and (folder / part).resolve().is_relative_to(folder.resolve())
                if not inside or "\\" in part or part.startswith("~"):
                    found = f"{shortened(part)} leads out of the studio's folder"
                    raise StudioError(found, "a path inside it", "put the file there")


def incoming(folder: Path) -> list[str]:
    """Archives and folders that a person has put into incoming/, by name."""
    place = folder / "incoming"
    found = sorted(place.iterdir()) if place.is_dir() else []
    return [each.name for each in found if _NAME.fullmatch(each.name) and not each.is_symlink()]


def check_upload(path: Path) -> None:
    """Raise SourceError unless this is a zip or tar that is worth packing, without unpacking anything."""
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise _too_much(f"an upload of {size:,} bytes", f"at most {MOST_BYTES:,} bytes")
    if zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                sizes = [each.file_size for each in archive.infolist()]
        except (zipfile.BadZipFile, OSError, ValueError) as error:
            raise _no_archive(str(error)) from None
    elif tarfile.is_tarfile(path):
        sizes = []
        try:
            with tarfile.open(path) as tar:
                for member in tar:
                    sizes.append(member.size)
                    if len(sizes) > MOST_MEMBERS or member.size > MOST_UNPACKED:
                        break
        except (tarfile.TarError, OSError, EOFError) as error:
            raise _no_archive(str(error)) from None
    else:
        raise _no_archive("neither a zip nor a tar")
    if len(sizes) > MOST_MEMBERS:
        raise _too_much(f"an archive of more than {MOST_MEMBERS:,} files", f"at most {MOST_MEMBERS:,}")
    if sum(sizes) > MOST_UNPACKED:
        raise _too_much(f"an archive of {sum(sizes):,} bytes unpacked", f"at most {MOST_UNPACKED:,}")


def _no_archive(why: str) -> SourceError:
    return SourceError(
        f"the upload is no archive ({why[:100]})", "a zip or tar of images", "zip the folder of photos"
    )


def _too_much(found: str, wanted: str) -> SourceError:
    return SourceError(found, wanted, "use imagemint pack on the command line, which has no such limit")
