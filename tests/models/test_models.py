from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from imagemint import seeds
from imagemint.config import load_recipe, recipe_names
from imagemint.errors import RecipeError
from imagemint.models import MODELS, ImageShape, build, parameter_count
from imagemint.models.layers import LabelledConv, LabelledLinear

SHAPES = [ImageShape(1, 8, 8), ImageShape(3, 16, 16), ImageShape(1, 28, 28), ImageShape(3, 32, 24)]


def test_cdcgan_has_the_documents_parameter_counts() -> None:
    generator, discriminator = build("cdcgan", {}, ImageShape(1, 28, 28), 10, 100)
    assert parameter_count(discriminator) == 3_769_479
    assert parameter_count(generator) == 7_065_211


def test_cdcgan_layer_by_layer() -> None:
    """System A's table: weights and batch norms of each layer, in order."""
    generator, discriminator = build("cdcgan", {}, ImageShape(1, 28, 28), 10, 100)
    counts = [parameter_count(layer) for layer in (*discriminator.children(), *generator.children())]
    assert counts[:6] == [3_036, 38_924, 148, 3_724_288, 2_048, 1_035]
    assert counts[6:] == [113_664, 2_048, 6_491_520, 12_544, 441_728, 256, 3_451]


def test_cdcgan_starts_as_the_document_says() -> None:
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


def test_a_labelled_dense_layer_is_a_dense_layer_over_the_joined_one_hot() -> None:
    layer = LabelledLinear(7, 4, 5)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x, labels = torch.randn(6, 7), torch.tensor([0, 1, 2, 3, 0, 1])
    joined = torch.cat([x, F.one_hot(labels, 4).float()], 1)
    expected = F.linear(joined, torch.cat([layer.weight, layer.label_weight], 1), layer.bias)
    assert torch.allclose(layer(x, labels), expected, atol=1e-6)


@pytest.mark.parametrize(("model", "shape"), list(product(MODELS, SHAPES)))
def test_shapes_and_ranges_follow_the_pack(model: str, shape: ImageShape) -> None:
    generator, discriminator = build(model, {}, shape, 3, 20)
    labels = torch.tensor([0, 1, 2, 0])
    images = generator(torch.randn(4, 20), labels)
    assert images.shape == (4, *shape)
    assert images.dtype == torch.float32
    assert float(images.min()) >= -1
    assert float(images.max()) <= 1
    assert discriminator(images, labels).shape == (4,)


@pytest.mark.parametrize("model", MODELS)
def test_the_label_changes_the_output(model: str) -> None:
    generator, discriminator = (net.eval() for net in build(model, {}, ImageShape(1, 16, 16), 3, 20))
    z, images = torch.randn(2, 20), torch.randn(2, 1, 16, 16).clamp(-1, 1)
    a, b = torch.tensor([0, 1]), torch.tensor([2, 1])
    for net, x in ((generator, z), (discriminator, images)):
        assert not torch.allclose(net(x, a)[0], net(x, b)[0])
        assert torch.allclose(net(x, a)[1], net(x, b)[1])


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_builds(name: str) -> None:
    recipe = load_recipe(name)
    side = min(max(recipe.smallest, 16), recipe.largest)
    build(recipe.model, recipe.options, ImageShape(1, side, side), 10, recipe.z_size)


@pytest.mark.parametrize(
    ("model", "options", "shape", "line"),
    [
        ("biggan", {}, SHAPES[0], "wanted one of cdcgan"),
        ("small", {"widht": 8}, SHAPES[0], "options.widht of model small"),
        ("small", {"width": 0}, SHAPES[0], "options.width of model small"),
        ("cdcgan", {}, ImageShape(1, 30, 28), "multiples of 4"),
        ("small", {}, ImageShape(1, 9, 9), "multiples of 8"),
    ],
)
def test_what_does_not_fit_is_refused(model: str, options: dict[str, int], shape: ImageShape, line: str) -> None:
    with pytest.raises(RecipeError, match=line):
        build(model, options, shape, 10, 100)
