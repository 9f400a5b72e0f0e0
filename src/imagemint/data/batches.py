"""The order in which training sees the images: addressed by images seen, so that starting at n is skipping n."""

from __future__ import annotations

import numpy as np

from imagemint import seeds


class Batches:
    """An endless sequence of image indices: every image once an epoch, each epoch in a new order.

    The order of epoch e depends on (seed, e) alone. Unlike the usual loader, a batch may straddle two epochs, so no
    image is ever left out and a batch may be larger than the pack.
    """

    def __init__(self, images: int, seed: int) -> None:
        assert images > 0, images
        self.images, self.seed = images, seed
        self._epoch, self._order = -1, np.empty(0, np.int64)

    def take(self, images_seen: int, count: int) -> np.ndarray:
        """int64 `[count]`: positions `images_seen` to `images_seen + count` of the sequence."""
        parts = []
        while count > 0:
            epoch, start = divmod(images_seen, self.images)
            part = self._epoch_order(epoch)[start : start + count]
            parts.append(part)
            images_seen, count = images_seen + len(part), count - len(part)
        return np.concatenate(parts) if parts else np.empty(0, np.int64)

    def _epoch_order(self, epoch: int) -> np.ndarray:
        if epoch != self._epoch:
            self._epoch, self._order = epoch, seeds.rng(self.seed, "order", epoch).permutation(self.images)
        return self._order


class RisingBatches:
    """Real images and others, where the share of real ones rises in a straight line from `share` to 1 at the end.

    Indices 0 to `real` - 1 are the real images, the next `other` ones the others; each kind comes in the order of
    its own `Batches`. Up to any position the real images are as many as the line says, rounded down.

    >>> RisingBatches(2, 2, share=0.5, length=8, seed=0).take(0, 8) < 2
    array([False,  True, False,  True,  True,  True,  True,  True])
    """

    def __init__(self, real: int, other: int, *, share: float, length: int, seed: int) -> None:
        assert 0 <= share <= 1 and length > 0, (share, length)
        self.share, self.length, self.shift = share, length, real
        self.real, self.other = (
            Batches(count, seeds.derive(seed, kind)) for kind, count in (("real", real), ("other", other))
        )

    def take(self, images_seen: int, count: int) -> np.ndarray:
        """int64 `[count]`: positions `images_seen` to `images_seen + count` of the sequence."""
        before = self._real_before(np.arange(images_seen, images_seen + count + 1))
        is_real = np.diff(before) > 0
        n_real, first = int(before[-1] - before[0]), int(before[0])
        found = np.empty(count, np.int64)
        found[is_real] = self.real.take(first, n_real)
        found[~is_real] = self.other.take(images_seen - first, count - n_real) + self.shift
        return found

    def _real_before(self, positions: np.ndarray) -> np.ndarray:
        """How many real images come before each position, int64: the integral of the line, rounded down."""
        rise = (1 - self.share) / (2 * self.length)
        return np.floor(self.share * positions + rise * positions**2 + 1e-9).astype(np.int64)
