"""Are minted images copies of training images? Their distances to the nearest one, beside those of real images.

(Winkler 2018, figure 5.2, looks at the nearest training images by l1 over pixels.) A minted image that is near to a
training image is no copy yet: two pictures of a plain digit are near each other as well. So held-out real images,
which cannot be copies, are asked the same question about the same training images:

    share      of pairs (minted image, held-out image) in which the minted one is nearer to the training images: 0.5
               where both keep the same distance (Meehan, Chaudhuri & Dasgupta 2020, arXiv 2004.05675, section 3)
    close      minted images that are nearer than 99 % of the held-out ones
    p_value    chance of so many close ones if minted images kept the distance of real ones: an exact count of orders
               (beta-binomial), so that few held-out images lead to no alarm

Blurred images come near to everything by l1, so that a share over 0.5 alone is no alarm; the verdict asks for close
ones, in pixels or in features. Of samples that keep the distance of real images it says *nearer on the whole* of at
most one in twenty (2.5 % by pixels and by features each). A generator that has seen the held-out images too may have
copied these as well; its other copies give it away.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from imagemint import seeds
from imagemint.metrics.manifold import squared_distances
from imagemint.words import counted

CLOSEST_REAL = 0.01  # share of held-out images that are nearer than a distance which counts as close
ALARM = 0.01  # a p-value below is no accident
SHOWN = 12  # closest pairs in a result
LEAST_OF_A_CLASS = 20  # images on either side
_RESAMPLES = 200


@dataclass(frozen=True)
class Nearness:
    """How near minted images are to training images, compared with held-out real ones."""

    share: float
    low: float  # 95 %: share +- 1.96 standard errors, of the bootstrap or of equal distances, whichever is larger
    high: float
    expected: float  # of the share, where minted images are no nearer than real ones
    close: int
    close_expected: float
    p_value: float
    n_real: int
    n_minted: int


def nearness(minted: np.ndarray, held_out: np.ndarray, seed: int) -> Nearness:
    """From distances to the nearest training image, `[n]` of minted and `[m]` of held-out images, both at least 1.

    >>> far, near = np.arange(100.0) + 50, np.arange(100.0)
    >>> nearness(far, far, 0).share, nearness(near, near + 1000, 0).share
    (0.5, 1.0)
    """
    n, m = len(minted), len(held_out)
    share = _share_nearer(minted, held_out)
    rng = seeds.rng(seed, "bootstrap of copies")
    drawn = [
        _share_nearer(minted[rng.integers(n, size=n)], held_out[rng.integers(m, size=m)]) for _ in range(_RESAMPLES)
    ]
    # The bootstrap's error of few images comes out too small. With that of equal distances as the least, at most
    # 2.5 % of intervals lie above one half where minted images keep the distance of real ones (Mann & Whitney 1947).
    reach = 1.96 * max(float(np.std(drawn, ddof=1)), float(np.sqrt((n + m + 1) / (12 * n * m))))
    rank = max(int(CLOSEST_REAL * (m + 1)), 1)  # of the held-out image whose distance is the limit
    limit = np.partition(held_out, rank - 1)[rank - 1]
    close = int((minted < limit).sum())
    return Nearness(
        share=share,
        low=max(share - reach, 0.0),
        high=min(share + reach, 1.0),
        expected=0.5,
        close=close,
        close_expected=n * rank / (m + 1),
        p_value=_at_least(close, n, rank, m + 1 - rank),
        n_real=m,
        n_minted=n,
    )


def nearest_features(rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Euclidean distance of each row `[n, d]` to the nearest of `[m, d]`: float64 `[n]`."""
    found = np.empty(len(rows))
    for part, squared in squared_distances(np.asarray(rows, np.float64), np.asarray(among, np.float64)):
        found[part] = np.sqrt(squared.min(1))
    return found


def verdict(pixels: Nearness, features: Nearness) -> str:
    """One sentence. No close ones, but a share whose interval lies above one half: that is said, it is no alarm."""
    worst = min(pixels, features, key=lambda each: each.p_value)
    if worst.p_value >= ALARM:
        if pixels.low > pixels.expected or features.low > features.expected:
            return "no close copies, although minted images are nearer on the whole, as blurred ones are too"
        return "no sign of copies: minted images are not nearer to training images than held-out real images are"
    how = "by pixels" if worst is pixels else "by features"
    return (
        f"copies are likely: {worst.close:,} of {counted(worst.n_minted, 'minted image')} are nearer {how} to a "
        f"training image than 99 % of held-out real images are ({worst.close_expected:.1f} expected); "
        "look at the closest pairs"
    )


def summary(
    pixels: tuple[np.ndarray, np.ndarray],
    features: tuple[np.ndarray, np.ndarray],
    labels: tuple[np.ndarray, np.ndarray],
    classes: list[str],
    seed: int,
) -> dict[str, Any]:
    """The part `copies` of a result; every pair is (minted images, held-out images), distances and labels `[n]`.

    The classes stand in it that have at least 20 images on both sides, by pixels.
    """
    by_pixels, by_features = (nearness(minted, held_out, seed) for minted, held_out in (pixels, features))
    per_class = {}
    for label, name in enumerate(classes):
        mine, theirs = (distances[each == label] for distances, each in zip(pixels, labels, strict=True))
        if min(len(mine), len(theirs)) >= LEAST_OF_A_CLASS:
            per_class[name] = asdict(nearness(mine, theirs, seed))
    return {
        "verdict": verdict(by_pixels, by_features),
        **asdict(by_pixels),
        "features": asdict(by_features),
        "per_class": per_class,
    }


def _at_least(count: int, n: int, a: int, b: int) -> float:
    """The chance of `count` or more of n, beta-binomial with the shapes a and b.

    scipy.stats has it, and takes half a second to import, which every command would wait for.
    """
    from scipy import special

    k = np.arange(count, n + 1)
    ways = -np.log(n + 1) - special.betaln(n - k + 1, k + 1)
    return min(float(np.exp(ways + special.betaln(k + a, n - k + b) - special.betaln(a, b)).sum()), 1.0)


def _share_nearer(minted: np.ndarray, held_out: np.ndarray) -> float:
    """Share of pairs in which the minted image's distance is smaller; equal ones count half (Mann & Whitney 1947)."""
    ordered = np.sort(held_out)
    farther = (
        len(held_out) - (np.searchsorted(ordered, minted, "left") + np.searchsorted(ordered, minted, "right")) / 2
    )
    return float(farther.mean() / len(held_out))
