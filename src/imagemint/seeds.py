"""(seed, purpose, index) -> random numbers. Nothing else in the package seeds anything.

Randomness is addressed, not consumed: image number k of a training has its noise from (seed, "noise", k) whether
or not the process was stopped in between, whatever the batch size and the number of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:  # torch is imported where it is used: packing images must not wait for it
    import torch

Noise = Literal["normal", "uniform"]


def derive(seed: int, purpose: str, index: int = 0) -> int:
    """A seed in [0, 2^63) that depends on all three; a keyed hash, so neighbours are unrelated.

    >>> derive(0, "noise", 7) == derive(0, "noise", 7), derive(0, "noise", 7) == derive(0, "noise", 8)
    (True, False)
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}/{index}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def rng(seed: int, purpose: str, index: int = 0) -> np.random.Generator:
    """A numpy generator for one purpose: orders, splits, choices.

    >>> sorted(rng(0, "order").permutation(4).tolist())
    [0, 1, 2, 3]
    """
    return np.random.default_rng(derive(seed, purpose, index))


def generator(seed: int, purpose: str, index: int = 0) -> torch.Generator:
    """A torch generator (CPU) for one purpose: initial weights, augmentation."""
    import torch

    return torch.Generator().manual_seed(derive(seed, purpose, index))


def seed_layers(seed: int, purpose: str, index: int = 0) -> None:
    """Seed torch's global generator, which initialisers and dropout draw from: the one place that does."""
    import torch

    torch.manual_seed(derive(seed, purpose, index))


def noise(image_seeds: Sequence[int], size: int, kind: Noise = "normal") -> torch.Tensor:
    """z for each image from its own seed: float32 `[n, size]`, N(0, 1) or U(-1, 1).

    Row k depends on `image_seeds[k]` alone, so it does not change with the batch that the image is drawn in.

    >>> bool((noise([5, 6], 3)[1] == noise([6], 3)[0]).all())
    True
    """
    import torch

    z = torch.empty(len(image_seeds), size)
    source = torch.Generator()
    for row, image_seed in zip(z, image_seeds, strict=True):
        source.manual_seed(int(image_seed))
        if kind == "normal":
            row.normal_(generator=source)
        else:
            row.uniform_(-1.0, 1.0, generator=source)
    return z
