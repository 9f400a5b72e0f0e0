"""Density-ratio rejection: known densities give the known shares, and what is kept comes nearer to the real ones."""

from __future__ import annotations

import numpy as np
import pytest

from imagemint import seeds
from imagemint.errors import RunError
from imagemint.metrics import screen as module
from imagemint.metrics.rejection import Bar, bar
from imagemint.metrics.screen import Screen, Screening, select

REAL, MINTED = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.4, 0.3, 0.2, 0.1])  # densities of four kinds of image
KINDS = np.random.default_rng(0).choice(4, 20_000, p=MINTED)  # what the generator draws


def draw(numbers: np.ndarray) -> np.ndarray:
    return KINDS[numbers].astype(np.uint8).reshape(-1, 1, 1, 1)


def critic(pixels: np.ndarray, label: int) -> np.ndarray:
    """A perfect discriminator: the log of the ratio, and a constant of its own."""
    return np.log(REAL / MINTED)[pixels[:, 0, 0, 0]] + 7.0


def lots(numbers: np.ndarray) -> np.ndarray:
    return np.array([seeds.rng(int(number), "lot").random() for number in numbers])


def screen(share: float) -> Screen:
    return Screen(Screening(density_ratio=share), None, None, -1, critic)


def far(kept: np.ndarray, density: np.ndarray) -> float:
    """Total variation between what was kept and a density."""
    return float(np.abs(np.bincount(KINDS[kept], minlength=4) / len(kept) - density).sum() / 2)


def test_without_a_shift_images_are_kept_in_proportion_to_the_ratio() -> None:
    ratio = np.array([0.001, 0.5, 1.0, 3.0, 4.0])
    assert Bar(np.log(4.0), 0.0).acceptance(np.log(ratio)) == pytest.approx(ratio / 4, abs=1e-6)
    assert Bar(0.0, 0.0).acceptance(np.array([5.0])) == pytest.approx(1)  # above all that was seen: always


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("scale", [0.01, 1.0, 20.0])
def test_the_share_that_is_asked_for_is_kept_whatever_the_logits(share: float, scale: float) -> None:
    logits = scale * np.random.default_rng(1).normal(size=500)
    kept = bar(logits, share).acceptance(logits)
    assert kept.mean() == pytest.approx(share, abs=0.002)
    assert (np.diff(kept[np.argsort(logits)]) >= 0).all()  # the likelier, the more is kept
    assert bar(logits + 100, share).acceptance(logits + 100) == pytest.approx(kept, abs=1e-6)
    assert bar(logits, 1.0).acceptance(logits) == pytest.approx(1)


def test_a_perfect_discriminator_turns_minted_images_into_real_ones() -> None:
    exact = float((MINTED * REAL / MINTED).sum() / (REAL / MINTED).max())  # the share that gamma = 0 keeps: 1 / 4
    found = select(screen(exact), draw, 0, "any", 2_000, 256, lots)
    assert far(found.kept, REAL) < 0.04 and far(found.kept, MINTED) > 0.3
    assert found.drawn == pytest.approx(2_000 / exact, rel=0.05) and found.rejected == found.drawn - 2_000
    milder = select(screen(0.6), draw, 0, "any", 2_000, 256, lots)
    assert far(found.kept, REAL) < far(milder.kept, REAL) < far(np.arange(2_000), REAL)
    everything = select(screen(1.0), draw, 0, "any", 2_000, 256, lots)
    assert everything.kept.tolist() == list(range(2_000)) and everything.rejected == 0


@pytest.mark.parametrize("batch_size", [7, 64])
def test_which_images_are_kept_does_not_depend_on_the_batch(batch_size: int) -> None:
    kept = select(screen(0.3), draw, 0, "any", 50, batch_size, lots).kept
    assert kept.tolist() == select(screen(0.3), draw, 0, "any", 50, 256, lots).kept.tolist()


def test_a_discriminator_that_leaves_out_too_much_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS_PER_IMAGE", 2)
    monkeypatch.setattr(module, "FEWEST_DRAWS", 10)
    with pytest.raises(RunError, match=r"the discriminator leaves out .*--density-ratio"):
        select(screen(0.05), draw, 0, "any", 100, 64, lots)
