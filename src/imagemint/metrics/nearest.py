"""The nearest of many images by l1 over pixels, exactly, without looking at most of them.

The sum of absolute differences over a patch is at least the absolute difference of the patch's sums, so that sums
over patches bound the distance of two images from below. For each image asked about, the bounds of all candidates
(4 x 4 patches per channel) leave few that could still be nearest; finer patches leave fewer; these alone are looked
at pixel by pixel. On photographs that saves nearly all of the work, and the answer is the same to the last digit.
"""

from __future__ import annotations

import numpy as np
import torch

PATCHES = 4  # per side, of the first bound; the second has twice as many
_FIRST = 8  # candidates that are looked at to have a distance to beat
_BLOCK_BYTES = 32 << 20  # of bounds, at a time
_EXACT = 1024  # images that are compared pixel by pixel at a time


class Nearest:
    """Finds the nearest of some candidates: images of uint8 `[m, c, h, w]`, all of them or those at `rows`.

    Candidates may stay on the disk (a pack's pixels); sums over their patches are held in memory.

    >>> images = np.array([0, 7, 200], np.uint8).reshape(3, 1, 1, 1)
    >>> [each.tolist() for each in Nearest(images).of(images[:1], leave_out=np.array([0]))]
    [[1], [7]]
    """

    def __init__(self, pixels: np.ndarray, rows: np.ndarray | None = None) -> None:
        assert pixels.dtype == np.uint8 and pixels.ndim == 4, (pixels.dtype, pixels.shape)
        self.pixels, self.rows = pixels, np.arange(len(pixels)) if rows is None else rows
        assert len(self.rows), "no candidate"
        patch = -(-max(pixels.shape[2:]) // PATCHES)
        self.patches = patch, -(-patch // 2)
        self.coarse, self.fine = (patch_sums(pixels, each, self.rows) for each in self.patches)

    def of(self, images: np.ndarray, leave_out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        """For each image uint8 `[n, c, h, w]` the nearest candidate's number and its l1 distance, int64 `[n]` each.

        Of several at the same distance the first. `leave_out` (int64 `[n]`) names one candidate for each image that
        does not count, such as the image itself.
        """
        assert images.shape[1:] == self.pixels.shape[1:] and images.dtype == np.uint8, (images.dtype, images.shape)
        number, distance = np.empty(len(images), np.int64), np.empty(len(images), np.int64)
        step = max(1, _BLOCK_BYTES // (self.coarse.itemsize * len(self.rows)))
        for start in range(0, len(images), step):
            asked = np.asarray(images[start : start + step])
            coarse, fine = (patch_sums(asked, patch) for patch in self.patches)
            bounds = torch.cdist(torch.from_numpy(coarse), torch.from_numpy(self.coarse), p=1).numpy()
            for k, bound in enumerate(bounds, start):
                if leave_out is not None:
                    bound[leave_out[k]] = np.inf
                number[k], distance[k] = self._nearest(asked[k - start], fine[k - start], bound)
        return number, distance

    def _nearest(self, image: np.ndarray, fine: np.ndarray, bound: np.ndarray) -> tuple[int, int]:
        first = np.argpartition(bound, _FIRST)[:_FIRST] if len(bound) > _FIRST else np.flatnonzero(bound < np.inf)
        best = int(self._distances(image, first).min())
        left = np.flatnonzero(bound <= best)
        if len(left) > _FIRST:
            finer = np.abs(self.fine[left] - fine).sum(1)
            order = np.argsort(finer, kind="stable")[:_FIRST]
            best = min(best, int(self._distances(image, left[order]).min()))
            left = left[finer <= best]
        found = self._distances(image, left)
        at = int(found.argmin())
        return int(left[at]), int(found[at])

    def _distances(self, image: np.ndarray, chosen: np.ndarray) -> np.ndarray:
        """l1 distances of uint8 `[c, h, w]` to the candidates `chosen`: int64 `[len(chosen)]`."""
        found = np.empty(len(chosen), np.int64)
        for start in range(0, len(chosen), _EXACT):
            part = np.asarray(self.pixels[self.rows[chosen[start : start + _EXACT]]])
            apart = np.maximum(part, image) - np.minimum(part, image)  # stays uint8
            found[start : start + _EXACT] = apart.reshape(len(part), -1).sum(1, dtype=np.int64)
        return found


def patch_sums(pixels: np.ndarray, patch: int, rows: np.ndarray | None = None) -> np.ndarray:
    """Sums over patches of patch x patch pixels, those at the right and lower border smaller: float32 `[n, d]`.

    float64 where sums over a whole image could be too large for float32 to be exact.
    """
    rows = np.arange(len(pixels)) if rows is None else rows
    c, h, w = pixels.shape[1:]
    tops, lefts = (np.arange(0, side, patch) for side in (h, w))
    exact = np.float32 if 255 * c * h * w < 1 << 24 else np.float64
    sums = np.empty((len(rows), c * len(tops) * len(lefts)), exact)
    for start in range(0, len(rows), _EXACT):
        part = np.add.reduceat(np.asarray(pixels[rows[start : start + _EXACT]]), tops, axis=2, dtype=np.int32)
        sums[start : start + _EXACT] = np.add.reduceat(part, lefts, axis=3).reshape(len(part), -1)
    return sums
