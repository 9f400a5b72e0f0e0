"""Laws of the edits: what goes in comes out, and nothing else."""

from __future__ import annotations

import errno
import math
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from imagemint.cli_edit import app
from imagemint.data import edit, packing
from imagemint.data.pack import Pack, open_pack
from imagemint.data.rewriting import apportion
from imagemint.errors import ArgumentError, ImagemintError, PackError
from tests.data.edit_packs import drawn, folder, make, minting, multiset, noise

laws = settings(max_examples=20, deadline=None)


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """Twelve images: 3 of a, 4 of b, 5 of c; the columns of minted images."""
    labels = [0, 1, 2, 0, 1, 2, 0, 1, 2, 1, 2, 2]
    columns = {"seed": list(range(100, 112)), "minting": [0, 1] * 6}
    return make(
        tmp_path / "pack", noise(12), labels, origin="minted", mintings=[minting("x"), minting("y")], columns=columns
    )


def csv(pack: Pack, text: str) -> Path:
    path = pack.path.parent / "table.csv"
    path.write_text(text, encoding="utf-8")
    return path


EVERY_VERB: dict[str, Callable[[Pack, Path], Pack]] = {
    "slice": lambda pack, dest: edit.slice(pack, dest, per_class=2),
    "balance": lambda pack, dest: edit.balance(pack, dest, "over"),
    "filter": lambda pack, dest: edit.filter(pack, dest, csv(pack, "3\n1\n")),
    "dedup": lambda pack, dest: edit.dedup(pack, dest),
    "resize": lambda pack, dest: edit.resize(pack, dest, 9, 4),
    "tile": lambda pack, dest: edit.tile(pack, dest, 2),
    "crop": lambda pack, dest: edit.crop(pack, dest, 2),
    "invert": lambda pack, dest: edit.invert(pack, dest),
    "grayscale": lambda pack, dest: edit.grayscale(pack, dest),
    "blur": lambda pack, dest: edit.blur(pack, dest, 1),
    "rename": lambda pack, dest: edit.rename(pack, dest, {"a": "z"}),
    "drop": lambda pack, dest: edit.drop(pack, dest, ["b"]),
    "relabel": lambda pack, dest: edit.relabel(pack, dest, csv(pack, "index,label\n0,new\n")),
    "unlabel": lambda pack, dest: edit.unlabel(pack, dest, 1),
}


@pytest.mark.parametrize("verb", EVERY_VERB)
def test_every_edit_carries_columns_mintings_and_history(pack: Pack, tmp_path: Path, verb: str) -> None:
    after = EVERY_VERB[verb](pack, tmp_path / "after")
    step = after.manifest.history[-1]
    assert after.manifest.history[:-1] == pack.manifest.history
    assert (step.command, step.parents) == (f"edit {verb}", [pack.fingerprint])
    assert after.manifest.mintings == pack.manifest.mintings
    assert after.manifest.origin == "minted"
    seeds_before = np.asarray(pack.columns["seed"]).tolist()
    for seed, run in zip(after.columns["seed"], after.columns["minting"], strict=True):
        assert run == pack.columns["minting"][seeds_before.index(seed)]


@pytest.mark.parametrize("verb", EVERY_VERB)
def test_no_edit_overwrites_anything(pack: Pack, verb: str) -> None:
    with pytest.raises(PackError, match="already there"):
        EVERY_VERB[verb](pack, pack.path)
    assert open_pack(pack.path).fingerprint == pack.fingerprint


NUMPYS: dict[str, Callable[[Pack, Path], Pack]] = {
    "slice": lambda pack, dest: edit.slice(pack, dest, per_class=np.int64(2), seed=np.uint8(3)),  # type: ignore[arg-type]
    "fraction": lambda pack, dest: edit.slice(pack, dest, fraction=np.float32(0.5)),  # type: ignore[arg-type]
    "balance": lambda pack, dest: edit.balance(pack, dest, seed=np.int64(2)),  # type: ignore[arg-type]
    "filter": lambda pack, dest: edit.filter(
        pack,
        dest,
        csv(pack, "index,score\n1,2\n"),
        at_least=np.float32(1),  # type: ignore[arg-type]
        at_most=np.int8(3),  # type: ignore[arg-type]
    ),
    "resize": lambda pack, dest: edit.resize(pack, dest, np.int64(9), np.int32(4)),  # type: ignore[arg-type]
    "tile": lambda pack, dest: edit.tile(pack, dest, np.int64(2)),  # type: ignore[arg-type]
    "crop": lambda pack, dest: edit.crop(pack, dest, np.int64(2), top=np.int8(1)),  # type: ignore[arg-type]
    "blur": lambda pack, dest: edit.blur(pack, dest, np.float32(0.5)),  # type: ignore[arg-type]
    "unlabel": lambda pack, dest: edit.unlabel(pack, dest, np.int64(1), seed=np.int64(1)),  # type: ignore[arg-type]
    "dedup": lambda pack, dest: edit.dedup(pack, dest, near=np.bool_(False)),  # type: ignore[arg-type]
    "augment": lambda pack, dest: edit.augment(
        pack,
        dest,
        np.int64(1),  # type: ignore[arg-type]
        ranges=edit.Ranges(rotation=np.float32(3), zoom=np.array([0.5, 1])),  # type: ignore[arg-type]
    ),
    "split": lambda pack, dest: edit.split(pack, dest, test=np.float32(0.25), seed=np.int64(1))["test"],  # type: ignore[arg-type]
}


@pytest.mark.parametrize("verb", NUMPYS)
def test_numpys_numbers_are_as_good_and_are_recorded_as_plain_ones(pack: Pack, tmp_path: Path, verb: str) -> None:
    step = NUMPYS[verb](pack, tmp_path / "after").manifest.history[-1]
    plain = (int, float, str, bool, list, dict)
    assert all(isinstance(value, plain) for value in step.parameters.values())


NOTHING: dict[str, Callable[[Pack, Path], Pack]] = {
    "slice": lambda pack, dest: edit.slice(pack, dest, total=len(pack)),
    "fraction": lambda pack, dest: edit.slice(pack, dest, fraction=1),
    "resize": lambda pack, dest: edit.resize(pack, dest, pack.size[1], pack.size[0]),
    "crop": lambda pack, dest: edit.crop(pack, dest, *pack.size),
    "tile": lambda pack, dest: edit.tile(pack, dest, *pack.size),
    "drop": lambda pack, dest: edit.drop(pack, dest, []),
    "rename": lambda pack, dest: edit.rename(pack, dest, {"a": "a"}),
    "invert twice": lambda pack, dest: edit.invert(edit.invert(pack, dest / "once"), dest / "twice"),
}


@laws
@given(drawn(), st.sampled_from(sorted(NOTHING)))
def test_an_edit_of_nothing_keeps_the_fingerprint(images: tuple[np.ndarray, list[int]], verb: str) -> None:
    with folder() as path:
        pack = make(path / "pack", *images)
        assert NOTHING[verb](pack, path / "after").fingerprint == pack.fingerprint


# Which images


@laws
@given(st.integers(0, 500), st.lists(st.floats(0.001, 10), min_size=1, max_size=6))
def test_apportioning_is_complete_and_within_one_of_the_exact_share(total: int, weights: list[float]) -> None:
    given_out = apportion(total, np.array(weights))
    assert given_out.sum() == total
    exact = total * np.array(weights) / sum(weights)
    assert (np.abs(given_out - exact) < 1).all()


@laws
@given(drawn(labelled=True), st.data())
def test_a_slice_and_what_it_left_are_the_pack(images: tuple[np.ndarray, list[int]], data: st.DataObject) -> None:
    total = data.draw(st.integers(1, len(images[1])))
    with folder() as path:
        where = np.arange(len(images[1]))
        pack = make(path / "pack", *images, columns={"where": where.tolist()})
        some = edit.slice(pack, path / "some", total=total, seed=data.draw(st.integers(0, 99)))
        assert len(some) == total
        taken = np.asarray(some.columns["where"])
        assert (np.diff(taken) > 0).all(), "the order changed, or an image was taken twice"
        counts, all_counts = np.array(list(some.counts().values())), np.array(list(pack.counts().values()))
        assert (np.abs(counts - total * all_counts / len(pack)) < 1).all()
        rest = np.setdiff1d(where, taken)
        if len(rest):
            (path / "rest.json").write_text(str(rest.tolist()))
            others = edit.filter(pack, path / "others", path / "rest.json")
            assert multiset(edit.merge([some, others], path / "merged")) == multiset(pack)


def test_slices_of_a_seed_are_nested_and_other_seeds_differ(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(60), [0, 1, 2] * 20, columns={"where": range(60)})

    def taken(count: int, seed: int) -> set[int]:
        part = edit.slice(pack, tmp_path / f"{count}-{seed}", per_class=count, seed=seed)
        assert list(part.counts().values()) == [count] * 3
        return set(np.asarray(part.columns["where"]).tolist())

    three = taken(3, 0)
    assert three < taken(8, 0)
    assert three != taken(3, 1)


def test_asking_for_too_much_says_how_much_there_is(pack: Pack, tmp_path: Path) -> None:
    with pytest.raises(PackError, match=r"4 images of each class asked, but 'a' has 3; wanted 1 to 3 per class"):
        edit.slice(pack, tmp_path / "x", per_class=4)
    with pytest.raises(PackError, match=r"13 images asked of .* which has 12"):
        edit.slice(pack, tmp_path / "x", total=13)
    with pytest.raises(PackError, match="4 labels of each class asked, but 'a' has 3"):
        edit.unlabel(pack, tmp_path / "x", 4)
    with pytest.raises(PackError, match="2 of per_class, total and fraction"):
        edit.slice(pack, tmp_path / "x", per_class=1, total=2)
    assert not (tmp_path / "x").exists()


@laws
@given(drawn(), st.sampled_from(["down", "over"]))
def test_balance_makes_equal_counts_and_is_idempotent(images: tuple[np.ndarray, list[int]], how: str) -> None:
    with folder() as path:
        pack = make(path / "pack", *images)
        counts = [count for count in pack.counts().values() if count]
        if not counts:
            with pytest.raises(PackError, match="no labelled image"):
                edit.balance(pack, path / "x", how)  # type: ignore[arg-type]
            return
        once = edit.balance(pack, path / "once", how, seed=3)  # type: ignore[arg-type]
        target = min(counts) if how == "down" else max(counts)
        assert {count for count in once.counts().values() if count} == {target}
        assert once.unlabelled() == pack.unlabelled()
        left = Counter(multiset(pack))
        for image, times in Counter(multiset(once)).items():
            assert times <= left[image] if how == "down" else times >= left[image] > 0
        assert edit.balance(once, path / "twice", how).fingerprint == once.fingerprint  # type: ignore[arg-type]


@laws
@given(drawn())
def test_dedup_keeps_every_picture_once_the_first(images: tuple[np.ndarray, list[int]]) -> None:
    with folder() as path:
        pack = make(path / "pack", *images, columns={"where": range(len(images[1]))})
        once = edit.dedup(pack, path / "once")
        pictures = [pixels.tobytes() for pixels in images[0]]
        firsts = sorted(pictures.index(picture) for picture in set(pictures))
        assert np.asarray(once.columns["where"]).tolist() == firsts
        assert edit.dedup(once, path / "twice").fingerprint == once.fingerprint


def test_filter_reads_indices_and_scores_of_every_kind(pack: Pack, tmp_path: Path) -> None:
    def kept(name: str, text: str, **limits: float) -> list[int]:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        dest = tmp_path / f"out-{len(list(tmp_path.iterdir()))}"
        return [seed - 100 for seed in np.asarray(edit.filter(pack, dest, file, **limits).columns["seed"]).tolist()]

    assert kept("a.txt", "7\n2\n\n7\n") == [2, 7]
    assert kept("a.csv", "\ufeffindex\n7\n2\n") == [2, 7]
    assert kept("a.json", "[7, 2]") == [2, 7]
    assert kept("b.csv", 'index,score\n"1",0.5\n3,0.9\n5,1\n', at_least=0.9) == [3, 5]
    assert kept("b.json", '{"1": 0.5, "3": 0.9, "5": 1}', at_least=0.5, at_most=0.9) == [1, 3]
    assert kept("b.json", '{"1": 0.5, "3": 0.9, "5": 1}', at_least=0.9, at_most=math.inf) == [3, 5]
    assert kept("b.json", '{"1": 0.5, "3": 0.9, "5": 1}', at_least=-math.inf) == [1, 3, 5]


@pytest.mark.parametrize(
    ("name", "text", "limits", "message"),
    [
        ("a.txt", "1\nx\n", {}, "line 2 of .* has 'x' for an index"),
        ("a.txt", "12\n", {}, "line 1 of .* names image 12; wanted 0 to 11"),
        ("a.txt", "-1\n", {}, "names image -1"),
        ("a.txt", "", {}, "no image is left"),
        ("a.txt", "1\n", {"at_least": 0.5}, "holds indices, and limits"),
        ("a.csv", "index,score\n1,0.5\n", {}, "holds scores without limits"),
        ("a.csv", "index,score\n1,nan\n", {"at_least": 0.5}, "'nan' for a score"),
        ("a.csv", "index,score\n1\n", {"at_least": 0.5}, "line 2 of .* has 1 columns"),
        ("a.json", "[1, true]", {}, "entry 2 of .* has True"),
        ("a.json", '{"1": "high"}', {"at_least": 0.5}, "'high' for a score"),
        ("a.json", "[1,", {}, "is not JSON"),
        ("a.json", "3", {}, "holds a int"),
        ("a.json", "[" * 200_000, {}, "is nested too deeply"),
        ("a.json", f"[{'9' * 5000}]", {}, "is not JSON"),
        ("a.json", f"[{'9' * 400}]", {}, r"names image 9+\.\.\.; wanted 0 to 11"),
        ("a.txt", "9" * 5000, {}, r"has '9+\.\.\. for an index"),
        ("a.json", '{"0": 1' + "0" * 400 + "}", {"at_least": 0}, r"has 10+\.\.\. for a score"),
        ("a.json", '{"0": NaN}', {"at_least": 0}, "NaN is no JSON number"),
        ("a.csv", "index,score\n1,0.5\n1,0.7\n", {"at_least": 0.5}, "line 3 of .* gives image 1 a second score"),
        ("a.csv", "index,score\n1,0.5\n", {"at_least": math.nan}, "at_least nan; wanted a number"),
        ("a.csv", "index,score\n1,0.5\n", {"at_least": math.inf}, "at_least inf; wanted a number"),
        ("a.txt", None, {}, "no file at"),
    ],
)
def test_a_bad_predicate_is_named(
    pack: Pack, tmp_path: Path, name: str, text: str | None, limits: dict[str, float], message: str
) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ImagemintError, match=message):
        edit.filter(pack, tmp_path / "x", tmp_path / name, **limits)
    assert not (tmp_path / "x").exists()


# Their pixels


@laws
@given(drawn())
def test_inverting_is_an_involution(images: tuple[np.ndarray, list[int]]) -> None:
    with folder() as path:
        once = edit.invert(make(path / "pack", *images), path / "once")
        np.testing.assert_array_equal(np.asarray(once.pixels).astype(int) + images[0], 255)


@laws
@given(drawn(), st.integers(1, 7), st.integers(1, 7))
def test_tiles_put_together_are_the_image(images: tuple[np.ndarray, list[int]], height: int, width: int) -> None:
    pixels, labels = images
    h, w = pixels.shape[2:]
    with folder() as path:
        pack = make(path / "pack", pixels, labels)
        if height > h or width > w:
            with pytest.raises(PackError, match=f"tile of {height} x {width} and images of {h} x {w}"):
                edit.tile(pack, path / "x", height, width)
            return
        tiles = edit.tile(pack, path / "tiles", height, width)
        expected, inherited = [], []
        for image, label in zip(pixels, labels, strict=True):  # the definition, literally
            for top in range(0, h - height + 1, height):
                for left in range(0, w - width + 1, width):
                    expected.append(image[:, top : top + height, left : left + width])
                    inherited.append(label)
        np.testing.assert_array_equal(tiles.pixels, expected)
        assert np.asarray(tiles.labels).tolist() == inherited


@laws
@given(drawn(channels=3))
def test_grayscale_is_the_weighted_sum_and_idempotent(images: tuple[np.ndarray, list[int]]) -> None:
    with folder() as path:
        gray = edit.grayscale(make(path / "pack", *images), path / "gray")
        exact = np.tensordot(images[0].astype(np.float64), [0.2989, 0.5870, 0.1140], axes=([1], [0]))
        assert gray.channels == 1
        assert np.abs(np.asarray(gray.pixels)[:, 0] - exact).max() <= 0.5 + 1e-9
        assert edit.grayscale(gray, path / "again").fingerprint == gray.fingerprint


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 9])
@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_scipys_gaussian(tmp_path: Path, sigma: float, channels: int) -> None:
    from scipy.ndimage import gaussian_filter

    pixels = noise(3, channels, 9, 12)
    blurred = edit.blur(make(tmp_path / "pack", pixels, [0, 1, 2]), tmp_path / "blurred", sigma)
    exact = gaussian_filter(pixels.astype(np.float64), (0, 0, sigma, sigma), mode="nearest", truncate=4)
    assert np.abs(np.asarray(blurred.pixels) - exact).max() <= 0.5 + 1e-3
    assert blurred.manifest.history[-1].parameters == {"sigma": sigma}


@laws
@given(drawn(), st.floats(0, 1))
def test_blur_of_nothing_changes_nothing_and_a_flat_image_stays(
    images: tuple[np.ndarray, list[int]], sigma: float
) -> None:
    pixels, labels = images
    with folder() as path:
        pack = make(path / "pack", pixels, labels)
        assert edit.blur(pack, path / "same", 0).fingerprint == pack.fingerprint
        flat = make(path / "flat", np.full_like(pixels, 77), labels)
        assert edit.blur(flat, path / "still", sigma).fingerprint == flat.fingerprint


@pytest.mark.parametrize("channels", [1, 3])
def test_resize_is_pillows(tmp_path: Path, channels: int) -> None:
    pixels = noise(3, channels, 8, 10)
    pack = make(tmp_path / "pack", pixels, [0, 1, 2])
    small = edit.resize(pack, tmp_path / "small", 7, 5, filter="bicubic")
    assert small.size == (5, 7)
    for before, after in zip(pixels, small.pixels, strict=True):
        for channel, result in zip(before, after, strict=True):  # channels are independent of one another
            expected = Image.fromarray(channel).resize((7, 5), Image.Resampling.BICUBIC)
            np.testing.assert_array_equal(result, np.asarray(expected))


def test_resize_crop_and_blur_refuse_what_cannot_be(pack: Pack, tmp_path: Path) -> None:
    for sigma in (-1, 7, float("nan"), float("inf")):
        with pytest.raises(ArgumentError, match="sigma"):
            edit.blur(pack, tmp_path / "x", sigma)
    with pytest.raises(PackError, match=r"filter 'best'; wanted nearest, .*lanczos"):
        edit.resize(pack, tmp_path / "x", 4, filter="best")
    with pytest.raises(ArgumentError, match="width 0; wanted 1 to 16,384"):
        edit.resize(pack, tmp_path / "x", 0)
    with pytest.raises(PackError, match="box of 7 x 5 and images of 6 x 5"):
        edit.crop(pack, tmp_path / "x", 7, 5)
    with pytest.raises(PackError, match="reaches out of images of 6 x 5; wanted top 0 to 4, left 0 to 3"):
        edit.crop(pack, tmp_path / "x", 2, top=5)


def test_crop_takes_the_middle_or_the_given_box(pack: Pack, tmp_path: Path) -> None:
    middle = edit.crop(pack, tmp_path / "middle", 2, 3)
    np.testing.assert_array_equal(middle.pixels, pack.pixels[:, :, 2:4, 1:4])
    corner = edit.crop(pack, tmp_path / "corner", 2, 3, top=4, left=0)
    np.testing.assert_array_equal(corner.pixels, pack.pixels[:, :, 4:6, 0:3])


# Their labels


def test_rename_swaps_joins_and_refuses_a_silent_join(pack: Pack, tmp_path: Path) -> None:
    swapped = edit.rename(pack, tmp_path / "swapped", {"a": "b", "b": "a"})
    assert swapped.counts() == {"b": 3, "a": 4, "c": 5}
    with pytest.raises(PackError, match=r"more than one class would be called 'b'.*--join"):
        edit.rename(pack, tmp_path / "x", {"a": "b"})
    joined = edit.rename(pack, tmp_path / "joined", {"c": "a"}, join=True)
    assert joined.counts() == {"a": 8, "b": 4}
    with pytest.raises(PackError, match="has no class 'd'; wanted one of 'a', 'b', 'c'"):
        edit.rename(pack, tmp_path / "x", {"d": "e"})


def test_classes_to_drop_may_come_from_any_iterable_but_not_as_letters(pack: Pack, tmp_path: Path) -> None:
    dropped = edit.drop(pack, tmp_path / "dropped", (name for name in ["c", "a", "c"]))
    assert dropped.counts() == {"b": 4}
    assert dropped.manifest.history[-1].parameters == {"classes": ["c", "a", "c"]}
    with pytest.raises(ArgumentError, match="classes 'ab'; wanted a list of names"):
        edit.drop(pack, tmp_path / "x", "ab")


@laws
@given(drawn(), st.sets(st.sampled_from(["a", "b", "c"])))
def test_drop_leaves_exactly_the_others(images: tuple[np.ndarray, list[int]], gone: set[str]) -> None:
    with folder() as path:
        pack = make(path / "pack", *images)
        wanted = [each for each in multiset(pack) if each[1] not in gone]
        if not wanted:
            with pytest.raises(PackError, match="no image is left"):
                edit.drop(pack, path / "x", sorted(gone))
            return
        left = edit.drop(pack, path / "left", sorted(gone))
        assert multiset(left) == wanted
        assert left.classes == [name for name in "abc" if name not in gone]


def test_relabel_by_name_with_new_and_empty_labels(pack: Pack, tmp_path: Path) -> None:
    text = '\ufefflabel,index\nc,0\n"d, ""e""",3\n,2\n\n'
    after = edit.relabel(pack, tmp_path / "after", csv(pack, text))
    assert after.classes == ["a", "b", "c", 'd, "e"']
    assert np.asarray(after.labels).tolist() == [2, 1, -1, 3, 1, 2, 0, 1, 2, 1, 2, 2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,label,note\n0,a,x\n", "has the columns 'index', 'label', 'note'"),
        ("index;label\n0;a\n", "has the columns 'index;label'"),
        ("", r"has the columns \(none\)"),
        ("index,label\n12,a\n", "line 2 of .* names image 12; wanted 0 to 11"),
        ("index,label\n1,a\none,a\n", "line 3 of .* has 'one' for an index"),
        ("index,label\n1\n", "line 2 of .* has 1 columns"),
        ("index,label\n1,a\n1,b\n", "line 3 of .* gives image 1 a second label"),
    ],
)
def test_a_bad_table_of_labels_is_named(pack: Pack, tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(PackError, match=message):
        edit.relabel(pack, tmp_path / "x", csv(pack, text))
    assert not (tmp_path / "x").exists()


def test_relabel_refuses_a_file_that_is_not_text(pack: Pack, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes("index,label\n0,ä\n".encode("latin-1"))
    with pytest.raises(PackError, match="not UTF-8 text"):
        edit.relabel(pack, tmp_path / "x", tmp_path / "x.csv")


def test_unlabel_keeps_some_labels_and_all_images(pack: Pack, tmp_path: Path) -> None:
    few = edit.unlabel(pack, tmp_path / "few", 2, seed=5)
    assert few.counts() == {"a": 2, "b": 2, "c": 2}
    assert few.unlabelled() == 6
    kept = np.asarray(few.labels) >= 0
    np.testing.assert_array_equal(np.asarray(few.labels)[kept], np.asarray(pack.labels)[kept])
    np.testing.assert_array_equal(few.pixels, pack.pixels)


# Several packs


@laws
@given(drawn(channels=1), st.permutations(["a", "b", "x"]), st.integers(0, 9))
def test_merge_is_a_union_by_name(images: tuple[np.ndarray, list[int]], other_classes: list[str], seed: int) -> None:
    with folder() as path:
        one = make(path / "one", *images)
        two = make(
            path / "two", noise(5, 1, images[0].shape[2], images[0].shape[3], seed), [0, 1, 2, -1, 1], other_classes
        )
        both = edit.merge([one, two], path / "both")
        assert multiset(both) == sorted(multiset(one) + multiset(two))
        assert both.classes == ["a", "b", "c", "x"]
        assert np.asarray(both.columns["parent"]).tolist() == [0] * len(one) + [1] * len(two)
        assert both.manifest.history[-1].parents == [one.fingerprint, two.fingerprint]


def test_merge_keeps_where_every_image_came_from(pack: Pack, tmp_path: Path) -> None:
    real = make(tmp_path / "real", noise(2, seed=1), [0, 1], columns={"file": [7, 8]})
    minted = make(
        tmp_path / "m",
        noise(1, seed=2),
        [1],
        origin="minted",
        mintings=[minting("z")],
        columns={"seed": [5], "minting": [0]},
    )
    first = edit.merge([real, pack], tmp_path / "first")
    assert first.manifest.origin == "mixed"
    assert np.asarray(first.columns["minting"]).tolist() == [-1, -1, *[0, 1] * 6]
    assert np.asarray(first.columns["file"]).tolist() == [7, 8, *[-1] * 12]
    second = edit.merge([first, minted, pack], tmp_path / "second")
    runs = [second.manifest.mintings[k].run for k in second.columns["minting"] if k >= 0]
    assert runs == ["x", "y"] * 6 + ["z"] + ["x", "y"] * 6
    assert np.asarray(second.columns["parent"]).tolist() == [0] * 14 + [1] + [2] * 12
    assert np.asarray(second.columns["parent_2"]).tolist() == [0] * 2 + [1] * 12 + [-1] * 13
    assert edit.merge([pack, minted], tmp_path / "third").manifest.origin == "minted"


def test_merging_other_sizes_or_channels_names_the_mending_command(pack: Pack, tmp_path: Path) -> None:
    large = make(tmp_path / "large", noise(1, 1, 8, 9), [0])
    with pytest.raises(PackError, match=r"imagemint edit resize \S*large \S*large-5x6 --width 5 --height 6"):
        edit.merge([pack, large], tmp_path / "x")
    colour = make(tmp_path / "colour", noise(1, 3), [0])
    with pytest.raises(PackError, match=r"imagemint edit grayscale \S*colour"):
        edit.merge([pack, colour], tmp_path / "x")
    with pytest.raises(PackError, match="1 pack to merge"):
        edit.merge([pack], tmp_path / "x")


# The machine


def test_reading_scattered_images_is_indexing(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(1000, 3, 2, 2), [0] * 1000)
    for count in (1500, 1, 0):
        index = np.random.default_rng(0).integers(0, 1000, count)
        np.testing.assert_array_equal(pack.read(index), pack.pixels[index])


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
def test_a_full_disk_in_the_middle_of_an_edit_leaves_nothing(tmp_path: Path) -> None:
    pack = make(tmp_path / "pack", noise(400, 1, 32, 32), [0] * 400)  # 400 KiB, of which 100 fit
    script = f"""
import errno, resource, signal
from imagemint.data import edit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100 << 10, 100 << 10))
try:
    edit.invert({str(pack.path)!r}, {str(tmp_path / "full")!r})
except OSError as error:
    print(error.errno)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert int(done.stdout) == errno.EFBIG
    assert [path.name for path in tmp_path.iterdir()] == ["pack"]


# The command line


def run(*words: object) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_the_command_line_says_what_came_out_or_that_nothing_changed(pack: Pack, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run("slice", pack.path, out / "a", "--per-class", 2) == f"{out}/a: 6 images, 3 classes, 6x5x1 (from 12)"
    assert run("slice", pack.path, out / "b", "--fraction", 1).endswith("; nothing changed")
    assert run("rename", pack.path, out / "c", "--names", "a=x,b=y").startswith(f"{out}/c: 12 images")
    assert open_pack(out / "c").classes == ["x", "y", "c"]
    assert run("unlabel", pack.path, out / "d", "--keep", 1).endswith("3 classes, 6x5x1, 9 unlabelled")
    assert "; new classes: d" in run("relabel", pack.path, out / "e", "--labels", csv(pack, "index,label\n0,d\n"))
    text = run("split", pack.path, out / "f", "--test", 0.25)
    assert text == f"{out}/f: train 9, test 3; kept together: 0 duplicates in 0 groups"
    assert run("merge", out / "f" / "train", out / "f" / "test", out / "g").startswith(f"{out}/g: 12 images")
    assert run("balance", pack.path, out / "h", "--over").startswith(f"{out}/h: 15 images")
    assert run("filter", pack.path, out / "i", "--by", csv(pack, "0\n5\n")).startswith(f"{out}/i: 2 images")
    with pytest.raises(PackError, match="--names a; wanted old=new"):
        run("rename", pack.path, out / "x", "--names", "a")


def test_every_verb_is_a_command_and_a_function() -> None:
    from typer.main import get_command

    commands = set(get_command(app).commands)  # type: ignore[attr-defined]
    assert commands == {name for name in edit.__all__ if name[0].islower()}


def test_slice_and_merge_write_a_list_that_is_packed_again(pack: Pack, tmp_path: Path) -> None:
    said = run("slice", pack.path, tmp_path / "a", "--per-class", 2, "--list", tmp_path / "lists" / "a.csv")
    assert said.splitlines()[1] == str(tmp_path / "lists" / "a.csv")
    again = packing.pack(tmp_path / "lists" / "a.csv", tmp_path / "again")
    assert multiset(again) == multiset(open_pack(tmp_path / "a"))
    run("merge", tmp_path / "a", pack.path, tmp_path / "b", "--list", tmp_path / "b.txt")
    assert len((tmp_path / "b.txt").read_text().splitlines()) == 18
    with pytest.raises(PackError, match="as the name of a list"):
        run("slice", pack.path, tmp_path / "x", "--per-class", 2, "--list", tmp_path / "list")
    with pytest.raises(PackError, match="in the place of the pack"):
        run("slice", pack.path, tmp_path / "x-images", "--per-class", 2, "--list", tmp_path / "x.csv")
    assert not list(tmp_path.glob("x*"))


def test_grayscale_is_what_pack_makes_of_colours(tmp_path: Path) -> None:
    for k, image in enumerate(noise(4, 3, 40, 50)):
        folder = tmp_path / "in" / "ab"[k % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{k}.png")
    colour = packing.pack(tmp_path / "in", tmp_path / "colour")
    gray = packing.pack(tmp_path / "in", tmp_path / "gray", channels=1)
    assert edit.grayscale(colour, tmp_path / "edited").fingerprint == gray.fingerprint


def test_every_class_can_be_named_on_the_command_line(tmp_path: Path) -> None:
    names = ["Pepper,_bell", "a=b", 'say "hi"', "a"]
    pack = make(tmp_path / "pack", noise(4), [0, 1, 2, 3], names)
    run("drop", pack.path, tmp_path / "a", "--classes", '"Pepper,_bell",a=b')
    assert open_pack(tmp_path / "a").classes == ['say "hi"', "a"]
    run("drop", pack.path, tmp_path / "b", "--classes", "a", "--classes", '"say ""hi"""')
    assert open_pack(tmp_path / "b").classes == ["Pepper,_bell", "a=b"]
    run("rename", pack.path, tmp_path / "c", "--names", '"Pepper,_bell=Pepper, bell",a=b=c=d,a=e')
    assert open_pack(tmp_path / "c").classes == ["Pepper, bell", "c=d", 'say "hi"', "e"]
    with pytest.raises(PackError, match=r"no class 'Pepper', '_bell'.*in double quotes"):
        run("drop", pack.path, tmp_path / "x", "--classes", "Pepper,_bell")
    with pytest.raises(PackError, match="gives 'a' two new names"):
        run("rename", pack.path, tmp_path / "x", "--names", "a=c,a=d")
