from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from imagemint.data.pack import Pack, Step, open_pack, writing
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
