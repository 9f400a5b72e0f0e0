"""Packs written out in the formats of other programs: one function per format, in the table `FORMATS`.

Pixels are never changed: images are stored as PNG or as raw bytes. PNGs of minted images carry their provenance in
their text chunks (`class`, `seed`, `run`, `checkpoint`, `recipe`, ...). Class names, in label order, stand in the
format itself where it has a place for them, and in `labels.txt` where it has none.

What `imagemint pack` makes of an export has the fingerprint of the pack that went out, where the format can hold it:

    npz, parquet, stylegan, webdataset   always
    tfrecord   the same images, shuffled: its readers take records as they come, and must not see class after class
    idx        gray, every image labelled, at most 256 classes
    folder     every image labelled, every class with an image, images in the order of their folders' names
"""

from __future__ import annotations

import csv
import io
import json
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import arguments, files, images, progress, seeds
from imagemint.data import names, tfrecord
from imagemint.data.pack import BLOCK_BYTES, UNLABELLED, Pack, check_absent, open_pack
from imagemint.errors import PackError

SHARD_BYTES = 256 << 20  # of pixels in one shard of tfrecord, webdataset and parquet: our choice
SHARD_IMAGES = 10_000  # and no more images than this: small images have more overhead than pixels
_NAME_BYTES = 1 << 30  # of class names in an npz, where each takes the room of the longest
ROW_GROUP = 1000  # images that a reader of Parquet has to load at a time


LISTS = (".csv", ".txt")


@dataclass(frozen=True)
class How:
    """What the formats may want to know."""

    dest: Path  # where the export will stand
    seed: int = 0  # of the order of lists and of TFRecords
    indices: bool = False  # lists give class indices instead of class names
    absolute: bool = False  # lists give absolute paths


def export(
    pack: Pack | Path | str,
    dest: Path | str,
    format: str,
    *,
    seed: int = 0,
    indices: bool = False,
    absolute: bool = False,
) -> Path:
    """Write a pack in another format (a key of `FORMATS`) at `dest`, which must not exist; gives `dest`.

    `dest` becomes a folder; for `npz` a file, whose name must end in .npz. It is written aside and renamed, in
    bounded memory. `seed` shuffles the records of `tfrecord` and the lists of `folder`; `indices` and `absolute`
    are for these lists: class indices instead of class names, absolute paths instead of paths from the list's folder.
    Raises PackError for an unknown format and for a pack that the format cannot hold.
    """
    pack = open_pack(pack)
    if format not in FORMATS:
        raise PackError(f"unknown export format {format!r}", f"one of {', '.join(FORMATS)}", "choose one of these")
    if (indices or absolute) and format != "folder":
        option = "indices" if indices else "absolute"
        raise PackError(f"{option} with the format {format}", "the format folder, which has lists", "leave it out")
    dest = check_absent(dest, local=True)
    how = How(dest, arguments.whole(seed, "seed"), indices, absolute)
    if format in _SINGLE_FILE:
        if dest.suffix != f".{format}":
            found, wanted = f"{dest.name} as the name of a {format} file", f"a name ending in .{format}"
            raise PackError(found, wanted, f"write {dest}.{format}")
        with files.whole_file(dest) as file:
            FORMATS[format](pack, file, how)
    else:
        with files.whole_folder(dest) as folder:
            FORMATS[format](pack, folder, how)
    return dest


def export_list(
    pack: Pack | Path | str, file: Path | str, *, seed: int = 0, indices: bool = False, absolute: bool = False
) -> Path:
    """A list of path and label, FILE.csv or FILE.txt, and beside it the folder FILE-images; gives the list.

    The list has the header `path,label` and the quotes of CSV, or lines `path label`, shuffled by `seed`. Paths start
    at the list, unless `absolute`. Raises PackError for another ending, and where either is already there.
    """
    pack, file, folder = open_pack(pack), *check_list(file)
    how = How(folder, arguments.whole(seed, "seed"), indices, absolute)
    with files.whole_folder(folder) as aside:
        places = _images(pack, aside, {names.folded(names.LABELS)})
    files.write_text(file, _list(pack, places, how, file.suffix, f"{folder.name}/"))
    return file


def check_list(file: Path | str) -> tuple[Path, Path]:
    """The paths of a list and of the folder of its images, if nothing is there yet. Raises PackError."""
    file = check_absent(file, local=True)
    if file.suffix not in LISTS:
        raise PackError(f"{file.name} as the name of a list", f"a name ending in {' or '.join(LISTS)}", "name it so")
    return file, check_absent(file.with_name(f"{file.stem}-images"))


# --- one function per format: (pack, folder or file to write, how) ---


def _folder(pack: Pack, folder: Path, how: How) -> None:
    """One folder per class, unlabelled images loose beside them, labels.txt, and two lists of path and label.

    The lists hold the same in the same shuffled order: NAME.csv with the header `path,label` and the quotes of CSV,
    NAME.txt with lines `path label`, as DIGITS and Caffe read them (with class indices). Baker 2018 gives
    class names and absolute paths there. An unlabelled image is empty in the CSV and -1 elsewhere.
    """
    stem = how.dest.name if names.folded(how.dest.name) != "labels" else "list"
    places = _images(pack, folder, {names.folded(name) for name in (names.LABELS, *(stem + end for end in LISTS))})
    for ending in LISTS:
        text = _list(pack, places, how, ending, "")
        (folder / f"{stem}{ending}").write_text(text, encoding="utf-8", newline="\n")


def _images(pack: Pack, folder: Path, taken: set[str]) -> list[str]:
    """Write labels.txt and the images, each into the folder of its class; their paths inside `folder`, in order.

    Images are called by their index in the pack, folders as `names.to_folder` spells the class.
    """
    width = max(6, len(str(len(pack) - 1)))
    lines, folders = names.to_lines(pack.classes), [names.to_folder(name, taken) for name in pack.classes]
    (folder / names.LABELS).write_text(lines, encoding="utf-8", newline="\n")
    labels = np.asarray(pack.labels)
    for label in np.unique(labels[labels != UNLABELLED]):  # an empty folder stops many a loader, ours included
        (folder / folders[label]).mkdir()
    above = [f"{name}/" for name in folders] + [""]  # label -1 is the last
    places = [f"{above[label]}{index:0{width}}.png" for index, label in enumerate(labels.tolist())]
    for index, _, data in _pngs(pack):
        (folder / places[index]).write_bytes(data)
    return places


def _list(pack: Pack, places: list[str], how: How, ending: str, prefix: str) -> str:
    """The text of a list of all images, shuffled; `prefix` leads from the list to the folder of the images."""
    root = f"{how.dest.absolute()}{os.sep}" if how.absolute else prefix
    unlabelled = "" if ending == ".csv" and not how.indices else "-1"
    of_label = [*(map(str, range(len(pack.classes))) if how.indices else pack.classes), unlabelled]
    rows = [(root + places[index], of_label[pack.labels[index]]) for index in _shuffled(pack, how.seed)]
    if ending == ".txt":
        return "".join(f"{path} {label}\n" for path, label in rows)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label"))
    writer.writerows(rows)
    return text.getvalue()


def _tfrecord(pack: Pack, folder: Path, how: How) -> None:
    """Shards of `tf.train.Example`: image_raw (bytes, uint8 h x w x channels), height, width, channels, label.

    In an order shuffled by the seed, as Baker 2018 writes them: a reader with a small buffer, or none, would see a
    pack that is sorted by class as one class after the other.
    """
    (folder / names.LABELS).write_text(names.to_lines(pack.classes), encoding="utf-8", newline="\n")
    height, width = pack.size
    shards, order = _shards(pack), _shuffled(pack, how.seed)
    with progress.progress(len(pack), "export") as advance:
        for number, shard in enumerate(shards):
            with (folder / f"{how.dest.name}-{number:05}-of-{len(shards):05}.tfrecord").open("wb") as file:
                for block in pack.blocks(order[shard], BLOCK_BYTES // 4):  # its records are held several times over
                    shape = {"height": height, "width": width, "channels": pack.channels}
                    rows = zip(_channels_last(pack, block), pack.labels[block], strict=True)
                    records = [
                        tfrecord.example({"image_raw": image.tobytes(), "label": int(label), **shape})
                        for image, label in rows
                    ]
                    tfrecord.write(file, records)
                    advance(len(block))
    progress.say(f"the records are shuffled by seed {how.seed}, not in the order of the pack")


def _webdataset(pack: Pack, folder: Path, how: How) -> None:
    """Tar shards of 00000000.png, .cls (the label; none where there is no label) and .json (label, class, index)."""
    (folder / names.LABELS).write_text(names.to_lines(pack.classes), encoding="utf-8", newline="\n")
    encoded = _pngs(pack)
    for number, order in enumerate(_shards(pack)):
        with tarfile.open(folder / f"{how.dest.name}-{number:06}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for index, label, data in islice(encoded, len(order)):
                labelled = label != UNLABELLED
                facts = {"index": index, "label": label, "class": pack.classes[label] if labelled else None}
                members = {"png": data, "json": json.dumps(facts, ensure_ascii=False).encode()}
                if labelled:
                    members["cls"] = str(label).encode()
                for ending, content in members.items():
                    member = tarfile.TarInfo(f"{index:08}.{ending}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def _parquet(pack: Pack, folder: Path, how: How) -> None:
    """Hugging Face's layout: train-*.parquet of image {bytes, path} and label; class names in the schema's metadata.

    An unlabelled image has label -1, as in `datasets`; a pack without classes has no column `label`.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        remedy = "pip install 'imagemint[hub]'"
        raise PackError("pyarrow is not installed", "pyarrow, for the format parquet", remedy) from error
    features: dict[str, Any] = {"image": {"_type": "Image"}}
    fields = [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())]))]
    if pack.classes:
        features["label"] = {"names": pack.classes, "_type": "ClassLabel"}
        fields.append(("label", pa.int64()))
    schema = pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})
    encoded, shards = _pngs(pack), _shards(pack)
    rows_at_once = min(ROW_GROUP, len(next(pack.blocks())))  # large images: no more than a block in memory
    for number, order in enumerate(shards):
        file = folder / f"train-{number:05}-of-{len(shards):05}.parquet"
        with pq.ParquetWriter(file, schema) as writer:
            shard = islice(encoded, len(order))
            while rows := list(islice(shard, rows_at_once)):
                columns: dict[str, list[Any]] = {
                    "image": [{"bytes": data, "path": f"{index:08}.png"} for index, _, data in rows],
                    "label": [label for _, label, _ in rows],
                }
                writer.write_table(pa.table({key: columns[key] for key in features}, schema=schema))


def _npz(pack: Pack, file: Path, how: How) -> None:
    """One file: images uint8 [n, h, w] or [n, h, w, 3], labels int64 [n], classes (unicode [k]); nothing pickled.

    Not compressed, as `numpy.savez` writes it.
    """
    lost = [each for each in pack.classes if each.endswith("\0")]  # numpy takes a NUL at the end for padding
    longest = max(map(len, pack.classes), default=0)
    if lost or 4 * longest * len(pack.classes) > _NAME_BYTES:
        found = f"a class called {lost[0][:40]!r}" if lost else f"class names of {longest:,} characters"
        raise PackError(found, "names that fit a numpy array", "rename it with imagemint edit rename")
    gray = pack.channels == 1
    shape = (len(pack), *pack.size) if gray else (len(pack), *pack.size, pack.channels)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, progress.progress(len(pack), "export") as advance:
        with archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for block in pack.blocks():
                member.write(_channels_last(pack, block).tobytes())
                advance(len(block))
        for key, array in (("labels", np.asarray(pack.labels)), ("classes", np.array(pack.classes, np.str_))):
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _idx(pack: Pack, folder: Path, how: How) -> None:
    """MNIST's two files under its names, and labels.txt. Gray, labelled, at most 256 classes (a label is a byte)."""
    if pack.channels != 1:
        remedy = f"imagemint edit grayscale {pack.path} DEST first"
        raise PackError(f"{pack.path.name} has {pack.channels} channels", "gray images for the format idx", remedy)
    if pack.unlabelled():
        found = f"{pack.unlabelled()} of {len(pack)} images of {pack.path.name} have no label"
        raise PackError(found, "a label for each image in the format idx", "choose another format or slice the pack")
    if len(pack.classes) > 256:
        found = f"{len(pack.classes)} classes in {pack.path.name}"
        raise PackError(found, "at most 256 for the format idx", "choose another format or drop classes")
    (folder / names.LABELS).write_text(names.to_lines(pack.classes), encoding="utf-8", newline="\n")
    (folder / "train-labels-idx1-ubyte").write_bytes(
        struct.pack(">II", 0x0801, len(pack)) + np.asarray(pack.labels).astype(np.uint8).tobytes()
    )
    with (folder / "train-images-idx3-ubyte").open("wb") as file, progress.progress(len(pack), "export") as advance:
        file.write(struct.pack(">IIII", 0x0803, len(pack), *pack.size))
        for block in pack.blocks():
            file.write(pack.read(block).tobytes())
            advance(len(block))


def _stylegan(pack: Pack, folder: Path, how: How) -> None:
    """Numbered PNGs, 1,000 per sub-folder, and dataset.json: labels [[path, label], ...], classes [name, ...].

    An unlabelled image is not in the list; `labels` is null, as StyleGAN writes it, when no image has a label.
    """
    labels = []
    for index, label, data in _pngs(pack):
        path = f"{index // 1000:05}/img{index:08}.png"
        if index % 1000 == 0:
            (folder / path).parent.mkdir()
        (folder / path).write_bytes(data)
        if label != UNLABELLED:
            labels.append([path, label])
    content = {"labels": labels or None, "classes": pack.classes}
    (folder / "dataset.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8", newline="\n")


FORMATS: dict[str, Callable[[Pack, Path, How], None]] = {
    "folder": _folder,
    "tfrecord": _tfrecord,
    "webdataset": _webdataset,
    "parquet": _parquet,
    "npz": _npz,
    "idx": _idx,
    "stylegan": _stylegan,
}
_SINGLE_FILE = {"npz"}


# --- what they share ---


def _pngs(pack: Pack) -> Iterator[tuple[int, int, bytes]]:
    """(index, label, PNG) of every image, in order, with progress."""
    with progress.progress(len(pack), "export") as advance:
        for block in pack.blocks():
            for index, label, picture in zip(block, pack.labels[block], pack.read(block), strict=True):
                yield int(index), int(label), images.png(picture, text=_provenance(pack, int(index)))
                advance(1)


def _provenance(pack: Pack, index: int) -> dict[str, str] | None:
    """Where a minted image comes from, as PNG text chunks; None for an image that was not minted."""
    if not {"seed", "minting"} <= set(pack.columns) or pack.columns["minting"][index] < 0:
        return None
    minting = pack.manifest.mintings[pack.columns["minting"][index]]
    text = {"Software": "imagemint", "seed": str(pack.columns["seed"][index])}
    if pack.labels[index] != UNLABELLED:
        text["class"] = pack.classes[pack.labels[index]]
    return text | {
        "run": minting.run,
        "checkpoint": minting.checkpoint,
        "images_seen": str(minting.images_seen),
        "recipe": minting.recipe,
        "trained_on": minting.trained_on,
    }


def _channels_last(pack: Pack, block: np.ndarray) -> np.ndarray:
    """uint8 [k, h, w] for gray images, [k, h, w, 3] for colour: the order of axes of most other programs."""
    pixels = pack.read(block)
    return pixels[:, 0] if pack.channels == 1 else pixels.transpose(0, 2, 3, 1)


def _shuffled(pack: Pack, seed: int) -> np.ndarray:
    """A shuffled order of the images: int64 `[n]`, the same for lists and for records."""
    return seeds.rng(seed, "list").permutation(len(pack))


def _shards(pack: Pack) -> list[np.ndarray]:
    """Index arrays that cover the pack: at most SHARD_BYTES of pixels and SHARD_IMAGES images each."""
    image_bytes = int(np.prod(pack.pixels.shape[1:]))
    step = min(SHARD_IMAGES, max(1, SHARD_BYTES // image_bytes))
    return [np.arange(start, min(start + step, len(pack))) for start in range(0, len(pack), step)]
