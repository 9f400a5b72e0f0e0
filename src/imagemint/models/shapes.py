"""The shape of one image, which decides the shape of the networks."""

from __future__ import annotations

from typing import NamedTuple

from imagemint.errors import RecipeError


class ImageShape(NamedTuple):
    """Channels (1 or 3), height, width."""

    channels: int
    height: int
    width: int

    def check_divisible(self, by: int, model: str) -> None:
        """Raise RecipeError unless both sides can be halved as often as the model halves them."""
        if self.height % by or self.width % by:
            raise RecipeError(
                f"the pack holds {self.height}x{self.width} images",
                f"sides that are multiples of {by} for model {model}",
                f"pack the images again with --size {max(by, round(max(self[1:]) / by) * by)}",
            )

    def halvings(self, smallest: int = 4) -> int:
        """How often both sides can be halved before one is odd or falls below `smallest`."""
        k = 0
        while all(side % 2 ** (k + 1) == 0 and side // 2 ** (k + 1) >= smallest for side in self[1:]):
            k += 1
        return k
