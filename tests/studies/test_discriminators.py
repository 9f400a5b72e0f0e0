"""Arms whose classifier is a discriminator, or starts from one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from imagemint.classifiers import ClassifierPlan, evaluate, train_classifier
from imagemint.data.pack import Pack
from imagemint.errors import ImagemintError
from imagemint.fitting import train
from imagemint.labelling import Judge, judge_of
from imagemint.pages.study_page import study
from imagemint.studies.discriminators import started_from
from tests.digits import digits, write

QUICK: dict[str, Any] = {"classifier_epochs": 1, "classifier_images": 1280, "budgets": [20], "repeats": 1}


@pytest.fixture
def packs(tmp_path: Path) -> tuple[Pack, Pack]:
    pixels, labels = digits(500)
    ask = np.arange(500) % 4 == 0
    return write(tmp_path / "real", pixels[~ask], labels[~ask]), write(tmp_path / "test", pixels[ask], labels[ask])


def test_a_judge_gives_the_classes_without_the_generated_one() -> None:
    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
            return torch.tensor([[1.0, 2.0, 50.0]]).expand(len(images), 3)

    found = evaluate(Judge(Fixed(), (8, 8)), np.zeros((2, 1, 8, 8), np.uint8), np.array([1, 0]))
    assert found.predictions.tolist() == [1, 1] and np.allclose(found.probabilities.sum(1), 1)
    assert found.probabilities[0, 1] == pytest.approx(1 / (1 + np.exp(-1)))


def test_both_arms_have_rows(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    sgan = study(*packs, "sgan-mnist", tmp_path / "sgan", arms=["real", "semi-supervised"], images=8_000, **QUICK)
    by_arm = {row.arm: row for row in sgan.rows}
    semi = by_arm["semi-supervised"]
    assert semi.accuracy > 0.25 and semi.n_real == 200 and semi.n_minted == 0
    assert semi.images_seen == sgan.trainings("20")[0].images_seen >= 8_000
    demo = study(
        *packs, "demo", tmp_path / "demo", arms=["classic", "mix+classic", "pretrained"], images=640, **QUICK
    )
    row = next(row for row in demo.rows if row.arm == "pretrained")
    assert row.accuracy > 0.2 and row.history and "pretrained against classic" in demo.summary()


def test_a_start_is_the_discriminator_and_stays_as_it_was(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    pack = packs[0]
    run = train(pack, "demo", tmp_path / "run", images=128)
    kind, labels = started_from(run), np.asarray(pack.labels)

    def after(images: int) -> Any:
        plan = ClassifierPlan(classifier="resnet")  # of which nothing is used
        return train_classifier(pack.pixels, labels, 10, images_seen=images, seed=0, plan=plan, kind=kind)

    once, again = after(64), after(64)
    assert once.weights_hash() == again.weights_hash() != after(128).weights_hash()
    fresh = kind.build(1, (8, 8), 10)
    start = fresh.state_dict()
    moved = once.state_dict()
    dense = next(name for name in start if name.endswith("dense.weight"))
    assert 0 < float((start[dense] - moved[dense]).abs().max()) < 0.01  # one step of Adam at 0.001


@pytest.mark.parametrize(
    ("recipe", "arm", "found"),
    [
        ("demo", "semi-supervised", "gives no class logits"),
        ("pca", "semi-supervised", "has no discriminator"),
        ("per-class", "pretrained", "has no discriminator"),
        ("cdcgan", "pretrained", "looks at labels"),
        (None, "pretrained", "no recipe"),
    ],
)
def test_what_cannot_be_a_classifier_is_refused(
    packs: tuple[Pack, Pack], tmp_path: Path, recipe: str | None, arm: str, found: str
) -> None:
    pixels = [np.kron(pack.pixels[:], np.ones((1, 1, 4, 4), np.uint8))[:, :, 2:30, 2:30] for pack in packs]
    large = [
        write(tmp_path / name, each, np.asarray(pack.labels))
        for name, each, pack in zip("ab", pixels, packs, strict=True)
    ]
    with pytest.raises(ImagemintError, match=found):
        study(large[0], large[1], recipe, tmp_path / "out", arms=["real", arm], **QUICK)
    assert not (tmp_path / "out").exists()


def test_a_judge_is_the_trained_discriminator(packs: tuple[Pack, Pack], tmp_path: Path) -> None:
    run = train(packs[0], "sgan-mnist", tmp_path / "run", images=6400)
    found = evaluate(judge_of(run), packs[1].pixels[:], np.asarray(packs[1].labels))
    assert found.log_probabilities.shape == (len(packs[1]), 10) and found.accuracy > 0.2
