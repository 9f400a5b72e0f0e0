"""Screening keeps what it says, in exact numbers, and stops where nothing is kept; copies are recognised."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from imagemint.errors import ArgumentError, ImagemintError, RunError
from imagemint.metrics import screen as module
from imagemint.metrics.nearest import Nearest
from imagemint.metrics.screen import Screen, Screening, make_screen, select
from tests.digits import digits, write


class Known:
    """A classifier that reads the probability of class 1, in per cent, from the first pixel."""

    history: list[dict[str, object]] = []  # noqa: RUF012

    def log_probabilities(self, pixels: np.ndarray) -> np.ndarray:
        share = pixels[:, 0, 0, 0] / 100
        with np.errstate(divide="ignore"):
            return np.log(np.stack([1 - share, share], 1))

    def weights_hash(self) -> str:
        return "known"


class Copied(Screen):
    """Images whose first pixel is below `limit` are copies."""

    def copies(self, pixels: np.ndarray) -> np.ndarray:
        return pixels[:, 0, 0, 0] < self.limit


def drawing(percents: list[int]) -> Callable[[np.ndarray], np.ndarray]:
    """Image k has the probability percents[k], over and over."""
    return lambda numbers: np.array(percents, np.uint8)[numbers % len(percents)].reshape(-1, 1, 1, 1)


def screen(**asked: float) -> Screen:
    return Screen(Screening(**asked), Known(), None, -1)  # type: ignore[arg-type]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_images_that_are_sure_enough_are_kept_in_order(batch_size: int) -> None:
    found = select(screen(above=0.9), drawing([95, 10, 90, 89]), 1, "one", 4, batch_size)
    assert found.kept.tolist() == [0, 2, 4, 6] and found.drawn == 7 and found.copies == 0
    other = select(screen(above=0.9), drawing([95, 10, 90, 89]), 0, "zero", 2, batch_size)
    assert other.kept.tolist() == [1, 5]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_a_share_keeps_the_most_probable_of_exactly_so_many_draws(batch_size: int) -> None:
    found = select(screen(keep=0.5), drawing([50, 60, 95, 10, 99, 20]), 1, "one", 3, batch_size)
    assert found.kept.tolist() == [1, 2, 4] and found.drawn == 6
    assert select(screen(keep=0.3), drawing([50]), 1, "one", 3, batch_size).drawn == 10
    assert select(screen(keep=1.0), drawing([50, 1]), 1, "one", 3, batch_size).kept.tolist() == [0, 1, 2]


def test_a_class_of_which_nothing_is_kept_stops_at_the_limit_and_is_named() -> None:
    with pytest.raises(RunError) as caught:
        select(screen(above=0.9), drawing([10]), 1, "rare\x1b", 3, 64)
    assert "class rare\\x1b: of 1,000 drawn images only 0" in str(caught.value) and "--above" in str(caught.value)


def test_none_wanted_none_drawn() -> None:
    found = select(screen(above=0.9), drawing([10]), 1, "one", 0, 64)
    assert found.kept.tolist() == [] and found.drawn == 0


def test_copies_of_training_images_are_left_out(tmp_path: Path) -> None:
    pixels, labels = digits(400)
    pack = write(tmp_path / "pack", pixels[:300], labels[:300])
    guard = make_screen(Screening(reject_copies=True), pack, 0)
    assert guard.copies(pixels[:300]).all() and guard.copies(pixels[:300] ^ 1).all()
    assert guard.copies(pixels[300:]).mean() < 0.1
    itself = np.arange(300)
    distances = Nearest(pixels[:300]).of(pixels[:300], leave_out=itself)[1]
    assert 0.01 <= np.mean(distances <= guard.limit) < 0.03

    stream = np.concatenate([pixels[:5], pixels[300:]])  # five copies first
    found = select(guard, lambda numbers: stream[numbers % len(stream)], 0, "any", 10, 4)
    assert found.copies >= 5 and found.kept[0] >= 5 and len(found.kept) == 10
    with pytest.raises(RunError, match="are copies"):
        select(guard, lambda numbers: pixels[numbers % 300], 0, "any", 10, 64)


def test_two_images_say_how_near_is_too_near_and_one_does_not(tmp_path: Path) -> None:
    pixels, labels = digits(2)
    for n, guarded in ((2, True), (1, False)):
        pack = write(tmp_path / str(n), pixels[:n], labels[:n])
        guard = make_screen(Screening(reject_copies=True), pack, 0)
        assert (guard.training is not None) == guarded, n


def test_why_a_class_stops_is_what_most_draws_were() -> None:
    for copied, why in ((60, "800 are copies"), (20, "the others are not sure enough for 0.9")):
        guard = Copied(Screening(above=0.9), Known(), None, copied)
        with pytest.raises(RunError) as caught:
            select(guard, drawing([*range(0, 80, 8)]), 1, "one", 3, 64)
        assert why in str(caught.value)


def test_the_classifier_has_learned_the_training_pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_LEAST", 6_000)
    pixels, labels = digits()
    labels = labels.copy()
    labels[::7] = -1  # unlabelled images play no part
    pack = write(tmp_path / "pack", pixels[:1000], labels[:1000])
    made = make_screen(Screening(above=0.9), pack, 0)
    threes = pixels[1000:][labels[1000:] == 3]
    assert np.median(made.probabilities(threes, 3)) > 0.9 and np.median(made.probabilities(threes, 4)) < 0.05
    assert made.facts()["classifier"] == made.classifier.weights_hash()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "wrong",
    [{"above": 0.9, "keep": 0.5}, {"above": 1.5}, {"above": float("nan")}, {"keep": 0}, {"keep": 2}, {"keep": "a"}],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ArgumentError) as caught:
        Screening(**wrong)  # type: ignore[arg-type]
    assert isinstance(caught.value, ImagemintError) and "\n" not in str(caught.value)


def test_fifty_draws_per_image_are_the_most() -> None:
    with pytest.raises(RunError, match=r"of 1,500 drawn images only 0 .*30 within 1,500 draws"):
        select(screen(above=0.9), drawing([10]), 1, "one", 30, 64)
    with pytest.raises(RunError, match="of 1,000 drawn"):
        select(screen(above=0.9), drawing([10]), 1, "one", 20, 64)
    hard = [10] * 49 + [95]
    assert select(screen(above=0.9), drawing(hard), 1, "one", 30, 64).drawn == 1500
