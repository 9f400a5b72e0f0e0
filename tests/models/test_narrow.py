"""Where a network halves images to one pixel, bf16 on the CPU would learn from whatever stood in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from imagemint.config import load_recipe
from imagemint.errors import RecipeError
from imagemint.fitting import train
from imagemint.methods import gan
from imagemint.models.narrow import has_narrow_maps
from tests.digits import digits, write


class Halving(nn.Module):
    """As many convolutions, each of which halves the image."""

    def __init__(self, times: int, kind: type[nn.Conv2d | nn.ConvTranspose2d] = nn.Conv2d) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(1, 1, 3, stride=2, padding=1) for _ in range(times))
        self.last = kind(1, 1, 3, stride=1, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for conv in self.convs:
            images = conv(images)
        found: torch.Tensor = self.last(images)
        return found


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_a_map_of_one_pixel_is_seen(kind: type[nn.Conv2d | nn.ConvTranspose2d]) -> None:
    for times, size, narrow in ((2, (8, 8), False), (3, (8, 8), True), (3, (8, 32), True), (3, (16, 16), False)):
        assert has_narrow_maps(Halving(times, kind), torch.zeros(2, 1, *size)) is narrow, (times, size)


@pytest.fixture
def bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gan, "native_precision", lambda device: "bf16")


def test_such_a_training_is_in_fp32_and_bf16_is_refused(tmp_path: Path, bf16: None) -> None:
    pixels, labels = digits(60)
    pack = write(tmp_path / "pack", pixels, labels)
    run = train(pack, "per-class", tmp_path / "run", images=320, device="cpu")
    assert run.facts.precision == "fp32"
    found = [line["grad_d"] for line in run.lines("watch.jsonl") if line["grad_d"] is not None]
    assert found and np.isfinite(found).all() and max(found) < 1e3
    with pytest.raises(RecipeError, match="on 8x8 images, which it halves to a single pixel; wanted fp32"):
        train(pack, load_recipe("per-class", {"precision": "bf16"}), tmp_path / "other", images=320, device="cpu")
    assert not (tmp_path / "other").exists()


def test_other_trainings_stay_in_bf16(tmp_path: Path, bf16: None) -> None:
    pixels, labels = digits(60)
    run = train(write(tmp_path / "pack", pixels, labels), "demo", tmp_path / "run", images=128, device="cpu")
    assert run.facts.precision == "bf16"
