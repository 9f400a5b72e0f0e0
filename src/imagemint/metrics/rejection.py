"""Density-ratio rejection (Azadi et al. 2019): of what a generator draws, keep more of what it draws too rarely.

A discriminator whose logits go through a sigmoid learns the log of p_real(x) / p_minted(x), up to a constant. To keep
an image with a probability in proportion to this ratio gives images of p_real, if the discriminator is perfect; few
are kept then. So the ratio is flattened until a given share is kept, by the shift gamma:

    F(x) = d - log(1 - exp(d)) - gamma,  d = logit(x) - highest logit;  kept with probability sigmoid(F)   (eq. 5)

With gamma = 0 that is exp(d), the plain proportion. A discriminator that has seen few images is no perfect one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit

BURN_IN = 1000  # images of a class by which the highest logit and gamma are found; Azadi et al. 2019 take 10,000
_NEAREST = -1e-9  # d of an image at or above the highest logit
_WIDEST = 1000.0  # gamma lies within plus or minus this

Critic = Callable[[np.ndarray, int], np.ndarray]  # uint8 [n, c, h, w], their class -> logits, float64 [n]


class Bar(NamedTuple):
    """What the images of a class are held against."""

    highest: float  # logit
    gamma: float

    def acceptance(self, logits: np.ndarray) -> np.ndarray:
        """The probability to be kept of each image, float64 `[n]`, from its logit.

        >>> densities = np.array([0.1, 0.2, 0.4])  # of real images, where minted ones have the same everywhere
        >>> Bar(np.log(0.4), gamma=0.0).acceptance(np.log(densities)).round(3).tolist()
        [0.25, 0.5, 1.0]
        """
        d = np.minimum(np.asarray(logits, np.float64) - self.highest, _NEAREST)
        kept: np.ndarray = expit(d - np.log(-np.expm1(d)) - self.gamma)
        return kept


def bar(logits: np.ndarray, share: float) -> Bar:
    """The bar over which about `share` (over 0, up to 1) of images of these logits `[n]` are kept.

    >>> found = bar(np.linspace(-3, 3, 100), 0.25)
    >>> round(float(found.acceptance(np.linspace(-3, 3, 100)).mean()), 3)
    0.25
    """
    highest = float(np.max(logits))
    low, high = -_WIDEST, _WIDEST
    for _ in range(64):  # bisection: less is kept the larger gamma is
        middle = (low + high) / 2
        if Bar(highest, middle).acceptance(logits).mean() > share:
            low = middle
        else:
            high = middle
    return Bar(highest, low)
