from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from imagemint import seeds


@given(st.integers(0, 2**40), st.text(max_size=8), st.integers(0, 2**40))
def test_a_seed_depends_on_all_three_and_fits_torch(seed: int, purpose: str, index: int) -> None:
    value = seeds.derive(seed, purpose, index)
    assert 0 <= value < 2**63
    assert value == seeds.derive(seed, purpose, index)
    assert value != seeds.derive(seed + 1, purpose, index)
    assert value != seeds.derive(seed, purpose + "x", index)
    assert value != seeds.derive(seed, purpose, index + 1)


def test_noise_of_an_image_does_not_depend_on_its_batch() -> None:
    together = seeds.noise([5, 6, 7], 100)
    alone = torch.cat([seeds.noise([s], 100) for s in (5, 6, 7)])
    assert torch.equal(together, alone)


def test_noise_has_the_distribution_it_is_named_after() -> None:
    normal, uniform = seeds.noise(range(2000), 50), seeds.noise(range(2000), 50, "uniform")
    assert abs(float(normal.mean())) < 0.01
    assert abs(float(normal.std()) - 1) < 0.01
    assert float(uniform.min()) >= -1
    assert float(uniform.max()) <= 1
    assert abs(float(uniform.var()) - 1 / 3) < 0.01  # the variance of U(-1, 1)


def test_seeding_the_layers_leaves_our_generators_alone() -> None:
    before = seeds.noise([1], 10)
    seeds.seed_layers(3, "anything")
    assert torch.equal(before, seeds.noise([1], 10))
