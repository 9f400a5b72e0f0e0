"""What can go wrong that the user can mend.

Every error says, in one line, what was found, what was wanted and what to do next; the command line prints that
line and exits with status 2. Anything else that is raised is a bug and keeps its traceback.

    ImagemintError
    ├── ArgumentError   a number or a list of names is not one, or out of range
    ├── SourceError     images from outside cannot be packed
    ├── PackError       a pack is missing, damaged, or does not fit what is asked of it
    ├── RecipeError     a recipe is unknown, or one of its fields is
    ├── RunError        a run folder is missing, damaged, taken, or belongs to another recipe or pack
    ├── TrainingError   training cannot go on (a number is no longer finite)
    ├── NetworkError    a network file that a person brought cannot be used
    ├── MeasureError    a measure cannot be computed honestly (too few images, other classes)
    ├── StudyError      a study cannot be set up, or is not the one that the folder holds
    ├── HubError        something cannot be sent to the Hugging Face hub, or fetched from it
    ├── StudioError     a page of the studio asks for what is not there, or may not be
    └── SweepError      a sweep cannot be set up, or is not the one that the folder holds
"""

from __future__ import annotations

import errno

from imagemint.words import shown


class ImagemintError(Exception):
    """An error that the user can mend: `found`, `wanted` and `remedy`, joined into one line."""

    def __init__(self, found: str, wanted: str, remedy: str) -> None:
        super().__init__(found, wanted, remedy)
        self.found, self.wanted, self.remedy = found, wanted, remedy

    def __str__(self) -> str:
        return shown(" ".join(f"{self.found}; wanted {self.wanted}; {self.remedy}".split()))


class ArgumentError(ImagemintError):
    """A number or a list of names is not one, or out of range."""


class SourceError(ImagemintError):
    """Images from outside cannot be packed."""


class PackError(ImagemintError):
    """A pack is missing, damaged, or does not fit what is asked of it."""


class RecipeError(ImagemintError):
    """A recipe is unknown, or one of its fields is."""


class RunError(ImagemintError):
    """A run folder is missing, damaged, taken, or belongs to another recipe or pack."""


class TrainingError(ImagemintError):
    """Training cannot go on."""


class NetworkError(ImagemintError):
    """A network file that a person brought cannot be used."""


class MeasureError(ImagemintError):
    """A measure cannot be computed honestly."""


class StudyError(ImagemintError):
    """A study cannot be set up, or is not the one that the folder holds."""


class TrackingError(ImagemintError):
    """Runs cannot be posted to a server or folder, or a monitor cannot be started."""


class HubError(ImagemintError):
    """Something cannot be sent to the Hugging Face hub, or fetched from it."""


class StudioError(ImagemintError):
    """A page of the studio asks for what is not there, or may not be."""


class SweepError(ImagemintError):
    """A sweep cannot be set up, or is not the one that the folder holds."""


# Conditions of the machine that a user can mend; every other OSError is treated as a bug.
_MENDABLE = {
    errno.ENOSPC: ("the disk is full", "room to write", "free some space and run the same command again"),
    errno.EDQUOT: (
        "the disk quota is used up",
        "room to write",
        "free some space and run the same command again",
    ),
    errno.EFBIG: (
        "the file size limit is reached",
        "room to write",
        "raise the limit (ulimit -f) and try again",
    ),
    errno.EACCES: ("permission denied", "a readable source and a writable folder", "check the permissions"),
    errno.EPERM: (
        "operation not permitted",
        "a readable source and a writable folder",
        "check the permissions",
    ),
    errno.EROFS: ("the file system is read-only", "a writable folder", "choose another folder"),
    errno.ENAMETOOLONG: ("a file name is too long", "a shorter path", "choose another folder"),
    errno.ENOTDIR: ("a part of the path is a file", "a folder", "choose another path"),
    errno.EISDIR: ("a folder stands where a file belongs", "a file", "choose another path"),
    errno.ELOOP: ("links lead in a ring", "a file or folder", "remove the link"),
    errno.EMFILE: ("too many files are open", "a higher limit", "raise it (ulimit -n) and try again"),
}


def mendable(error: OSError) -> ImagemintError | None:
    """The error of the machine in our words (disk full, permission, ...), or None when it is a bug of ours."""
    words = _MENDABLE.get(error.errno or 0)
    if words is None:
        return None
    found, wanted, remedy = words
    where = f" at {error.filename}" if error.filename else ""
    return ImagemintError(found + where, wanted, remedy)
