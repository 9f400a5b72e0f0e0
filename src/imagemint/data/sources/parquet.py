"""Parquet in Hugging Face's layout: a column of {bytes, path} or bytes, a column of labels, names in the metadata.

Only the bytes of an image are read. A path in a shard is where the image lay on somebody else's computer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from imagemint.data.decode import Item, Missing
from imagemint.data.pack import UNLABELLED
from imagemint.data.sources.contents import Contents, choose_shards, named_labels, numbered_labels, whole_numbers
from imagemint.data.sources.listing import cleaned
from imagemint.data.sources.shards import IMAGE, LABEL, Again, paths, unlabelled_remark
from imagemint.data.sources.tree import Tree
from imagemint.errors import SourceError
from imagemint.files import Damaged, parse_json
from imagemint.words import listed, shown


def read(tree: Tree, names: Sequence[str], split: str | None) -> Contents:
    """Shards in order, images in the order of their rows. A null label, or -1, is unlabelled."""
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise SourceError(
            "pyarrow is not installed", "pyarrow, to read Parquet", "pip install 'imagemint[hub]'"
        ) from None
    names = choose_shards(names, split, tree.title)
    files = paths(tree, names)
    try:
        schemas = [pq.read_schema(file) for file in files]
        features = _features(schemas[0])
        image, label, remarks = _columns(schemas[0], features, tree.title, pa)
        for name, schema in zip(names, schemas, strict=True):
            _check_schema(schema, schemas[0], image, label, f"{name} of {tree.title}", pa)
        rows = [pq.read_metadata(file).num_rows for file in files]
        tables = [pq.read_table(file, columns=[label]) for file in files] if label else []
        values = pa.concat_tables(tables).column(0) if label else None
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise _damage(error, tree.title) from None
    if not sum(rows):
        raise SourceError(f"{tree.title} has no row", "one image per row", "check the path")
    row_names = [f"{name} row {k}" for name, count in zip(names, rows, strict=True) for k in range(count)]

    def start() -> Iterator[Item]:
        for file in files:
            try:
                with pq.ParquetFile(file) as opened:
                    for batch in opened.iter_batches(64, columns=[image]):
                        yield from map(_item, batch.column(0).to_pylist())
            except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
                raise _damage(error, str(file)) from None

    _check_bytes(Again(start), tree.title)
    if label is None:
        labels, classes = np.full(sum(rows), UNLABELLED, np.int64), list[str]()
    else:
        labels, classes, about = _labels(values, _class_names(features, label), f"{label} of {tree.title}", pa)
        remarks += about
    return Contents(labels, classes, row_names, Again(start), remarks=remarks)


def _damage(error: Exception, where: str) -> Exception:
    if isinstance(error, OSError) and error.errno is not None:  # the machine's, not the file's
        return error
    return SourceError(f"{where} is damaged ({error})", "whole Parquet files", "fetch it again")


def _features(schema: Any) -> dict[str, Any]:
    """What the library `datasets` notes about each column, {} where it notes nothing that can be read."""
    try:
        features = parse_json((schema.metadata or {}).get(b"huggingface", b"{}").decode())["info"]["features"]
    except (KeyError, TypeError, UnicodeDecodeError, Damaged):
        return {}
    return features if isinstance(features, dict) else {}


def _columns(schema: Any, features: dict[str, Any], where: str, pa: Any) -> tuple[str, str | None, list[str]]:
    """The column of images, the one of labels or None, and what to say about the choice.

    What the metadata calls an Image or a ClassLabel is one, else a column by its usual name; one of the usual names
    first where there are several.
    """
    twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if twice:
        found = f"{where} has more than one column {listed([shown(name) for name in twice])}"
        raise SourceError(found, "columns of different names", "rename one of them")

    def of_kind(kind: str) -> list[str]:
        return [
            name
            for name in schema.names
            if isinstance(features.get(name), dict) and features[name].get("_type") == kind
        ]

    def choose(usual: Sequence[str], candidates: Sequence[str]) -> str | None:
        known = [name for name in usual if name in schema.names]
        return next((name for name in [*known, *candidates] if not candidates or name in candidates), None)

    pictures = of_kind("Image") or [name for name in schema.names if _has_bytes(schema.field(name).type, pa)]
    image = choose(IMAGE, pictures)
    if image is None:
        found = f"{where} has the columns {listed([shown(name) for name in schema.names], 8)}"
        raise SourceError(found, "image and label", "rename the columns")
    kinds = of_kind("ClassLabel")
    label = choose(LABEL, kinds)
    others = [shown(name) for name in schema.names if name not in (image, label)]
    if label is None:
        left = f" (its other columns: {listed(others)})" if others else ""
        return image, None, [f"{where} has no column of labels{left}: all images are unlabelled"]
    rivals = [shown(name) for name in kinds if name != label]
    if label != "label" or rivals:
        left = f", not {listed(rivals)}" if rivals else ""
        return image, label, [f"labels are the column {shown(label)}{left}"]
    return image, label, []


def _is_binary(kind: Any, pa: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind))


def _has_bytes(kind: Any, pa: Any) -> bool:
    if not pa.types.is_struct(kind):
        return _is_binary(kind, pa)
    at = kind.get_field_index("bytes")
    return at >= 0 and _is_binary(kind.field(at).type, pa)


def _check_schema(schema: Any, wanted: Any, image: str, label: str | None, where: str, pa: Any) -> None:
    """Every shard has the columns, and its images are bytes; text there would be taken for a path."""
    columns = [image, label] if label else [image]
    if any(schema.names.count(name) != 1 for name in columns):
        raise SourceError(f"{where} lacks the columns {listed(columns)}", "shards of one kind", "pack them apart")
    if not _has_bytes(schema.field(image).type, pa):
        found = f"images of {where} are {schema.field(image).type}"
        raise SourceError(found, "encoded bytes, or {bytes, path}", "store the images themselves")
    if label and schema.field(label).type != wanted.field(label).type:
        found = f"{label} of {where} is {schema.field(label).type}, elsewhere {wanted.field(label).type}"
        raise SourceError(found, "shards of one kind", "pack them apart")


def _check_bytes(items: Again, where: str) -> None:
    """Some data sets hold nothing but paths on the computer of whoever made them."""
    seen = [isinstance(item, Missing) for item, _ in zip(items, range(256), strict=False)]
    if all(seen):
        raise SourceError(
            f"{where} holds no image bytes, only paths", "the images themselves", "store them with their bytes"
        )


def _item(value: Any) -> Item:
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) and data else Missing("no bytes in this row")


def _class_names(features: dict[str, Any], label: str) -> list[str] | None:
    names = features[label].get("names") if isinstance(features.get(label), dict) else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _labels(values: Any, names: list[str] | None, where: str, pa: Any) -> tuple[np.ndarray, list[str], list[str]]:
    if pa.types.is_dictionary(values.type):
        values = values.cast(values.type.value_type)
    if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
        text, remarks = cleaned(_text(values, where))
        return *named_labels(text), remarks
    if not pa.types.is_integer(values.type):
        raise SourceError(f"{where} is {values.type}", "whole numbers or names", "write the class of each image")
    labels, classes, remarks = numbered_labels(whole_numbers(values.to_pylist(), where), where, names)
    return labels, classes, [*remarks, *unlabelled_remark(labels)]


def _text(values: Any, where: str) -> list[str | None]:
    try:
        return list(values.to_pylist())
    except UnicodeDecodeError:
        raise SourceError(f"{where} is not UTF-8 text", "names in UTF-8", "write the names again") from None
