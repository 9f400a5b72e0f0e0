from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagemint import seeds
from imagemint.config import load_recipe, recipe_names
from imagemint.errors import RecipeError
from imagemint.losses import gradient_penalty
from imagemint.methods import method_of
from imagemint.models import MODELS, ImageShape, build, parameter_count
from imagemint.models.layers import DoublingConv, ImageConv, LabelledConv, LabelledLinear, LeakyReLU
from tests.recipes import gan_recipe

SHAPES = [ImageShape(1, 8, 8), ImageShape(3, 16, 16), ImageShape(1, 28, 28), ImageShape(3, 32, 24)]
MULTIPLE = {"dcgan": 16}  # of which both sides must be one; 4 for the others

# Every network at the size that it was made for.
MNIST, CIFAR, PHOTO, LARGE = (ImageShape(*shape) for shape in ((1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128)))
NATURAL: list[tuple[str, dict[str, object], ImageShape]] = [
    ("cdcgan", {}, MNIST),
    ("small", {}, MNIST),
    ("small", {"width": 8}, PHOTO),
    ("small", {"width": 8, "start": "he"}, PHOTO),
    ("small", {"width": 8, "spectral_norm": True}, MNIST),
    ("dcgan", {}, PHOTO),
    ("dense", {"hidden_g": [30], "hidden_d": [30], "activation": "sigmoid"}, MNIST),
    ("dense", {"activation": "leaky", "dropout": 0.5, "batch_norm": True}, MNIST),
    ("dense", {}, MNIST),
    ("conv", {"variant": "mirrored"}, MNIST),
    ("conv", {"variant": "mirrored-dense"}, MNIST),
    ("conv", {"variant": "mirrored-two"}, MNIST),
    ("conv", {"variant": "mirrored-wider"}, MNIST),
    ("conv", {"variant": "mnist"}, MNIST),
    ("conv", {"variant": "mnist", "outputs": "k+1"}, MNIST),
    ("conv", {"variant": "pooled"}, MNIST),
    ("conv", {"variant": "cifar"}, CIFAR),
    ("conv", {"variant": "cifar-wider"}, CIFAR),
    ("conv", {"variant": "cifar-final", "outputs": "k+1"}, CIFAR),
    ("dcgan-fd", {}, MNIST),
    ("dcgan-fd", {"width": 2, "depth": 3, "virtual_batch_norm": True}, MNIST),
    ("ccgan", {}, MNIST),
    ("ccgan", {"virtual_batch_norm": True}, MNIST),
    ("wgan-gp", {}, LARGE),
    ("triple", {"width": 8}, MNIST),
    ("began", {"width": 8}, MNIST),
    ("began", {"width": 8}, PHOTO),
    ("semi", {}, CIFAR),
    ("semi", {"kind": "dense", "noise": (0.3, 0.5), "weight_norm": True}, MNIST),
    ("per-class", {}, MNIST),
    ("per-class", {"output": "sigmoid"}, MNIST),
]
natural = pytest.mark.parametrize(("model", "options", "shape"), NATURAL)


def test_every_family_is_tried_at_its_size() -> None:
    assert {model for model, *_ in NATURAL} == MODELS.keys()


def test_cdcgan_has_the_documents_parameter_counts() -> None:
    generator, discriminator = build("cdcgan", {}, ImageShape(1, 28, 28), 10, 100)
    assert parameter_count(discriminator) == 3_769_479
    assert parameter_count(generator) == 7_065_211


def test_cdcgan_layer_by_layer() -> None:
    """Baker 2018, tables 5.1 and 5.2: weights and batch norms of each layer, in order."""
    generator, discriminator = build("cdcgan", {}, ImageShape(1, 28, 28), 10, 100)
    counts = [parameter_count(layer) for layer in (*discriminator.children(), *generator.children())]
    assert counts[:6] == [3_036, 38_924, 148, 3_724_288, 2_048, 1_035]
    assert counts[6:] == [113_664, 2_048, 6_491_520, 12_544, 441_728, 256, 3_451]


def test_cdcgan_starts_as_baker_2018_says() -> None:
    seeds.seed_layers(0, "test")
    generator, _ = build("cdcgan", {}, ImageShape(1, 28, 28), 10, 100)
    dense, conv = generator.dense2, generator.conv3
    assert isinstance(dense, LabelledLinear)
    assert isinstance(conv, LabelledConv)
    assert abs(float(dense.weight.detach().std()) - 0.02) < 1e-4
    assert float(dense.weight.detach().abs().max()) > 0.06  # a plain normal has tails beyond three deviations
    assert float(conv.weight.detach().abs().max()) <= 0.04  # truncated at two deviations
    assert not conv.bias.any()
    assert not dense.bias.any()


@pytest.mark.parametrize(("transposed", "classes"), list(product((False, True), (1, 10))))
def test_folded_label_planes_are_the_planes(transposed: bool, classes: int) -> None:
    """A convolution over joined one-hot planes, border included, is what the folded layer computes."""
    layer = LabelledConv(3, classes, 5, transposed=transposed).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x, labels = torch.randn(6, 3, 8, 12, dtype=torch.float64), torch.arange(6) % classes
    planes = F.one_hot(labels, classes).double()[:, :, None, None].expand(-1, -1, 8, 12)
    joined, weight = torch.cat([x, planes], 1), torch.cat([layer.weight, layer.label_weight], 0 if transposed else 1)
    if transposed:
        expected = F.conv_transpose2d(joined, weight, layer.bias, stride=2, padding=2, output_padding=1)
    else:
        expected = F.conv2d(joined, weight, layer.bias, stride=2, padding=2)
    assert torch.allclose(layer(x, labels), expected)


@pytest.mark.parametrize(
    ("channels", "kernel", "stride", "padding", "output_padding"),
    [(1, 5, 2, 2, 1), (3, 5, 2, 2, 1), (4, 5, 2, 2, 1), (1, 4, 2, 1, 0), (3, 2, 2, 0, 0), (2, 3, 1, 1, 0)],
)
def test_an_image_convolution_is_a_transposed_convolution(
    channels: int, kernel: int, stride: int, padding: int, output_padding: int
) -> None:
    """Values, and gradients of map, weights and biases, whatever the way taken; unequal sides, one pixel too."""
    layer = ImageConv(6, channels, kernel, stride, padding, output_padding).double()
    for h, w in ((4, 7), (2, 1)):
        x = torch.randn(2, 6, h, w, dtype=torch.float64, requires_grad=True)
        expected = F.conv_transpose2d(x, layer.weight, layer.bias, stride, padding, output_padding)
        assert layer(x).shape == expected.shape
        assert torch.allclose(layer(x), expected)
        inputs, upstream = (x, *layer.parameters()), torch.randn_like(expected)
        for mine, theirs in zip(
            *(torch.autograd.grad(y, inputs, upstream) for y in (layer(x), expected)), strict=True
        ):
            assert torch.allclose(mine, theirs)


def test_an_image_convolution_in_bf16_is_as_near_as_the_ordinary_one() -> None:
    layer, x = ImageConv(64, 1, 5, 2, 2, 1), torch.randn(8, 64, 14, 14)
    exact = F.conv_transpose2d(x.double(), layer.weight.double(), layer.bias.double(), 2, 2, 1)  # type: ignore[union-attr]
    with torch.autocast("cpu", torch.bfloat16):
        ordinary = F.conv_transpose2d(x, layer.weight, layer.bias, 2, 2, 1)
        mine = layer(x)
    assert float((mine - exact).detach().std()) < 1.5 * float((ordinary - exact).detach().std())


@pytest.mark.parametrize("side", [32, 64, 128])
def test_what_images_differ_by_goes_through_all_layers_of_a_discriminator_that_starts_as_he_says(side: int) -> None:
    """However many halvings: G has something to follow from the first step. PyTorch's own start keeps a hundredth."""
    torch.manual_seed(0)
    images, labels = torch.randn(32, 3, side, side), torch.zeros(32, dtype=torch.int64)

    def spread(start: str) -> float:
        _, d = build("small", {"width": 8, "start": start}, ImageShape(3, side, side), 3, 8)
        with torch.no_grad():
            return float(d.features(images, labels).std(0).mean())  # type: ignore[operator]

    kept, lost = spread("he"), spread("torch")
    assert 0.2 < kept < 2
    assert lost < kept / 10


def test_spectral_norm_makes_the_largest_singular_value_one_and_keeps_it_there() -> None:
    """Power iteration finds it while D is used, and again after the weights have moved."""
    torch.manual_seed(0)
    _, d = build("small", {"width": 8, "spectral_norm": True}, ImageShape(1, 16, 16), 3, 8)
    images, labels = torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0])

    def largest() -> list[float]:
        weights = [layer.weight for layer in d.modules() if isinstance(layer, (nn.Conv2d, nn.Linear, nn.Embedding))]
        return [float(torch.linalg.matrix_norm(weight.detach().flatten(1), 2)) for weight in weights]

    def use() -> None:
        for _ in range(100):
            d(images, labels)

    use()
    assert largest() == pytest.approx([1.0] * 5, abs=0.01)
    with torch.no_grad():
        for parameter in d.parameters():
            parameter.add_(torch.randn_like(parameter))
    assert max(largest()) > 1.1
    use()
    assert largest() == pytest.approx([1.0] * 5, abs=0.01)


def test_leaky_relu_has_the_first_and_second_derivatives_of_the_ordinary_one() -> None:
    """Bit-equal, through a penalty on the gradient; and no zeros travel back through the layers below."""
    torch.manual_seed(0)
    images = torch.randn(4, 3, 8, 8)
    found = []
    for leaky in (nn.LeakyReLU(0.2), LeakyReLU(0.2)):
        torch.manual_seed(1)
        critic = nn.Sequential(nn.Conv2d(3, 5, 3), leaky, nn.Conv2d(5, 4, 3), leaky, nn.Flatten(), nn.Linear(64, 1))
        at = images.clone().requires_grad_(True)
        logits = critic(at).squeeze(1)
        first = torch.autograd.grad(logits.sum(), list(critic.parameters()), retain_graph=True)
        gradient_penalty(logits, at).mean().backward()  # type: ignore[no-untyped-call]
        found.append((logits, *first, *(layer.weight.grad for layer in critic if hasattr(layer, "weight"))))
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*found, strict=True))
    assert critic[0].bias.grad is None


def test_a_labelled_dense_layer_is_a_dense_layer_over_the_joined_one_hot() -> None:
    layer = LabelledLinear(7, 4, 5)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x, labels = torch.randn(6, 7), torch.tensor([0, 1, 2, 3, 0, 1])
    joined = torch.cat([x, F.one_hot(labels, 4).float()], 1)
    expected = F.linear(joined, torch.cat([layer.weight, layer.label_weight], 1), layer.bias)
    assert torch.allclose(layer(x, labels), expected, atol=1e-6)


@pytest.mark.parametrize(("channels", "kernel"), [(5, 3), (5, 5), (1, 5), (3, 7)])
def test_a_doubling_convolution_is_upsampling_and_a_convolution(channels: int, kernel: int) -> None:
    """Values, and gradients of image, weights and biases; odd and unequal sides, one pixel too."""
    layer = DoublingConv(3, channels, kernel).double()
    for h, w in ((4, 7), (1, 1)):
        x = torch.randn(2, 3, h, w, dtype=torch.float64, requires_grad=True)
        doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
        expected = F.conv2d(doubled, layer.weight, layer.bias, padding=kernel // 2)
        assert torch.allclose(layer(x), expected)
        inputs, weights = (x, *layer.parameters()), torch.randn_like(expected)
        for mine, theirs in zip(
            *(torch.autograd.grad(y, inputs, weights) for y in (layer(x), expected)), strict=True
        ):
            assert torch.allclose(mine, theirs)


@pytest.mark.parametrize(("model", "shape"), list(product(MODELS, SHAPES)))
def test_shapes_and_ranges_follow_the_pack(model: str, shape: ImageShape) -> None:
    if any(side % MULTIPLE.get(model, 4) for side in shape[1:]):
        with pytest.raises(RecipeError, match=f"multiples of {MULTIPLE[model]} for model {model}"):
            build(model, {}, shape, 3, 20)
        return
    check_shapes_and_ranges(model, {}, shape)


@natural
def test_shapes_and_ranges_at_the_natural_size(model: str, options: dict[str, object], shape: ImageShape) -> None:
    check_shapes_and_ranges(model, options, shape)


def check_shapes_and_ranges(model: str, options: dict[str, object], shape: ImageShape) -> None:
    generator, discriminator = build(model, options, shape, 3, 20)
    labels = torch.tensor([0, 1, 2, 0])
    images = generator(torch.randn(4, 20), labels)
    assert images.shape == (4, *shape)
    assert images.dtype == torch.float32
    assert float(images.detach().min()) >= -1
    assert float(images.detach().max()) <= 1
    logits = discriminator(images, labels)
    many = model == "semi" or options.get("outputs") == "k+1"
    assert logits.shape == ((4, 4) if many else (4,))


@natural
def test_the_label_changes_the_output_of_conditional_families_alone(
    model: str, options: dict[str, object], shape: ImageShape
) -> None:
    networks = [net.eval() for net in build(model, options, shape, 3, 20)]
    inputs = torch.randn(2, 20), torch.rand(2, *shape) * 2 - 1
    for net, x in zip(networks, inputs, strict=True):
        a, b = net(x, torch.tensor([0, 1])), net(x, torch.tensor([2, 1]))
        if MODELS[model].conditional:
            assert not torch.allclose(a[0], b[0])
            assert torch.allclose(a[1], b[1])
        else:
            assert torch.equal(a, b)


@natural
def test_the_generators_loss_reaches_every_parameter(
    model: str, options: dict[str, object], shape: ImageShape
) -> None:
    generator, discriminator = build(model, options, shape, 3, 20)
    labels = torch.arange(4) % 3
    discriminator(generator(torch.randn(4, 20), labels), labels).sum().backward()
    for network in (generator, discriminator):
        for name, parameter in network.named_parameters():
            if name.startswith("classifier."):  # of three players: G has nothing to do with it
                assert parameter.grad is None
                continue
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


@natural
def test_in_evaluation_an_image_is_its_own_and_the_same_again(
    model: str, options: dict[str, object], shape: ImageShape
) -> None:
    """Neither dropout nor batch statistics: alone, in company, and twice, z gives one image and it one logit."""
    generator, discriminator = build(model, options, shape, 3, 20)
    z, labels = torch.randn(3, 20), torch.arange(3)
    discriminator(generator(z, labels), labels)  # running statistics that are not 0 and 1
    generator.eval(), discriminator.eval()
    for net, x in ((generator, z), (discriminator, generator(z, labels).detach())):
        together = net(x, labels)
        assert torch.equal(together, net(x, labels))
        assert torch.allclose(together[1:2], net(x[1:2], labels[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("side", [16, 24, 28, 32, 48, 64, 96, 128])
@pytest.mark.parametrize("channels", [1, 3])
def test_fewshot_fits_every_size_that_it_promises(channels: int, side: int) -> None:
    recipe = gan_recipe("fewshot")
    recipe.check_fits(channels, (side, side))
    check_shapes_and_ranges(recipe.model, recipe.options, ImageShape(channels, side, side))


@pytest.mark.parametrize("name", [name for name in recipe_names() if method_of(load_recipe(name).model).sketch])
def test_every_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    side = min(max(recipe.smallest, 16), recipe.largest)
    shape = ImageShape(1, side, side)
    sketch = method_of(recipe.model).sketch
    assert sketch is not None
    sketch(recipe, shape, 10)


@pytest.mark.parametrize(
    ("model", "options", "shape", "line"),
    [
        ("biggan", {}, SHAPES[0], "wanted one of cdcgan"),
        ("small", {"widht": 8}, SHAPES[0], "options.widht.* in model small"),
        ("small", {"width": 0}, SHAPES[0], "options.width.* in model small"),
        ("cdcgan", {}, ImageShape(1, 30, 28), "multiples of 4"),
        ("small", {}, ImageShape(1, 9, 9), "multiples of 8"),
        ("wgan-gp", {}, ImageShape(1, 9, 9), "multiples of 8"),
        ("dcgan", {}, ImageShape(3, 28, 28), "multiples of 16 .* --size 32"),
        ("dcgan-fd", {"width": 4}, SHAPES[2], "options.width.* in model dcgan-fd"),
        ("ccgan", {}, ImageShape(1, 30, 30), "for model ccgan"),
        ("dense", {"hidden_g": []}, SHAPES[2], "options.hidden_g.* in model dense"),
        ("dense", {"hidden_d": [256, 0]}, SHAPES[2], "options.hidden_d.1.* in model dense"),
        ("conv", {"variant": "best"}, SHAPES[2], "options.variant.* in model conv.*'mnist'"),
        ("conv", {"outputs": 11}, SHAPES[2], "options.outputs.* in model conv"),
    ],
)
def test_what_does_not_fit_is_refused(model: str, options: dict[str, object], shape: ImageShape, line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        build(model, options, shape, 10, 100)
