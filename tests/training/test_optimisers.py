"""Learning rates that decay by the number of updates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from imagemint.config import Recipe
from imagemint.data.pack import Pack
from imagemint.fitting import train
from imagemint.training import step
from imagemint.training.optimisers import OPTIMIZERS, Optimizer, make_optimizer, update


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_rate_of_an_update_is_divided_by_its_number(name: str) -> None:
    """Against the same optimiser whose rate is set by hand; Keras: lr / (1 + decay x iterations)."""
    moved = []
    for decay in (0.25, 0.0):
        layer = nn.Linear(3, 1, bias=False)
        nn.init.ones_(layer.weight)
        choice = Optimizer.model_validate({"name": name, "lr": 0.1, "decay": decay})
        optimizer = make_optimizer(choice, layer)
        for t in range(5):
            if not decay:
                optimizer.param_groups[0]["lr"] = 0.1 / (1 + 0.25 * t)
            optimizer.zero_grad()
            layer(torch.tensor([[1.0, 2.0, -3.0 * t]])).square().sum().backward()
            update(optimizer, choice, t)
        moved.append(layer.weight.detach().clone())
        assert optimizer.param_groups[0]["lr"] == (0.1 if decay else 0.1 / 2)
    assert torch.equal(*moved)


def test_updates_are_counted_for_each_network_and_across_a_stop(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two D steps and three G steps per iteration of 32 images; D learns alone for the first two of six."""
    seen: dict[float, list[int]] = {0.5: [], 0.25: []}

    def noted(optimizer: torch.optim.Optimizer, choice: Optimizer, updates: int) -> None:
        seen[choice.decay].append(updates)
        update(optimizer, choice, updates)

    monkeypatch.setattr(step, "update", noted)
    settings: dict[str, Any] = {
        "optimizer_g.decay": 0.5,
        "optimizer_d.decay": 0.25,
        "batch_size": 16,
        "balanced": False,
        "d_steps": 2,
        "g_steps": 3,
        "pretrain_images": 40,
    }
    train(digits, tiny, tmp_path / "run", **settings, images=96)
    train(digits, tiny, tmp_path / "run", **settings, images=192, resume=True)
    assert seen == {0.5: list(range(12)), 0.25: list(range(12))}
