"""Parquet, WebDataset, TFRecord and the hub: exports come back, and what other programs write is read."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemint import progress
from imagemint.data import tfrecord
from imagemint.data.packing import pack
from tests.data.test_sources_files import png, put, refused, tarred, values


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


# --- Parquet


def parquet(path: Path, columns: dict[str, Any], names: list[str] | None = None, **types: Any) -> Path:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({key: pa.array(column, type=types.get(key)) for key, column in columns.items()})
    if names is not None:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, path, row_group_size=3)
    return path


def rows(*numbers: int) -> list[dict[str, Any]]:
    return [{"bytes": png(k), "path": f"{k}.png"} for k in numbers]


def test_parquet_with_class_names(tmp_path: Path, said: list[str]) -> None:
    columns = {"image": rows(9, 8, 7, 6), "label": [1, 0, None, -1]}
    made = pack(parquet(tmp_path / "a.parquet", columns, ["dog", "cat", "owl"]), tmp_path / "p")
    assert values(made) == [9, 8, 7, 6]
    assert (made.labels.tolist(), made.classes) == ([1, 0, -1, -1], ["dog", "cat", "owl"])
    assert "no image of class owl" in said
    assert any("2 of 4 images without a label" in line for line in said)


def test_parquet_of_plain_bytes_and_other_kinds_of_labels(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    plain = parquet(tmp_path / "a.parquet", {"img": [png(1), png(2)], "label": [0, 1]})
    assert pack(plain, tmp_path / "a").classes == ["0", "1"]
    text = parquet(tmp_path / "b.parquet", {"image": [png(1), png(2), png(3)], "label": ["b", "a", ""]})
    made = pack(text, tmp_path / "b")
    assert (made.classes, made.labels.tolist()) == (["a", "b"], [1, 0, -1])
    kind = pa.dictionary(pa.int8(), pa.string())
    coded = parquet(
        tmp_path / "c.parquet", {"image": [png(1), png(2), png(3)], "label": ["b", "a", None]}, label=kind
    )
    assert pack(coded, tmp_path / "c").fingerprint == made.fingerprint
    bare = parquet(tmp_path / "d.parquet", {"image": rows(1, 2)})
    assert pack(bare, tmp_path / "d").labels.tolist() == [-1, -1]


def test_parquet_shards_go_in_order_and_splits_are_asked_for(tmp_path: Path) -> None:
    for k, numbers in enumerate(((1, 2), (3,), (4, 5))):
        columns = {"image": rows(*numbers), "label": [0] * len(numbers)}
        parquet(tmp_path / "in" / "data" / f"train-0000{k}-of-00003.parquet", columns)
    parquet(tmp_path / "in" / "data" / "test-00000-of-00001.parquet", {"image": rows(6), "label": [0]})
    (tmp_path / "in" / "README.md").write_text("text")
    refused(tmp_path / "in", tmp_path, "splits train, test")
    assert values(pack(tmp_path / "in", tmp_path / "p", split="train")) == [1, 2, 3, 4, 5]
    assert values(pack(tmp_path / "in", tmp_path / "q", split="test")) == [6]


def test_more_rows_than_are_looked_at(tmp_path: Path, said: list[str]) -> None:
    images: list[Any] = rows(*(k % 200 for k in range(300)))
    images[250] = {"bytes": None, "path": "gone.png"}
    made = pack(parquet(tmp_path / "a.parquet", {"image": images, "label": [0] * 300}), tmp_path / "p", workers=2)
    assert len(made) == 299
    assert [(each.name, each.problem) for each in made.manifest.unreadable] == [
        ("a.parquet row 250", "no bytes in this row")
    ]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": [{"bytes": None, "path": "a.png"}], "label": [0]}, "no image bytes, only paths"),
        ({"image": ["a.png"], "label": [0]}, "images of .* are string; wanted encoded bytes"),
        ({"image": [{"path": "a.png"}], "label": [0]}, "wanted encoded bytes"),
        ({"image": rows(1), "label": [0.5]}, "label of .* is double; wanted whole numbers"),
        ({"image": rows(1), "label": [[0, 1]]}, "is list"),
        ({"image": rows(1), "label": [-2]}, "has label -2"),
        ({"pixels": [1], "label": [0]}, "has the columns pixels, label; wanted image and label"),
        ({"image": [], "label": []}, "wanted|no row"),
    ],
)
def test_parquet_that_cannot_be_meant(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    refused(parquet(tmp_path / "a.parquet", columns), tmp_path, words)


def test_parquet_that_is_damaged(tmp_path: Path) -> None:
    whole = parquet(tmp_path / "a.parquet", {"image": rows(1, 2), "label": [0, 1]}).read_bytes()
    for content in (b"text", b"", whole[:-20]):
        (tmp_path / "b.parquet").write_bytes(content)
        refused(tmp_path / "b.parquet", tmp_path, "damaged")


def test_parquet_shards_that_do_not_go_together(tmp_path: Path) -> None:
    parquet(tmp_path / "in" / "0.parquet", {"image": rows(1), "label": [0]})
    parquet(tmp_path / "in" / "1.parquet", {"image": rows(1)})
    refused(tmp_path / "in", tmp_path, r"1.parquet of .* lacks the columns image, label")
    parquet(tmp_path / "in" / "1.parquet", {"image": rows(1), "label": ["cat"]})
    refused(tmp_path / "in", tmp_path, "label of 1.parquet .* is string, elsewhere int64")
    parquet(tmp_path / "in" / "1.parquet", {"image": rows(1), "label": [0]})
    (tmp_path / "in" / "1.parquet").rename(tmp_path / "in" / "train.parquet")
    refused(tmp_path / "in", tmp_path, r"has shards of train and others \(0.parquet\).*--split train")
    assert len(pack(tmp_path / "in", tmp_path / "p", split="train")) == 1


def test_a_parquet_row_never_chooses_a_file(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    (tmp_path / "secret.png").write_bytes(png(200))
    path = str(tmp_path / "secret.png")
    kinds = {"bytes": pa.string(), "path": pa.string()}
    columns = {"image": [{"bytes": path, "path": path}] * 3, "label": [0, 1, 2]}
    text = pa.struct(list(kinds.items()))
    refused(parquet(tmp_path / "a.parquet", columns, image=text), tmp_path, "images of .* are struct<bytes: string")
    (tmp_path / "in").mkdir()
    parquet(tmp_path / "in" / "0.parquet", {"image": rows(1), "label": [0]})
    parquet(tmp_path / "in" / "1.parquet", columns, image=text)  # every shard is looked at
    refused(tmp_path / "in", tmp_path, "images of 1.parquet .* are struct<bytes: string")
    for kind, value in ((pa.list_(pa.uint8()), [1]), (pa.int64(), 5), (pa.bool_(), True)):
        odd = {"image": [{"bytes": value}], "label": [0]}
        refused(
            parquet(tmp_path / "b.parquet", odd, image=pa.struct([("bytes", kind)])), tmp_path, "images of .* are"
        )


def test_parquet_columns_by_what_the_metadata_says(tmp_path: Path, said: list[str]) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    def write(name: str, columns: dict[str, Any], features: dict[str, Any]) -> Path:
        table = pa.table(columns)
        metadata = {"huggingface": json.dumps({"info": {"features": features}})}
        pq.write_table(table.replace_schema_metadata(metadata), tmp_path / name)
        return tmp_path / name

    columns = {"text": ["x", "y"], "photo": rows(1, 2), "species": [1, 0]}
    species = {"names": ["elm", "oak"], "_type": "ClassLabel"}
    features = {"text": {"_type": "Value"}, "photo": {"_type": "Image"}, "species": species}
    made = pack(write("a.parquet", columns, features), tmp_path / "p")
    assert (values(made), made.labels.tolist(), made.classes) == ([1, 2], [1, 0], ["elm", "oak"])
    assert "labels are the column species" in said
    two = {"image": rows(1, 2), "coarse_label": [0, 0], "fine_label": [1, 0]}
    features = {"coarse_label": {"names": ["tree"], "_type": "ClassLabel"}, "fine_label": species}
    made = pack(write("b.parquet", two, features), tmp_path / "q")
    assert (made.labels.tolist(), made.classes) == ([1, 0], ["elm", "oak"])
    assert "labels are the column fine_label, not coarse_label" in said
    unlabelled = pack(write("c.parquet", {"image": rows(1), "width": [3]}, {}), tmp_path / "r")
    assert unlabelled.labels.tolist() == [-1]
    assert any("no column of labels (its other columns: width)" in line for line in said)


def test_parquet_labels_and_columns_that_cannot_be_meant(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    huge = parquet(tmp_path / "a.parquet", {"image": rows(1), "label": [2**63 + 1]}, label=pa.uint64())
    refused(huge, tmp_path, "a label of 64 bits")
    twice = pa.Table.from_arrays([pa.array(rows(1))] * 2 + [pa.array([0])], ["image", "image", "label"])
    pq.write_table(twice, tmp_path / "b.parquet")
    refused(tmp_path / "b.parquet", tmp_path, "more than one column image")
    deep = pa.table({"image": rows(1), "label": [0]}).replace_schema_metadata({"huggingface": "[" * 100_000})
    pq.write_table(deep, tmp_path / "c.parquet")
    assert pack(tmp_path / "c.parquet", tmp_path / "p").classes == ["0"]
    missing = parquet(tmp_path / "d.parquet", {"image": rows(1, 2, 3), "label": ["cat", "nan", "1.0"]})
    assert pack(missing, tmp_path / "q").classes == ["1.0", "cat"]


# --- WebDataset

SAMPLES = {
    "0002.png": png(2),
    "0002.cls": b"1\n",
    "0000.cls": b"0",
    "0000.png": png(0),
    "0001.png": png(1),
}


def test_a_tar_of_samples_is_not_a_tar_of_folders(tmp_path: Path, said: list[str]) -> None:
    made = pack(tarred(tmp_path / "a.tar", SAMPLES), tmp_path / "p")
    assert values(made) == [2, 0, 1]  # as they lie in the shard
    assert (made.labels.tolist(), made.classes) == ([1, 0, -1], ["0", "1"])
    assert any("1 of 3 images without a label" in line for line in said)
    folders = {f"{name}/{k}.png": png(k) for name in "ab" for k in range(2)}
    captions = {f"{name}/{k}.txt": b"a photo" for name in "ab" for k in range(2)}
    made = pack(tarred(tmp_path / "b.tar", folders | captions), tmp_path / "q")
    assert made.counts() == {"a": 2, "b": 2}


@pytest.mark.parametrize(
    ("labels", "classes", "expected"),
    [
        ({"a.json": b'{"label": 1}', "b.json": b'{"label": 0}'}, ["0", "1"], [1, 0]),
        ({"a.json": b'{"class": "dog"}', "b.json": b'"cat"'}, ["cat", "dog"], [1, 0]),
        ({"a.json": b'{"label": -1, "class": null}', "b.json": b'{"label": 0}'}, ["0"], [-1, 0]),
        ({"a.txt": b"dog\n", "b.txt": b"cat"}, ["cat", "dog"], [1, 0]),
        ({"a.txt": b"1", "b.txt": b"0"}, ["0", "1"], [1, 0]),
        ({"a.cls": b"dog", "b.cls": b"cat"}, ["cat", "dog"], [1, 0]),
        ({"a.cls": b"0", "a.json": b'{"label": 0, "class": "dog"}', "b.cls": b"1"}, ["0", "1"], [0, 1]),
    ],
)
def test_webdataset_labels(tmp_path: Path, labels: dict[str, bytes], classes: list[str], expected: list[int]) -> None:
    made = pack(tarred(tmp_path / "a.tar", {"a.png": png(1), "b.seg.png": png(2)} | labels), tmp_path / "p")
    assert (made.classes, made.labels.tolist()) == (classes, expected)


def test_shards_in_a_folder_with_their_class_names(tmp_path: Path) -> None:
    folder = put(tmp_path / "in", {"labels.txt": b"ant\nbee\ncow\n"})
    for k in range(3):
        tarred(folder / f"x-{k:06}.tar", {"0.png": png(k), "0.cls": str(k).encode()})
    made = pack(folder, tmp_path / "p")
    assert (values(made), made.labels.tolist(), made.classes) == ([0, 1, 2], [0, 1, 2], ["ant", "bee", "cow"])


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ({"a.json": b"{"}, "a.json of .* is not JSON"),
        ({"a.json": b'{"label": 0.5}'}, "a.json of .* has the label 0.5"),
        ({"a.json": b'{"label": [0, 1]}'}, "a.json of .* has a list as its label"),
        ({"a.cls": b"-3"}, "label -3"),
    ],
)
def test_webdataset_labels_that_cannot_be_meant(tmp_path: Path, label: dict[str, bytes], words: str) -> None:
    refused(tarred(tmp_path / "a.tar", {"a.png": png()} | label), tmp_path, words)


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        ({"img_0.0.png": png(), "img_0.5.png": png(), "img_0.0.cls": b"0", "img_0.5.cls": b"1"}, "without dots"),
        ({"a.png": png(1), "a.cls": b"0", "a.mask.png": png(2)}, r"has 2 images \(.png, .mask.png\).*such as masks"),
        ({"a.png": png(1), "a.0.cls": b"0", "a.1.cls": b"1"}, "has 2 labels"),
        ({"a.png": png(1), "a.cls": b"0", "a.json": b'{"label": 5}'}, "a.cls .* says 0 and a.json says 5"),
        ({"a.png": png(1), "a.cls": b"--5", "b.png": png(2), "b.cls": b"2"}, "the label --5"),
        ({"a.png": png(1), "a.cls": b"1.0"}, "the label 1.0; wanted whole numbers"),
        ({"a.png": png(1), "a.cls": b"9223372036854775808"}, "the label 9223372036854775808"),
        ({"a.png": png(1), "a.cls": b"9" * 5000}, "the label 999"),
        ({"a.png": png(1), "a.cls": b"\xff\xfe"}, "not UTF-8"),
        ({"a.png": png(1), "a.json": b'{"label": %d}' % 10**30}, "label of 100 bits"),
        ({"a.png": png(1), "a.json": b'{"label": "\\ud800"}'}, "not valid Unicode"),
        ({"a.png": png(1), "a.json": b"[" * 100_000}, "nested too deeply"),
        ({"a.png": png(1), "a.json": b'{"label": {"x": 1}}'}, "has a dict as its label"),
    ],
)
def test_samples_without_one_label_and_one_image(tmp_path: Path, samples: dict[str, bytes], words: str) -> None:
    refused(tarred(tmp_path / "a.tar", samples), tmp_path, words)


def test_captions_are_not_classes(tmp_path: Path, said: list[str]) -> None:
    images = {f"{k:02}.png": png(k) for k in range(20)}
    captions = {f"{k:02}.txt": b"thing %d" % k for k in range(20)}
    made = pack(tarred(tmp_path / "a.tar", images | captions), tmp_path / "o")
    assert (made.classes, set(made.labels.tolist())) == ([], {-1})
    assert any("20 different ones for 20 images: they are not taken for classes" in line for line in said)
    boxes = {f"{k:02}.txt": (b"0 0.5 0.5 0.1 0.1\n1 0.2 0.2 0.1 0.1", b"1 1 1 1 1")[k % 2] for k in range(20)}
    refused(tarred(tmp_path / "boxes.tar", images | boxes), tmp_path, "the label 0 0.5 0.5")
    few = {f"{k:02}.txt": (b"a big dog", b"a cat")[k % 2] for k in range(20)}
    made = pack(tarred(tmp_path / "b.tar", images | few), tmp_path / "p")
    assert made.counts() == {"a big dog": 10, "a cat": 10}
    numbers = {f"{k:02}.cls": b"%d" % (k % 3) for k in range(20)}
    captions = {f"{k:02}.txt": b"thing %d" % k for k in range(20)}
    made = pack(tarred(tmp_path / "c.tar", images | numbers | captions), tmp_path / "q")
    assert made.labels.tolist() == [k % 3 for k in range(20)]


@pytest.mark.parametrize(
    ("stems", "classes"),
    [
        (("n01440764", "n01443537"), ["n01440764", "n01443537"]),
        (("dog", "cat"), ["cat", "dog"]),
        (("x-000000", "x-000001"), []),
        (("000003", "000017"), []),
    ],
)
def test_a_tar_per_class(tmp_path: Path, said: list[str], stems: tuple[str, ...], classes: list[str]) -> None:
    (tmp_path / "in").mkdir()
    for k, stem in enumerate(stems):
        tarred(tmp_path / "in" / f"{stem}.tar", {f"{stem}_{j}.png": png(10 * k + j) for j in range(3)})
    made = pack(tmp_path / "in", tmp_path / "p")
    if classes:
        assert made.classes == classes
        labels = {value: made.classes[label] for value, label in zip(values(made), made.labels, strict=True)}
        assert labels == {10 * k + j: stem for k, stem in enumerate(stems) for j in range(3)}
        assert any("each tar is taken for a class" in line for line in said)
    else:
        assert set(made.labels.tolist()) == {-1}
        assert any("unpack each into a folder of its name" in line for line in said)


def test_tars_of_folders_without_labels_are_asked_about(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(2):
        tarred(tmp_path / "in" / f"x-{k}.tar", {f"{name}/{k}.png": png(k) for name in ("cat", "dog")})
    refused(tmp_path / "in", tmp_path, "images lie in folders .cat, dog.*unpack the tars")


def test_webdataset_agrees_with_the_webdataset_library(tmp_path: Path) -> None:
    wds = pytest.importorskip("webdataset")
    with wds.TarWriter(str(tmp_path / "a.tar")) as writer:
        for k in range(5):
            writer.write({"__key__": f"{k:04}", "png": png(k), "cls": k % 2})
    made = pack(tmp_path / "a.tar", tmp_path / "p")
    assert (values(made), made.labels.tolist()) == ([0, 1, 2, 3, 4], [0, 1, 0, 1, 0])


# --- TFRecord


def test_tfrecord_of_pixels_and_of_encoded_images(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 5, 3), np.uint8)
    with (tmp_path / "raw.tfrecord").open("wb") as file:
        shape = {"height": 3, "width": 5}
        tfrecord.write(
            file,
            [tfrecord.example({"image_raw": image.tobytes(), "label": k, **shape}) for k, image in enumerate(images)],
        )
    made = pack(tmp_path / "raw.tfrecord", tmp_path / "p")
    assert (np.asarray(made.pixels) == images.transpose(0, 3, 1, 2)).all()
    assert made.labels.tolist() == [0, 1, 2, 3]
    with (tmp_path / "png.tfrecord").open("wb") as file:
        tfrecord.write(file, [tfrecord.example({"image_raw": png(k), "label": k - 1}) for k in range(3)])
    made = pack(tmp_path / "png.tfrecord", tmp_path / "q")
    assert (values(made), made.labels.tolist(), made.classes) == ([0, 1, 2], [-1, 0, 1], ["0", "1"])
    cut = (tmp_path / "png.tfrecord").read_bytes()[:-7]
    (tmp_path / "cut.tfrecord").write_bytes(cut)
    refused(tmp_path / "cut.tfrecord", tmp_path, "cut.tfrecord")


def records(path: Path, *examples: Mapping[str, tfrecord.Value]) -> Path:
    with path.open("wb") as file:
        tfrecord.write(file, [tfrecord.example(each) for each in examples])
    return path


def test_tfrecord_classes_are_called_by_their_texts(tmp_path: Path, said: list[str]) -> None:
    key, text = "image/class/label", "image/class/text"
    rows = [{"image/encoded": png(k), key: 1 + k % 2, text: (b"dog", b"cat")[k % 2]} for k in range(4)]
    made = pack(records(tmp_path / "a.tfrecord", *rows), tmp_path / "p")
    assert (made.labels.tolist(), made.classes) == ([0, 1, 0, 1], ["dog", "cat"])  # in the order of the numbers
    assert any("called by the texts" in line for line in said)
    odd = records(tmp_path / "b.tfrecord", *rows, {"image/encoded": png(9), key: 1, text: b"owl"})
    refused(odd, tmp_path, "label 1 of .* is called dog, owl")
    odd = records(tmp_path / "c.tfrecord", *rows, {"image/encoded": png(9), key: 3, text: b"dog"})
    refused(odd, tmp_path, "dog is the name of several labels")
    some = pack(records(tmp_path / "d.tfrecord", *rows, {"image/encoded": png(9), key: 3}), tmp_path / "q")
    assert some.classes == ["0", "1", "2", "3"]
    assert any("label 3 comes without one" in line for line in said)


def test_tfrecord_labels_as_names(tmp_path: Path) -> None:
    named = records(tmp_path / "a.tfrecord", *({"image": png(k), "class": (b"b", b"a")[k]} for k in range(2)))
    made = pack(named, tmp_path / "p")
    assert (made.labels.tolist(), made.classes) == ([1, 0], ["a", "b"])
    texts = records(tmp_path / "b.tfrecord", *({"image": png(k), "image/class/text": b"x"} for k in range(2)))
    assert pack(texts, tmp_path / "q").counts() == {"x": 2}
    refused(records(tmp_path / "c.tfrecord", {"image": png(), "label": b"\xff"}), tmp_path, "not UTF-8")
    mixed = records(tmp_path / "d.tfrecord", {"image": png(), "label": b"a"}, {"image": png(), "label": 1})
    refused(mixed, tmp_path, r"numbers \(1\) and names \(a\)")


def test_tfrecord_of_two_labels_or_under_gzip(tmp_path: Path) -> None:
    # Feature {3: Int64List {1: [0, 1]}} beside an image
    both = tfrecord.example({"image": png()})[2:] + b"\x0a\x0f\x0a\x05label\x12\x06\x1a\x04\x0a\x02\x00\x01"
    with (tmp_path / "a.tfrecord").open("wb") as file:
        tfrecord.write(file, [tfrecord._field(1, both)])
    refused(tmp_path / "a.tfrecord", tmp_path, "record 0 of .* has 2 values of label")
    whole = records(tmp_path / "b.tfrecord", {"image": png(), "label": 0}).read_bytes()
    (tmp_path / "b.tfrecord").write_bytes(gzip.compress(whole))
    refused(tmp_path / "b.tfrecord", tmp_path, "gunzip")


@pytest.mark.parametrize("name", ["a.parquet", "a.tfrecord", "a.npz"])
def test_a_pipe_is_no_shard(tmp_path: Path, name: str) -> None:
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    os.mkfifo(tmp_path / name)
    refused(tmp_path / name, tmp_path, f"{name} is no regular file but a pipe")


# --- export and back


@pytest.mark.parametrize("format", ["folder", "npz", "parquet", "stylegan", "webdataset", "tfrecord", "idx"])
def test_what_a_pack_exports_comes_back(tmp_path: Path, format: str) -> None:
    export = pytest.importorskip("imagemint.data.export").export
    if format == "parquet":
        pytest.importorskip("pyarrow")
    images = np.random.default_rng(0).integers(0, 256, (12, 5, 7), np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(12) // 4, classes=["a/b", "ant", "bee"])
    made = pack(tmp_path / "a.npz", tmp_path / "p")
    out = tmp_path / ("out.npz" if format == "npz" else "out")
    export(made, out, format)
    back = pack(out, tmp_path / "q")
    if format == "tfrecord":  # whose records are shuffled
        assert back.classes == made.classes
        pairs = [
            {(np.asarray(each.pixels[k]).tobytes(), int(each.labels[k])) for k in range(12)} for each in (back, made)
        ]
        assert pairs[0] == pairs[1]
    else:
        assert back.fingerprint == made.fingerprint


# --- the hub


def test_hub_reads_a_local_data_set_of_the_same_shape(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "digits"
    for split, numbers in (("train", (1, 2, 3)), ("test", (4,))):
        columns = {"image": rows(*numbers), "label": [k % 2 for k in numbers]}
        parquet(data / "data" / f"{split}-00000-of-00001.parquet", columns, ["even", "odd"])
    refused(f"hub:{data}", tmp_path, "hub:.* has the splits train, test")
    made = pack(f"hub:{data}", tmp_path / "p", split="train")
    assert (values(made), made.labels.tolist(), made.classes) == ([1, 2, 3], [1, 0, 1], ["even", "odd"])
    assert values(pack(f"hub:{data}", tmp_path / "q", split="test", size=3, channels=3)) == [4]


def test_hub_with_classes_and_image_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = put(tmp_path / "photos", {f"train/{name}/{k}.png": png(k) for name in ("dog", "cat") for k in range(3)})
    made = pack(f"hub:{folder}", tmp_path / "p")
    plain = pack(folder, tmp_path / "q")
    assert made.classes == plain.classes == ["cat", "dog"]
    assert sorted(zip(made.labels, values(made), strict=True)) == sorted(
        zip(plain.labels, values(plain), strict=True)
    )
    refused(f"hub:{folder}", tmp_path, "no split 'val'", split="val")
    refused(f"hub:{tmp_path / 'nowhere'}", tmp_path, "cannot be loaded")


def test_a_row_of_the_hub_never_chooses_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "secret.png").write_bytes(png(200))
    path = str(tmp_path / "secret.png")
    parquet(
        tmp_path / "set" / "train.parquet",
        {"image": [{"bytes": None, "path": path}, *rows(*range(3))], "label": [0, 1, 0, 1]},
        ["a", "b"],
    )
    refused(f"hub:{tmp_path / 'set'}", tmp_path, "a path outside the data set")


def test_a_shard_inside_an_archive_is_not_guessed_at(tmp_path: Path) -> None:
    inner = io.BytesIO()
    with tarfile.open(fileobj=inner, mode="w"):
        pass
    refused(tarred(tmp_path / "a.tar", {"x/0.tar": inner.getvalue()}), tmp_path, r"no images: x/0\.tar; .*unpack")


def test_a_member_that_comes_again_in_a_tar_is_said(tmp_path: Path, said: list[str]) -> None:
    """As `tar -r` leaves it; unpacked by hand, the last one stays too."""
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for name, data in (("a.png", png(1)), ("a.cls", b"0"), ("b.png", png(2)), ("b.cls", b"1"), ("a.cls", b"1")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    made = pack(tmp_path / "a.tar", tmp_path / "p")
    assert made.labels.tolist() == [1, 1]
    assert any("one name, the last is taken: a.cls" in line for line in said)
