"""Merge: several packs into one, class by class."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np

from imagemint.data.pack import Pack, open_pack, writing
from imagemint.data.rewriting import relabelled, step_of
from imagemint.errors import PackError
from imagemint.progress import progress
from imagemint.words import counted


def merge(packs: Iterable[Pack | Path | str], dest: Path | str) -> Pack:
    """All images of all packs, one pack after another. Classes are joined by *name*, in order of first appearance.

    Column `parent` says which pack each image comes from (index into `parents` of the history's last step; the
    `parent` columns of earlier merges live on as `parent_2`, `parent_3`, ...). A column that a pack lacks is filled
    with -1. The origin is `mixed` where the packs' origins differ. Raises PackError where sizes or channels differ.
    """
    parts = [open_pack(pack) for pack in ([packs] if isinstance(packs, (Pack, Path, str)) else packs)]
    if len(parts) < 2:
        raise PackError(f"{counted(len(parts), 'pack')} to merge", "two or more", "name another pack")
    for other in parts[1:]:
        _check_alike(parts[0], other)
    number = {name: k for k, name in enumerate(dict.fromkeys(name for part in parts for name in part.classes))}
    classes = list(number)
    origins = {part.manifest.origin for part in parts}
    history = [step for part in parts for step in part.manifest.history]
    history = [step for k, step in enumerate(history) if step not in history[:k]]  # what the packs have in common
    carried = [_older_merges(part) for part in parts]
    names = list(dict.fromkeys(name for columns in carried for name in columns))
    with (
        writing(
            dest,
            classes=classes,
            origin=origins.pop() if len(origins) == 1 else "mixed",
            history=[*history, step_of("merge", {"packs": [str(part.path) for part in parts]}, *parts)],
        ) as writer,
        progress(sum(map(len, parts)), "merge") as advance,
    ):
        for k, (part, columns) in enumerate(zip(parts, carried, strict=True)):
            labels = relabelled(np.asarray(part.labels), [number[name] for name in part.classes])
            if "minting" in columns:
                minting = columns["minting"]
                columns["minting"] = np.where(minting >= 0, minting + len(writer.mintings), -1)
            for index in part.blocks():
                missing = np.full(len(index), -1)
                block = {name: columns[name][index] if name in columns else missing for name in names}
                block["parent"] = np.full(len(index), k)
                writer.add(part.read(index), labels[index], **block)
                advance(len(index))
            writer.mintings += part.manifest.mintings
            writer.unreadable += part.manifest.unreadable
    return open_pack(dest)


def _check_alike(first: Pack, other: Pack) -> None:
    if first.channels != other.channels:
        colour, gray = (first, other) if first.channels == 3 else (other, first)
        raise PackError(
            f"{colour.path} is RGB and {gray.path} is gray",
            "the same channels",
            f"make both gray: imagemint edit grayscale {colour.path} {colour.path}-gray",
        )
    if first.size != other.size:
        (h, w), (h2, w2) = first.size, other.size
        raise PackError(
            f"images of {first.path} are {h} x {w} and those of {other.path} {h2} x {w2} (height x width)",
            "the same size",
            f"resize one: imagemint edit resize {other.path} {other.path}-{w}x{h} --width {w} --height {h}",
        )


def _older_merges(pack: Pack) -> dict[str, np.ndarray]:
    """The columns of a pack, with `parent` moved to `parent_2`, `parent_2` to `parent_3`, ..."""

    def moved(name: str) -> str:
        if name == "parent":
            return "parent_2"
        head, _, tail = name.partition("parent_")
        return f"parent_{int(tail) + 1}" if not head and tail.isdigit() else name

    return {moved(name): np.asarray(column) for name, column in pack.columns.items()}
