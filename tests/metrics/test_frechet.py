"""The Frechet distance against closed forms and against scipy's matrix root."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from imagemint.metrics.frechet import Moments, frechet


def rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def test_moments_are_numpys() -> None:
    x = rows(40, 5)
    found = Moments.of(x)
    assert found.count == 40
    np.testing.assert_allclose(found.mean, x.mean(0))
    np.testing.assert_allclose(found.covariance, np.cov(x, rowvar=False))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=2, max_size=5), st.integers(0, 99))
def test_moments_do_not_depend_on_how_the_rows_arrive(sizes: list[int], seed: int) -> None:
    x = rows(sum(sizes), 4, seed)
    parts = np.split(x, np.cumsum(sizes)[:-1])
    added = Moments.of(parts[0])
    for part in parts[1:]:
        added = added.add(part)
    merged = Moments.of(np.concatenate(parts[:-1])).merge(Moments.of(parts[-1]))
    for found in (added, merged):
        assert found.count == len(x)
        np.testing.assert_allclose(found.mean, x.mean(0), atol=1e-10)
        np.testing.assert_allclose(found.scatter, Moments.of(x).scatter, atol=1e-8)


def test_distance_to_itself_is_exactly_zero() -> None:
    few = Moments.of(rows(10, 50))
    assert frechet(few, few) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_agrees_with_scipys_root_where_that_works(seed: int) -> None:
    a, b = Moments.of(rows(400, 8, seed)), Moments.of(rows(300, 8, seed + 50))
    root = linalg.sqrtm(a.covariance @ b.covariance).real
    wanted = ((a.mean - b.mean) ** 2).sum() + np.trace(a.covariance + b.covariance - 2 * root)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-8)


def test_diagonal_gaussians_have_a_closed_form() -> None:
    deviations = np.array([[1.0, 2.0, 0.0], [3.0, 2.0, 1.0]])
    means = np.array([[0.0, 1.0, 2.0], [2.0, 1.0, 1.0]])
    a, b = (Moments(11, mean, np.diag(s**2) * 10) for mean, s in zip(means, deviations, strict=True))
    # (0 - 2)^2 + (2 - 1)^2 + (1 - 3)^2 + (2 - 2)^2 + (0 - 1)^2
    assert frechet(a, b) == pytest.approx(10.0, rel=1e-12)


def test_fewer_samples_than_features_stay_real_symmetric_and_not_negative() -> None:
    a, b = Moments.of(rows(20, 300, 1)), Moments.of(rows(30, 300, 1))
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9) and frechet(a, b) >= 0
    nearly = Moments(a.count, a.mean + 1e-9, a.scatter)
    assert 0 <= frechet(a, nearly) < 1e-6


def test_two_rows_have_a_covariance() -> None:
    rows = np.array([[1.0, 2.0], [3.0, 7.0]])
    np.testing.assert_allclose(Moments.of(rows).covariance, np.cov(rows, rowvar=False))
