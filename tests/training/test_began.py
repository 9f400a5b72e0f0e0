"""BEGAN in training: its balance moves as the paper says, is kept in checkpoints, and is refused elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from imagemint.checkpoints import read_state
from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import ImagemintError
from imagemint.fitting import train
from imagemint.losses import convergence, next_balance

SMALL: dict[str, Any] = {
    "options": {"width": 8, "hidden": 16},
    "z_size": 16,
    "smallest": 8,
    "log_every": 1,
    "checkpoint_every": 64,
    "precision": "fp32",
}


def test_the_balance_follows_the_errors_of_every_step_across_a_stop(digits: Pack, tmp_path: Path) -> None:
    """Computed again from the errors in the log, whose six decimals are all that is lost."""
    recipe = load_recipe("began", SMALL | {"balance": {"gamma": 0.8, "gain": 0.05}})
    train(digits, recipe, tmp_path / "run", images=128)
    run = train(digits, recipe, tmp_path / "run", images=256, resume=True)
    k = 0.0
    assert len(run.log()) == 16
    for line in run.log():
        errors = {"real": -line["logit_real"], "fake": -line["logit_fake"]}
        assert line["loss_d"] == pytest.approx(errors["real"] - k * errors["fake"], abs=1e-5)
        k = next_balance(k, **errors, gamma=0.8, gain=0.05)
        assert line["balance"] == pytest.approx(k, abs=1e-5)
        assert line["convergence"] == pytest.approx(convergence(**errors, gamma=0.8), abs=1e-5)
    assert 0.01 < k < 1
    assert read_state(run.newest()).balance == pytest.approx(k, abs=1e-5)


def test_digits_are_redrawn_better_and_better_and_samples_come_nearer(digits: Pack, tmp_path: Path) -> None:
    faster = {"optimizer_g.lr": 1e-3, "optimizer_d.lr": 1e-3, "watch_every": 4000}
    recipe = load_recipe("began", SMALL | faster | {"log_every": 1600, "checkpoint_every": 10**6})
    run = train(digits, recipe, tmp_path / "run", images=8000)
    log, looks = run.log(), run.lines("watch.jsonl")
    assert log[-1]["convergence"] < 0.8 * log[0]["convergence"]
    assert looks[-1]["distance"] < 0.8 * looks[0]["distance"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"loss": "hinge", "balance": None}, "loss hinge with model began.*take loss began and model began"),
        ({"model": "conv", "options": {}}, "loss began with model conv"),
        ({"loss": "hinge"}, "balance goes with loss began, not with hinge"),
        ({"balance.gamma": 2}, "balance.gamma"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, Any], line: str) -> None:
    with pytest.raises(ImagemintError, match=line):
        load_recipe("began", settings)
