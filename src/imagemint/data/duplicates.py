"""Images that a pack holds more than once: the same pixels, or the same picture.

*Exact* duplicates have the same pixels. *Near* duplicates show the same picture after re-encoding, rescaling, a
change of brightness or contrast, or a little noise; a shifted, cropped or mirrored copy is another picture. How they
are found depends on the size:

- From 16 x 16 pixels on, in two steps. A 64-bit perceptual hash of each image (pHash: which of the 63 lowest
  frequencies of its cosine transform lie over their median; Zauner 2010, "Implementation and benchmarking of
  perceptual image hash functions", section 3.2.1) proposes pairs that differ in at most 6 bits. A proposed pair is
  confirmed when the gray pictures correlate by at least 0.99 in their 143 lowest frequencies, each weighted by its
  frequency (so that outlines count, not blots), *and* the pixels of all channels correlate by at least 0.9 (so that a
  red ball is not a blue one). The hash proposes over 99 % of the copies that the second step accepts. That accepts
  over 93 % (of photos and digits, 28 to 64 pixels) of copies at JPEG quality 40, at 3/4 of the size and back, or with
  noise of 5 levels, and over 84 % of those made 20 % brighter and clipped at white. Below 28 pixels it finds fewer.
- Smaller images have too few frequencies for a hash that means anything: there a pair is a near duplicate when its
  pixels differ by at most 2 levels of 255 (root mean square), which is rounding.

What that gives: in 3,670 flower photos (64 x 64) 12 pairs and in 50,000 CIFAR-10 images 12, all of them one picture
twice; in 60,000 MNIST digits 340 images in 155 groups, all of them plain strokes for a "1" that nobody could tell
apart; in scikit-learn's 1,797 digits (8 x 8) none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from imagemint.data.pack import Pack
from imagemint.images import GRAY_WEIGHTS
from imagemint.progress import Advance, progress

HASH_BITS_APART = 6  # of 64; JPEG at quality 40 moves at most 4, 20 % more brightness at most 6 to 8 (99 % of images)
ALIKE_IN_OUTLINE, ALIKE_IN_COLOUR = 0.99, 0.9
SMALLEST_HASHED = 16  # pixels: the eighth cosine needs two pixels a half-wave
LEVELS_APART = 2.0
MOVES = ((0, 0), *((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)))  # pixels down and across
_FREQUENCIES = 12  # a side, for confirming
_ROWS, _COLUMNS = 512, 8192  # of the table of all pairs, at a time
_CONFIRM_BYTES = 4 << 20  # of pixels, at a time
_HASH_BYTES = 8 << 20

Pairs = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Groups:
    """Which images belong together."""

    first: np.ndarray  # int64 [n]: the first image of the group that image k belongs to (k itself when alone)
    cut: int = 0  # pairs alike by their hashes that were not joined, since the group would have grown too large

    def together(self) -> tuple[int, int, int]:
        """How many groups of more than one image there are, how many images in them, and in the largest."""
        sizes = np.bincount(self.first, minlength=len(self.first))
        sizes = sizes[sizes > 1]
        return len(sizes), int(sizes.sum()), int(sizes.max(initial=0))


def digests(pack: Pack) -> np.ndarray:
    """A 128-bit BLAKE2b of the pixels of each image: `[n]` of 16 bytes. Labels play no part."""
    found = np.empty(len(pack), "S16")
    with progress(len(pack), "same pixels") as advance:
        for index in pack.blocks(block_bytes=_HASH_BYTES):
            for k, pixels in zip(index.tolist(), pack.read(index), strict=True):
                found[k] = hashlib.blake2b(pixels.data, digest_size=16).digest()
            advance(len(index))
    return found


def exact_groups(pack: Pack) -> Groups:
    """Images with the same pixels."""
    _, first, member = np.unique(digests(pack), return_index=True, return_inverse=True)
    return Groups(first[member.reshape(-1)].astype(np.int64))


def near_groups(pack: Pack, *, exact: Groups | None = None, among: np.ndarray | None = None) -> Groups:
    """Every image with the first one that it nearly is, for removing copies.

    Groups do not chain: a member is a near duplicate of the group's first image, whatever the members are to each
    other. No first image is a near duplicate of another. `exact`: `exact_groups(pack)`, where it is known. `among`
    (rising indices): near duplicates are looked for among these images only, exact ones among all.
    """
    groups = exact_groups(pack) if exact is None else exact
    kept = groups.first == np.arange(len(pack))
    first = groups.first.copy()

    def undecided(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        both: np.ndarray = kept[left] & kept[right]
        return both

    def join(i: int, j: int) -> None:
        if kept[i] and kept[j]:
            kept[j], first[j] = False, i

    alone = np.flatnonzero(kept)
    _near_pairs(pack, alone if among is None else np.intersect1d(alone, among), undecided, join)
    return Groups(first[groups.first])


def linked_groups(pack: Pack, *, largest: int | None = None) -> Groups:
    """Images linked by near duplicates, for keeping them on one side of a split.

    Here groups do chain (a is near b, b near c: all three together, though a and c may differ), or else a pair would
    be torn apart. A chain through a slowly changing set could swallow it whole, so a group takes in at most `largest`
    different pictures (default: 20, or 5 % of the pack when that is more); links beyond that are cut and counted.
    Exact duplicates are never cut.
    """
    largest = max(20, len(pack) // 20) if largest is None else largest
    first = exact_groups(pack).first
    alone = np.flatnonzero(first == np.arange(len(pack)))
    root, size = np.arange(len(pack)), np.ones(len(pack), np.int64)
    members, cut = {k: [k] for k in alone.tolist()}, 0

    def undecided(left: np.ndarray, right: np.ndarray) -> np.ndarray:
        nonlocal cut
        left, right = root[left], root[right]
        apart: np.ndarray = left != right
        room: np.ndarray = size[left] + size[right] <= largest
        cut += int((apart & ~room).sum())
        ask: np.ndarray = apart & room
        return ask

    def join(i: int, j: int) -> None:
        nonlocal cut
        low, high = sorted((int(root[i]), int(root[j])))
        if low == high:
            return
        if size[low] + size[high] > largest:
            cut += 1
        else:
            size[low] += size[high]
            root[members[high]] = low
            members[low] += members.pop(high)

    _near_pairs(pack, alone, undecided, join)
    return Groups(root[first], cut)


def near_copies(pack: Pack, among: np.ndarray, others: np.ndarray) -> Pairs:
    """The images of a pack, of those `among` (int64), that are near copies of one of `others` (uint8 `[m, c, h, w]`).

    Two int64 arrays: each such image once, rising, and the first of `others` that it was found to copy. Here a copy
    that is moved by a pixel in any direction counts as well (edges are repeated).
    """
    tiny = min(pack.size) < SMALLEST_HASHED
    vectors, reach = (_plain_vectors if tiny else _hash_vectors)(pack, among), _reach(tiny)
    batch = max(1, _CONFIRM_BYTES // (2 * int(np.prod(pack.pixels.shape[1:]))))
    twin = np.full(len(among), -1)
    with progress(len(MOVES) * len(among), "near copies") as advance:
        for down, across in MOVES:
            moved = _moved(others, down, across)
            columns = _plain(moved, right=True) if tiny else _signs(perceptual_hashes(moved))
            for top in range(0, len(among), _ROWS):
                rows = vectors(top, min(top + _ROWS, len(among)), False)
                for left in range(0, len(moved), _COLUMNS):
                    i, j = np.nonzero(rows @ columns[left : left + _COLUMNS].T >= reach)
                    i, j = i + top, j + left
                    for start in range(0, len(i), batch):
                        a, b = i[start : start + batch], j[start : start + batch]
                        a, b = a[twin[a] < 0], b[twin[a] < 0]
                        if not len(a):  # all of them were found before
                            continue
                        mine, at = np.unique(a, return_inverse=True)
                        both = np.concatenate([pack.read(among[mine]), moved[b]])
                        same = (_same_levels if tiny else _same_picture)(both, at, len(mine) + np.arange(len(b)))
                        twin[a[same][::-1]] = b[same][::-1]  # of several the first
                advance(len(rows))
    found = np.flatnonzero(twin >= 0)
    return among[found], twin[found]


def perceptual_hashes(pixels: np.ndarray) -> np.ndarray:
    """64-bit pHash of uint8 `[n, c, h, w]`, at least 16 x 16: uint64 `[n]`. The bit of the mean brightness is 0."""
    waves = _cosines(_gray(pixels), 8).reshape(len(pixels), 64)
    over = waves > np.median(waves[:, 1:], axis=1, keepdims=True)
    over[:, 0] = False
    return np.packbits(over, axis=1).view(np.uint64).reshape(-1)


# Finding pairs: a matrix product proposes, the pixels decide.


def _near_pairs(
    pack: Pack,
    images: np.ndarray,
    undecided: Callable[[np.ndarray, np.ndarray], np.ndarray],
    join: Callable[[int, int], None],
) -> None:
    """Call `join(i, j)`, i < j, for the near duplicates among `images`, in rising order of i for every j.

    Pairs for which `undecided` says no are passed over without looking at their pixels.
    """
    tiny = min(pack.size) < SMALLEST_HASHED
    vectors = _plain_vectors(pack, images) if tiny else _hash_vectors(pack, images)
    reach = _reach(tiny)
    confirm = _same_levels if tiny else _same_picture
    batch = max(1, _CONFIRM_BYTES // (2 * int(np.prod(pack.pixels.shape[1:]))))
    with progress(len(images), "near pairs") as advance:
        for left, right in _proposals(len(images), vectors, reach, advance):
            i, j = images[left], images[right]
            for start in range(0, len(i), batch):
                a, b = i[start : start + batch], j[start : start + batch]
                ask = undecided(a, b)
                a, b = a[ask], b[ask]
                if not len(a):
                    continue
                needed, where = np.unique(np.concatenate([a, b]), return_inverse=True)
                where = where.reshape(2, -1)
                same = confirm(pack.read(needed), where[0], where[1])
                for pair in zip(a[same].tolist(), b[same].tolist(), strict=True):
                    join(*pair)


Vectors = Callable[[int, int, bool], np.ndarray]


def _proposals(count: int, vectors: Vectors, reach: float, advance: Advance) -> Iterator[Pairs]:
    """Positions (i, j), i < j, whose vectors have an inner product of `reach` or more; the table in tiles.

    All pairs are looked at (n^2 / 2 products of short vectors, which a processor does at some 10^9 a second): exact
    for any threshold, and 60,000 images take seconds.
    """
    for top in range(0, count, _ROWS):
        rows = vectors(top, min(top + _ROWS, count), False)
        for left in range(top, count, _COLUMNS):
            columns = vectors(left, min(left + _COLUMNS, count), True)
            i, j = np.nonzero(rows @ columns.T >= reach)
            i, j = i + top, j + left
            later = j > i
            yield i[later], j[later]
        advance(len(rows))


def _hash_vectors(pack: Pack, images: np.ndarray) -> Vectors:
    """Hashes as float32 +-1: their inner product is 64 - 2 x (bits that differ). In memory: 8 bytes per image."""
    hashes = np.empty(len(images), np.uint64)
    done = 0
    with progress(len(images), "hashes") as advance:
        for index in pack.blocks(images, block_bytes=_HASH_BYTES):
            hashes[done : done + len(index)] = perceptual_hashes(pack.read(index))
            done += len(index)
            advance(len(index))

    def vectors(start: int, end: int, _: bool) -> np.ndarray:
        return _signs(hashes[start:end])

    return vectors


def _signs(hashes: np.ndarray) -> np.ndarray:
    return np.unpackbits(hashes.view(np.uint8).reshape(-1, 8), axis=1).astype(np.float32) * 2 - 1


def _reach(tiny: bool) -> float:
    """The least inner product of the vectors of a pair that is looked at."""
    return -1.01 * LEVELS_APART**2 / 2 if tiny else 64 - 2 * HASH_BITS_APART


def _moved(pixels: np.ndarray, down: int, across: int) -> np.ndarray:
    """Images `[n, c, h, w]` moved by some pixels; what comes in repeats the edge."""
    rows, columns = (
        (np.arange(length) - by).clip(0, length - 1)
        for length, by in zip(pixels.shape[2:], (down, across), strict=True)
    )
    return pixels if down == across == 0 else np.ascontiguousarray(pixels[:, :, rows][:, :, :, columns])


def _plain_vectors(pack: Pack, images: np.ndarray) -> Vectors:
    """Pixels with two more numbers, so that the inner product of a and b is -mean((a - b)^2) / 2."""

    def vectors(start: int, end: int, right: bool) -> np.ndarray:
        return _plain(pack.read(images[start:end]), right=right)

    return vectors


def _plain(pixels: np.ndarray, *, right: bool) -> np.ndarray:
    levels = pixels.reshape(len(pixels), -1).astype(np.float32) - 127.5
    levels /= np.sqrt(np.float32(levels.shape[1]))
    half, one = -(levels**2).sum(axis=1, keepdims=True) / 2, np.ones((len(levels), 1), np.float32)
    return np.concatenate([levels, one, half] if right else [levels, half, one], axis=1)


def _same_levels(pixels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether the root mean square difference of each pair is at most `LEVELS_APART`: bool `[pairs]`."""
    apart = (pixels[left].astype(np.int64) - pixels[right]).reshape(len(left), -1)
    same: np.ndarray = (apart**2).sum(axis=1) <= LEVELS_APART**2 * apart.shape[1]
    return same


def _same_picture(pixels: np.ndarray, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Whether each pair agrees in outline and in colour (see the head of this file): bool `[pairs]`."""
    waves = _cosines(_gray(pixels), _FREQUENCIES)
    up, across = (np.arange(count) for count in waves.shape[1:])
    outline = _unit(waves * np.hypot(up[:, None], across))  # a weight of 0 leaves the mean brightness out
    alike = (outline[left] * outline[right]).sum(axis=1) >= ALIKE_IN_OUTLINE
    floats = pixels.astype(np.float32)
    colour = _unit(floats - floats.mean(axis=(1, 2, 3), keepdims=True))
    alike[alike] = (colour[left[alike]] * colour[right[alike]]).sum(axis=1) >= ALIKE_IN_COLOUR
    same: np.ndarray = alike
    return same


def _gray(pixels: np.ndarray) -> np.ndarray:
    """Luminance (ITU-R BT.601) of uint8 `[n, c, h, w]`: float32 `[n, h, w]`."""
    if pixels.shape[1] == 1:
        return pixels[:, 0].astype(np.float32)
    gray = np.zeros(pixels[:, 0].shape, np.float32)
    for channel, weight in enumerate(GRAY_WEIGHTS):
        gray += pixels[:, channel] * np.float32(weight)
    return gray


def _cosines(gray: np.ndarray, count: int) -> np.ndarray:
    """The `count` lowest frequencies, vertical x horizontal, of each `[h, w]`'s cosine transform (DCT-II).

    Fewer where the image is too small to show them: a wave needs two pixels a half-wave. Images of another size give
    nearly the same numbers up to a factor, so nothing is resized first.
    """

    def waves(length: int) -> np.ndarray:
        frequencies = np.arange(min(count, length // 2))
        return np.cos(np.pi * (np.arange(length) + 0.5) * frequencies[:, None] / length).astype(np.float32)

    transformed: np.ndarray = waves(gray.shape[1]) @ gray @ waves(gray.shape[2]).T
    return transformed


def _unit(values: np.ndarray) -> np.ndarray:
    """Rows of length 1; what is flat (nothing but rounding) becomes 0 and so is like nothing."""
    rows = values.reshape(len(values), -1)
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: np.ndarray = np.where(length > 1e-2, rows / np.maximum(length, 1e-2), 0)
    return unit
