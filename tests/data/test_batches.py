from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagemint.data.batches import Batches, RisingBatches


@given(st.integers(1, 50), st.integers(0, 200), st.integers(1, 120), st.integers(0, 9))
def test_starting_at_n_is_skipping_n(images: int, start: int, count: int, seed: int) -> None:
    whole = Batches(images, seed).take(0, start + count)
    assert np.array_equal(Batches(images, seed).take(start, count), whole[start:])


@given(st.integers(1, 50), st.integers(0, 9))
def test_every_epoch_shows_every_image_once(images: int, seed: int) -> None:
    order = Batches(images, seed)
    for epoch in range(3):
        assert sorted(order.take(epoch * images, images)) == list(range(images))


def test_epochs_and_seeds_have_orders_of_their_own() -> None:
    a = Batches(100, 0)
    assert not np.array_equal(a.take(0, 100), a.take(100, 100))
    assert not np.array_equal(a.take(0, 100), Batches(100, 1).take(0, 100))


def test_a_share_that_rises_is_a_straight_line_and_addressed() -> None:
    length, share = 1000, 0.3
    order = RisingBatches(20, 35, share=share, length=length, seed=4)
    whole = order.take(0, length)
    real = whole < 20
    at = np.arange(1, length + 1)
    line = share * at + (1 - share) * at**2 / (2 * length)  # the integral of share + (1 - share) x / length
    assert np.abs(real.cumsum() - line).max() < 1
    assert real[-20:].all() and not real[:100].all()
    parts = np.concatenate([order.take(start, 37) for start in range(0, length, 37)])[:length]
    assert np.array_equal(parts, whole)
    for kind in (np.bincount(whole[real], minlength=20), np.bincount(whole[~real] - 20, minlength=35)):
        assert kind.max() - kind.min() <= 1  # each image of a kind as often as the others
    assert (RisingBatches(20, 35, share=1, length=99, seed=4).take(0, 99) < 20).all()
