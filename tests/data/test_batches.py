from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from imagemint.data.batches import Batches


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
