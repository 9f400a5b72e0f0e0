"""Measures: real images reach the floor, worse images do not, and what cannot be measured is refused in words."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from imagemint.classifiers import outside
from imagemint.data.pack import Pack
from imagemint.errors import ArgumentError, MeasureError, NetworkError
from imagemint.metrics.comparison import Comparison, Weights
from imagemint.metrics.judge import judge_split
from imagemint.metrics.measures import METRICS, Measures, Metric, measure, metric_named
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


@pytest.fixture(scope="module")
def by_noise(
    tmp_path_factory: pytest.TempPathFactory, real: Pack, others: Pack, clean: Measures
) -> dict[str, list[Measures]]:
    """Measures with noise of 0, 45 and 90 levels, by features."""
    packs = [noisy(tmp_path_factory.mktemp("noise") / str(levels), others, levels) for levels in (45, 90)]
    return {
        "lenet": [clean, *(measure(each, real) for each in packs)],
        "pixels": [measure(each, real, features="pixels") for each in (others, *packs)],
    }


@pytest.mark.parametrize("features", ["lenet", "pixels"])
@pytest.mark.parametrize("metric", ["fd", "kd", "precision", "density", "coverage", "diversity", "classifier_score"])
def test_the_more_noise_the_worse(by_noise: dict[str, list[Measures]], features: str, metric: str) -> None:
    name = f"{metric}_{features}" if metric in ("fd", "kd") else metric
    values = [each[name].value for each in by_noise[features]]
    worse = {"lower": 1, "higher": -1}[by_noise[features][0][name].direction]
    assert (np.diff(values) * worse > 0).all(), values
    assert metric_named(name) is METRICS[metric]


@pytest.mark.parametrize("features", ["lenet", "pixels"])
def test_few_different_images_per_class_are_worse(tmp_path: Path, real: Pack, others: Pack, features: str) -> None:
    labels = np.asarray(others.labels)

    def only(count: int) -> Measures:
        rows = np.concatenate([np.resize(np.flatnonzero(labels == k)[:count], 50) for k in range(10)])
        pack = write(tmp_path / str(count), others.pixels[rows], labels[rows], origin="minted")
        return measure(pack, real, features=features)

    found = [only(count) for count in (50, 10, 2)]
    for name in (f"fd_{features}", f"kd_{features}", "recall", "coverage", "diversity"):
        worse = {"lower": 1, "higher": -1}[found[0][name].direction]
        steps = np.diff([each[name].value for each in found]) * worse
        assert (steps >= 0).all() and steps.sum() > 0, name


def test_neither_the_order_of_the_images_nor_another_call_changes_a_number(
    tmp_path: Path, real: Pack, others: Pack, clean: Measures
) -> None:
    assert measure(others, real) == clean
    order = np.random.default_rng(1).permutation(len(others))
    moved = measure(write(tmp_path / "moved", others.pixels[order], np.asarray(others.labels)[order]), real)
    assert moved["classifier_score"].value == clean["classifier_score"].value
    # which of the minted images are compared follows from their places; their number does not
    assert moved["fd_lenet"].value == pytest.approx(clean["fd_lenet"].value, rel=0.2)


def test_a_class_that_one_side_lacks_is_left_out_on_both_and_said(tmp_path: Path, real: Pack, others: Pack) -> None:
    pixels, labels = digits(1200)
    first = np.flatnonzero(labels == 4)[1:]  # one image of class 4 is left
    few = write(tmp_path / "few", np.delete(pixels, first, 0), np.delete(labels, first))
    kept = np.asarray(others.labels) != 7
    minted = write(tmp_path / "minted", others.pixels[kept], np.asarray(others.labels)[kept], origin="minted")
    found = measure(minted, few)
    assert any("digit 4" in each and "hold one out" in each for each in found.remarks)
    assert any("digit 7" in each and "no minted image" in each for each in found.remarks)
    assert all(each in found.table() for each in found.remarks)
    rows = np.array(found.confusion["rows"]).sum(1)
    assert rows[4] == rows[7] == 0 and (np.delete(rows, [4, 7]) > 0).all()
    assert found["classifier_score"].n_minted == rows.sum()
    assert (
        found.n_reference
        == sum(n for name, n in few.counts().items() if name[-1] not in "47") - found["fd_lenet"].n_real
    )


def test_shuffled_labels_ruin_the_score_but_not_the_distance(tmp_path: Path, real: Pack, others: Pack) -> None:
    labels = np.random.default_rng(0).permutation(np.asarray(others.labels))
    found = measure(write(tmp_path / "shuffled", np.asarray(others.pixels), labels), real)
    assert found["classifier_score"].value < 0.25 and found["fd_lenet"].value < 4 * found["fd_lenet"].floor


def test_the_json_has_the_keys_that_others_rely_on(real: Pack, others: Pack, clean: Measures) -> None:
    values = json.loads(json.dumps(clean.model_dump(mode="json")))
    assert list(values["values"]) == [
        "fd_lenet",
        "kd_lenet",
        "precision",
        "recall",
        "density",
        "coverage",
        "diversity",
        "confidence",
        "variety",
        "classifier_score",
    ]
    assert values["confusion"]["classes"] == NAMES
    assert np.sum(values["confusion"]["rows"]) == len(others)
    keys = {"value", "low", "high", "floor", "n_real", "n_minted", "direction"}
    for each in [*values["values"].values(), *values["per_class"]["digit 3"].values()]:
        assert set(each) == keys and each["low"] <= each["value"] <= each["high"]
    assert values["minted"] == others.fingerprint and values["against"] == real.fingerprint
    assert len(values["judge"]) == 64
    assert "fd_lenet" in clean.table()


def test_classes_are_matched_by_name_and_may_be_fewer(tmp_path: Path, real: Pack, others: Pack) -> None:
    labels = np.asarray(others.labels)
    keep = np.isin(labels, [3, 7])
    swapped = np.where(labels[keep] == 3, 1, 0)
    found = measure(write(tmp_path / "two", np.asarray(others.pixels)[keep], swapped, ["digit 7", "digit 3"]), real)
    rows = np.array(found.confusion["rows"])
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
    assert "fd_lenet" in found.values and not {"classifier_score", "diversity"} & set(found.values)
    assert not found.confusion["rows"]
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
    def largest(comparison: Comparison, weights: Weights) -> np.ndarray:
        return np.full(len(weights.sample), comparison.sample.features.max())

    monkeypatch.setitem(METRICS, "largest", Metric(largest, "higher", "largest feature", bounds=(0, np.inf)))
    found = measure(others, real, features="pixels")
    assert found["largest"].value == found["largest"].high == 1 and found["largest"].direction == "higher"


def test_copies_are_named_and_other_real_images_are_none(tmp_path: Path, real: Pack, clean: Measures) -> None:
    assert "no sign of copies" in clean.copies["verdict"] and clean.copies["p_value"] > 0.01
    rows = np.random.default_rng(0).permutation(len(real))[:600]
    found = measure(write(tmp_path / "copies", real.pixels[rows] ^ 1, np.asarray(real.labels)[rows]), real)
    assert "copies are likely" in found.copies["verdict"] and found.copies["verdict"] in found.table()
    assert found.copies["close"] > 200 and found.copies["low"] > 0.6  # the others copy held-out images
    assert set(found.copies["per_class"]) == set(NAMES)
    for pair in found.copies["closest"]:
        assert rows[pair["minted"]] == pair["real"] and pair["distance"] == 1.0


class TwoNumbers(torch.nn.Module):
    """Stands for the Inception file: 4 class probabilities, or its features on request."""

    def forward(self, images: torch.Tensor, return_features: bool = False) -> torch.Tensor:
        rows = images.mean(3).flatten(1) / 255
        return rows if return_features else rows[:, :4]


def test_a_network_of_ones_own_and_the_one_that_has_a_right_to_the_name_fid(
    tmp_path: Path, real: Pack, others: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "network.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(TwoNumbers()).save(str(file))  # type: ignore[no-untyped-call]
    with pytest.raises(NetworkError, match=r"network\.json"):
        measure(others, real, features=f"file:{file}")
    file.with_suffix(".json").write_text('{"channels": 1, "range": [0, 255]}', encoding="utf-8")
    found = measure(others, real, features=f"file:{file}")
    assert list(found.values)[:2] == ["fd_file", "kd_file"] and found.features["width"] == 4
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert found.features["sha256"] == digest and found.features["origin"] == str(file)

    monkeypatch.setattr(outside, "INCEPTION", digest)
    with pytest.raises(NetworkError, match="24 features"):  # 3 channels of 8 rows each, not 2,048
        measure(others, real, features=f"file:{file}")
    monkeypatch.setattr(outside, "INCEPTION_WIDTH", 24)
    found = measure(others, real, features=f"file:{file}")
    assert list(found.values)[:2] == ["fid", "kid"] and metric_named("kid") is METRICS["kd"]


def test_how_the_judge_learns_can_be_chosen(real: Pack, others: Pack, clean: Measures) -> None:
    slow = measure(others, real, learning_rate=1e-6, at_least=1_000)
    assert slow["classifier_score"].value < 0.5 < clean["classifier_score"].value
    assert slow.judge_plan["learning_rate"] == 1e-6 and clean.judge_plan["epochs"] == 5
    for wrong in ({"decay": "sine"}, {"batch_size": 0}, {"classifier": "resnet"}, {"momentum": 1}):
        with pytest.raises(ArgumentError, match=next(iter(wrong)).replace("_", "-").replace("classifier", "judge")):
            measure(others, real, **wrong)


def test_features_that_nobody_knows_are_refused(real: Pack, others: Pack) -> None:
    with pytest.raises(MeasureError, match="file:PATH"):
        measure(others, real, features="inception")
