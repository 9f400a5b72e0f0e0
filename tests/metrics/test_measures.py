"""Measures: real images reach the floor, worse images do not, and what cannot be measured is refused in words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from imagemint.data.pack import Pack
from imagemint.errors import MeasureError
from imagemint.metrics import measures as module
from imagemint.metrics.judge import judge_split
from imagemint.metrics.measures import METRICS, Measures, measure
from tests.digits import NAMES, digits, write


@pytest.fixture(autouse=True, scope="module")
def quick_judge() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("imagemint.metrics.judge.AT_LEAST", 6_000)
        yield


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    pixels, labels = digits()
    return write(tmp_path_factory.mktemp("packs") / "real", pixels[:1200], labels[:1200])


@pytest.fixture(scope="module")
def others(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Real digits that play the part of perfect minted ones."""
    pixels, labels = digits()
    return write(tmp_path_factory.mktemp("packs") / "others", pixels[1200:], labels[1200:], origin="minted")


@pytest.fixture(scope="module")
def clean(real: Pack, others: Pack, quick_judge: None) -> Measures:
    return measure(others, real)


def noisy(dest: Path, others: Pack, levels: float, names: list[str] = NAMES) -> Pack:
    noise = np.random.default_rng(0).normal(0, levels, others.pixels.shape)
    pixels = (others.pixels + noise).clip(0, 255).astype(np.uint8)
    return write(dest, pixels, np.asarray(others.labels), names, "minted")


def test_noise_is_worse_than_real_and_the_floor_is_that_of_the_same_count(
    tmp_path: Path, real: Pack, others: Pack, clean: Measures
) -> None:
    spoilt = measure(noisy(tmp_path / "noisy", others, 90), real)
    assert spoilt["fd_lenet"].value > 3 * spoilt["fd_lenet"].floor
    assert clean["fd_lenet"].value < 3 * clean["fd_lenet"].floor
    assert spoilt["classifier_score"].value < clean["classifier_score"].value - 0.05
    for found in (clean, spoilt):
        assert found["fd_lenet"].n_real == found["fd_lenet"].n_minted > 500
        assert found["classifier_score"].n_minted == len(others)
        assert found["classifier_score"].floor > 0.85
    assert clean.judge == spoilt.judge  # same real pack, same counts, same seed


def test_shuffled_labels_ruin_the_score_but_not_the_distance(tmp_path: Path, real: Pack, others: Pack) -> None:
    labels = np.random.default_rng(0).permutation(np.asarray(others.labels))
    found = measure(write(tmp_path / "shuffled", np.asarray(others.pixels), labels), real)
    assert found["classifier_score"].value < 0.25 and found["fd_lenet"].value < 4 * found["fd_lenet"].floor


def test_the_json_has_the_keys_that_others_rely_on(real: Pack, others: Pack, clean: Measures) -> None:
    values = json.loads(json.dumps(clean.model_dump(mode="json")))
    assert values["confusion"]["classes"] == NAMES
    assert np.sum(values["confusion"]["rows"]) == len(others)
    for name in METRICS:
        assert set(values[name]) == {"value", "floor", "n_real", "n_minted"}
    assert values["minted"] == others.fingerprint and values["against"] == real.fingerprint
    assert len(values["judge"]) == 64
    assert "fd_lenet" in clean.table()


def test_classes_are_matched_by_name_and_may_be_fewer(tmp_path: Path, real: Pack, others: Pack) -> None:
    labels = np.asarray(others.labels)
    keep = np.isin(labels, [3, 7])
    swapped = np.where(labels[keep] == 3, 1, 0)
    found = measure(write(tmp_path / "two", np.asarray(others.pixels)[keep], swapped, ["digit 7", "digit 3"]), real)
    rows = np.array(found.confusion)
    assert rows.sum(1).nonzero()[0].tolist() == [3, 7]
    assert found["classifier_score"].value > 0.7


def test_unlabelled_images_play_no_part(tmp_path: Path, real: Pack, others: Pack) -> None:
    pixels, labels = digits()
    more = write(tmp_path / "more", pixels, np.where(np.arange(len(labels)) < 1200, labels, -1))
    assert judge_split(more, np.full(10, 30), 0).reference.max() < 1200
    some = np.asarray(others.labels).copy()
    some[:100] = -1
    found = measure(write(tmp_path / "some", np.asarray(others.pixels), some), real)
    assert found["classifier_score"].n_minted == len(others) - 100


def test_a_pack_without_labels_is_compared_as_a_whole(
    tmp_path: Path, real: Pack, others: Pack, clean: Measures
) -> None:
    pixels, labels = np.asarray(others.pixels), np.asarray(others.labels)
    found = measure(write(tmp_path / "whole", pixels, np.full(len(pixels), -1)), real)
    assert set(found.values) == {"fd_lenet"} and not found.confusion
    assert sum(found.seen_as) == len(pixels)
    assert found["fd_lenet"].value < 3 * found["fd_lenet"].floor
    one_class = np.flatnonzero(labels == 3).repeat(10)
    collapsed = measure(write(tmp_path / "one", pixels[one_class], np.full(len(one_class), -1)), real)
    assert collapsed["fd_lenet"].value > 5 * collapsed["fd_lenet"].floor
    assert max(collapsed.seen_as) > 0.6 * len(one_class)


def test_held_out_images_and_their_copies_are_never_learned(tmp_path: Path) -> None:
    pixels, labels = digits(300)
    twice = write(tmp_path / "twice", np.concatenate([pixels, pixels]), np.concatenate([labels, (labels + 1) % 10]))
    split = judge_split(twice, np.full(10, 20), 0)
    learned = {twice.pixels[k].tobytes() for k in split.reference}
    assert len(split.held_out) == 200
    assert not any(twice.pixels[k].tobytes() in learned for k in split.held_out)


def test_at_most_half_of_a_class_is_held_out(real: Pack) -> None:
    split = judge_split(real, np.full(10, 10_000), 0)
    counts = np.array(list(real.counts().values()))
    assert np.array_equal(np.bincount(np.asarray(real.labels)[split.held_out]), counts // 2)
    assert len(split.reference) + len(split.held_out) == len(real)


def refused(minted: Pack, real: Pack) -> str:
    with pytest.raises(MeasureError) as caught:
        measure(minted, real)
    return str(caught.value)


def test_what_does_not_fit_is_refused_in_words(tmp_path: Path, real: Pack, others: Pack) -> None:
    pixels, labels = np.asarray(others.pixels), np.asarray(others.labels)
    assert "'two'" in refused(write(tmp_path / "a", pixels, labels % 2, ["digit 1", "two"]), real)
    large = refused(write(tmp_path / "b", pixels.repeat(2, 2).repeat(2, 3), labels), real)
    assert "16x16" in large and "8x8" in large
    assert "3 channels" in refused(write(tmp_path / "c", pixels.repeat(3, 1), labels), real)


def test_too_few_images_is_an_error_that_says_how_many_are_needed(tmp_path: Path, real: Pack, others: Pack) -> None:
    few = write(tmp_path / "few", np.asarray(others.pixels)[:20], np.asarray(others.labels)[:20])
    assert "20 minted images" in refused(few, real) and "at least 50" in refused(few, real)
    assert "100 or more real images" in refused(others, few)


def test_a_new_measure_is_one_function_and_one_row(real: Pack, others: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    def brightness(evidence: module.Evidence) -> module.Measure:
        return module.Measure(float(evidence.minted.mean()), float(evidence.held_out.mean()), 1, 1)

    monkeypatch.setitem(METRICS, "brightness", brightness)
    found = measure(others, real)
    assert isinstance(found, Measures) and "brightness" in found.model_dump()
