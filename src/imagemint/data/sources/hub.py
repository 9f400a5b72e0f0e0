"""Data sets of the Hugging Face hub (or a local folder of the same shape), through `datasets`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from imagemint.data.decode import Item, Missing
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.contents import Contents, choose_split, first, named_labels, numbered_labels
from imagemint.errors import SourceError


def read(name: str, split: str | None) -> Contents:
    """`hub:NAME`: the first column of images, the first of class labels (or `label`), in the order of the rows."""
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
    image = next((key for key, kind in data.features.items() if isinstance(kind, datasets.Image)), None)
    if image is None:
        raise SourceError(
            f"{where} has the columns {first(list(data.features), 8)}", "one of images", "choose another"
        )
    items = _Rows(data.select_columns([image]).cast_column(image, datasets.Image(decode=False)), image)
    names = [f"{where} row {k}" for k in range(len(data))]
    label = next((key for key, kind in data.features.items() if isinstance(kind, datasets.ClassLabel)), None)
    label = label or next((key for key in ("label", "labels") if key in data.features), None)
    if label is None:
        none = np.full(len(data), UNLABELLED, np.int64)
        return Contents(none, [], names, items, remarks=[f"{where} has no labels: all images are unlabelled"])
    labels, classes, remarks = _labels(list(data[label]), data.features[label], f"{label} of {where}")
    return Contents(labels, classes, names, items, remarks=[f"labels are column {label!r}", *remarks])


@dataclass(frozen=True)
class _Rows:
    data: Any
    image: str

    def __iter__(self) -> Iterator[Item]:
        for row in self.data:
            value = row[self.image] or {}
            yield value.get("bytes") or value.get("path") or Missing("no image in this row")


def _labels(values: list[Any], kind: Any, where: str) -> tuple[np.ndarray, list[str], list[str]]:
    if all(value is None or isinstance(value, str) for value in values):
        return (*named_labels([value or None for value in values]), [])
    if not all(value is None or (isinstance(value, int) and not isinstance(value, bool)) for value in values):
        odd = next(value for value in values if value is not None and (not isinstance(value, int) or value is True))
        raise SourceError(f"{where} holds {odd!r}", "whole numbers or names", "choose another data set")
    numbers = np.array([UNLABELLED if value is None else value for value in values], np.int64)
    return numbered_labels(numbers, where, getattr(kind, "names", None))
