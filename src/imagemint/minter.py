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
