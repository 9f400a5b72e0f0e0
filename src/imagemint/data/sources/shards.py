"""Data sets in a few large files: Parquet, WebDataset, TFRecord."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from imagemint.data import tfrecord as records
from imagemint.data.decode import Item, Missing, Raw
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.contents import Contents, choose_shards, first, named_labels, numbered_labels, some
from imagemint.data.sources.files import listed_classes, printable
from imagemint.data.sources.tree import Tree, is_image, open_tree
from imagemint.errors import SourceError

_IMAGE = ("image", "img", "images", "image_raw", "image/encoded")
_LABEL = ("label", "labels", "class", "fine_label", "image/class/label")


def _paths(tree: Tree, names: Sequence[str]) -> list[Path]:
    found = []
    for name in names:
        item = tree.files[name]
        if not isinstance(item, str):
            raise SourceError(
                f"{name} lies inside the archive {tree.title}", "a folder of shards", "unpack the archive"
            )
        found.append(Path(item))
    return found


@dataclass(frozen=True)
class _Again:
    """Something to go through again and again: images that are read from the shards as they are needed."""

    start: Callable[[], Iterator[Item]]

    def __iter__(self) -> Iterator[Item]:
        return self.start()


def _unlabelled_remark(labels: np.ndarray) -> list[str]:
    count = int((labels == UNLABELLED).sum())
    return [f"{count:,} of {some(len(labels), 'image')} without a label: kept unlabelled"] if count else []


# --- Parquet


def parquet(tree: Tree, names: Sequence[str], split: str | None) -> Contents:
    """Hugging Face's layout: a column of {bytes, path} or bytes, a column of labels, class names in the metadata.

    A null label, or -1, is unlabelled. Images stay in the order of the rows.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SourceError(
            "pyarrow is not installed", "pyarrow, to read Parquet", "pip install 'imagemint[hub]'"
        ) from None
    names = choose_shards(names, split, tree.title)
    paths = _paths(tree, names)
    try:
        schemas = [pq.read_schema(path) for path in paths]
        image, label = _parquet_columns(schemas[0], tree.title)
        _check_image_type(schemas[0].field(image).type, tree.title, pa)
        columns = [image, label] if label else [image]
        if odd := [name for name, each in zip(names, schemas, strict=True) if not {*columns} <= {*each.names}]:
            found = f"{first(odd)} of {tree.title} lacks the columns {first(columns)}"
            raise SourceError(found, "shards of one kind", "pack them apart")
        rows = [pq.read_metadata(path).num_rows for path in paths]
        values = (
            pa.concat_tables([pq.read_table(path, columns=[label]) for path in paths]).column(0) if label else None
        )
    except (pa.ArrowException, OSError) as error:
        raise _parquet_damage(error, tree.title) from None
    if not sum(rows):
        raise SourceError(f"{tree.title} has no row", "one image per row", "check the path")
    row_names = [f"{name} row {k}" for name, count in zip(names, rows, strict=True) for k in range(count)]

    def start() -> Iterator[Item]:
        for path in paths:
            try:
                with pq.ParquetFile(path) as file:
                    for batch in file.iter_batches(64, columns=[image]):
                        yield from map(_parquet_item, batch.column(0).to_pylist())
            except (pa.ArrowException, OSError) as error:
                raise _parquet_damage(error, str(path)) from None

    _check_bytes(_Again(start), tree.title)
    if label is None:
        none = np.full(sum(rows), UNLABELLED, np.int64)
        return Contents(
            none, [], row_names, _Again(start), remarks=["no column of labels: all images are unlabelled"]
        )
    labels, classes, remarks = _parquet_labels(
        values, _label_names(schemas[0], label), f"{label} of {tree.title}", pa
    )
    return Contents(labels, classes, row_names, _Again(start), remarks=[*remarks, *_unlabelled_remark(labels)])


def _parquet_damage(error: Exception, where: str) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:  # the machine's, not the file's
        return error
    return SourceError(f"{where} is damaged ({error})", "whole Parquet files", "fetch it again")


def _parquet_columns(schema: Any, where: str) -> tuple[str, str | None]:
    image = next((name for name in _IMAGE if name in schema.names), None)
    if image is None:
        raise SourceError(
            f"{where} has the columns {first(schema.names, 8)}", "image and label", "rename the columns"
        )
    return image, next((name for name in _LABEL if name in schema.names), None)


def _check_image_type(kind: Any, where: str, pa: Any) -> None:
    binary = pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    if not binary and not (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
        raise SourceError(
            f"images of {where} are {kind}", "encoded bytes, or {bytes, path}", "store the images themselves"
        )


def _check_bytes(items: _Again, where: str) -> None:
    """Some data sets hold nothing but paths on the computer of whoever made them."""
    seen = [isinstance(item, Missing) for item, _ in zip(items, range(256), strict=False)]
    if all(seen):
        raise SourceError(
            f"{where} holds no image bytes, only paths", "the images themselves", "store them with their bytes"
        )


def _parquet_item(value: Any) -> Item:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if data else Missing("no bytes in this row")


def _label_names(schema: Any, label: str) -> list[str] | None:
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return [str(name) for name in names] if isinstance(names, list) else None


def _parquet_labels(
    values: Any, names: list[str] | None, where: str, pa: Any
) -> tuple[np.ndarray, list[str], list[str]]:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        return (*named_labels([value or None for value in values.to_pylist()]), [])
    if not pa.types.is_integer(values.type):
        raise SourceError(f"{where} is {values.type}", "whole numbers or names", "write the class of each image")
    numbers = [UNLABELLED if value is None else value for value in values.to_pylist()]
    return numbered_labels(np.array(numbers, np.int64), where, names)


# --- WebDataset: tar files in which 0007.png and 0007.cls are one sample. https://github.com/webdataset/webdataset


def is_webdataset(tree: Tree) -> bool:
    """Whether a tar holds samples, not class folders: .cls beside images, or .json or .txt beside loose ones."""
    parts = {_key(name): name for name in tree.files if is_image(name)}
    if any(_key(name) in parts for name in tree.files if name.endswith(".cls")):
        return True
    beside = {_key(name) for name in tree.files if name.endswith((".json", ".txt")) and name != "labels.txt"}
    return bool(parts) and not tree.top() and 2 * len(beside & parts.keys()) >= len(parts)


def _key(name: str) -> str:
    """A sample's key: its path up to the first dot of the file's name."""
    folder, slash, base = name.rpartition("/")
    return folder + slash + base.split(".", 1)[0]


def webdataset(tree: Tree, names: Sequence[str], split: str | None, stack: ExitStack) -> Contents:
    """Shards in order, samples as they lie in them. Numbers are named by the `labels.txt` beside the shards."""
    names = choose_shards(names, split, tree.title)
    shards = [(name, open_tree(path, stack)) for name, path in zip(names, _paths(tree, names), strict=True)]
    return samples(shards, tree.title, listed_classes(tree))


def samples(shards: Sequence[tuple[str, Tree]], where: str, classes: list[str] | None = None) -> Contents:
    """A label is the content of .cls, else label, cls or class of .json, else .txt; without any: unlabelled."""
    image_names: list[str] = []
    items: list[Item] = []
    values: list[str | None] = []
    for shard, tree in shards:
        beside: dict[str, dict[str, str]] = {}
        for name in tree.files:
            if name.endswith((".cls", ".json", ".txt")):
                beside.setdefault(_key(name), {})[name.rsplit(".", 1)[1]] = name
        for name, item in tree.files.items():
            if is_image(name):
                image_names.append(printable(f"{shard}/{name}" if shard else name))
                items.append(item)
                values.append(_sample_label(tree, beside.get(_key(name), {})))
    if not items:
        raise SourceError(f"{where} has no image", "samples with an image", "check the path")
    if all(value is None or value.lstrip("-").isdecimal() for value in values):
        numbers = np.array([UNLABELLED if value is None else int(value) for value in values], np.int64)
        labels, classes, remarks = numbered_labels(numbers, where, classes)
    else:
        (labels, classes), remarks = named_labels(values), []
    return Contents(labels, classes, image_names, items, remarks=[*remarks, *_unlabelled_remark(labels)])


def _sample_label(tree: Tree, beside: dict[str, str]) -> str | None:
    if "cls" in beside:
        return tree.content(beside["cls"]).decode("utf-8", "replace").strip() or None
    if "json" in beside:
        try:
            facts = json.loads(tree.content(beside["json"]))
        except (ValueError, RecursionError) as error:
            raise SourceError(f"{beside['json']} is not JSON ({error})", '{"label": ...}', "make it again") from None
        value = (
            facts
            if not isinstance(facts, dict)
            else next((facts[key] for key in ("label", "cls", "class") if facts.get(key) is not None), None)
        )
        if value is None or (value == UNLABELLED and not isinstance(value, bool)):
            return None
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise SourceError(
                f"{beside['json']} has the label {json.dumps(value)[:40]}", "a number or a name", "mend it"
            )
        return str(value).strip() or None
    if "txt" in beside:
        return tree.content(beside["txt"]).decode("utf-8", "replace").strip() or None
    return None


# --- TFRecord


def tfrecord(tree: Tree, names: Sequence[str], split: str | None) -> Contents:
    """`tf.train.Example`s of `image_raw` (pixels with `height` and `width`, or an encoded image) and `label`."""
    names = choose_shards(names, split, tree.title)
    paths = _paths(tree, names)
    numbers: list[int] = []
    row_names: list[str] = []
    for name, path in zip(names, paths, strict=True):
        for k, example in enumerate(records.read(path)):
            label = next((example[key][0] for key in _LABEL if key in example), UNLABELLED)
            if not isinstance(label, int):
                raise SourceError(
                    f"record {k} of {path} has a label of bytes", "whole numbers", "write them as numbers"
                )
            numbers.append(label)
            row_names.append(f"{name} record {k}")
    if not numbers:
        raise SourceError(f"{tree.title} has no record", "one image per record", "check the path")

    def start() -> Iterator[Item]:
        for path in paths:
            yield from map(_record_item, records.read(path))

    labels, classes, remarks = numbered_labels(np.array(numbers, np.int64), tree.title, listed_classes(tree))
    return Contents(labels, classes, row_names, _Again(start), remarks=[*remarks, *_unlabelled_remark(labels)])


def _record_item(example: dict[str, list[records.Value]]) -> Item:
    data = next((example[key][0] for key in _IMAGE if key in example), None)
    if not isinstance(data, bytes):
        return Missing("no image_raw in this record")
    sizes = [example[key][0] for key in ("height", "width") if key in example]
    if len(sizes) == 2 and all(isinstance(size, int) and size > 0 for size in sizes):
        height, width = int(sizes[0]), int(sizes[1])
        for channels in (1, 3):
            if len(data) == height * width * channels:
                return Raw(channels, height, width, data)
    return data
