"""Triple-GAN in training: labelled and unlabelled images, classes that are asked for, a classifier that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import RecipeError
from imagemint.fitting import train
from imagemint.labelling import class_probabilities
from imagemint.models import ImageShape, build
from tests.digits import write

SMALL: dict[str, Any] = {
    "options": {"width": 8},
    "z_size": 16,
    "smallest": 8,
    "batch_size": 40,
    "optimizer_g.lr": 1e-3,
    "optimizer_d.lr": 1e-3,
    "precision": "fp32",
}


def test_with_each_label_d_says_what_it_says_of_the_pair() -> None:
    _, d = build("triple", {"width": 4}, ImageShape(1, 8, 8), 3, 5)
    d.eval()
    images = torch.rand(6, 1, 8, 8) * 2 - 1
    joint = d.joint(images, torch.zeros(6)).detach()  # type: ignore[operator]
    for label in range(3):
        assert torch.allclose(joint[:, label], d(images, torch.full((6,), label)), atol=1e-6)
    seen = joint[:, 3:].argmax(1)
    assert torch.equal(d(images, torch.full((6,), -1)), d(images, seen))


def test_the_classifier_learns_from_few_labels_and_samples_are_of_the_class_asked_for(
    digits: Pack, tmp_path: Path
) -> None:
    """Ten labels per class of 1,000 images; looked at: the 797 others."""
    labels = np.array(digits.labels[:1000])
    rank = np.array([np.sum(labels[:k] == label) for k, label in enumerate(labels)])
    few = write(tmp_path / "few", digits.pixels[:1000], np.where(rank < 10, labels, -1), digits.classes)
    recipe = load_recipe("triple-gan", SMALL | {"watch_every": 10_000})
    run = train(few, recipe, tmp_path / "run", images=20_000)
    assert run.facts.pack.images == 1000
    seen = class_probabilities(run, np.array(digits.pixels[1000:])).argmax(1)
    assert float((seen == digits.labels[1000:]).mean()) > 0.7
    looks = run.lines("watch.jsonl")
    assert looks[-1]["distance"] < 0.5 * looks[0]["distance"]
    assert run.log()[-1]["accuracy"] > 0.9


@pytest.mark.parametrize("settings", [{"loss": "hinge"}, {"model": "small", "options": {}}])
def test_three_players_or_none(settings: dict[str, Any]) -> None:
    with pytest.raises(RecipeError, match="take loss triple and model triple together"):
        load_recipe("triple-gan", settings)
