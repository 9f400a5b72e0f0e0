"""Packs written out in the formats of other programs: one function a format, in the table `FORMATS`.

Pixels are never changed: images are stored as PNG or as raw bytes. PNGs of minted images carry their provenance in
their text chunks (`class`, `seed`, `run`, `checkpoint`, `recipe`, ...). Class names, in label order, stand in the
format itself where it has a place for them, and in `labels.txt` where it has none.

What `imagemint pack` makes of an export has the fingerprint of the pack that went out, where the format can hold it:

    npz, parquet, stylegan, webdataset, tfrecord   always
    idx      gray, every image labelled, at most 256 classes
    folder   every image labelled, every class with an image, images in the order of their folders' names
"""

from __future__ import annotations

import io
import json
import os
import struct
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import files, images, seeds
from imagemint.data import tfrecord
from imagemint.data.names import LABELS, folded, to_folder, to_lines
from imagemint.data.pack import BLOCK_BYTES, UNLABELLED, Pack, check_absent, open_pack
from imagemint.errors import PackError
from imagemint.progress import progress

SHARD_BYTES = 256 << 20  # of pixels in one shard of tfrecord, webdataset and parquet: our choice
SHARD_IMAGES = 10_000  # and no more images than this: small images have more overhead than pixels
ROW_GROUP = 1000  # images that a reader of Parquet has to load at a time


def export(pack: Pack | Path | str, dest: Path | str, format: str) -> Path:
    """Write a pack in another format (a key of `FORMATS`) at `dest`, which must not exist; gives `dest`.

    `dest` becomes a folder; for `npz` a file, whose name must end in .npz. It is written aside and renamed, in
    bounded memory. Raises PackError for an unknown format and for a pack that the format cannot hold.
    """
    pack = open_pack(pack)
    if format not in FORMATS:
        raise PackError(f"unknown export format {format!r}", f"one of {', '.join(FORMATS)}", "choose one of these")
    dest = check_absent(dest)
    if format in _SINGLE_FILE:
        if dest.suffix != f".{format}":
            found, wanted = f"{dest.name} as the name of a {format} file", f"a name ending in .{format}"
            raise PackError(found, wanted, f"write {dest}.{format}")
        with _whole_file(dest) as file:
            FORMATS[format](pack, file, dest.name)
    else:
        with files.whole_folder(dest) as folder:
            FORMATS[format](pack, folder, dest.name)
    return dest


# --- one function a format: (pack, folder or file to write, name of the destination) ---


def _folder(pack: Pack, folder: Path, name: str) -> None:
    """One folder a class, unlabelled images loose beside them; labels.txt and the shuffled list `path label`.

    Images are called by their index in the pack. A character that some file system refuses is written as in web
    addresses (`a/b` -> `a%2Fb`), and so is the first character of a name that is taken.
    """
    list_name = f"{name}.txt" if name.casefold() != "labels" else "list.txt"
    width = max(6, len(str(len(pack) - 1)))
    taken = {folded(LABELS), folded(list_name)}
    folders = [to_folder(class_name, taken) for class_name in pack.classes]
    (folder / LABELS).write_text(to_lines(pack.classes), encoding="utf-8", newline="\n")
    labels = np.asarray(pack.labels)
    for label in np.unique(labels[labels != UNLABELLED]):  # an empty folder stops many a loader, ours included
        (folder / folders[label]).mkdir()

    def place(index: int) -> str:
        label = labels[index]
        return f"{folders[label]}/{index:0{width}}.png" if label != UNLABELLED else f"{index:0{width}}.png"

    for index, _, data in _pngs(pack):
        (folder / place(index)).write_bytes(data)
    with (folder / list_name).open("w", encoding="utf-8", newline="\n") as file:
        order = seeds.rng(0, "list").permutation(len(pack))
        file.writelines(f"{place(index)} {labels[index]}\n" for index in order)


def _tfrecord(pack: Pack, folder: Path, name: str) -> None:
    """Shards of `tf.train.Example`: image_raw (bytes, uint8 h x w x channels), height, width, channels, label."""
    (folder / LABELS).write_text(to_lines(pack.classes), encoding="utf-8", newline="\n")
    height, width = pack.size
    shards = _shards(pack)
    with progress(len(pack), "export") as advance:
        for number, order in enumerate(shards):
            with (folder / f"{name}-{number:05}-of-{len(shards):05}.tfrecord").open("wb") as file:
                for block in pack.blocks(order, BLOCK_BYTES // 4):  # its records are held several times over
                    shape = {"height": height, "width": width, "channels": pack.channels}
                    rows = zip(_channels_last(pack, block), pack.labels[block], strict=True)
                    records = [
                        tfrecord.example({"image_raw": image.tobytes(), "label": int(label), **shape})
                        for image, label in rows
                    ]
                    tfrecord.write(file, records)
                    advance(len(block))


def _webdataset(pack: Pack, folder: Path, name: str) -> None:
    """Tar shards of 00000000.png, .cls (the label; none where there is no label) and .json (label, class, index)."""
    (folder / LABELS).write_text(to_lines(pack.classes), encoding="utf-8", newline="\n")
    encoded = _pngs(pack)
    for number, order in enumerate(_shards(pack)):
        with tarfile.open(folder / f"{name}-{number:06}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
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


def _parquet(pack: Pack, folder: Path, name: str) -> None:
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


def _npz(pack: Pack, file: Path, name: str) -> None:
    """One file: images uint8 [n, h, w] or [n, h, w, 3], labels int64 [n], classes (unicode [k]); nothing pickled.

    Not compressed, as `numpy.savez` writes it.
    """
    gray = pack.channels == 1
    shape = (len(pack), *pack.size) if gray else (len(pack), *pack.size, pack.channels)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive, progress(len(pack), "export") as advance:
        with archive.open(zipfile.ZipInfo("images.npy"), "w", force_zip64=True) as member:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(member, header)
            for block in pack.blocks():
                member.write(_channels_last(pack, block).tobytes())
                advance(len(block))
        for key, array in (("labels", np.asarray(pack.labels)), ("classes", np.array(pack.classes, np.str_))):
            with archive.open(zipfile.ZipInfo(f"{key}.npy"), "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def _idx(pack: Pack, folder: Path, name: str) -> None:
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
    (folder / LABELS).write_text(to_lines(pack.classes), encoding="utf-8", newline="\n")
    (folder / "train-labels-idx1-ubyte").write_bytes(
        struct.pack(">II", 0x0801, len(pack)) + np.asarray(pack.labels).astype(np.uint8).tobytes()
    )
    with (folder / "train-images-idx3-ubyte").open("wb") as file, progress(len(pack), "export") as advance:
        file.write(struct.pack(">IIII", 0x0803, len(pack), *pack.size))
        for block in pack.blocks():
            file.write(pack.read(block).tobytes())
            advance(len(block))


def _stylegan(pack: Pack, folder: Path, name: str) -> None:
    """Numbered PNGs, 1,000 a sub-folder, and dataset.json: labels [[path, label], ...], classes [name, ...].

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


FORMATS: dict[str, Callable[[Pack, Path, str], None]] = {
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
    with progress(len(pack), "export") as advance:
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


def _shards(pack: Pack) -> list[np.ndarray]:
    """Index arrays that cover the pack: at most SHARD_BYTES of pixels and SHARD_IMAGES images each."""
    image_bytes = int(np.prod(pack.pixels.shape[1:]))
    step = min(SHARD_IMAGES, max(1, SHARD_BYTES // image_bytes))
    return [np.arange(start, min(start + step, len(pack))) for start in range(0, len(pack), step)]


@contextmanager
def _whole_file(dest: Path) -> Iterator[Path]:
    """A path to write a file at that becomes `dest` when the block ends well and vanishes when it does not."""
    dest.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{dest.name}.", suffix=".partial", dir=dest.parent) as aside:
        file = Path(aside) / dest.name
        yield file
        files.flush(file)
        os.replace(file, dest)
    files.flush(dest.parent)
