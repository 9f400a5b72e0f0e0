"""Data sets in a few large files: what the readers of Parquet, WebDataset and TFRecord share."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from imagemint.data.decode import Item
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.arrays import reading
from imagemint.data.sources.tree import Tree
from imagemint.errors import SourceError
from imagemint.files import open_regular
from imagemint.words import counted

# Columns and features by their usual names; the first that is there is taken.
IMAGE = ("image", "img", "images", "image_raw", "image/encoded")
LABEL = ("label", "labels", "class", "fine_label", "image/class/label")


def paths(tree: Tree, names: Sequence[str]) -> list[Path]:
    """Where the shards lie on the disk; SourceError where they lie in an archive or are no files."""
    found = []
    for name in names:
        item = tree.files[name]
        if not isinstance(item, str):
            raise SourceError(
                f"{name} lies inside the archive {tree.title}", "a folder of shards", "unpack the archive"
            )
        with reading(f"{name} of {tree.title}"), open_regular(item):  # no pipe, device or link to nothing
            found.append(Path(item))
    return found


@dataclass(frozen=True)
class Again:
    """Something to go through again and again: images that are read from the shards as they are needed."""

    start: Callable[[], Iterator[Item]]

    def __iter__(self) -> Iterator[Item]:
        return self.start()


def unlabelled_remark(labels: np.ndarray) -> list[str]:
    """What to say where some images have no label."""
    count = int((labels == UNLABELLED).sum())
    if not count:
        return []
    return [f"{count:,} of {counted(len(labels), 'image')} without a label: kept unlabelled"]
