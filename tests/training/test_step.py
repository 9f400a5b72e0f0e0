"""One update, written out: what D and G lower, what is logged of it, and how far the average moves."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint import seeds
from imagemint.augment import Movement
from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack
from imagemint.losses import LOSSES
from imagemint.methods import settle
from imagemint.training import step
from imagemint.training.state import Gan, new_gan
from imagemint.training.step import discriminator_step, fakes, generator_step

PLAIN: dict[str, Any] = {"augment": "none", "penalty": None, "precision": "fp32", "batch_size": 16}


def made(pack: Pack, recipe: Recipe, **changes: Any) -> Gan:
    return new_gan(settle(pack, load_recipe(recipe, PLAIN | changes)))


def batch(side: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """Real images, samples and labels."""
    generator = torch.Generator().manual_seed(1)
    real, fake = (torch.rand(16, 1, side, side, generator=generator) * 2 - 1 for _ in range(2))
    return real, fake, torch.arange(16) % 10


def gradients(network: nn.Module) -> list[Tensor]:
    return [each.grad.clone() for each in network.parameters() if each.grad is not None]


def expected(network: nn.Module, loss: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, [each for each in network.parameters() if each.requires_grad]))


def near(found: list[Tensor], wanted: list[Tensor]) -> None:
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-7)


CLOSED: dict[
    str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[[Tensor, Tensor], Tensor]]
] = {  # what D lowers for logits r and f, and what G lowers
    "minimax": (lambda r, f: -F.logsigmoid(r) - F.logsigmoid(-f), lambda r, f: F.logsigmoid(-f)),
    "non-saturating": (lambda r, f: -F.logsigmoid(r) - F.logsigmoid(-f), lambda r, f: -F.logsigmoid(f)),
    "least-squares": (lambda r, f: 0.5 * (r - 1) ** 2 + 0.5 * f**2, lambda r, f: 0.5 * (f - 1) ** 2),
    "hinge": (lambda r, f: (1 - r).clamp(min=0) + (1 + f).clamp(min=0), lambda r, f: -f),
    "wasserstein": (lambda r, f: f - r, lambda r, f: -f),
    "relativistic": (lambda r, f: -F.logsigmoid(r - f), lambda r, f: -F.logsigmoid(f - r)),
}


@pytest.mark.parametrize("loss", CLOSED)
def test_each_network_gets_the_gradient_of_the_mean_of_its_loss(loss: str, digits: Pack, tiny: Recipe) -> None:
    of_d, of_g = CLOSED[loss]
    gan = made(digits, tiny, loss=loss)
    real, fake, labels = batch()
    twin = copy.deepcopy(gan.discriminator)
    wanted = of_d(twin(real, labels), twin(fake, labels)).mean()
    values = discriminator_step(gan, real, fake, labels)
    assert float(values["loss_d"]) == pytest.approx(float(wanted.detach()), rel=1e-5)
    near(gradients(gan.discriminator), expected(twin, wanted))

    generator, judge = copy.deepcopy(gan.generator), copy.deepcopy(gan.discriminator)
    z = gan.z(range(16))
    wanted = of_g(judge(real, labels), judge(generator(z, labels), labels)).mean()
    values = generator_step(gan, real, gan.generator(z, labels), labels, 0)
    assert float(values["loss_g"]) == pytest.approx(float(wanted.detach()), rel=1e-5)
    near(gradients(gan.generator), expected(generator, wanted))
    assert all(not each.requires_grad for each in gan.discriminator.parameters()), "D is frozen while G learns"


@pytest.mark.parametrize("flips", [False, True])
def test_a_gan_sees_mirror_images_where_the_recipe_says_flips(
    flips: bool, digits: Pack, tiny: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real image and its sample are mirrored together, about half of them; where nothing flips, none is."""
    monkeypatch.setattr(step, "CLASSIC", Movement(shift=0, rotate=0, shear=0, zoom=0))
    gan = made(digits, tiny, augment="affine", flips=flips)
    real, fake, _ = batch()
    seen = step._augment(gan, real, fake, "augment d")
    mirrored = [
        [torch.allclose(after, before.flip(-1), atol=1e-4) for after, before in zip(*pair, strict=True)]
        for pair in zip(seen, (real, fake), strict=True)
    ]
    assert mirrored[0] == mirrored[1]
    assert (2 <= sum(mirrored[0]) <= 14) if flips else not any(mirrored[0])
    unmoved = [torch.allclose(after, before, atol=1e-4) for after, before in zip(seen[0], real, strict=True)]
    assert [a != b for a, b in zip(unmoved, mirrored[0], strict=True)] == [True] * 16


def test_smoothing_asks_real_images_for_less(digits: Pack, tiny: Recipe) -> None:
    """The target for real images is 0.7; samples keep theirs."""
    gan = made(digits, tiny, loss="non-saturating", label_smoothing=0.3)
    real, fake, labels = batch()
    with torch.no_grad():
        r, f = (gan.discriminator(images, labels) for images in (real, fake))
    wanted = F.binary_cross_entropy_with_logits(r, torch.full_like(r, 0.7)) + F.softplus(f).mean()
    assert float(discriminator_step(gan, real, fake, labels)["loss_d"]) == pytest.approx(
        float(wanted.detach()), rel=1e-5
    )


@pytest.mark.parametrize(("loss", "edge"), [("non-saturating", 0.0), ("least-squares", 0.5), ("wasserstein", None)])
def test_what_is_logged_of_d(loss: str, edge: float | None, digits: Pack, tiny: Recipe) -> None:
    """Means of its logits, and the shares of real images and of samples that lie on their own side of the edge."""
    gan = made(digits, tiny, loss=loss)
    real, fake, labels = batch()
    logits = {"real": torch.linspace(-1.0, 2.0, 16), "fake": torch.linspace(-2.0, 1.5, 16)}
    found = step._judgement(logits["real"], logits["fake"], labels, LOSSES[loss])
    over, under = (logits["fake"], logits["real"]) if edge is None else (torch.tensor(edge),) * 2
    assert {name: float(value) for name, value in found.items()} == pytest.approx(
        {
            "logit_real": float(logits["real"].mean()),
            "logit_fake": float(logits["fake"].mean()),
            "accuracy_real": float((logits["real"] > over).float().mean()),
            "accuracy_fake": float((logits["fake"] < under).float().mean()),
        }
    )
    with torch.no_grad():
        wanted = gan.discriminator(real, labels).mean(), gan.discriminator(fake, labels).mean()
    values = discriminator_step(gan, real, fake, labels)
    assert (float(values["logit_real"]), float(values["logit_fake"])) == pytest.approx(
        tuple(map(float, wanted)), abs=1e-5
    )


def test_d_with_a_logit_per_class_is_right_where_the_largest_of_the_classes_is_the_label() -> None:
    """The logit of *generated* is no class; an image without a label is neither right nor wrong."""
    real = torch.tensor([[2.0, 1.0, 9.0], [0.0, 1.0, 9.0], [3.0, 0.0, -9.0], [0.0, 1.0, -9.0]])
    found = step._judgement(real, real, torch.tensor([0, 0, 0, -1]), LOSSES["semi-supervised"])
    assert float(found["accuracy"]) == pytest.approx(2 / 3)
    assert float(found["accuracy_real"]) == 0.5
    nobody = step._judgement(real, real, torch.full((4,), -1), LOSSES["semi-supervised"])
    assert "accuracy" not in nobody


def test_of_three_players_the_classifier_is_asked_for_the_class_and_d_for_the_pair() -> None:
    """[n, 2k] logits: D's with each label, then the classifier's. An image without a label lends one in turn."""
    real = torch.tensor([[1.0, -1.0, 0.0, 5.0], [1.0, -2.0, 0.0, 5.0], [3.0, -4.0, 5.0, 0.0]])
    found = step._judgement(real, -real, torch.tensor([0, 1, -1]), LOSSES["triple"])
    assert float(found["accuracy"]) == 0.5  # of the two with a label
    assert float(found["logit_real"]) == pytest.approx((1 - 2 + 3) / 3)
    assert float(found["logit_fake"]) == pytest.approx(-(1 - 2 + 3) / 3)
    assert float(found["accuracy_real"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("name", ["r1r2", "gradient"])
def test_a_penalty_is_added_with_its_weight(name: str, digits: Pack, tiny: Recipe) -> None:
    """Against second derivatives written out: of D at real images and samples, or between them."""
    gan = made(digits, tiny, penalty={"name": name, "weight": 3.0})
    real, fake, labels = batch()
    twin = copy.deepcopy(gan.discriminator)

    def slopes(images: Tensor) -> Tensor:
        images = images.clone().requires_grad_()
        (slope,) = torch.autograd.grad(twin(images, labels).sum(), images, create_graph=True)
        return slope.flatten(1)

    share = torch.rand(16, 1, 1, 1, generator=seeds.generator(gan.seed, "between", 0))
    if name == "r1r2":
        size = 1.5 * torch.stack([slopes(images).pow(2).sum(1).mean() for images in (real, fake)]).sum()
    else:
        size = 3 * (slopes(torch.lerp(real, fake, share)).norm(dim=1) - 1).pow(2).mean()
    loss = F.softplus(twin(fake, labels) - twin(real, labels)).mean()
    values = discriminator_step(gan, real, fake, labels)
    assert float(values["penalty"]) == pytest.approx(float(size.detach()), rel=1e-4)
    near(gradients(gan.discriminator), expected(twin, loss + size))


def test_clipping_keeps_every_weight_of_d_within_its_bound(digits: Pack, tiny: Recipe) -> None:
    gan = made(digits, tiny, loss="wasserstein", clip=0.01)
    before = copy.deepcopy(gan.discriminator)
    free = made(digits, tiny, loss="wasserstein")
    for each in (gan, free):
        discriminator_step(each, *batch())
    for clipped, plain in zip(gan.discriminator.parameters(), free.discriminator.parameters(), strict=True):
        assert torch.equal(clipped, plain.clamp(-0.01, 0.01))
    assert max(float(each.detach().abs().max()) for each in before.parameters()) > 0.01


def test_noise_of_each_image_comes_from_how_many_were_seen_before_it(digits: Pack, tiny: Recipe) -> None:
    gan = made(digits, tiny)
    gan.generator.eval()  # a batch's statistics would make every image depend on its neighbours
    _, _, labels = batch()
    gan.images_seen = 32
    later = fakes(gan, labels, "z")
    gan.images_seen = 40
    torch.testing.assert_close(fakes(gan, labels.roll(-8), "z")[:8], later[8:])
    assert not torch.allclose(fakes(gan, labels, "z"), fakes(gan, labels, "another"))


@pytest.mark.parametrize(("pretrain", "d_steps", "g_steps"), [(0, 1, 1), (33, 1, 2), (33, 2, 1)])
def test_updates_of_g_are_counted_from_its_first(
    pretrain: int, d_steps: int, g_steps: int, digits: Pack, tiny: Recipe
) -> None:
    """D alone takes as many iterations as its images need, the last one whole."""
    gan = made(digits, tiny, pretrain_images=pretrain, d_steps=d_steps, g_steps=g_steps)
    alone = {(0, 1): 0, (33, 1): 3, (33, 2): 2}[pretrain, d_steps]
    for iterations in range(6):
        gan.iterations = iterations
        assert step._g_updates(gan) == max(iterations - alone, 0) * g_steps


def test_an_average_takes_each_buffer_from_its_own(digits: Pack, tiny: Recipe) -> None:
    """Statistics of a normalisation differ from each other: none may go where another belongs. Counts are copied."""

    class Layers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.BatchNorm1d(3), nn.BatchNorm1d(3)

    average, network = Layers(), Layers()
    for k, buffer in enumerate(network.buffers()):
        buffer.add_(k + 1)
    before = [each.clone() for each in average.buffers()]
    step.move_average(average, network, half_life=100, images_seen=10_000, new=200)  # two half-lives: three quarters
    for old, mine, theirs in zip(before, average.buffers(), network.buffers(), strict=True):
        wanted = old + 0.75 * (theirs - old) if old.is_floating_point() else theirs
        torch.testing.assert_close(mine, wanted)


def test_before_anything_was_seen_the_average_is_the_network() -> None:
    """A half-life of nothing is over at once."""
    average, network = nn.Linear(2, 2), nn.Linear(2, 2)
    step.move_average(average, network, half_life=100, images_seen=0, new=16)
    torch.testing.assert_close(average.weight, network.weight)
