"""Every export holds exactly the pixels, labels and class names of its pack, says independent reading."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import tracemalloc
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from imagemint import images, progress, seeds
from imagemint.data import export as export_module
from imagemint.data import packing
from imagemint.data.export import FORMATS, export, export_list
from imagemint.data.names import to_folder
from imagemint.data.pack import Minting, Pack, open_pack, writing
from imagemint.errors import ImagemintError, PackError

NAMES = ["cat", "große Katze", "狗", "none"]  # "none" has no image
MINTING = Minting(
    run="runs/first", checkpoint="ab" * 32, images_seen=640, recipe="demo", seed=3, trained_on="cd" * 32
)


def _pack(
    dest: Path,
    *,
    channels: int = 3,
    names: list[str] = NAMES,
    labels: list[int] | None = None,
    minted: bool = False,
    size: tuple[int, int] = (5, 7),
) -> Pack:
    """A small pack of noise; unlabelled images among the labelled ones."""
    label_array = np.array([2, 0, -1, 1, 0, 2, -1, 1, 1] if labels is None else labels)
    n = len(label_array)
    pixels = np.random.default_rng(n + channels).integers(0, 256, (n, channels, *size), np.uint8)
    columns = {"seed": np.arange(n) + 2**40, "minting": np.where(np.arange(n) == 4, -1, 0)} if minted else {}
    with writing(dest, classes=names, origin="minted" if minted else "real", history=[]) as writer:
        if minted:
            writer.mintings = [MINTING]
        writer.add(pixels, label_array, **columns)
    return open_pack(dest)


def _channels_last(pack: Pack) -> np.ndarray:
    return pack.pixels[:, 0] if pack.channels == 1 else pack.pixels.transpose(0, 2, 3, 1)


def _decoded(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("channels", [1, 3])
def test_folder(tmp_path: Path, channels: int) -> None:
    pack = _pack(tmp_path / "p", channels=channels)
    dest = export(pack, tmp_path / "out", "folder")
    assert _lines(dest / "labels.txt") == pack.classes
    pngs = {str(path.relative_to(dest)): path for path in dest.rglob("*.png")}
    expected = [(f"{pack.classes[k]}/" if k >= 0 else "") + f"{i:06}.png" for i, k in enumerate(pack.labels)]
    assert sorted(pngs) == sorted(expected)
    for name, picture in zip(expected, _channels_last(pack), strict=True):
        np.testing.assert_array_equal(_decoded(pngs[name].read_bytes()), picture)
    assert not (dest / "none").exists()  # an empty folder stops torchvision's loader, and ours
    named = [*pack.classes, "-1"]
    listed = [(line[: line.index(".png") + 4], line[line.index(".png") + 5 :]) for line in _lines(dest / "out.txt")]
    assert sorted(listed) == sorted((name, named[k]) for name, k in zip(expected, pack.labels, strict=True))
    assert [name for name, _ in listed] != expected  # shuffled ...
    again = export(pack, tmp_path / "again", "folder")
    assert _lines(again / "again.txt") == _lines(dest / "out.txt")  # ... always alike, and otherwise by another seed
    other = export(pack, tmp_path / "other", "folder", seed=1)
    assert sorted(_lines(other / "other.txt")) == sorted(_lines(dest / "out.txt"))
    assert _lines(other / "other.txt") != _lines(dest / "out.txt")


def _rows(path: Path) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def test_the_lists_of_a_folder_agree_and_give_indices_and_absolute_paths_on_request(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p", names=['Pepper, "bell"', "b c", "c"], labels=[2, 0, -1, 1, 0])
    plain = export(pack, tmp_path / "plain", "folder")
    numbered = export(pack, tmp_path / "numbered", "folder", indices=True, absolute=True)
    header, *rows = _rows(plain / "plain.csv")
    assert header == ["path", "label"]
    assert [f"{path} {label or -1}" for path, label in rows] == _lines(plain / "plain.txt")
    for path, label in rows:
        index = int(Path(path).stem)
        assert label == ["c", 'Pepper, "bell"', "", "b c", 'Pepper, "bell"'][index]
        np.testing.assert_array_equal(_decoded((plain / path).read_bytes()), pack.pixels[index].transpose(1, 2, 0))
    header, *rows = _rows(numbered / "numbered.csv")
    assert [" ".join(row) for row in rows] == _lines(numbered / "numbered.txt")
    for path, label in rows:
        assert Path(path).is_absolute() and Path(path).is_file()
        assert int(label) == [2, 0, -1, 1, 0][int(Path(path).stem)]
    with pytest.raises(PackError, match="indices with the format npz"):
        export(pack, tmp_path / "x.npz", "npz", indices=True)


def _multiset(pack: Pack) -> list[tuple[str, bytes]]:
    named = [*pack.classes, ""]
    return sorted(
        (named[k], pixels.tobytes()) for k, pixels in zip(pack.labels, np.asarray(pack.pixels), strict=True)
    )


@pytest.mark.parametrize("absolute", [False, True])
def test_a_list_beside_its_images_is_packed_again(tmp_path: Path, absolute: bool) -> None:
    pack = _pack(tmp_path / "p", names=["Pepper,_bell", 'a "b"', "c/d"], labels=[2, 0, 1, 1, 0])
    file = export_list(pack, tmp_path / "new" / "some.csv", absolute=absolute, seed=3)
    assert sorted(path.name for path in file.parent.iterdir()) == ["some-images", "some.csv"]
    assert _multiset(packing.pack(file, tmp_path / "again")) == _multiset(pack)
    assert packing.pack(file.parent / "some-images", tmp_path / "folder").classes == pack.classes
    exported = export(pack, tmp_path / "out", "folder")
    assert _multiset(packing.pack(exported / "out.csv", tmp_path / "third")) == _multiset(pack)


def test_a_list_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p")
    with pytest.raises(PackError, match=r"list.json as the name of a list; wanted a name ending in .csv or .txt"):
        export_list(pack, tmp_path / "list.json")
    (tmp_path / "taken-images").mkdir()
    (tmp_path / "there.csv").touch()
    for name in ("taken.csv", "there.csv"):
        with pytest.raises(PackError, match="already there"):
            export_list(pack, tmp_path / name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["p", "taken-images", "there.csv"]


def test_folder_escapes_what_a_file_system_refuses(tmp_path: Path) -> None:
    names = ["a/b", "..", ".", "../../up", "a\\b", "nul", "COM1.x", "end.", "end ", " start", ".hid", "n\0l", "a\tb"]
    names += [
        "Cat",
        "cat",
        "CAT",
        "50%",
        "%41",
        "A",
        "labels.txt",
        "Out.txt",
        "000000.png",
        'q"*?<>|:',
        "é",
        "e\u0301",
    ]
    pack = _pack(tmp_path / "p", names=names, labels=[*range(len(names)), -1])
    before = {path.name for path in tmp_path.iterdir()}
    dest = export(pack, tmp_path / "out", "folder")
    assert {path.name for path in tmp_path.iterdir()} == before | {"out"}
    folders = [path.name for path in dest.iterdir() if path.is_dir()]
    assert sorted(unquote(name) for name in folders) == sorted(names)
    assert len({name.casefold() for name in folders}) == len(names)
    assert not any(set(name) & set('/\\:*?"<>|\0\t') or name[0] in ". " or name[-1] in ". " for name in folders)
    assert {"Cat", "50%", "A"} <= set(folders)  # what needs no escape has none
    for label, name in enumerate(names):
        (folder,) = (each for each in folders if unquote(each) == name)
        assert (dest / folder / f"{label:06}.png").is_file()


@pytest.mark.parametrize("name", ["", "x" * 256, "語" * 86])
def test_folder_refuses_a_name_that_no_folder_can_have(tmp_path: Path, name: str) -> None:
    pack = _pack(tmp_path / "p", names=["a", name], labels=[0, 1])
    with pytest.raises(PackError, match="edit rename"):
        export(pack, tmp_path / "out", "folder")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_folder_called_labels_keeps_both_lists(tmp_path: Path) -> None:
    dest = export(_pack(tmp_path / "p"), tmp_path / "labels", "folder")
    assert _lines(dest / "labels.txt") == NAMES
    assert len(_lines(dest / "list.txt")) == 9


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("format", FORMATS)
def test_packed_again_it_is_the_same_pack(
    tmp_path: Path, format: str, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow (extra hub) is not installed")
    monkeypatch.setattr(export_module, "SHARD_IMAGES", 4)
    arguments: dict[str, Any] = {}  # unlabelled images, an empty class and no order of classes, as _pack has them
    if format == "folder":  # sorts images by their folders
        arguments = {"names": ["tiger", "Cat", "a/b", "cat", "狗"], "labels": [3, 3, 1, 2, 2, 0, 4]}
    if format == "idx":
        arguments = {"labels": [2, 0, 1, 1, 2]}
        channels = 1
    before = _pack(tmp_path / "p", channels=channels, **arguments)
    dest = export(before, tmp_path / "out.npz", format)
    again = packing.pack(dest, tmp_path / "again")
    if format == "tfrecord":  # shuffled
        assert (again.classes, _multiset(again)) == (before.classes, _multiset(before))
    else:
        assert again.fingerprint == before.fingerprint


def test_folder_packed_again_keeps_labels_and_what_has_none(tmp_path: Path) -> None:
    before = _pack(tmp_path / "p", names=["b", "a"], labels=[0, -1, 1, 0])
    after = packing.pack(export(before, tmp_path / "out", "folder"), tmp_path / "again")

    def content(pack: Pack) -> set[tuple[str, bytes]]:
        names = [pack.classes[k] if k >= 0 else "" for k in pack.labels]
        return {(name, pixels.tobytes()) for name, pixels in zip(names, pack.pixels, strict=True)}

    assert after.classes == before.classes
    assert content(after) == content(before)


@pytest.mark.parametrize("channels", [1, 3])
def test_tfrecord_is_read_by_the_tfrecord_package(tmp_path: Path, channels: int) -> None:
    reader = pytest.importorskip("tfrecord.reader", reason="the tfrecord package (extra hub) is not installed")
    pack = _pack(tmp_path / "p", channels=channels)
    dest = export(pack, tmp_path / "out", "tfrecord")
    assert _lines(dest / "labels.txt") == pack.classes
    (file,) = dest.glob("*.tfrecord")
    assert file.name == "out-00000-of-00001.tfrecord"
    examples = list(reader.tfrecord_loader(str(file), None))
    assert len(examples) == len(pack)
    order = np.random.default_rng(seeds.derive(0, "list")).permutation(len(pack))
    for example, index in zip(examples, order, strict=True):
        picture, label = _channels_last(pack)[index], pack.labels[index]
        assert set(example) == {"image_raw", "height", "width", "channels", "label"}
        assert [int(example[key][0]) for key in ("height", "width", "channels", "label")] == [5, 7, channels, label]
        assert example["image_raw"] == picture.tobytes()


def test_tfrecord_is_read_by_our_own_reader_across_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from imagemint.data import tfrecord

    monkeypatch.setattr(export_module, "SHARD_IMAGES", 4)
    pack = _pack(tmp_path / "p")
    dest = export(pack, tmp_path / "out", "tfrecord")
    names = sorted(path.name for path in dest.glob("*.tfrecord"))
    assert names == [f"out-{k:05}-of-00003.tfrecord" for k in range(3)]
    examples = [example for name in names for example in tfrecord.read(dest / name)]
    got = [(example["label"][0], example["image_raw"][0]) for example in examples]
    expected = [(label, each.tobytes()) for label, each in zip(pack.labels, _channels_last(pack), strict=True)]
    assert got != expected
    assert sorted(got) == sorted(expected)


def test_tfrecords_of_a_pack_sorted_by_class_are_mixed_by_the_seed_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from imagemint.data import tfrecord

    pack = _pack(tmp_path / "p", labels=[0] * 50 + [1] * 50)
    progress.turn_on()
    try:
        first, second, again = (
            [
                example["label"][0]
                for example in tfrecord.read(
                    next(export(pack, tmp_path / name, "tfrecord", seed=seed).glob("*.tfrecord"))
                )
            ]
            for name, seed in (("a", 0), ("b", 1), ("c", 0))
        )
    finally:
        progress.turn_on(False)
    assert 5 <= sum(int(label) for label in first[:20]) <= 15
    assert first == again != second
    assert "the records are shuffled by seed 0" in capsys.readouterr().err


def test_npz_refuses_class_names_that_numpy_would_change(tmp_path: Path) -> None:
    for name in ("end\0", "x" * (1 << 20)):
        names = [name, *map(str, range(300))]
        pack = _pack(tmp_path / str(len(name)), names=names, labels=[0, 1])
        with pytest.raises(PackError, match="names that fit a numpy array"):
            export(pack, tmp_path / "out.npz", "npz")


def test_a_folder_of_100_000_classes_has_one_for_each(tmp_path: Path) -> None:
    names = [f"{'CON' if k % 2 else 'con'}{'.' * (k % 3)}{k // 6}" for k in range(100_000)]
    taken: set[str] = set()
    folders = [to_folder(name, taken) for name in dict.fromkeys(names)]
    assert len({folder.casefold() for folder in folders}) == len(folders)
    pack = _pack(tmp_path / "p", names=list(dict.fromkeys(names)), labels=[0, 5, 99])
    dest = export(pack, tmp_path / "out", "folder")
    assert sum(path.is_dir() for path in dest.iterdir()) == 3


def test_webdataset_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export_module, "SHARD_IMAGES", 4)
    pack = _pack(tmp_path / "p")
    dest = export(pack, tmp_path / "out", "webdataset")
    shards = sorted(dest.glob("*.tar"))
    assert [path.name for path in shards] == ["out-000000.tar", "out-000001.tar", "out-000002.tar"]
    content: dict[str, bytes] = {}
    for shard, count in zip(shards, [4, 4, 1], strict=True):
        with tarfile.open(shard) as tar:
            members = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        assert sum(name.endswith(".png") for name in members) == count
        with tarfile.open(shard) as tar:
            content |= {name: tar.extractfile(name).read() for name in members}  # type: ignore[union-attr]
    for index, (picture, label) in enumerate(zip(_channels_last(pack), pack.labels, strict=True)):
        np.testing.assert_array_equal(_decoded(content.pop(f"{index:08}.png")), picture)
        name = pack.classes[label] if label >= 0 else None
        assert json.loads(content.pop(f"{index:08}.json")) == {"index": index, "label": label, "class": name}
        if label >= 0:
            assert content.pop(f"{index:08}.cls") == str(label).encode()
    assert not content  # so an unlabelled image has no .cls


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # webdataset leaves the shard open
def test_webdataset_is_read_by_the_webdataset_package(tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="the webdataset package (extra hub) is not installed")
    pack = _pack(tmp_path / "p", labels=[1, 0, 2])
    dest = export(pack, tmp_path / "out", "webdataset")
    (shard,) = dest.glob("*.tar")
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode("rgb8"))
    assert [sample["cls"] for sample in samples] == [1, 0, 2]
    assert [sample["json"]["class"] for sample in samples] == [pack.classes[k] for k in (1, 0, 2)]
    np.testing.assert_array_equal(np.stack([sample["png"] for sample in samples]), _channels_last(pack))


@pytest.mark.parametrize("channels", [1, 3])
def test_parquet_is_read_by_datasets(tmp_path: Path, channels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(export_module, "SHARD_IMAGES", 4)
    datasets = pytest.importorskip("datasets", reason="datasets (extra hub) is not installed")
    pack = _pack(tmp_path / "p", channels=channels)
    dest = export(pack, tmp_path / "out", "parquet")
    assert sorted(path.name for path in dest.iterdir()) == [f"train-{k:05}-of-00003.parquet" for k in range(3)]
    data: Any = datasets.load_dataset(
        "parquet", data_files=str(dest / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert data.features["label"].names == pack.classes
    assert data["label"][:] == pack.labels.tolist()
    np.testing.assert_array_equal(np.stack([np.asarray(each) for each in data["image"][:]]), _channels_last(pack))


def test_parquet_without_classes_has_no_labels(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow (extra hub) is not installed")
    dest = export(_pack(tmp_path / "p", names=[], labels=[-1, -1]), tmp_path / "out", "parquet")
    table = parquet.read_table(dest / "train-00000-of-00001.parquet")
    assert table.column_names == ["image"] and table.num_rows == 2


def test_parquet_without_pyarrow_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(PackError, match=r"pip install 'imagemint\[hub\]'"):
        export(_pack(tmp_path / "p"), tmp_path / "out", "parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


@pytest.mark.parametrize("channels", [1, 3])
def test_npz(tmp_path: Path, channels: int) -> None:
    pack = _pack(tmp_path / "p", channels=channels)
    with np.load(export(pack, tmp_path / "out.npz", "npz"), allow_pickle=False) as arrays:
        assert set(arrays) == {"images", "labels", "classes"}
        assert arrays["images"].dtype == np.uint8 and arrays["labels"].dtype == np.int64
        np.testing.assert_array_equal(arrays["images"], _channels_last(pack))
        np.testing.assert_array_equal(arrays["labels"], pack.labels)
        assert arrays["classes"].tolist() == pack.classes


def test_npz_needs_its_ending(tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"write .*out\.npz"):
        export(_pack(tmp_path / "p"), tmp_path / "out", "npz")


def test_idx_is_mnists_format(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p", channels=1, labels=[2, 0, 1, 1])
    dest = export(pack, tmp_path / "out", "idx")
    pictures = (dest / "train-images-idx3-ubyte").read_bytes()
    labels = (dest / "train-labels-idx1-ubyte").read_bytes()
    assert np.frombuffer(pictures[:16], ">i4").tolist() == [2051, 4, 5, 7]  # MNIST's magic numbers
    assert pictures[16:] == pack.pixels.tobytes()
    assert np.frombuffer(labels[:8], ">i4").tolist() == [2049, 4]
    assert list(labels[8:]) == [2, 0, 1, 1]
    assert _lines(dest / "labels.txt") == pack.classes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 3, "labels": [0]}, "imagemint edit grayscale"),
        ({"channels": 1, "labels": [0, -1]}, "1 of 2 images of p have no label"),
        ({"channels": 1, "labels": [256], "names": [f"c{k}" for k in range(257)]}, "257 classes"),
    ],
)
def test_idx_refuses_what_it_cannot_hold(tmp_path: Path, arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(PackError, match=words):
        export(_pack(tmp_path / "p", **arguments), tmp_path / "out", "idx")
    assert [path.name for path in tmp_path.iterdir()] == ["p"]


def test_stylegan(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p", channels=1, labels=[k % 5 - 1 for k in range(1002)], size=(2, 2))
    dest = export(pack, tmp_path / "out", "stylegan")
    content = json.loads((dest / "dataset.json").read_text(encoding="utf-8"))
    names = [f"{k // 1000:05}/img{k:08}.png" for k in range(1002)]
    assert sorted(str(path.relative_to(dest)) for path in dest.rglob("*.png")) == names  # StyleGAN sorts paths
    assert content["classes"] == pack.classes
    labels = dict(content["labels"])
    assert [labels.get(name, -1) for name in names] == pack.labels.tolist()
    pictures = [_decoded((dest / name).read_bytes()) for name in names]
    np.testing.assert_array_equal(np.stack(pictures), _channels_last(pack))


def test_stylegan_without_any_label_says_null(tmp_path: Path) -> None:
    dest = export(_pack(tmp_path / "p", labels=[-1, -1]), tmp_path / "out", "stylegan")
    assert json.loads((dest / "dataset.json").read_text(encoding="utf-8"))["labels"] is None


def _png_bytes(dest: Path, format: str) -> list[bytes]:
    """The PNGs of an export, in the order of the pack."""
    if format == "webdataset":
        with tarfile.open(next(dest.glob("*.tar"))) as tar:
            return [tar.extractfile(n).read() for n in tar.getnames() if n.endswith(".png")]  # type: ignore[union-attr]
    if format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow (extra hub) is not installed")
        (file,) = dest.glob("*.parquet")
        return [row["bytes"] for row in parquet.read_table(file).column("image").to_pylist()]
    return [path.read_bytes() for path in sorted(dest.rglob("*.png"), key=lambda path: path.name)]


@pytest.mark.parametrize("format", ["folder", "webdataset", "parquet", "stylegan"])
def test_minted_images_carry_their_provenance(tmp_path: Path, format: str) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow (extra hub) is not installed")
    pack = _pack(tmp_path / "p", minted=True)
    pngs = _png_bytes(export(pack, tmp_path / "out", format), format)
    assert len(pngs) == len(pack)
    for index, data in enumerate(pngs):
        with Image.open(io.BytesIO(data)) as image:
            text = dict(image.text)  # type: ignore[attr-defined]
        if pack.columns["minting"][index] < 0:
            assert text == {}
            continue
        label = pack.labels[index]
        assert text.get("class") == (pack.classes[label] if label >= 0 else None)
        assert int(text["seed"]) == pack.columns["seed"][index]
        facts = ("run", "checkpoint", "recipe", "trained_on", "images_seen")
        assert {key: text[key] for key in facts} == {key: str(getattr(MINTING, key)) for key in facts}


@pytest.mark.parametrize("format", FORMATS)
def test_nothing_is_overwritten_and_nothing_half_written(
    tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow (extra hub) is not installed")
    pack = _pack(tmp_path / "p", channels=1, labels=[0, 1, 2])
    dest = tmp_path / "new" / "out.npz"
    dest.mkdir(parents=True)
    with pytest.raises(PackError, match="already there"):
        export(pack, dest, format)
    dest.rmdir()

    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pack, "blocks", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(pack, dest, format)
    assert list(dest.parent.iterdir()) == []


def test_an_unknown_format_names_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="folder, tfrecord, webdataset, parquet, npz, idx, stylegan"):
        export(_pack(tmp_path / "p"), tmp_path / "out", "jpeg")


@pytest.mark.parametrize("format", ["folder", "tfrecord", "webdataset"])
def test_a_class_name_of_two_lines_is_refused(tmp_path: Path, format: str) -> None:
    pack = _pack(tmp_path / "p", names=["a", "b\u2028c"], labels=[0, 1])
    with pytest.raises(ImagemintError, match="edit rename"):
        export(pack, tmp_path / "out", format)


@pytest.mark.parametrize("format", ["tfrecord", "npz", "idx", "parquet"])  # the others hold one image at a time
def test_memory_stays_at_a_few_blocks(tmp_path: Path, format: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if format == "parquet":
        pytest.importorskip("pyarrow", reason="pyarrow (extra hub) is not installed")
    png = images.png(np.zeros((1, 1024, 1024), np.uint8))
    monkeypatch.setattr(images, "png", lambda picture, text: png)  # encoding takes long and one image at a time
    with writing(tmp_path / "p", classes=["a"], origin="real", history=[]) as writer:
        for _ in range(7):
            writer.add(np.zeros((32, 1, 1024, 1024), np.uint8), np.zeros(32, np.int64))
    pack = open_pack(tmp_path / "p")
    tracemalloc.start()
    try:
        export(pack, tmp_path / "out.npz", format)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 112 << 20  # of 224 MiB of pixels


def test_minted_images_are_not_taken_for_real_ones_when_they_come_back(tmp_path: Path) -> None:
    for minted, origin in ((True, "mixed"), (False, "real")):  # of the minted pack one image is not minted
        folder = export(_pack(tmp_path / f"p{minted}", minted=minted), tmp_path / f"out{minted}", "stylegan")
        assert packing.pack(folder, tmp_path / f"back{minted}").manifest.origin == origin
