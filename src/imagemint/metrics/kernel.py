"""The kernel distance: squared maximum mean discrepancy with a cubic polynomial kernel, unbiased.

(Bińkowski et al. 2018, equation 4 and appendix D.)
On Inception's features it is known as KID. Unlike the Fréchet distance it is unbiased at every sample size, so that
it may come out a little below 0.
"""

from __future__ import annotations

import numpy as np

_BLOCK_BYTES = 64 << 20  # of a kernel matrix, at a time


def kernel_distance(
    sample: np.ndarray, real: np.ndarray, weights: tuple[np.ndarray, np.ndarray] | None = None
) -> np.ndarray:
    """Unbiased squared MMD between float `[n, d]` and `[m, d]`, at least two rows each: float64 `[b]`.

    `weights` (`[b, n]`, `[b, m]`) say how often each row counts, once per value; by default there is one value and
    every row counts once. A row that was drawn twice is no pair with itself.

    >>> points = np.arange(12.0).reshape(6, 2)
    >>> kernel_distance(points, points + 3).shape
    (1,)
    """
    sample, real = (np.asarray(each, np.float64) for each in (sample, real))
    w, v = weights or (np.ones((1, len(sample))), np.ones((1, len(real))))
    across = _weighed(sample, real, w, v) / (w.sum(1) * v.sum(1))
    return _within(sample, w) + _within(real, v) - 2 * across


def _within(points: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean kernel over pairs of different rows: float64 `[b]`."""
    itself = weights**2 @ ((points**2).sum(1) / points.shape[1] + 1) ** 3
    pairs = weights.sum(1) ** 2 - (weights**2).sum(1)
    mean: np.ndarray = (_weighed(points, points, weights, weights) - itself) / pairs
    return mean


def _weighed(left: np.ndarray, right: np.ndarray, w: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Sum over i, j of w_i v_j (l_i . r_j / d + 1)^3, for each row of the weights: float64 `[b]`."""
    total = np.zeros(len(w))
    step = max(1, _BLOCK_BYTES // (8 * len(right)))
    for start in range(0, len(left), step):
        rows = slice(start, start + step)
        root = left[rows] @ right.T
        root /= left.shape[1]
        root += 1
        kernel = root * root * root  # three times as fast as a power
        total += ((kernel @ v.T) * w[:, rows].T).sum(0)
    return total
