from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imagemint.data.pack import Pack, Step, check_absent, open_pack, writing
from imagemint.errors import PackError


def write(dest: Path, pixels: np.ndarray, labels: np.ndarray, classes: list[str], block: int = 3) -> Pack:
    with writing(dest, classes=classes, origin="real", history=[Step(command="test")]) as writer:
        for start in range(0, len(labels), block):
            writer.add(pixels[start : start + block], labels[start : start + block])
    return writer.pack()


@pytest.fixture
def some(tmp_path: Path) -> Pack:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), np.uint8)
    return write(tmp_path / "some.pack", pixels, np.array([0, 1, 1, -1, 0, 1, 1]), ["cat", "dog"])


def test_a_pack_gives_back_what_was_put_in(some: Pack) -> None:
    expected = np.random.default_rng(0).integers(0, 256, (7, 3, 4, 5), np.uint8)
    assert np.array_equal(some.pixels, expected)
    assert isinstance(some.pixels, np.memmap)
    assert some.counts() == {"cat": 2, "dog": 4}
    assert some.unlabelled() == 1
    assert (some.size, some.channels, len(some)) == ((4, 5), 3, 7)


def test_the_fingerprint_is_of_the_data_and_not_of_how_it_was_written(some: Pack, tmp_path: Path) -> None:
    pixels, labels = np.array(some.pixels), np.array(some.labels)
    assert write(tmp_path / "b", pixels, labels, ["cat", "dog"], block=7).fingerprint == some.fingerprint
    assert write(tmp_path / "c", pixels, labels, ["cat", "cow"]).fingerprint != some.fingerprint
    assert write(tmp_path / "d", pixels, labels[::-1].copy(), ["cat", "dog"]).fingerprint != some.fingerprint
    pixels[3, 1, 2, 2] ^= 1
    assert write(tmp_path / "e", pixels, labels, ["cat", "dog"]).fingerprint != some.fingerprint


def test_blocks_cover_the_pack_once_in_order(some: Pack) -> None:
    image = 3 * 4 * 5
    blocks = list(some.blocks(block_bytes=2 * image))
    assert [len(block) for block in blocks] == [2, 2, 2, 1]
    assert np.array_equal(np.concatenate(blocks), np.arange(7))


def test_nothing_opens_and_nothing_is_left_when_writing_is_interrupted(tmp_path: Path) -> None:
    dest = tmp_path / "half.pack"

    def interrupted() -> None:
        with writing(dest, classes=["a"], origin="real", history=[]) as writer:
            writer.add(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(PackError, match="no pack at"):
        open_pack(dest)


def test_a_pack_is_never_overwritten(some: Pack) -> None:
    with pytest.raises(PackError, match="already there"), writing(some.path, classes=[], origin="real", history=[]):
        raise AssertionError("the block must not be entered")
    assert open_pack(some.path).fingerprint == some.fingerprint


def test_two_classes_of_one_name_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    for classes in (["a", "b", "a"], ["a\udcff"]):
        with (
            pytest.raises(PackError, match=r"more than one class is called 'a'|'a\\udcff'"),
            writing(tmp_path / "x", classes=classes, origin="real", history=[]),
        ):
            raise AssertionError("the block must not be entered")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_pack_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(PackError, match="no image is left"),
        writing(tmp_path / "x", classes=["a"], origin="real", history=[]),
    ):
        pass


@pytest.mark.parametrize("cut", [0, 1, 40, -2])
def test_a_manifest_that_is_cut_short_is_named(some: Pack, cut: int) -> None:
    file = some.path / "manifest.json"
    file.write_bytes(file.read_bytes()[:cut])
    with pytest.raises(PackError, match=r"manifest\.json is damaged.*make the pack some\.pack again"):
        open_pack(some.path)


def test_arrays_that_do_not_fit_the_manifest_are_named(some: Pack) -> None:
    np.save(some.path / "labels.npy", np.zeros(6, np.int64))
    with pytest.raises(PackError, match=r"labels\.npy holds int64 \[6\]; wanted int64 \[7\]"):
        open_pack(some.path)
    np.save(some.path / "labels.npy", np.full(7, 2))
    with pytest.raises(PackError, match=r"holds 2; wanted -1\.\.1"):
        open_pack(some.path)
    (some.path / "labels.npy").unlink()
    with pytest.raises(PackError, match="is missing"):
        open_pack(some.path)


def test_pixels_that_are_cut_short_are_named(some: Pack) -> None:
    file = some.path / "pixels.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(PackError, match=r"pixels\.npy is damaged"):
        open_pack(some.path)


def test_pickled_arrays_are_refused(some: Pack) -> None:
    np.save(some.path / "labels.npy", np.array([{"a": 1}] * 7, dtype=object), allow_pickle=True)
    with pytest.raises(PackError, match="is damaged"):
        open_pack(some.path)


def test_a_manifest_with_an_unknown_key_is_refused(some: Pack) -> None:
    file = some.path / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "colour": "red"}))
    with pytest.raises(PackError, match="colour"):
        open_pack(some.path)


def header(array: bytes, old: bytes, new: bytes) -> bytes:
    """An .npy file with another header of the same length."""
    return array.replace(old, new.ljust(len(old)))


def zipped(_: bytes) -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.zeros(3))
    return file.getvalue()


DAMAGED: dict[str, Callable[[bytes], bytes]] = {
    "a zip": zipped,
    "empty": lambda data: b"",
    "half a header": lambda data: data[:30],
    "open brackets": lambda data: data[:10] + b"(" * 60 + data[70:],
    "a negative side": lambda data: header(data, b"(7,", b"(-7"),
    "another version": lambda data: data[:6] + b"\x02" + data[7:],
    "one byte more": lambda data: data + b"x",
    "one byte less": lambda data: data[:-1],
    "a number of 5,000 digits": lambda data: header(data, b"(7,", b"(" + b"7" * 5000 + b","),
}


@pytest.mark.parametrize("name", ["pixels.npy", "labels.npy"])
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_file_that_is_no_array_is_damaged(some: Pack, name: str, damage: str) -> None:
    file = some.path / name
    file.write_bytes(DAMAGED[damage](file.read_bytes()))
    with pytest.raises(PackError, match=rf"{name} is damaged: it .*; make the pack some\.pack again"):
        open_pack(some.path)


@pytest.mark.parametrize("name", ["pixels.npy", "labels.npy"])
def test_only_a_regular_file_is_an_array(some: Pack, name: str) -> None:
    file = some.path / name
    file.unlink()
    makers: list[Callable[[], None]] = [lambda: file.mkdir(), lambda: os.symlink(file, file)]
    makers += [lambda: os.mkfifo(file)] if hasattr(os, "mkfifo") else []
    for make in makers:
        make()
        with pytest.raises(PackError, match=rf"{name} is damaged: it (is|cannot)"):
            open_pack(some.path)
        file.rmdir() if file.is_dir() else file.unlink()


def test_pixels_in_another_order_of_axes_are_refused(some: Pack) -> None:
    np.save(some.path / "pixels.npy", np.asfortranarray(some.pixels))
    with pytest.raises(PackError, match="in Fortran's order"):
        open_pack(some.path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ["cat", "cat"]}, "more than one class is called 'cat'"),
        ({"columns": ["labels"]}, "'labels' cannot be the name of a column"),
        ({"columns": ["../../secret"]}, "cannot be the name of a column"),
        ({"columns": ["seed", "seed"]}, "not twice"),
        ({"history": [{"command": "x", "parameters": {"a": float("nan")}}]}, "NaN is no JSON number"),
        ({"images": 10**30}, r"pixels\.npy holds uint8 \[7, 3, 4, 5\]"),
        ({"images": -7}, "images"),
        ({"size": [0, 5]}, "size"),
        ({"size": [-4, -5]}, "size"),
        ({"classes": ["a\ud800", "b"]}, "class name"),
    ],
)
def test_a_manifest_that_cannot_be_is_refused(some: Pack, change: dict[str, object], message: str) -> None:
    file = some.path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(PackError, match=rf"{message}.*make the pack some\.pack again"):
        open_pack(some.path)


def test_a_manifest_nested_without_end_is_refused(some: Pack) -> None:
    (some.path / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(PackError, match="nested too deeply"):
        open_pack(some.path)


def test_a_minting_that_the_manifest_does_not_list_is_refused(tmp_path: Path) -> None:
    with writing(tmp_path / "p", classes=["a"], origin="minted", history=[]) as writer:
        writer.add(np.zeros((2, 1, 2, 2), np.uint8), np.zeros(2, np.int64), minting=np.array([-1, 0]))
    with pytest.raises(PackError, match=r"minting\.npy of .* holds 0"):
        open_pack(tmp_path / "p")


def test_a_file_that_vanishes_after_opening_is_named(some: Pack) -> None:
    (some.path / "pixels.npy").unlink()
    with pytest.raises(PackError, match=r"pixels\.npy has gone; wanted the file that was opened"):
        some.read(np.array([0]))


def test_nothing_is_made_below_a_file(some: Pack) -> None:
    below = some.path / "manifest.json" / "new" / "pack"
    with pytest.raises(PackError, match=r"would lie below .*manifest\.json, which is a file"):
        check_absent(below)
