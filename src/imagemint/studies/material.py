"""What a study may look at: the images to learn from, the images to be tested on, and nothing that is both.

Both sides have the same classes: a class without test images is left out of the training images too. Images to learn
from that are copies of a test image, exact ones or near ones (`data.duplicates`), are left out before anything else
happens.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagemint import files
from imagemint.data.duplicates import digests, near_copies
from imagemint.data.pack import UNLABELLED, Pack, open_pack
from imagemint.data.packing import pack as pack_images
from imagemint.data.remote import address_of
from imagemint.data.rewriting import relabelled
from imagemint.errors import StudyError
from imagemint.studies.arms import Images, find_arm
from imagemint.studies.folder import AddedNote, PackNote
from imagemint.words import counted, listed

TWINS = 24  # pairs that are kept for the report
MOST_LEAKED = 0.01  # share of the training pack that may be copies of test images; more is no accident


@dataclass(frozen=True)
class Copies:
    """The labelled images of a pack that are copies of test images: few numbers, which take long to find.

    Pairs are (image of the pack, the first test image that it is a copy of), in rising order of the first.
    """

    pack: str  # fingerprint
    exact: tuple[tuple[int, int], ...]
    near: tuple[tuple[int, int], ...] | None  # that are no exact ones; None where nobody looked

    def images(self) -> np.ndarray:
        """Images of the pack, int64."""
        return np.asarray([image for image, _ in (*self.exact, *(self.near or ()))], np.int64)


@dataclass(frozen=True, eq=False)
class Material:
    """The images of a study, class by class."""

    pack: Pack
    labels: np.ndarray  # int64 [len(pack)]: labels as indices into `classes`, -1 for images that are left out
    classes: list[str]  # those that both sides have images of, in the training pack's order
    pool: list[np.ndarray]  # of each class the indices of the images that may be learned from
    test: Images  # labels are indices into `classes`
    test_fingerprint: str
    without_test: dict[str, int]  # classes that are left out, since no test image is of them: training images
    added: dict[str, tuple[Images, AddedNote]]  # of each arm that names a pack: its images, and what they are
    copies: tuple[Copies, ...]  # what was left out of `pack`, and then of the packs that arms name

    @property
    def leaked(self) -> int:
        """Images that were left out of the pool as exact copies of test images."""
        return len(self.copies[0].exact)

    @property
    def near(self) -> int | None:
        """And as near copies of them; None where nobody looked."""
        near = self.copies[0].near
        return None if near is None else len(near)

    @property
    def twins(self) -> tuple[tuple[int, int], ...]:
        """(image of the pack, test image) of the first of both; near ones first, since one has to see them."""
        return (*(self.copies[0].near or ()), *self.copies[0].exact)[:TWINS]

    def remarks(self) -> list[str]:
        """What a person should know of what was left out, in one line each."""
        lines = []
        if self.without_test:
            names, images = list(self.without_test), counted(sum(self.without_test.values()), "training image")
            which = counted(len(names), "class", "classes")
            lines.append(f"{which} without a test image, left out of both packs: {listed(names)} ({images})")
        if self.leaked:
            lines.append(f"{counted(self.leaked, 'training image')} left out: exact copies of test images")
        if self.near:
            lines.append(f"{counted(self.near, 'training image')} left out: near copies of test images")
        for arm, (_, note) in self.added.items():
            lines += [f"{arm}: {line}" for line in note.left_out()]
        return lines


def find_material(
    pack: Pack,
    test: Pack,
    arms: tuple[str, ...],
    *,
    near: bool = True,
    known: Sequence[Copies] = (),
) -> Material:
    """Everything that a study may look at. Raises StudyError where the packs do not fit each other.

    `near`: whether near copies of test images are left out, as exact ones are. `known`: the `copies` of a material
    that was made of the same packs in the same way; they are not searched again.
    """
    _check_fit(pack, test)
    test_labels = _by_name(test, pack.classes)
    tested = np.bincount(test_labels[test_labels >= 0], minlength=len(pack.classes)) > 0
    if not tested.any():
        raise StudyError("the test pack has no labelled image", "labelled test images", "label the test pack")
    classes = [name for name, is_tested in zip(pack.classes, tested, strict=True) if is_tested]
    new = np.where(tested, np.cumsum(tested) - 1, UNLABELLED).tolist()
    labels, test_labels = relabelled(np.asarray(pack.labels), new), relabelled(test_labels, new)
    search = _Search(test, near, known)
    usable = labels >= 0
    usable[search.copies_in(pack, labels, is_learned_from=True).images()] = False
    rows = np.flatnonzero(test_labels >= 0)
    return Material(
        pack=pack,
        labels=labels,
        classes=classes,
        pool=[np.flatnonzero((labels == k) & usable) for k in range(len(classes))],
        test=Images(test.read(rows), test_labels[rows]),
        test_fingerprint=test.fingerprint,
        without_test={name: n for name, n in pack.counts().items() if name not in classes and n},
        added={arm: _added(path, pack, classes, search) for arm in arms if (path := find_arm(arm).path)},
        copies=tuple(search.found.values()),
    )


class _Search:
    """The search for copies of test images, in one pack after the other; each is searched once."""

    def __init__(self, test: Pack, near: bool, known: Sequence[Copies]) -> None:
        self.found = {each.pack: each for each in known}
        self._test, self._near = test, near
        self._digests: np.ndarray | None = None

    def copies_in(self, pack: Pack, labels: np.ndarray, *, is_learned_from: bool = False) -> Copies:
        """Copies among the images with a label, int64 `[n]` and -1 where there is none.

        Raises StudyError for a pack that a study learns from and that holds too many exact ones.
        """
        if pack.fingerprint in self.found:
            return self.found[pack.fingerprint]
        if self._digests is None:
            self._digests = digests(self._test)
        mine = digests(pack)
        exact = np.flatnonzero(np.isin(mine, self._digests) & (labels >= 0))
        if is_learned_from:
            _check_leaks(pack, self._test, len(exact), int((labels >= 0).sum()))
        kinds, first = np.unique(self._digests, return_index=True)
        near = None
        if self._near:
            others = np.setdiff1d(np.flatnonzero(labels >= 0), exact)
            near = _pairs(*near_copies(pack, others, self._test.read(np.arange(len(self._test)))))
        found = Copies(pack.fingerprint, _pairs(exact, first[np.searchsorted(kinds, mine[exact])]), near)
        return self.found.setdefault(pack.fingerprint, found)


def _pairs(images: np.ndarray, others: np.ndarray) -> tuple[tuple[int, int], ...]:
    return tuple(zip(images.tolist(), others.tolist(), strict=True))


def note_of(pack: Pack) -> PackNote:
    """What the report says of a pack."""
    return PackNote(path=str(pack.place), images=len(pack), counts=pack.counts())


def _check_fit(pack: Pack, test: Pack) -> None:
    if pack.pixels.shape[1:] != test.pixels.shape[1:]:
        found = f"training images are {list(pack.pixels.shape[1:])} and test images {list(test.pixels.shape[1:])}"
        raise StudyError(found, "the same channels, height and width", "pack one of them again at the other's size")
    apart = sorted(set(pack.classes) ^ set(test.classes))
    if apart:
        where = "training" if apart[0] in pack.classes else "test"
        raise StudyError(
            f"class {apart[0]!r} is in one pack only, the {where} pack",
            "classes of the same names in both packs",
            "rename it (imagemint edit rename) or drop it (imagemint edit drop)",
        )


def _check_leaks(pack: Pack, test: Pack, leaked: int, labelled: int) -> None:
    if pack.fingerprint == test.fingerprint or leaked > MOST_LEAKED * labelled:
        raise StudyError(
            f"{leaked} of {counted(labelled, 'training image')} are exact copies of test images",
            "test images that nothing has learned from",
            "split the images into a training and a test pack first (imagemint edit split)",
        )


def _by_name(pack: Pack, classes: list[str]) -> np.ndarray:
    """Labels as indices into `classes`, -1 where there is none or another one."""
    index = {name: k for k, name in enumerate(classes)}
    return relabelled(np.asarray(pack.labels), [index.get(name, UNLABELLED) for name in pack.classes])


# --- packs that arms name ---


def _added(path: str, pack: Pack, classes: list[str], search: _Search) -> tuple[Images, AddedNote]:
    """The images of a pack, or of a folder of images, that an arm may add to the real ones."""
    with ExitStack() as stack:
        other = _opened(path, pack, stack)
        if other.pixels.shape[1:] != pack.pixels.shape[1:]:
            shapes = [list(each.pixels.shape[1:]) for each in (other, pack)]
            found, (h, w) = f"images of {path} are {shapes[0]}, training images {shapes[1]}", pack.size
            remedy = f"pack them again with --size {h}x{w} --channels {pack.channels}"
            raise StudyError(found, "the same channels, height and width", remedy)
        labels = _by_name(other, classes)
        copies = search.copies_in(other, labels)
        rows = np.setdiff1d(np.flatnonzero(labels >= 0), copies.images())
        if not len(rows):
            found = f"{path} has no image of a class of the study that is no copy of a test image"
            remedy = f"rename its classes ({listed(other.classes) or 'none'}) with imagemint edit rename"
            raise StudyError(found, f"images of {listed(classes)}", remedy)
        counts = np.bincount(labels[rows], minlength=len(classes)).tolist()
        note = AddedNote(
            path=str(path if address_of(path) else Path(path).absolute()),
            images=len(rows),
            counts=dict(zip(classes, counts, strict=True)),
            fingerprint=other.fingerprint,
            copies=len(copies.exact),
            near=len(copies.near or ()),
            other_classes={name: n for name, n in other.counts().items() if name not in classes and n},
            unlabelled=other.unlabelled(),
        )
        return Images(other.read(rows), labels[rows]), note


def _opened(path: str, like: Pack, stack: ExitStack) -> Pack:
    """A pack; a folder of images is packed at the size of `like` into a temporary one."""
    if (Path(path) / "manifest.json").exists() or not Path(path).is_dir():
        return open_pack(path)
    dest = files.temporary_folder(stack) / "added"
    return pack_images(path, dest, size=like.size, channels=like.manifest.channels)
