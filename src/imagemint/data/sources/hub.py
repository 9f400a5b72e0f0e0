"""Data sets of the Hugging Face hub (or a local folder of the same shape), through `datasets`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagemint.data.decode import Item, Missing
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.contents import Contents, choose_split, named_labels, numbered_labels, whole_numbers
from imagemint.data.sources.listing import cleaned
from imagemint.data.sources.shards import IMAGE, LABEL, unlabelled_remark
from imagemint.errors import SourceError
from imagemint.words import listed, shown


def read(name: str, split: str | None) -> Contents:
    """`hub:NAME`: the column of images, the one of class labels (or `label`), in the order of the rows."""
    try:
        import datasets
    except ImportError:
        remedy = "pip install 'imagemint[hub]'"
        raise SourceError("datasets is not installed", "datasets, to read from the hub", remedy) from None
    where = f"hub:{name}"
    try:
        splits = [str(each) for each in datasets.get_dataset_split_names(name)]
        data = datasets.load_dataset(name, split=choose_split(splits, split, where))
    except (
        OSError,
        ValueError,
        datasets.exceptions.DatasetsError,
    ) as error:  # unknown, gated, offline, several kinds
        what = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise SourceError(
            f"{where} cannot be loaded ({what})", "a data set of images", "check name and network"
        ) from None
    pictures = [key for key, kind in data.features.items() if isinstance(kind, datasets.Image)]
    if not pictures:
        columns = listed([shown(key) for key in data.features], 8)
        raise SourceError(f"{where} has the columns {columns}", "one of images", "choose another")
    image = next((key for key in IMAGE if key in pictures), pictures[0])
    rows = data.select_columns([image]).cast_column(image, datasets.Image(decode=False))
    items = _Rows(rows, image, _roots(name, datasets))
    names = [f"{where} row {k}" for k in range(len(data))]
    kinds = [key for key, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)]
    label = next((key for key in LABEL if key in (kinds or data.features)), kinds[0] if kinds else None)
    if label is None:
        none = np.full(len(data), UNLABELLED, np.int64)
        return Contents(none, [], names, items, remarks=[f"{where} has no labels: all images are unlabelled"])
    labels, classes, remarks = _labels(list(data[label]), data.features[label], f"{label} of {where}")
    others = [shown(key) for key in kinds if key != label]
    left = f", not {listed(others)}" if others else ""
    return Contents(labels, classes, names, items, remarks=[f"labels are the column {shown(label)}{left}", *remarks])


def _roots(name: str, datasets: Any) -> tuple[str, ...]:
    """The folders in which an image that is a path may lie: the data set's own, and where `datasets` keeps files."""
    import huggingface_hub.constants as hub_constants

    config = datasets.config
    folders = [config.HF_DATASETS_CACHE, config.DOWNLOADED_DATASETS_PATH, hub_constants.HF_HUB_CACHE]
    return tuple(os.path.realpath(folder) for folder in [*folders, *([name] if os.path.isdir(name) else [])])


@dataclass(frozen=True)
class _Rows:
    data: Any
    image: str
    roots: tuple[str, ...]

    def __iter__(self) -> Iterator[Item]:
        for row in self.data:
            yield self._item(row[self.image] or {})

    def _item(self, value: Any) -> Item:
        """Bytes, or a path inside the data set's folders; a row is data, and must not choose what is read."""
        data, path = value.get("bytes"), value.get("path")
        if isinstance(data, bytes) and data:
            return data
        if not isinstance(path, str) or "\0" in path:
            return Missing("no image in this row")
        real = os.path.realpath(path)
        return (
            real
            if any(real.startswith(os.path.join(root, "")) for root in self.roots)
            else Missing("a path outside the data set")
        )


def _labels(values: list[Any], kind: Any, where: str) -> tuple[np.ndarray, list[str], list[str]]:
    if all(value is None or isinstance(value, str) for value in values):
        text, remarks = cleaned(values)
        return *named_labels(text), remarks
    odd = next((value for value in values if value is not None and type(value) is not int), None)
    if odd is not None:
        remedy = "choose another data set"
        raise SourceError(f"{where} holds {shown(str(odd)[:40])}", "whole numbers or names", remedy)
    labels, classes, remarks = numbered_labels(whole_numbers(values, where), where, getattr(kind, "names", None))
    return labels, classes, [*remarks, *unlabelled_remark(labels)]
