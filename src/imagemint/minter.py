"""What a trained method gives back to mint from: the one place where seeds become noise, images and pixels.

Minting, sample pictures, the choice of the best weights and the watcher all draw through a minter, so that what is
looked at is what is minted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from imagemint import images, seeds
from imagemint.devices import on_device
from imagemint.errors import TrainingError
from imagemint.seeds import Noise


class Minter(Protocol):
    """Draws images. `z_size`: numbers that each image is made from; `noise`: their distribution."""

    @property
    def z_size(self) -> int: ...  # noqa: D102 (the class says it)
    @property
    def noise(self) -> Noise: ...  # noqa: D102

    def draw(self, image_seeds: Sequence[int], labels: np.ndarray) -> np.ndarray:
        """Pixels uint8 `[n, c, h, w]` of `n` images; int64 labels `[n]`, of which each image depends on its own."""
        ...


class NetworkMinter:
    """A minter of a network G: z float32 `[n, z_size]`, labels int64 `[n]` -> images float `[n, c, h, w]`."""

    def __init__(self, generator: nn.Module, z_size: int, noise: Noise, device: torch.device | str = "cpu") -> None:
        self.generator, self.z_size, self.noise = generator, z_size, noise
        self.device = torch.device(device)

    def z(self, image_seeds: Sequence[int]) -> Tensor:
        """The noise of each image, float32 `[n, z_size]`, from its own seed."""
        return on_device(seeds.noise(image_seeds, self.z_size, self.noise), self.device)

    def draw(self, image_seeds: Sequence[int], labels: np.ndarray) -> np.ndarray:
        """As Minter.draw. Raises what `draw_z` raises."""
        return self.draw_z(self.z(image_seeds), labels)

    @torch.inference_mode()
    def draw_z(self, z: Tensor, labels: np.ndarray) -> np.ndarray:
        """As `draw`, from noise that is given. In evaluation mode and fp32; the network's mode is put back.

        Raises TrainingError where the network makes a number that is not finite.
        """
        training = self.generator.training
        self.generator.eval()
        made = self.generator(z, torch.from_numpy(np.asarray(labels, np.int64)).to(self.device))
        self.generator.train(training)
        if not torch.isfinite(made).all():
            remedy = "mint from an earlier checkpoint, or train anew with lower learning rates"
            raise TrainingError("a sample is not finite", "finite numbers", remedy)
        return images.to_pixels(made).cpu().numpy()


class SpreadMinter:
    """Another minter whose noise is multiplied by `spread`, over 1 for more variety.

    After the expansion trick of GaFi (arXiv 2305.10118). With a spread of 1 it draws the same images.
    """

    def __init__(self, minter: NetworkMinter, spread: float) -> None:
        self.minter, self.spread = minter, spread
        self.z_size, self.noise = minter.z_size, minter.noise

    def draw(self, image_seeds: Sequence[int], labels: np.ndarray) -> np.ndarray:
        """As Minter.draw."""
        return self.minter.draw_z(self.spread * self.minter.z(image_seeds), labels)


class SnapshotMinter:
    """Several minters, of which the seed of an image says which one draws it: about as many images from each."""

    def __init__(self, minters: Sequence[Minter]) -> None:
        self.minters = minters
        self.z_size, self.noise = minters[0].z_size, minters[0].noise

    def turn(self, image_seeds: Sequence[int]) -> np.ndarray:
        """Which minter draws each image: int64 `[n]`, indices into `minters`."""
        return np.array([seed % len(self.minters) for seed in image_seeds], np.int64)

    def draw(self, image_seeds: Sequence[int], labels: np.ndarray) -> np.ndarray:
        """As Minter.draw."""
        turns = self.turn(image_seeds)
        found: np.ndarray | None = None
        for k in np.unique(turns):
            rows = np.flatnonzero(turns == k)
            drawn = self.minters[int(k)].draw([image_seeds[row] for row in rows.tolist()], np.asarray(labels)[rows])
            found = np.empty((len(turns), *drawn.shape[1:]), drawn.dtype) if found is None else found
            found[rows] = drawn
        assert found is not None, "no image to draw"
        return found
