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
