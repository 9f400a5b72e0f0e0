"""The Frechet distance between two Gaussians, from moments that accumulate; real arithmetic only.

The field's usual way (`scipy.linalg.sqrtm` of a product that is not symmetric) gives imaginary parts and negative
distances when samples are few. Here both covariances are symmetric and every root is taken of what is at least 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Moments:
    """Count, mean `[d]` and sum of centred outer products `[d, d]` of the rows seen so far, float64."""

    count: int
    mean: Floats
    scatter: Floats

    @staticmethod
    def of(rows: NDArray[Any]) -> Moments:
        """Moments of `[n, d]`, n at least 1; the arithmetic is float64 whatever comes in."""
        rows = np.asarray(rows, np.float64)
        mean = rows.mean(0)
        centred = rows - mean
        return Moments(len(rows), mean, centred.T @ centred)

    def merge(self, other: Moments) -> Moments:
        """Moments of the rows of both (Chan, Golub & LeVeque 1979)."""
        count = self.count + other.count
        apart = other.mean - self.mean
        mean = self.mean + apart * (other.count / count)
        between = np.outer(apart, apart) * (self.count * other.count / count)
        return Moments(count, mean, self.scatter + other.scatter + between)

    def add(self, rows: NDArray[Any]) -> Moments:
        """Moments with the rows `[n, d]` seen too."""
        return self.merge(Moments.of(rows)) if len(rows) else self

    @property
    def covariance(self) -> Floats:
        """Unbiased, `[d, d]`; needs two rows."""
        assert self.count > 1, self.count
        return self.scatter / (self.count - 1)


def frechet(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(C_a) + tr(C_b) - 2 tr((C_a C_b)^1/2); 0 or more, exactly 0 for equal moments.

    (Dowson & Landau 1982.) The last trace is the sum of the singular values of C_a^1/2 C_b^1/2, which needs neither
    the root of a product nor full rank, so fewer samples than features are no numerical problem (only a bias, which
    a floor at the same count shows).

    >>> rows = np.random.default_rng(0).normal(size=(50, 2))
    >>> round(frechet(Moments.of(rows), Moments.of(rows + 3)), 6)  # the means are (3, 3) apart
    18.0
    """
    ca, cb = a.covariance, b.covariance
    if np.array_equal(a.mean, b.mean) and np.array_equal(ca, cb):
        return 0.0
    shared = float(torch.linalg.svdvals(_root(ca) @ _root(cb)).sum())
    distance = ((a.mean - b.mean) ** 2).sum() + np.trace(ca) + np.trace(cb) - 2 * shared
    return max(float(distance), 0.0)


def _root(covariance: Floats) -> torch.Tensor:
    """Symmetric square root, float64 `[d, d]`; eigenvalues that are only rounding noise count as 0.

    In torch, since numpy's LAPACK is several times slower on a machine that is busy with something else.
    """
    values, vectors = torch.linalg.eigh(torch.from_numpy(covariance))
    noise = values.max().clamp(min=0) * len(values) * torch.finfo(torch.float64).eps
    return (vectors * values.where(values > noise, 0.0).sqrt()) @ vectors.T


def frechet_distances(sample: NDArray[Any], real: NDArray[Any], weights: Floats) -> Floats:
    """`frechet` of rows `[n, d]` to rows `[m, d]` where row i of the sample counts `weights[k, i]` times: `[b]`.

    The singular values of C_a^1/2 C_b^1/2 are those of A L^T, where A are the centred rows of the sample and L^T L is
    the covariance of the real rows; L is the smaller of its root `[d, d]` and the centred rows `[m, d]` themselves.
    """
    sample, real = (np.asarray(each, np.float64) for each in (sample, real))
    if sample.shape == real.shape and np.array_equal(sample, real) and (weights == 1).all():
        return np.zeros(len(weights))
    centre = real.mean(0)
    sample, real = sample - centre, real - centre
    spread_real = float((real**2).sum() / (len(real) - 1))
    if real.shape[1] < len(real):
        factor = _root(real.T @ real / (len(real) - 1)).numpy()
    else:
        factor = real / np.sqrt(len(real) - 1)
    crossed, lengths = sample @ factor.T, (sample**2).sum(1)
    found = np.empty(len(weights))
    for k, w in enumerate(weights):
        used = np.flatnonzero(w)
        times, total = w[used], w.sum()
        mean = times @ sample[used] / total
        apart = float(mean @ mean)
        spread = float(times @ lengths[used] - total * apart) / (total - 1)
        rows = np.sqrt(times)[:, None] * (crossed[used] - times @ crossed[used] / total)
        gram = rows.T @ rows if rows.shape[1] < len(rows) else rows @ rows.T
        values = torch.linalg.eigvalsh(torch.from_numpy(gram)).clamp(min=0)
        found[k] = apart + spread + spread_real - 2 * float(values.sqrt().sum()) / np.sqrt(total - 1)
    return np.maximum(found, 0)
