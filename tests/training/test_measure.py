"""What a look measures, against the same written out with numpy and scipy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, pdist
from torch import Tensor

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, Step, open_pack, writing
from imagemint.errors import TrainingError
from imagemint.methods import settle
from imagemint.training.feed import Feed
from imagemint.training.loop import iterate
from imagemint.training.state import Gan, new_gan
from imagemint.training.watch import measure
from imagemint.training.watch.measure import COPY, PAIRS, REFERENCE, SAMPLES, SIDE, Eyes


@pytest.fixture(scope="module")
def seen(digits: Pack, tiny: Recipe) -> tuple[Gan, Eyes]:
    """A GAN that has learned a little, and what it is looked at with."""
    gan = new_gan(settle(digits, load_recipe(tiny, {"ema_images": None})))
    feed = Feed(digits, gan)
    for _ in range(4):
        iterate(gan, feed)
    return gan, Eyes(digits, np.arange(len(digits)), gan)


def samples(gan: Gan, eyes: Eyes) -> np.ndarray:
    pixels = gan.minter(gan.last_generator).draw(eyes.image_seeds, eyes.labels.numpy())
    return pixels.reshape(SAMPLES, -1).astype(np.float64) / 255


def mean_same(points: np.ndarray, labels: np.ndarray) -> float:
    """Mean distance of the pairs of one class."""
    pairs = [(a, b) for a in range(len(points)) for b in range(a) if labels[a] == labels[b]]
    return float(np.mean([np.linalg.norm(points[a] - points[b]) for a, b in pairs]))


def effective(labels: np.ndarray) -> float:
    shares = np.bincount(labels) / len(labels)
    return float(np.exp(-sum(p * np.log(p) for p in shares if p > 0)))


def test_every_distance_agrees_with_scipy(seen: tuple[Gan, Eyes]) -> None:
    gan, eyes = seen
    look = eyes.measure(gan)
    ours, real = samples(gan, eyes), eyes.reference.numpy().astype(np.float64)
    labels, real_labels = eyes.labels.numpy(), eyes.reference_labels.numpy()
    apart, own = cdist(ours, real), cdist(real, real)
    spread = pdist(real).mean()
    assert look.distance == pytest.approx((2 * apart.mean() - pdist(ours).mean() - spread) / spread, rel=1e-3)
    assert look.diversity == pytest.approx(pdist(ours).mean() / spread, rel=1e-3)
    same_real = mean_same(real[:SAMPLES], real_labels[:SAMPLES])
    assert look.within == pytest.approx(mean_same(ours, labels) / same_real, rel=1e-3)
    np.fill_diagonal(own, np.inf)
    assert look.nearest == pytest.approx(np.median(apart.min(1)) / np.median(own.min(1)), rel=0.01)
    assert look.classes == pytest.approx(effective(real_labels[apart.argmin(1)]) / effective(labels), rel=1e-4)
    assert look.images_seen == gan.images_seen


def test_eyes_are_the_first_of_an_order_of_the_pack_and_noise_of_its_own(
    seen: tuple[Gan, Eyes], digits: Pack
) -> None:
    _, eyes = seen
    rows = eyes.reference.numpy()
    assert len(rows) == min(len(digits), REFERENCE) and len(eyes.real) == len(eyes.z) == SAMPLES
    whole = digits.pixels.reshape(len(digits), -1) / 255
    assert np.allclose(np.sort(rows.sum(1)), np.sort(whole.sum(1)), atol=1e-4), "each image once"
    assert np.array_equal(eyes.real.numpy().reshape(SAMPLES, -1), np.round(rows[:SAMPLES] * 255).astype(np.uint8))
    assert torch.equal(eyes.labels, eyes.reference_labels[:SAMPLES])
    assert len(set(eyes.image_seeds)) == SAMPLES


@pytest.mark.parametrize(("share", "copies"), [(0.32, 1.0), (0.34, 0.0)])
def test_a_sample_at_a_third_of_the_way_to_the_next_image_is_no_copy(
    share: float, copies: float, seen: tuple[Gan, Eyes]
) -> None:
    """Each sample lies on the line from a real image to its neighbour, just under or over a third of the way."""
    _, eyes = seen
    real = eyes.reference
    own = torch.cdist(real, real).fill_diagonal_(np.inf)
    neighbour = own.argmin(1)
    points = torch.lerp(real, real[neighbour], share)[:SAMPLES]
    to_real, position = torch.cdist(points, real).min(1)
    assert eyes._copies(to_real, position) == pytest.approx(copies, abs=0.02)
    assert pytest.approx(1 / 3) == COPY


def test_separation_counts_pairs_of_one_class_and_ties_as_half(seen: tuple[Gan, Eyes]) -> None:
    _, eyes = seen
    labels = eyes.labels.numpy()
    generator = np.random.default_rng(0)
    real, fake = (generator.integers(0, 4, SAMPLES).astype(np.float32) for _ in range(2))
    pairs = [(a, b) for a in range(SAMPLES) for b in range(SAMPLES) if labels[a] == labels[b]]
    wanted = np.mean([(real[a] > fake[b]) + 0.5 * (real[a] == fake[b]) for a, b in pairs])
    found = eyes._separation(torch.from_numpy(real), torch.from_numpy(fake))
    assert found == pytest.approx(wanted, rel=1e-5)
    assert found != pytest.approx(
        np.mean([np.greater.outer(real, fake) + 0.5 * np.equal.outer(real, fake)]), rel=1e-4
    )


def test_logits_are_summed_up_and_counted_between_powers_of_two() -> None:
    logits = torch.tensor([-2000.0, -3.0, -0.1, 0.0, 0.1, 0.3, 5.0, 1024.0, 1025.0])
    found = measure._summary(logits)
    assert (found.low, found.median, found.high) == (-2000.0, 0.1, 1025.0)
    assert found.mean == pytest.approx(float(logits.mean()), rel=1e-5)
    edges = [-1024, -512, -256, -128, -64, -32, -16, -8, -4, -2, -1, -0.5, -0.25, 0]
    edges += [-edge for edge in reversed(edges[:-1])]
    assert edges == measure.LOGIT_EDGES
    wanted = np.histogram(logits, [-np.inf, *np.nextafter(edges, np.inf), np.inf])[0]  # right ends belong to a bin
    assert found.counts == wanted.tolist()


def test_large_images_are_averaged_down_to_16_by_16_and_small_ones_left() -> None:
    pixels = torch.randint(0, 256, (2, 3, 32, 48), dtype=torch.uint8)
    blocks = pixels.double().view(2, 3, SIDE, 2, SIDE, 3).mean((3, 5)) / 255
    torch.testing.assert_close(measure._small(pixels).double(), blocks.flatten(1), rtol=1e-5, atol=1e-6)
    thin = torch.randint(0, 256, (2, 1, 8, 32), dtype=torch.uint8)
    assert measure._small(thin).shape == (2, 8 * SIDE)


def test_the_spread_within_classes_wants_20_pairs() -> None:
    points = torch.rand(14, 3)
    nineteen = torch.tensor([0] * 6 + [1] * 3 + [2] * 2 + [3, 4, 5])  # 15 + 3 + 1 pairs
    twenty = torch.tensor([0] * 6 + [1] * 3 + [2] * 2 + [3] * 2 + [5])
    assert measure._mean_same(points, nineteen) is None
    found = measure._mean_same(points, twenty)
    assert PAIRS == 20
    assert found == pytest.approx(mean_same(points.double().numpy(), twenty.numpy()), rel=1e-4)


def test_the_gradient_is_that_of_all_weights_together_and_none_before_the_first_step(
    digits: Pack, tiny: Recipe
) -> None:
    gan = new_gan(settle(digits, tiny))
    eyes = Eyes(digits, np.arange(len(digits)), gan)
    before = eyes.measure(gan)
    assert before.grad_d is None and before.grad_g is None
    iterate(gan, Feed(digits, gan))
    after = eyes.measure(gan)
    for network, found in ((gan.discriminator, after.grad_d), (gan.generator, after.grad_g)):
        slopes: list[Tensor] = [each.grad.flatten() for each in network.parameters() if each.grad is not None]
        assert found == pytest.approx(float(torch.cat(slopes).norm()), rel=1e-4)


@pytest.mark.parametrize("which", ["real", "fake"])
def test_a_logit_that_is_not_finite_is_refused(which: str, digits: Pack, tiny: Recipe) -> None:
    gan = new_gan(settle(digits, tiny))
    eyes = Eyes(digits, np.arange(len(digits)), gan)
    calls = iter(["fake", "real"])  # in this order

    def answer(x: Tensor, labels: Tensor) -> Tensor:
        return torch.full((len(x),), float("inf") if next(calls) == which else 0.0)

    gan.discriminator.forward = answer
    with pytest.raises(TrainingError, match="a logit is inf"):
        eyes.measure(gan)


@pytest.mark.parametrize("which", ["D", "G"])
def test_a_gradient_that_is_not_finite_is_refused(which: str, digits: Pack, tiny: Recipe) -> None:
    gan = new_gan(settle(digits, tiny))
    eyes = Eyes(digits, np.arange(len(digits)), gan)
    network = gan.discriminator if which == "D" else gan.generator
    for number in (np.inf, 1e30):  # the squares of the latter are infinite in fp32
        for parameter in network.parameters():
            parameter.grad = torch.full_like(parameter, number)
        with pytest.raises(TrainingError, match=f"the norm of {which}'s gradient is inf"):
            eyes.measure(gan)


def test_images_without_a_label_are_not_compared_with_classes(digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    """A network that is asked for classes is compared with labelled images alone."""
    labels = np.where(np.arange(len(digits)) % 3 == 0, np.asarray(digits.labels), -1)
    with writing(tmp_path / "p", classes=digits.classes, origin="real", history=[Step(command="x")]) as writer:
        writer.add(digits.pixels[:], labels)
    pack = open_pack(tmp_path / "p")
    gan = new_gan(settle(pack, tiny))
    eyes = Eyes(pack, np.arange(len(pack)), gan)
    assert len(eyes.reference) == int((labels >= 0).sum())
    assert measure._effective(torch.tensor([0, 0, 1, 1, -1, -1, -1])) == pytest.approx(2.0)
