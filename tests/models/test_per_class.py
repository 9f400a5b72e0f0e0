"""One GAN per class: a bank is its members, whatever the order of the labels."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from imagemint.config import load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import RecipeError
from imagemint.methods import settle
from imagemint.models import ImageShape, build, parameter_count
from imagemint.models.per_class import Bank
from imagemint.runs import PackFacts, RunFacts
from imagemint.training.state import Gan, new_gan
from imagemint.training.step import discriminator_step, generator_step


@pytest.mark.parametrize("labels", [[0, 1, 2], [2, 2, 0, 2], [1, 0, 2, 0, 1, 1], [1]])
def test_each_row_goes_through_the_member_of_its_label(labels: list[int]) -> None:
    generator, _ = build("per-class", {"width": 4}, ImageShape(1, 8, 8), 3, 5)
    generator.eval()
    z = torch.randn(len(labels), 5)
    made = generator(z, torch.tensor(labels))
    for row, label, image in zip(z, labels, made, strict=True):
        assert torch.allclose(image, member(generator, label)(row[None])[0], atol=1e-6)


def test_a_member_without_rows_stays_as_it_is() -> None:
    generator, _ = build("per-class", {"width": 4}, ImageShape(1, 8, 8), 2, 5)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    generator(torch.randn(4, 5), torch.zeros(4, dtype=torch.long))
    changed = {key for key, value in generator.state_dict().items() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("members.0.") for key in changed)


@pytest.mark.parametrize(
    ("shape", "g", "d"),
    [((1, 28, 28), 726_209, 388_865), ((3, 32, 32), 920_707, 389_441), ((3, 64, 64), 3_402_883, 392_513)],
)
def test_counts_are_those_of_the_stated_widths(shape: tuple[int, int, int], g: int, d: int) -> None:
    c, h, w = shape
    side = [h]
    for _ in range(4):
        side.append((side[-1] + 1) // 2)
    start = 128 * (h // 4) * (w // 4)
    assert g == 101 * start + (9 * 128 + 1 + 2) * 64 + (9 * 64 + 1 + 2) * 32 + (9 * 32 + 1) * c
    assert (
        d == (9 * c + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 128 + (9 * 128 + 1) * 256 + 256 * side[-1] ** 2 + 1
    )
    generator, discriminator = build("per-class", {}, ImageShape(*shape), 5, 100)
    assert (parameter_count(generator), parameter_count(discriminator)) == (5 * g, 5 * d)


@pytest.mark.parametrize("output", ["tanh", "sigmoid"])
def test_both_outputs_reach_black_and_white(output: str) -> None:
    """And they differ in between: 2 sigmoid(x) - 1 is tanh(x / 2)."""
    generator, _ = build("per-class", {"output": output, "width": 4}, ImageShape(1, 8, 8), 1, 5)
    last = list(member(generator, 0).modules())[-1]
    for wanted in (0.5, 30.0, -30.0):
        nn.init.zeros_(last.weight)  # type: ignore[arg-type]
        nn.init.constant_(last.bias, wanted)  # type: ignore[arg-type]
        made = generator(torch.zeros(1, 5), torch.zeros(1, dtype=torch.int64)).detach()
        half = 1 if output == "tanh" else 2
        assert torch.allclose(made, torch.tensor(wanted / half).tanh().expand_as(made), atol=1e-6)


def test_layers_are_in_the_documents_order() -> None:
    generator, discriminator = build("per-class", {}, ImageShape(3, 64, 64), 1, 100)
    kinds = [
        [type(layer).__name__ for layer in member(net).get_submodule("layers").children()]
        for net in (generator, discriminator)
    ]
    block = ["DoublingConv", "BatchNorm2d", "Dropout", "ReLU"]
    assert kinds[0] == ["Linear", "ReLU", "Unflatten", *block, *block, "Conv2d"]
    assert kinds[1] == ["Conv2d", "LeakyReLU", "Dropout"] * 4 + ["Flatten", "Linear"]
    assert {
        drop.p for net in (generator, discriminator) for drop in net.modules() if isinstance(drop, nn.Dropout)
    } == {0.4}
    assert [each.unflattened_size for each in generator.modules() if isinstance(each, nn.Unflatten)] == [
        (128, 16, 16)
    ]


def member(bank: nn.Module, label: int = 0) -> nn.Module:
    assert isinstance(bank, Bank)
    return bank.members[label]


def gan_of(classes: int, eps: float, optimizer: str) -> Gan:
    settings = {
        "options": {"width": 4, "dropout": 0.0},
        "weights": "last",
        "precision": "fp32",
        "z_size": 5,
        **{f"optimizer_{net}.{key}": value for net in "gd" for key, value in (("name", optimizer), ("eps", eps))},
    }
    pack = PackFacts(fingerprint="", images=100, classes=list("abc"[:classes]), channels=1, size=(8, 8))
    recipe = load_recipe("per-class", settings)
    return new_gan(RunFacts(imagemint="", recipe=recipe, seed=0, precision="fp32", device="cpu", pack=pack))


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_side_by_side_is_alone(optimizer: str) -> None:
    """A member's gradient in a bank of 2 is half of what it is alone. Adam and RMSProp divide by its size, so half
    the eps gives the very same training; at 1e-8 the eps hardly counts."""
    bank = gan_of(2, 1e-6, optimizer)
    alone = [gan_of(1, 2e-6, optimizer) for _ in range(2)]
    for k, single in enumerate(alone):
        for mine, theirs in ((single.generator, bank.generator), (single.discriminator, bank.discriminator)):
            member(mine).load_state_dict(member(theirs, k).state_dict())
    draws = torch.Generator().manual_seed(0)

    def train(gan: Gan, real: Tensor, z: Tensor, labels: Tensor) -> None:
        fake = gan.generator(z, labels)
        discriminator_step(gan, real, fake, labels)
        generator_step(gan, real, fake, labels, 0)

    for _ in range(5):
        real, z = torch.rand(2, 6, 1, 8, 8, generator=draws) * 2 - 1, torch.randn(2, 6, 5, generator=draws)
        train(bank, real.flatten(0, 1), z.flatten(0, 1), torch.arange(2).repeat_interleave(6))
        for k, single in enumerate(alone):
            train(single, real[k], z[k], torch.zeros(6, dtype=torch.long))
    for k, single in enumerate(alone):
        for mine, theirs in ((single.generator, bank.generator), (single.discriminator, bank.discriminator)):
            other = member(theirs, k).state_dict()
            for key, value in member(mine).state_dict().items():
                assert torch.allclose(value.float(), other[key].float(), rtol=1e-4, atol=1e-6), key


def test_a_bank_asks_for_balanced_batches_and_its_own_features(digits: Pack) -> None:
    with pytest.raises(RecipeError, match=r"per-class with balanced false; wanted balanced: true.*balanced=true"):
        load_recipe("per-class", {"balanced": False})
    with pytest.raises(RecipeError, match="per-class with loss_g feature-matching"):
        new_gan(settle(digits, load_recipe("per-class", {"loss_g": "feature-matching"})))
    settle(digits, load_recipe("per-class"))
