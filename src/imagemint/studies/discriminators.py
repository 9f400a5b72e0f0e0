"""What a GAN's discriminator has learned, as a classifier: as it is, or as the start of one.

A discriminator of k + 1 outputs (Salimans et al. 2016, section 5) is a classifier: its k logits are those of the
classes. Any other one is the trunk of a network with a new last layer, if what it makes of an image depends on the
image alone.
"""

from __future__ import annotations

import copy
from typing import Literal

import torch
from torch import Tensor, nn

from imagemint.classifiers.network import Network
from imagemint.classifiers.training import CLASSIFIERS, Kind
from imagemint.errors import StudyError
from imagemint.labelling import discriminator_of, is_one_gan, names_classes, no_labels
from imagemint.runfolder import Run, RunFacts
from imagemint.training.state import ONE_GAN

Use = Literal["as it is", "as a start"]  # of a discriminator as a classifier


class Started(Network):
    """A discriminator's trunk with a new last layer."""

    def __init__(self, discriminator: nn.Module, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__(size)
        self.discriminator = discriminator
        with torch.no_grad():
            width = self.features(torch.zeros(2, channels, *size)).shape[1]
        self.out = nn.Linear(width, classes)

    def features(self, images: Tensor) -> Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> what the last layer sees, float `[n, d]`."""
        found: Tensor = self.discriminator.features(images, no_labels(images))  # type: ignore[operator]
        return found


def check_discriminator(facts: RunFacts, arm: str, use: Use) -> None:
    """Raise StudyError where the discriminator of such a run cannot be used as an arm wants to."""
    recipe = facts.recipe
    of = f"recipe {recipe.name} (model {recipe.model})"
    if not is_one_gan(facts):
        raise StudyError(f"arm {arm}, and {of} has no discriminator of all classes", *_wanted(arm, use))
    if use == "as it is":
        if not names_classes(facts):
            raise StudyError(f"arm {arm}, and the discriminator of {of} gives no class logits", *_wanted(arm, use))
        return
    with torch.no_grad():
        _, discriminator = ONE_GAN.networks(facts)
        images = torch.rand(2, facts.pack.channels, *facts.pack.size) * 2 - 1
        labels = (torch.full((2,), label) for label in (0, len(facts.pack.classes) - 1))
        trunk = getattr(discriminator.eval(), "features", None)
        found = [trunk(images, each) for each in labels] if trunk is not None else []
    if not found or not torch.equal(*found):
        raise StudyError(f"arm {arm}, and the discriminator of {of} looks at labels", *_wanted(arm, use))


def _wanted(arm: str, use: Use) -> tuple[str, str]:
    wanted, example = {
        "as it is": ("a recipe of loss semi-supervised, whose discriminator has an output per class", "sgan-mnist"),
        "as a start": ("a discriminator that makes features of the image alone", "fewshot"),
    }[use]
    return wanted, f"choose such a recipe, as {example}, or leave the arm out"


def started_from(run: Run) -> Kind:
    """A row for `train_classifier`: networks that start from a run's discriminator, trained as LeNet is."""
    trunk = discriminator_of(run)

    def build(channels: int, size: tuple[int, int], classes: int) -> Started:
        return Started(copy.deepcopy(trunk), channels, size, classes)

    return Kind(build, "from a discriminator", CLASSIFIERS["lenet"].learning_rate)
