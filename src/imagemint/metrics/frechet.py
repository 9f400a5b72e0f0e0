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
