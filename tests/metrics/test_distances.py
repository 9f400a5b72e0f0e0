"""Distances, manifolds and scores against independent references and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torchmetrics.image.kid import poly_mmd

from imagemint.metrics import manifold as manifold_module
from imagemint.metrics.comparison import Comparison, Side, Weights
from imagemint.metrics.frechet import Moments, frechet, frechet_distances
from imagemint.metrics.kernel import kernel_distance
from imagemint.metrics.manifold import K_BALLS, K_DENSITY, manifold, neighbour_distances
from imagemint.metrics.scores import classifier_score, diversity, variety


def points(n: int, d: int = 6, seed: int = 0, moved: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d)) + moved


def ones(n: int) -> np.ndarray:
    return np.ones((1, n))


# --- Frechet distance of weighed rows ------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "m", "d"), [(80, 60, 5), (30, 70, 50), (70, 30, 50), (20, 25, 50)])
def test_weighed_rows_are_repeated_rows(n: int, m: int, d: int) -> None:
    sample, real = points(n, d, 1), points(m, d, 2, 0.5) * 1.5
    times = np.random.default_rng(3).integers(0, 3, n)
    found = frechet_distances(sample, real, np.stack([np.ones(n), times]))
    wanted = [frechet(Moments.of(rows), Moments.of(real)) for rows in (sample, sample.repeat(times, 0))]
    assert found == pytest.approx(wanted, rel=1e-6)


def test_frechet_distance_of_rows_to_themselves_is_exactly_zero() -> None:
    same = points(30, 40)
    assert frechet_distances(same, same, ones(30)).tolist() == [0.0]


# --- kernel distance -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [0.0, 1.0])
def test_the_kernel_distance_is_torchmetrics(moved: float) -> None:
    x, y = points(40, 6, 1), points(40, 6, 2, moved)
    tx, ty = torch.from_numpy(x), torch.from_numpy(y)

    def kernel(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    from torchmetrics.image.kid import maximum_mean_discrepancy

    wanted = float(maximum_mean_discrepancy(kernel(tx, tx), kernel(tx, ty), kernel(ty, ty)))
    assert kernel_distance(x, y)[0] == pytest.approx(wanted, rel=1e-9)
    assert float(poly_mmd(tx, ty)) == pytest.approx(wanted, rel=1e-9)
    assert kernel_distance(y, x)[0] == pytest.approx(wanted, rel=1e-9)


def test_the_kernel_distance_is_unbiased() -> None:
    found = [kernel_distance(points(20, 3, seed), points(30, 3, seed + 1000))[0] for seed in range(300)]
    assert abs(np.mean(found)) < 3 * np.std(found) / np.sqrt(300)


def test_in_a_resample_an_image_is_no_pair_with_itself() -> None:
    x, y = points(6, 3, 1), points(5, 3, 2)
    w, v = np.array([[2.0, 0, 1, 1, 1, 1]]), ones(5)
    drawn, found = [0, 0, 2, 3, 4, 5], kernel_distance(x, y, (w, v))[0]

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / 3 + 1) ** 3)

    within_x = np.mean([kernel(x[i], x[j]) for i in drawn for j in drawn if i != j])
    within_y = np.mean([kernel(y[i], y[j]) for i in range(5) for j in range(5) if i != j])
    across = np.mean([kernel(x[i], b) for i in drawn for b in y])
    assert found == pytest.approx(within_x + within_y - 2 * across)


# --- precision, recall, density, coverage -------------------------------------------------------------------------


@pytest.mark.parametrize("moved", [0.0, 0.7, 5.0])
def test_the_manifold_is_that_of_prdc(moved: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifold_module, "_BLOCK_BYTES", 2_000)  # many blocks
    sample, real = points(90, 4, 1, moved), points(120, 4, 2)
    found = manifold(sample, real)
    balls = compute_prdc(real, sample, K_BALLS)
    dense = compute_prdc(real, sample, K_DENSITY)
    assert found.precise.mean() == pytest.approx(balls["precision"])
    assert found.recalled.mean() == pytest.approx(balls["recall"])
    assert found.dense.mean() == pytest.approx(dense["density"])
    assert found.covered.mean() == pytest.approx(dense["coverage"])


def test_sets_that_are_one_and_the_same_lie_in_each_other() -> None:
    same = manifold(points(50), points(50))
    assert same.precise.mean() == same.recalled.mean() == same.covered.mean() == 1.0


def test_the_nearest_others_leave_the_point_itself_out() -> None:
    line = np.array([[0.0], [1.0], [3.0], [7.0]])
    assert neighbour_distances(line, 2).tolist() == [[1.0, 9.0], [1.0, 4.0], [4.0, 9.0], [16.0, 36.0]]


# --- scores --------------------------------------------------------------------------------------------------------


def test_the_classifier_score_is_the_share_that_is_right() -> None:
    predicted, labels = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    weights = np.array([[1.0, 1, 1, 1], [0, 0, 4, 0], [2, 2, 0, 0]])
    assert classifier_score(predicted, labels, weights).tolist() == [0.75, 0.0, 1.0]


def test_diversity_is_1_at_the_spread_of_real_images_and_less_on_either_side() -> None:
    labels, real = np.repeat([0, 1], 200), points(400, 5, 1)

    def of(sample: np.ndarray) -> float:
        return float(diversity((sample, labels), (real, labels), (ones(400), ones(400)))[0])

    assert of(real) == pytest.approx(1) and of(points(400, 5, 2)) > 0.95
    assert of(real * 0.5) == pytest.approx(0.5) and of(real * 2) == pytest.approx(0.5)
    assert of(real + 100) == pytest.approx(1)  # another place, not another spread
    assert of(np.where(labels[:, None] == 0, real, 0 * real)) == pytest.approx(0.5)  # one class has collapsed
    assert of(np.zeros_like(real)) == 0


def test_variety_counts_the_classes_that_are_seen_and_no_more() -> None:
    """Against exp(entropy) written out: shares 1/2, 1/4, 1/4 are 2 sqrt 2 classes."""
    real = np.repeat([0, 1, 2, 3], 25)
    uneven = np.repeat([0, 1, 2], [50, 25, 25])

    def of(seen: np.ndarray, weights: np.ndarray) -> list[float]:
        return list(variety((seen, real), (weights, ones(100))))

    assert of(real, ones(100)) == pytest.approx([1]) and of(np.zeros(100, int), ones(100)) == pytest.approx([0.25])
    assert of(uneven, ones(100)) == pytest.approx([2**1.5 / 4])
    assert of(uneven + 7, ones(100)) == pytest.approx([2**1.5 / 4])  # which classes they are does not matter
    assert of(uneven, np.where(uneven == 0, 0.5, 1)[None]) == pytest.approx([0.75])  # as if each came 25 times
    more = np.arange(100) % 8
    assert of(more, ones(100)) == pytest.approx([0.5], rel=0.01)  # too many are no better than too few


# --- the bootstrap -------------------------------------------------------------------------------------------------


def test_the_standard_error_of_a_mean_is_the_textbooks() -> None:
    values = points(400, 1, 5)
    nothing = np.zeros(400, np.int64)
    comparison = Comparison(*[Side(values, nothing, nothing, nothing)] * 2)
    weights = Weights.drawn(comparison, 0, 400)
    assert (weights.sample.sum(1) == 400).all() and (weights.sample[0] == 1).all()
    assert not np.array_equal(weights.sample[1], weights.real[1])
    means = weights.sample @ values[:, 0] / 400
    assert means[1:].std() == pytest.approx(values.std() / 20, rel=0.15)


def test_every_class_keeps_its_number_of_images() -> None:
    labels = np.repeat([-1, 3, 4], [5, 1, 9])
    side = Side(np.zeros((15, 1)), labels, labels, labels)
    drawn = Weights.drawn(Comparison(side, side), 0, 20)
    for weights in (drawn.sample, drawn.real):
        for label, count in ((-1, 5), (3, 1), (4, 9)):
            assert (weights[:, labels == label].sum(1) == count).all()
    assert drawn.sample.max() > 1


def test_diversity_is_1_where_neither_side_differs_and_does_not_depend_on_how_many_images_there_are() -> None:
    same, labels = np.ones((4, 2)), np.zeros(4, np.int64)
    assert diversity((same, labels), (same, labels), (ones(4), ones(4))).tolist() == [1.0]
    pair, many = np.array([[0.0], [2.0]]), np.array([[0.0], [2.0]] * 3)  # variances 2 and 6/5
    found = diversity((pair, labels[:2]), (many, np.zeros(6, np.int64)), (ones(2), ones(6)))
    assert found[0] == pytest.approx(np.sqrt(1.2 / 2))


def test_diversity_of_weighed_images_is_that_of_repeated_ones() -> None:
    sample, real, labels = points(30, 4, 1), points(40, 4, 2) + 3, np.zeros(40, np.int64)
    w, v = (np.random.default_rng(n).integers(0, 3, n) for n in (30, 40))
    found = diversity((sample, labels[:30]), (real, labels), (w[None].astype(float), v[None].astype(float)))
    repeated = sample.repeat(w, 0), real.repeat(v, 0)
    sides = [(rows, np.zeros(len(rows), np.int64)) for rows in repeated]
    assert found == pytest.approx(diversity(sides[0], sides[1], (ones(w.sum()), ones(v.sum()))))


def test_in_resamples_diversity_and_variety_are_those_of_repeated_rows() -> None:
    rng = np.random.default_rng(0)
    labels, real_labels = np.repeat([0, 1], [30, 20]), np.repeat([0, 1], [25, 35])
    sample, real = points(50, 4, 1, 3.0) * 0.7, points(60, 4, 2)
    w, v = rng.integers(0, 4, (1, 50)), rng.integers(0, 4, (1, 60))
    found = diversity((sample, labels), (real, real_labels), (w.astype(float), v.astype(float)))
    drawn = (sample.repeat(w[0], 0), labels.repeat(w[0])), (real.repeat(v[0], 0), real_labels.repeat(v[0]))
    spreads = [
        [np.sqrt(rows[of == label].var(0, ddof=1).sum()) for label in (0, 1)] for rows, of in drawn
    ]  # written out
    wanted = np.mean([min(a, b) / max(a, b) for a, b in zip(*spreads, strict=True)])
    assert found == pytest.approx([wanted])
    assert diversity(*drawn, (ones(w.sum()), ones(v.sum()))) == pytest.approx([wanted])

    seen = rng.integers(0, 5, 50), rng.integers(0, 5, 60)
    again = seen[0].repeat(w[0]), seen[1].repeat(v[0])
    assert variety(seen, (w, v)) == pytest.approx(variety(again, (ones(w.sum()), ones(v.sum()))))


def test_two_images_of_a_class_have_a_diversity_and_one_has_none() -> None:
    two, one = np.array([[0.0], [1.0]]), np.array([[0.0]])
    labels = np.zeros(2, int)
    assert diversity((two, labels), (two * 2, labels), (ones(2), ones(2))).tolist() == [0.5]
    assert np.isnan(diversity((one, labels[:1]), (two, labels), (ones(1), ones(2)))).all()
    assert np.isnan(diversity((two, labels), (one, labels[:1]), (ones(2), ones(1)))).all()
