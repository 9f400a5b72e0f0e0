"""Labels from beside the images: CSV, JSON Lines, StyleGAN's dataset.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from imagemint import progress
from imagemint.data.packing import pack
from tests.data.test_sources_files import png, put, refused, values, zipped


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """a.png .. e.png with values 0..4, one with an odd name, one in a folder."""
    files = {f"{letter}.png": png(k) for k, letter in enumerate("abcde")}
    return put(tmp_path / "in", files | {'x, "y".png': png(5), "deep/f.png": png(6)})


def listing(images: Path, text: str, name: str = "list.csv") -> Path:
    (images / name).write_bytes(text.encode())
    return images / name


def test_csv_with_everything_odd_about_it(images: Path, tmp_path: Path, said: list[str]) -> None:
    text = (
        '\ufeffLabel,Path\r\ncat,b.png\r\n,a.png\r\n"big, cat","x, ""y"".png"\r\n\r\n cat , deep/f.png\r\n'
        f"dog,{images / 'c.png'}\r\ndog,../in/d.png\r\n"
    )
    made = pack(listing(images, text), tmp_path / "p")
    assert made.classes == ["big, cat", "cat", "dog"]
    assert values(made) == [1, 0, 5, 6, 2, 3]  # the order of the list
    assert made.labels.tolist() == [1, -1, 0, 1, 2, 2]
    assert any("1 of 6 images have no label" in line for line in said)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters(images: Path, tmp_path: Path, delimiter: str) -> None:
    made = pack(listing(images, f"path{delimiter}label\na.png{delimiter}x, y\n"), tmp_path / "p")
    assert made.classes == ["x, y"]


def test_numbers_as_labels_sort_as_numbers_and_minus_one_is_none(images: Path, tmp_path: Path) -> None:
    made = pack(listing(images, "path,label\na.png,10\nb.png,9\nc.png,-1\nd.png,10\n"), tmp_path / "p")
    assert (made.classes, made.labels.tolist()) == (["9", "10"], [1, 0, -1, 1])


def test_without_a_column_of_labels_all_are_unlabelled(images: Path, tmp_path: Path) -> None:
    made = pack(listing(images, "file_name\na.png\nb.png\n"), tmp_path / "p")
    assert (made.classes, made.labels.tolist()) == ([], [-1, -1])


def test_json_lines_and_csv_agree(images: Path, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"path": "b.png", "label": 3}, {"label": None, "path": "a.png"}, {"path": "c.png"}]
    rows[2]["label"] = "12"
    one = pack(listing(images, "\n".join(map(json.dumps, rows)) + "\n\n", "l.jsonl"), tmp_path / "p")
    other = pack(listing(images, "path,label\nb.png,3\na.png,\nc.png,12\n"), tmp_path / "q")
    assert one.fingerprint == other.fingerprint and one.classes == ["3", "12"]


def test_windows_separators_find_their_file(images: Path, tmp_path: Path) -> None:
    assert values(pack(listing(images, "path,label\ndeep\\f.png,a\n"), tmp_path / "p")) == [6]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a.png,cat,3\nb.png,dog,4\n", "columns a.png, cat, 3; .* write path,label as the first line"),
        ("label\ncat\n", "columns label"),
        ("path,path\na.png,b.png\n", "columns path, path"),
        ("", "is empty"),
        ("path,colour,size\na.png,red,3\n", "to know which is the class; .* --label-column colour"),
        ("one,two,label\na.png,b.png,x\n", "which names the image; .* --path-column one"),
        ("path,class,label\na.png,x,1\nb.png,x,2\nc.png,y,1\n", "which is the class; .* --label-column class"),
        ("path,cat,dog\na.png,1,0\nb.png,1,1\n", "several classes in 1 row"),
        ("path,label\n2\0.png,x\n", r"line 2: path 2\\x00.png"),
        ("path,label\na.png,%s\n" % ("9" * 5000), "line 2: a label of 5,000 characters"),
        ("id,label\nsame,x\n", "line 2: same fits more/same.jpg, other/same.png"),
        ("path,label\n", "lists no image"),
        ("path,label\na.png,x\n,y\n", "line 3: no path"),
        ("path,label\na.png,x,y\n", "line 2: 3 values"),
        ('path,label\n"a.png,x\n', "line"),
        ("path,label\na.png,x\na.png,y\n", "line 3: a.png is y here and was x before"),
    ],
)
def test_csv_that_cannot_be_meant(images: Path, tmp_path: Path, text: str, words: str) -> None:
    put(images, {"more/same.jpg": png(), "other/same.png": png()})
    refused(listing(images, text), tmp_path, words)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("not json", "line 2: not JSON"),
        ("[1]", "line 2: not a JSON object"),
        ('{"path": "b.png", "label": [0, 1]}', r"line 2: label \[0, 1\]"),
        ('{"path": "b.png", "label": 1.5}', "line 2: label 1.5"),
        ('{"path": "b.png", "label": true}', "line 2: label true"),
        ('{"path": 3, "label": 1}', "line 2: path 3"),
        ('{"path": "b.png", "colour": 1}', "columns path, colour"),
        ("[" * 100_000, "line 2: not JSON"),
        ('{"path": "b.png", "label": 1e400}', "line 2: not JSON"),
        ('{"path": "b.png", "label": %s}' % ("7" * 400), "line 2: a number of more than 64 bits"),
        ('{"path": "b.png", "label": %s}' % ("7" * 5000), "line 2: not JSON"),
        (r'{"path": "\ud800.png", "label": 1}', r"line 2: path \\ud800.png"),
        (r'{"path": "b.png", "label": "\ud800"}', r"line 2: label \\ud800"),
    ],
)
def test_json_lines_that_cannot_be_meant(images: Path, tmp_path: Path, line: str, words: str) -> None:
    refused(listing(images, '{"path": "a.png", "label": 1}\n' + line, "l.jsonl"), tmp_path, words)


def test_a_list_that_is_not_utf8(images: Path, tmp_path: Path) -> None:
    (images / "l.csv").write_bytes("path,label\na.png,x\n".encode("utf-16"))
    refused(images / "l.csv", tmp_path, "not UTF-8")


def test_missing_files_are_counted_and_named(images: Path, tmp_path: Path) -> None:
    rows = "path,label\n" + "".join(f"gone{k}.png,x\n" for k in range(7)) + "a.png,x\n"
    refused(
        listing(images, rows),
        tmp_path,
        r"7 of 8 images cannot be read: gone0.png \(no such file or directory\), .* and 4 more",
    )


def test_labels_that_differ_by_case_are_said(images: Path, tmp_path: Path, said: list[str]) -> None:
    made = pack(listing(images, "path,label\na.png,Cat\nb.png,cat\n"), tmp_path / "p")
    assert made.classes == ["Cat", "cat"]
    assert any("Cat and cat" in line for line in said)


@pytest.mark.parametrize(
    ("text", "labels", "words"),
    [
        ("path,label\na.png,0.0\nb.png,nan\nc.png,1.0\n", {"0": 1, "1": 1}, "1 of 3 images have no label (1 nan)"),
        ("path,label\na.png,None\nb.png,x\nc.png,\n", {"x": 1}, "2 of 3 images have no label"),
        ("path,label\na.png,1.5\nb.png,2.0\n", {"1.5": 1, "2.0": 1}, ""),  # a number with decimals is a name
        ("path,label,width\na.png,x,8\nb.png,y,8\n", {"x": 1, "y": 1}, "classes are the column label"),
        ("a.png,x\nb.png,y\n", {"x": 1, "y": 1}, ""),
        ("image_id,lesion,dx\na,1,nv\nb,2,mel\n", {"mel": 1, "nv": 1}, "a is a.png"),
        ("id,breed\na,pug\nb,pug\nc,collie\nd,collie\n", {"collie": 2, "pug": 2}, "classes are the column breed"),
        ("number,photo,dx\n1,a.png,nv\n2,f.png,mel\n", {"mel": 1, "nv": 1}, "named by the column photo"),
        ("path,label,label_name\na.png,1,cat\nb.png,0,dog\n", {"cat": 1, "dog": 1}, "the column label_name"),
        ("image,MEL,NV\na,1.0,0.0\nb,0.0,1.0\nc,0.0,1.0\n", {"MEL": 1, "NV": 2}, "columns MEL, NV, one per class"),
        ("path,label\na.png,x\n./a.png,x\nb.png,y\n", {"x": 1, "y": 1}, "1 line"),
        ("file_name,text\na.png,a cat\nb.png,a dog\n", {}, "captions and not for classes"),
        ("file_name,Label,split\na.png,x,train\nb.png,y,train\n", {"x": 1, "y": 1}, ""),
    ],
)
def test_lists_as_programs_write_them(
    images: Path, tmp_path: Path, said: list[str], text: str, labels: dict[str, int], words: str
) -> None:
    assert pack(listing(images, text), tmp_path / "p").counts() == labels
    assert any(words in line for line in said) or not words


def test_the_columns_may_be_named(images: Path, tmp_path: Path) -> None:
    text = "id,front,back,colour,size\n1,a.png,b.png,red,3\n2,c.png,d.png,blue,4\n"
    made = pack(listing(images, text), tmp_path / "p", path_column="back", label_column="Size")
    assert (made.counts(), values(made)) == ({"3": 1, "4": 1}, [1, 3])
    refused(images / "list.csv", tmp_path, "no column 'width' but id, front", path_column="width")


def test_a_column_of_splits_is_asked_for(images: Path, tmp_path: Path) -> None:
    text = "path,label,split\na.png,x,train\nb.png,y,test\nc.png,y,train\n"
    refused(listing(images, text), tmp_path, "splits train, test; .*--split train")
    made = pack(images / "list.csv", tmp_path / "p", split="train")
    assert (made.classes, values(made)) == (["x", "y"], [0, 2])
    refused(listing(images, "path,label\na.png,x\n"), tmp_path, "no splits", split="train")


def test_json_lists(images: Path, tmp_path: Path) -> None:
    mapping = pack(listing(images, json.dumps({"a.png": "x", "b.png": "y"}), "m.json"), tmp_path / "p")
    rows = [{"file_name": "a.png", "label": "x"}, {"file_name": "b.png", "label": "y"}]
    assert pack(listing(images, json.dumps(rows), "r.json"), tmp_path / "q").fingerprint == mapping.fingerprint
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "annotations": []}
    refused(listing(images, json.dumps(coco), "coco.json"), tmp_path, "holds COCO annotations; .* into a CSV")
    refused(listing(images, "[" * 100_000, "deep.json"), tmp_path, "nested too deeply")


def test_pixels_in_a_csv(tmp_path: Path, said: list[str]) -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 16, 3).repeat(2, 0)
    header = "label," + ",".join(f"pixel{k}" for k in range(16))
    rows = "".join(f"{label}," + ",".join(map(str, range(label, label + 16))) + "\n" for label in (7, 3))
    made = pack(listing(tmp_path, f"{header}\n{rows}"), tmp_path / "p")
    assert made.counts() == {"3": 1, "7": 1} and made.pixels.shape == (2, 1, 4, 4)
    assert made.pixels[0, 0].tolist() == np.arange(7, 23).reshape(4, 4).tolist()
    assert any("read as 4x4 pixels, gray" in line for line in said)
    header = ",".join(f"pixel{k:04}" for k in range(48)) + ",label"
    rows = "".join(",".join(map(str, image.ravel())) + ",1\n" for image in pixels)
    colour = pack(listing(tmp_path, f"{header}\n{rows}"), tmp_path / "q")
    assert colour.pixels[1].tolist() == pixels[1].reshape(4, 4, 3).transpose(2, 0, 1).tolist()
    text = "emotion,pixels,Usage\n0,1 2 3 4,Training\n1,5 6 7 8,PublicTest\n2,9 9 9 9,Training\n"
    refused(listing(tmp_path, text), tmp_path, "splits Training, PublicTest; .*--split Training")
    faces = pack(tmp_path / "list.csv", tmp_path / "r", split="training")
    assert (faces.counts(), faces.pixels[1].ravel().tolist()) == ({"0": 1, "2": 1}, [9] * 4)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("1 2 3 256", "line 2: pixel '256'"),
        ("1 2 3 -4", "line 2: pixel '-4'"),
        ("1 2 3 0.5", "line 2: pixel '0.5'"),
        ("1 2 3 4 5", "5 pixels per image"),
        ("1 2 3 4\n0,1 2 3", "line 3: 3 pixels"),
        ("1 2 3 4,9", "line 2: 3 values"),
    ],
)
def test_pixels_that_cannot_be_meant(tmp_path: Path, row: str, words: str) -> None:
    refused(listing(tmp_path, f"label,pixels\n0,{row}\n"), tmp_path, words)


# --- dataset.json


def stylegan(labels: object, **more: object) -> dict[str, bytes]:
    files = {f"00000/img{k:08}.png": png(k) for k in range(4)}
    return files | {"dataset.json": json.dumps({"labels": labels, **more}).encode()}


NAMES = [f"00000/img{k:08}.png" for k in range(4)]


def test_dataset_json_gives_labels_in_folder_and_zip(tmp_path: Path, said: list[str]) -> None:
    files = stylegan([[NAMES[2], 2], [NAMES[0], 0], [NAMES[1], 0], [NAMES[3], 4]])
    folder = pack(put(tmp_path / "in", files), tmp_path / "p")
    assert (folder.labels.tolist(), folder.classes) == ([0, 0, 2, 4], ["0", "1", "2", "3", "4"])
    assert values(folder) == [0, 1, 2, 3]
    assert "no image of classes 1, 3" in said
    assert pack(zipped(tmp_path / "a.zip", files), tmp_path / "q").fingerprint == folder.fingerprint
    assert pack(tmp_path / "in" / "dataset.json", tmp_path / "r").fingerprint == folder.fingerprint


def test_dataset_json_may_name_its_classes(tmp_path: Path) -> None:
    files = stylegan([[name, k % 2] for k, name in enumerate(NAMES)], classes=["dog", "cat"])
    made = pack(put(tmp_path / "in", files), tmp_path / "p")
    assert made.counts() == {"dog": 2, "cat": 2}


def test_one_image_without_a_label_keeps_the_other_labels(tmp_path: Path, said: list[str]) -> None:
    made = pack(put(tmp_path / "in", stylegan([[NAMES[0], 0], [NAMES[1], 1], [NAMES[3], 1]])), tmp_path / "p")
    assert made.labels.tolist() == [0, 1, -1, 1]
    assert any("1 image without a label" in line and NAMES[2] in line for line in said)


def test_null_labels_are_an_unlabelled_set(tmp_path: Path) -> None:
    made = pack(put(tmp_path / "in", stylegan(None)), tmp_path / "p")
    assert (made.classes, made.labels.tolist()) == ([], [-1] * 4)


@pytest.mark.parametrize(
    ("labels", "more", "words"),
    [
        ([[NAMES[0], [0, 1]]], {}, f"gives {NAMES[0]} a vector"),
        ([[NAMES[0], 1.5]], {}, "label 1.5"),
        ([[NAMES[0], "cat"]], {}, 'label "cat"'),
        ([[NAMES[0], -1]], {}, "label -1"),
        ([[NAMES[0], True]], {}, "label true"),
        ([[NAMES[0], 10**9]], {}, "label 1000000000"),
        ([[NAMES[0], 0], [NAMES[0], 1]], {}, "two labels"),
        ({NAMES[0]: 1}, {}, '"labels" .* is a dict'),
        ([NAMES[0]], {}, "has the entry"),
        ([[NAMES[0], 2]], {"classes": ["a"]}, "label 2 but names 1 classes"),
        ([[NAMES[0], 0]], {"classes": ["a", "a"]}, "different names"),
        ([["gone.png", 0]], {}, r"1 of 5 images cannot be read: gone.png \(named in dataset.json"),
    ],
)
def test_dataset_json_that_cannot_be_meant(tmp_path: Path, labels: object, more: dict[str, Any], words: str) -> None:
    refused(put(tmp_path / "in", stylegan(labels, **more)), tmp_path, words)


def test_dataset_json_that_is_no_json(tmp_path: Path) -> None:
    for content, words in ((b"{", "not JSON"), (b"[]", 'no "labels"'), (b'{"x": 1}', 'no "labels"')):
        refused(put(tmp_path / "in", {"a.png": png(), "dataset.json": content}), tmp_path, words)
