"""Arrays: digits, IDX, CIFAR and npz, each against the numbers that went in."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from imagemint.data.packing import pack
from tests.data.test_sources_files import put, refused, tarred, zipped

RNG = np.random.default_rng(0)


def test_digits_are_scikit_learns_on_the_full_scale(tmp_path: Path) -> None:
    made = pack("digits", tmp_path / "p")
    data = load_digits()
    assert made.pixels.shape == (1797, 1, 8, 8)
    assert made.classes == [str(k) for k in range(10)]
    assert (np.asarray(made.labels) == data.target).all()
    expected = np.array([round(v * 255 / 16) for v in range(17)])[data.images.astype(int)]
    assert (np.asarray(made.pixels)[:, 0] == expected).all()
    assert pack("digits", tmp_path / "q").fingerprint == made.fingerprint


def test_digits_resized_and_in_colour(tmp_path: Path) -> None:
    made = pack("digits", tmp_path / "p", size=(16, 12), channels=3, fit="stretch")
    assert made.pixels.shape == (1797, 3, 16, 12)
    assert (made.pixels[:, 0] == made.pixels[:, 1]).all()


def test_digits_is_built_in_even_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert len(pack("digits", "p")) == 1797
    refused(Path("digits"), tmp_path, "digits is empty")


# --- IDX


def idx(values: np.ndarray, kind: int = 8) -> bytes:
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, kind, values.ndim, *values.shape)
    return header + values.astype({8: ">u1", 0x0C: ">i4", 0x0D: ">f4"}[kind]).tobytes()


IMAGES, LABELS = RNG.integers(0, 256, (7, 5, 4), np.uint8), np.array([0, 1, 2, 2, 1, 0, 2])


def mnist(*splits: str) -> dict[str, bytes]:
    files = {}
    for split in splits:
        files[f"{split}-images-idx3-ubyte"] = idx(IMAGES)
        files[f"{split}-labels-idx1-ubyte"] = idx(LABELS)
    return files


def test_idx_plain_gzipped_zipped_and_with_dots(tmp_path: Path) -> None:
    files = mnist("train")
    sources = [
        put(tmp_path / "plain", files),
        put(tmp_path / "gz", {f"{name}.gz": gzip.compress(data) for name, data in files.items()}),
        put(tmp_path / "dots", {name.replace("-idx", ".idx"): data for name, data in files.items()}),
        put(tmp_path / "deep", {f"MNIST/raw/{name}": data for name, data in files.items()}),
        zipped(tmp_path / "a.zip", {f"{name}.gz": gzip.compress(data) for name, data in files.items()}),
    ]
    for k, source in enumerate(sources):
        made = pack(source, tmp_path / f"{k}.pack")
        assert (np.asarray(made.pixels)[:, 0] == IMAGES).all()
        assert (made.labels.tolist(), made.classes) == (LABELS.tolist(), ["0", "1", "2"])


def test_idx_split_is_asked_for_where_there_are_two(tmp_path: Path) -> None:
    both = put(tmp_path / "in", mnist("train", "t10k"))
    refused(both, tmp_path, "splits train, test; wanted one of them; choose, for example --split train")
    refused(both, tmp_path, "no split 'dev' but train, test", split="dev")
    for split in ("train", "test"):
        assert len(pack(both, tmp_path / split, split=split)) == 7
    only = put(tmp_path / "only", mnist("t10k"))
    assert len(pack(only, tmp_path / "p")) == 7
    refused(only, tmp_path, "no split 'train' but test", split="train")


def test_idx_in_colour_and_with_names(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (3, 5, 4, 3), np.uint8)
    files = {"images-idx4-ubyte": idx(colour), "labels-idx1-ubyte": idx(np.array([1, 0, -1]), 0x0C)}
    made = pack(put(tmp_path / "in", files | {"labels.txt": b"cat\ndog\n"}), tmp_path / "p")
    assert (np.asarray(made.pixels) == colour.transpose(0, 3, 1, 2)).all()
    assert (made.labels.tolist(), made.classes) == ([1, 0, -1], ["cat", "dog"])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"train-labels-idx1-ubyte": None}, "but not its labels"),
        ({"train-images-idx3-ubyte": None}, "but not its images"),
        ({"train-labels-idx1-ubyte": idx(LABELS[:5])}, "7 images and 5 labels"),
        ({"train-images-idx3-ubyte": idx(IMAGES)[:-3]}, "damaged .*ends within image 6 of 7"),
        ({"train-images-idx3-ubyte": idx(IMAGES) + b"x"}, "damaged .*longer"),
        ({"train-images-idx3-ubyte": b"hello, this is text"}, "damaged .*not an IDX file"),
        ({"train-images-idx3-ubyte": b"\0\0"}, "damaged"),
        ({"train-images-idx3-ubyte": idx(IMAGES.astype(np.float32), 0x0D)}, "not an IDX file of whole numbers"),
        ({"train-images-idx3-ubyte": idx(IMAGES, 0x0C)}, "is >i4 .*wanted uint8"),
        ({"train-images-idx3-ubyte": b"\0\0\x08\x03" + b"\xff" * 12}, "damaged|4,294,967,295"),
        (
            {"train-images-idx3-ubyte": b"\0\0\x08\x03\0\0\0\x07" + b"\xff" * 8},
            "images of 18,446,744,065,119,617,025 bytes",
        ),
        ({"emnist-test-images-idx3-ubyte": idx(IMAGES)}, r"IDX files of \(no prefix\), emnist-; wanted one data set"),
        ({"train-labels-idx1-ubyte": idx(np.array([0, -2, 1, 1, 1, 1, 1]), 0x0C)}, "label -2"),
    ],
)
def test_idx_that_cannot_be_meant(tmp_path: Path, change: dict[str, bytes | None], words: str) -> None:
    files = {name: data for name, data in (mnist("train") | change).items() if data is not None}
    refused(put(tmp_path / "in", files), tmp_path, words)


def test_qmnist_takes_the_first_of_eight_columns(tmp_path: Path) -> None:
    about = np.column_stack([LABELS, *[LABELS + 100 + k for k in range(7)]])
    files = {
        "qmnist-test-images-idx3-ubyte.gz": gzip.compress(idx(IMAGES)),
        "qmnist-test-labels-idx2-int.gz": gzip.compress(idx(about, 0x0C)),
    }
    made = pack(put(tmp_path / "in", files), tmp_path / "p")
    assert (made.labels.tolist(), made.classes) == (LABELS.tolist(), ["0", "1", "2"])
    assert any("8 columns" in remark for remark in made.manifest.remarks)
    two = {"train-images-idx3-ubyte": idx(IMAGES), "train-labels-idx2-int": idx(about[:, :2], 0x0C)}
    refused(put(tmp_path / "two", two), tmp_path, r"has the shape \[7, 2\]; wanted \[7\], one label per image")
    one = {"train-images-idx3-ubyte": idx(IMAGES), "train-labels-idx2-int": idx(about[:, :1], 0x0C)}
    assert pack(put(tmp_path / "one", one), tmp_path / "q").fingerprint == made.fingerprint


def test_emnist_stands_upright_and_is_called_by_its_characters(tmp_path: Path) -> None:
    files = {
        "emnist-letters-train-images-idx3-ubyte": idx(IMAGES),
        "emnist-letters-train-labels-idx1-ubyte": idx(LABELS + 1),
        "emnist-letters-mapping.txt": b"1 65 97\n2 66 98\n3 67 99\n4 68 100\n",
    }
    made = pack(put(tmp_path / "in", files), tmp_path / "p")
    assert (np.asarray(made.pixels)[:, 0] == IMAGES.transpose(0, 2, 1)).all()
    assert (made.labels.tolist(), made.classes) == (LABELS.tolist(), ["A", "B", "C", "D"])
    remarks = " / ".join(made.manifest.remarks)
    assert "lie on their side" in remarks and "no image of D" in remarks
    del files["emnist-letters-mapping.txt"]
    numbered = pack(put(tmp_path / "numbered", files), tmp_path / "q")
    assert (numbered.labels.tolist(), numbered.classes) == ((LABELS + 1).tolist(), ["0", "1", "2", "3"])
    assert "no image of class 0" in numbered.manifest.remarks
    files["emnist-letters-mapping.txt"] = b"1 65\n2 66\n"
    refused(put(tmp_path / "short", files), tmp_path, "label 3 is not in emnist-letters-mapping.txt")


def test_arrays_that_unpack_to_hundreds_of_times_their_size(tmp_path: Path) -> None:
    count = 20 << 20
    images = gzip.compress(struct.pack(">4B3I", 0, 0, 8, 3, count, 1, 1) + bytes(count), 1)
    labels = gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, count) + bytes(count), 1)
    files = {"train-images-idx3-ubyte.gz": images, "train-labels-idx1-ubyte.gz": labels}
    refused(put(tmp_path / "in", files), tmp_path, "unpacks to 20,971,520 bytes .* at most 200 times its size")
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((20, 1024, 1024), np.uint8))
    refused(tmp_path / "a.npz", tmp_path, "unpacks to .* at most 200 times its size")


def test_idx_cut_short_while_compressed(tmp_path: Path) -> None:
    files = {f"{name}.gz": gzip.compress(data)[:-9] for name, data in mnist("train").items()}
    refused(put(tmp_path / "in", files), tmp_path, "damaged")


def test_real_mnist(tmp_path: Path, shared_data: Path) -> None:
    made = pack(shared_data / "mnist", tmp_path / "p", split="test")
    assert made.pixels.shape == (10_000, 1, 28, 28)
    assert list(made.counts().values()) == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert int(made.pixels[0].astype(int).sum()) == 18454  # the seven that MNIST's test set starts with


# --- CIFAR

ROWS = RNG.integers(0, 256, (4, 3072), np.uint8)


def check_cifar(source: Path, tmp_path: Path, name: str, classes: list[str], **options: Any) -> None:
    made = pack(source, tmp_path / name, **options)
    assert (np.asarray(made.pixels) == ROWS.reshape(-1, 3, 32, 32)).all()
    assert (made.labels.tolist(), made.classes) == ([2, 0, 1, 2], classes)


def test_cifar_python_and_binary(tmp_path: Path) -> None:
    names = ["plane", "car", "bird"]
    halves = [{b"data": ROWS[k : k + 2], b"labels": [[2, 0], [1, 2]][k // 2]} for k in (0, 2)]
    python = {f"cifar/data_batch_{k + 1}": pickle.dumps(half, 2) for k, half in enumerate(halves)}
    python["cifar/test_batch"] = pickle.dumps({b"data": ROWS[:1], b"labels": [0]}, 2)
    python["cifar/batches.meta"] = pickle.dumps({b"label_names": [name.encode() for name in names]}, 2)
    binary = {
        "data_batch_1.bin": np.c_[np.array([2, 0, 1, 2], np.uint8), ROWS].tobytes(),
        "batches.meta.txt": "\n".join([*names, ""]).encode(),
    }
    check_cifar(put(tmp_path / "py", python), tmp_path, "a", names, split="train")
    check_cifar(tarred(tmp_path / "py.tar.gz", python, "w:gz"), tmp_path, "b", names, split="train")
    check_cifar(put(tmp_path / "bin", binary), tmp_path, "c", names)
    refused(tmp_path / "py", tmp_path, "splits train, test")


def test_cifar_100_takes_the_fine_labels(tmp_path: Path) -> None:
    names = ["apple", "bear", "can"]
    python = {
        "train": pickle.dumps({b"data": ROWS, b"fine_labels": [2, 0, 1, 2], b"coarse_labels": [0] * 4}, 2),
        "meta": pickle.dumps({b"fine_label_names": [each.encode() for each in names], b"coarse_label_names": [b"x"]}),
    }
    coarse_and_fine = np.array([[0, 2], [0, 0], [0, 1], [0, 2]], np.uint8)
    binary = {"test.bin": np.c_[coarse_and_fine, ROWS].tobytes(), "fine_label_names.txt": "\n".join(names).encode()}
    check_cifar(put(tmp_path / "py", python), tmp_path, "a", names)
    check_cifar(put(tmp_path / "bin", binary), tmp_path, "b", names, split="test")


class _Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_wants_more_than_arrays_is_refused_and_not_run(tmp_path: Path) -> None:
    evil = pickle.dumps({b"data": ROWS, b"labels": _Evil(tmp_path / "evil")}, 2)
    refused(put(tmp_path / "in", {"data_batch_1": evil}), tmp_path, r"not a CIFAR batch \(it asks for posix.mkdir\)")
    assert not (tmp_path / "evil").exists()


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": [0]}, 2), "4 images and 1 label;"),
        ("data_batch_1", pickle.dumps({b"data": ROWS[:, :9], b"labels": [0] * 4}, 2), "has no data"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": [0.5] * 4}, 2), "labels such as 0.5"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": [[1]] * 4}, 2), r"labels such as \[1\]"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": [[1], 2, 3, 4]}, 2), r"labels such as \[1\]"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": [True] * 4}, 2), "labels such as True"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": np.ones((4, 2), int)}), r"of the shape \[4, 2\]"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": np.array(3)}), r"of the shape \[\]"),
        ("data_batch_1", pickle.dumps({b"data": ROWS, b"labels": [2**64] * 4}, 2), "label of 65 bits"),
        ("data_batch_1", pickle.dumps({b"data": ROWS}, 2), "no labels"),
        ("data_batch_1", pickle.dumps([1], 2), "holds a list"),
        ("data_batch_1", pickle.dumps({b"data": ROWS}, 2)[:1000], "no whole pickle"),
        ("data_batch_1", b"", "no whole pickle"),
        ("data_batch_1.bin", b"x" * 3000, "3,000 bytes; wanted rows of 3,073 bytes"),
    ],
)
def test_cifar_that_cannot_be_meant(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    refused(put(tmp_path / "in", {name: content}), tmp_path, words)


# --- npz


def npz(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_npz_layouts(tmp_path: Path) -> None:
    colour = RNG.integers(0, 256, (5, 3, 6, 4), np.uint8)
    labels = np.array([0, 1, 1, -1, 0])
    last = pack(npz(tmp_path / "a.npz", images=colour.transpose(0, 2, 3, 1), labels=labels), tmp_path / "a")
    first = pack(npz(tmp_path / "b.npz", X=colour, y=labels[:, None]), tmp_path / "b")
    assert (np.asarray(last.pixels) == colour).all() and last.fingerprint == first.fingerprint
    assert (last.labels.tolist(), last.classes) == (labels.tolist(), ["0", "1"])
    gray = pack(npz(tmp_path / "c.npz", pixels=colour[:, 0], labels=labels, classes=["x", "y"]), tmp_path / "c")
    assert (np.asarray(gray.pixels)[:, 0] == colour[:, 0]).all() and gray.classes == ["x", "y"]
    named = pack(npz(tmp_path / "d.npz", x=colour[:, 0], y=["b", "a", "", "b", "b"]), tmp_path / "d")
    assert (named.labels.tolist(), named.classes) == ([1, 0, -1, 1, 1], ["a", "b"])
    bare = pack(npz(tmp_path / "e.npz", images=colour), tmp_path / "e")
    assert (bare.labels.tolist(), bare.classes) == ([-1] * 5, [])


def test_npz_splits_as_keras_and_medmnist_write_them(tmp_path: Path) -> None:
    train, test = RNG.integers(0, 256, (2, 3, 4, 4), np.uint8)
    zero = np.zeros(3, int)
    keras = npz(tmp_path / "k.npz", x_train=train, y_train=zero, x_test=test, y_test=zero)
    med = npz(tmp_path / "m.npz", train_images=train, train_labels=zero[:, None], test_images=test, test_labels=zero)
    for source in (keras, med):
        refused(source, tmp_path, "splits train, test")
        for split, expected in (("train", train), ("test", test)):
            made = pack(source, tmp_path / f"{source.name}.{split}", split=split)
            assert (np.asarray(made.pixels)[:, 0] == expected).all()


U8 = np.zeros((2, 4, 4), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (
            {"images": U8 / 255, "labels": [0, 1]},
            r"images of .* is float64 \[2, 4, 4\] with values from 0 to 0; wanted uint8",
        ),
        ({"images": U8.astype(np.uint16), "labels": [0, 1]}, "is uint16"),
        ({"images": U8.reshape(2, 16), "labels": [0, 1]}, r"\[2, 16\]"),
        ({"images": np.zeros((2, 4, 4, 4), np.uint8), "labels": [0, 1]}, r"\[2, 4, 4, 4\]"),
        ({"images": U8, "labels": [0, 1, 1]}, r"labels of .* has the shape \[3\]; wanted \[2\]"),
        ({"images": U8, "labels": [[0, 1], [1, 0]]}, r"has the shape \[2, 2\]"),
        ({"images": U8, "labels": [0.0, 1.0]}, "labels of .* are float64"),
        ({"images": U8, "labels": [0, 3], "classes": ["a"]}, "label 3 but names 1 classes"),
        ({"images": U8[:0], "labels": []}, "has no image"),
        ({"pictures": U8}, "holds pictures; wanted images and labels"),
        ({"images": U8 / np.nan, "labels": [0, 1]}, "32 values of it are NaN"),
        (
            {"images": U8 + 0.5, "labels": [0, 1]},
            r"if they run from 0 to 1, save \(images \* 255\)",
        ),
        ({"images": U8 - 0.5, "labels": [0, 1]}, r"if they run from -1 to 1, save \(\(images \+ 1\) \* 127.5\)"),
        ({"images": U8 + 200.0, "labels": [0, 1]}, r"if they run from 0 to 255, save images.round\(\)"),
        ({"images": U8 > 0, "labels": [0, 1]}, r"is bool .*astype\(numpy.uint8\) \* 255"),
        ({"images": U8.reshape(2, 16), "labels": [0, 1]}, r"reshape it to \[n, 4, 4\]"),
        ({"images": U8, "labels": np.array(["a", None])}, r"Python objects.*labels.astype\(str\)"),
        ({"images": U8, "labels": [[0, 1], [1, 0]]}, r"labels.argmax\(1\)"),
        ({"images": U8, "labels": np.array([2**63, 0], np.uint64)}, "label 9223372036854775808"),
        ({"images": U8, "labels": ["9" * 5000, "1"]}, "5,000 characters"),
        ({"images": U8, "labels": ["\ud800", "a"]}, "not valid Unicode"),
        ({"images": U8, "labels": np.array([b"a\xff", b"b"])}, "not valid text"),
        ({"images": U8, "labels": [0, 1], "classes": ["a", "a"]}, "names a more than once"),
        ({"images": U8, "labels": [0, 1], "classes": ["\ud800", "a"]}, "not valid Unicode"),
        ({"images": U8, "labels": [0, 1], "classes": np.array(["a", None])}, "classes of .* Python objects"),
        ({"images": np.array([{}, None]), "labels": [0, 1]}, "array of Python objects"),
    ],
)
def test_npz_that_cannot_be_meant(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    refused(npz(tmp_path / "a.npz", **arrays), tmp_path, words)


def test_npz_in_fortran_order_and_of_other_byte_orders(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (5, 3, 4), np.uint8)
    labels = np.array([1, 0, 1, 1, 0])
    plain = pack(npz(tmp_path / "a.npz", images=images, labels=labels), tmp_path / "p")
    odd = npz(tmp_path / "b.npz", images=np.asfortranarray(images), labels=labels.astype(">i4"))
    assert (np.asarray(plain.pixels)[:, 0] == images).all()
    assert pack(odd, tmp_path / "q").fingerprint == plain.fingerprint


def test_npz_labels_that_pandas_turned_into_text(tmp_path: Path) -> None:
    made = pack(
        npz(tmp_path / "a.npz", images=np.zeros((3, 2, 2), np.uint8), y=["cat", "nan", "dog"]), tmp_path / "p"
    )
    assert (made.labels.tolist(), made.classes) == ([0, -1, 1], ["cat", "dog"])
    assert any("nan" in remark for remark in made.manifest.remarks)


def test_npz_says_which_arrays_it_leaves(tmp_path: Path) -> None:
    made = pack(npz(tmp_path / "a.npz", images=U8, labels=[0, 1], boxes=[1, 2]), tmp_path / "p")
    assert [remark for remark in made.manifest.remarks if remark.endswith("not used: boxes")]


def test_npz_labels_that_begin_at_one(tmp_path: Path) -> None:
    made = pack(npz(tmp_path / "a.npz", images=U8, labels=[1, 2]), tmp_path / "p")
    assert (made.labels.tolist(), made.classes) == ([1, 2], ["0", "1", "2"])
    assert "no image of class 0" in made.manifest.remarks


def npy(shape: str, values: bytes = b"") -> bytes:
    header = f"{{'descr':'|u1','fortran_order':False,'shape':{shape}}}\n".encode()
    return b"\x93NUMPY\1\0" + struct.pack("<H", len(header)) + header + values


@pytest.mark.parametrize(
    "images",
    [
        b"hello",
        npy("(2,2,2)", bytes(7)),
        npy("(2,2,2)", bytes(9)),
        npy("(99999999999999999999999,8,8)"),
        npy("(True,2,2)", bytes(4)),
        npy("(-1,2,2)", bytes(4)),
        npy("(2,", bytes(4)),
        b"\x93NUMPY\1\0" + struct.pack("<H", 9000) + b"(" * 9000,
        b"\x93NUMPY\7\0" + bytes(100),
    ],
)
def test_npz_of_arrays_that_are_none(tmp_path: Path, images: bytes) -> None:
    refused(zipped(tmp_path / "a.npz", {"images.npy": images}), tmp_path, "a.npz is damaged")


def test_npz_with_a_password(tmp_path: Path) -> None:
    whole = bytearray(npz(tmp_path / "a.npz", images=U8).read_bytes())
    whole[whole.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "b.npz").write_bytes(whole)
    refused(tmp_path / "b.npz", tmp_path, "is encrypted")


def test_npz_that_is_damaged(tmp_path: Path) -> None:
    whole = npz(tmp_path / "a.npz", images=RNG.integers(0, 256, (9, 20, 20), np.uint8)).read_bytes()
    for content in (whole[:-50], whole[:2000], whole[:100] + whole[120:], b"text", b""):
        (tmp_path / "b.npz").write_bytes(content)
        refused(tmp_path / "b.npz", tmp_path, "b.npz is damaged")
