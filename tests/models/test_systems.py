"""The tables of the five systems, layer by layer, and what each network says it does."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from imagemint import seeds
from imagemint.errors import RecipeError
from imagemint.models import ImageShape, began, build, mitlgan, parameter_count, total_count, wgan_gp
from imagemint.models.layers import HalfBatchNorm

MNIST, CIFAR, PHOTO, LARGE = (ImageShape(*shape) for shape in ((1, 28, 28), (3, 32, 32), (3, 64, 64), (3, 128, 128)))

DEFAULTS = mitlgan.Options.model_validate({})


def counts(network: nn.Module) -> list[int]:
    """Parameters of each layer that has some, in the order of the tables."""
    leaves = [layer for layer in network.modules() if not list(layer.children())]
    return [sum(p.numel() for p in layer.parameters()) for layer in leaves if list(layer.parameters())]


def layers(network: nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, kind)]


# --- A


def test_dcgan_layer_by_layer() -> None:
    generator, discriminator = build("dcgan", {}, PHOTO, 5, 100)
    assert counts(discriminator) == [4_864, 204_928, 256, 819_456, 512, 3_277_312, 1_024, 8_193]
    assert parameter_count(discriminator) == 4_316_545
    assert counts(generator) == [827_392, 1_024, 3_277_056, 512, 819_328, 256, 204_864, 128, 4_803]
    assert parameter_count(generator) == 5_135_363


def test_dcgan_at_128_starts_from_8x8x512_with_the_same_convolutions() -> None:
    small, large = build("dcgan", {}, PHOTO, 5, 100), build("dcgan", {}, LARGE, 5, 100)
    assert counts(large[0])[1:] == counts(small[0])[1:]
    assert counts(large[0])[0] == (100 + 1) * 8 * 8 * 512
    assert counts(large[1])[:-1] == counts(small[1])[:-1]
    assert counts(large[1])[-1] == 8 * 8 * 512 + 1


def test_dcgan_starts_as_baker_2018_says() -> None:
    seeds.seed_layers(0, "test")
    for network in build("dcgan", {}, PHOTO, 5, 100):
        for layer in layers(network, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            assert isinstance(layer.weight, Tensor) and isinstance(layer.bias, Tensor)
            assert not layer.bias.any()
            truncated = not isinstance(layer, nn.Linear)
            # A normal cut at two deviations keeps 0.88 of its deviation; a plain one of 8,192 weights has tails.
            assert float(layer.weight.detach().std()) == pytest.approx(0.02 * (0.88 if truncated else 1), rel=0.03)
            assert (float(layer.weight.detach().abs().max()) <= 0.04) == truncated
        assert {(norm.eps, norm.momentum) for norm in network.modules() if isinstance(norm, nn.BatchNorm2d)} == {
            (1e-5, 0.1)
        }


# --- B


def test_dense_nets_have_the_documents_units() -> None:
    minimal = {"hidden_g": [30], "hidden_d": [30], "activation": "sigmoid"}
    generator, discriminator = build("dense", minimal, MNIST, 10, 100)
    assert counts(generator) == [101 * 30, 31 * 784]
    assert counts(discriminator) == [785 * 30, 31]
    generator, discriminator = build("dense", {}, MNIST, 10, 100)
    assert counts(generator) == [101 * 1024, 1025 * 1024, 1025 * 784]
    assert counts(discriminator) == [785 * 256, 257 * 256, 257]


def test_dense_activations_are_the_ones_asked_for() -> None:
    for activation, kind in (("sigmoid", nn.Sigmoid), ("relu", nn.ReLU), ("leaky", nn.LeakyReLU)):
        for network in build("dense", {"activation": activation}, MNIST, 10, 100):
            assert len(layers(network, (nn.Sigmoid, nn.ReLU, nn.LeakyReLU))) == len(layers(network, kind)) == 2
    leaky = layers(build("dense", {"activation": "leaky"}, MNIST, 10, 100)[0], nn.LeakyReLU)[0]
    assert float(leaky(torch.tensor(-1.0))) == pytest.approx(-0.01)


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_dense_outputs_use_the_whole_range(activation: str) -> None:
    """The last layer pushed far out reaches black and white: a sigmoid left at [0, 1] would stop at mid-gray."""
    generator, _ = build("dense", {"activation": activation}, MNIST, 10, 100)
    nn.init.constant_(generator.get_submodule("last").bias, 30.0)  # type: ignore[arg-type]
    assert float(generator(torch.zeros(1, 100), torch.zeros(1)).detach().min()) == pytest.approx(1)
    nn.init.constant_(generator.get_submodule("last").bias, -30.0)  # type: ignore[arg-type]
    assert float(generator(torch.zeros(1, 100), torch.zeros(1)).detach().max()) == pytest.approx(-1)


CONV_TABLES = {
    "mirrored": (
        [197_960, 3_920, 40_040, 80, 6_440, 80, 20_020, 81],
        [520, 1_620, 40, 20_040, 80, 6_440, 80, 1_961],
    ),
    "mirrored-dense": (
        [103_424, 2_048, 1025 * 1_960, 3_920, 40_040, 80, 6_440, 80, 20_020, 81],
        [520, 1_620, 40, 20_040, 80, 6_440, 80, 1_961],
    ),
    "mirrored-two": (
        [103_424, 2_048, 1025 * 1_960, 3_920, 40 * 64 * 16 + 64, 128, 64 * 16 + 1],
        [520, 1_620, 40, 20_040, 80, 6_440, 80, 1_961],
    ),
    "mirrored-wider": (
        [103_424, 2_048, 1025 * 1_960, 3_920, 40 * 64 * 16 + 64, 128, 64 * 16 + 1],
        [832, 4_128, 64, 51_264, 128, 16_448, 128, 3_137],
    ),
    "mnist": (
        [103_424, 2_048, 1025 * 6_272, 12_544, 131_136, 128, 1_025],
        [832, 4_128, 51_264, 16_448, 3137 * 1_024, 1_025],
    ),
    "cifar": (  # gray, Winkler 2018, section 4.8.1: 8x8x40
        [103_424, 2_048, 1025 * 2_560, 5_120, 40 * 64 * 16 + 64, 128, 1_025],
        [832, 4_128, 51_264, 16_448, 4097 * 1_024, 1_025],
    ),
    "pooled": (  # section 4.7.5: the classifier as it stands, with one dense layer of 1000
        [103_424, 2_048, 1025 * 6_272, 12_544, 131_136, 128, 1_025],
        [520, 20_040, 1961 * 1_000, 1_001],
    ),
    "cifar-wider": (  # section 4.8.2: one more layer, kernel 5, stride 1, 128 features, in each
        [103_424, 2_048, 1025 * 2_560, 5_120, 128_128, 256, 128 * 64 * 16 + 64, 128, 3_075],
        [2_432, 4_128, 51_264, 16_448, 204_928, 8193 * 1_024, 1_025],
    ),
    "cifar-final": (
        [103_424, 2_048, 1025 * 8_192, 16_384, 409_728, 256, 131_136, 128, 3_075],
        [2_432, 51_264, 128, 204_928, 256, 8193 * 1_024, 2_048, 1_025],
    ),
}


@pytest.mark.parametrize("variant", CONV_TABLES)
def test_conv_layer_by_layer(variant: str) -> None:
    shape = {"cifar": ImageShape(1, 32, 32), "cifar-wider": CIFAR, "cifar-final": CIFAR}.get(variant, MNIST)
    generator, discriminator = build("conv", {"variant": variant}, shape, 10, 100)
    assert (counts(generator), counts(discriminator)) == CONV_TABLES[variant]


def test_mirrored_nets_halve_at_every_second_convolution() -> None:
    """D's maps are 28, 14, 14, 7 pixels wide and G's the same backwards: the 2x2 convolutions have stride 2."""
    generator, discriminator = build("conv", {"variant": "mirrored"}, MNIST, 10, 100)
    sides: list[int] = []
    for network in (discriminator, generator):
        for layer in layers(network, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda _, __, out: sides.append(out.shape[-1]))
    discriminator(generator(torch.randn(2, 100), torch.zeros(2)), torch.zeros(2))
    assert sides == [7, 14, 14, 28, 28, 14, 14, 7]


def test_conv_ablations() -> None:
    def kinds(options: dict[str, object], which: int, kind: type[nn.Module] | tuple[type[nn.Module], ...]) -> int:
        return len(layers(build("conv", options, MNIST, 10, 100)[which], kind))

    norms, g, d = (nn.BatchNorm1d, nn.BatchNorm2d), 0, 1
    assert kinds({}, g, norms) == 3 and kinds({"bn_g": False}, g, norms) == 0
    assert kinds({}, d, norms) == 0 and kinds({"bn_d": True}, d, norms) == 4  # all but the first and the last of six
    final: dict[str, object] = {"variant": "cifar-final"}
    assert kinds(final, d, norms) == 3 and kinds({**final, "bn_d": False}, d, norms) == 0
    assert kinds({}, g, nn.LeakyReLU) == 0 and kinds({"leaky_g": True}, g, nn.ReLU) == 0
    assert kinds({}, g, nn.Dropout) == 0 and kinds({"dropout": 0.5}, g, nn.Dropout) == 1
    mirrored: dict[str, object] = {"variant": "mirrored"}
    assert kinds(mirrored, d, nn.Dropout) == 1 and kinds({**mirrored, "dropout": 0}, d, nn.Dropout) == 0


def test_semi_supervised_discriminator_has_a_logit_more_than_classes() -> None:
    _, one = build("conv", {}, MNIST, 10, 100)
    _, many = build("conv", {"outputs": "k+1"}, MNIST, 10, 100)
    assert counts(many)[:-1] == counts(one)[:-1]
    assert counts(many)[-1] == 1025 * 11


# --- C


def test_dcgan_fd_comes_within_3_percent_of_the_documents_totals() -> None:
    generator, discriminator = build("dcgan-fd", {}, MNIST, 10, 100)
    assert parameter_count(generator) == pytest.approx(7_000_000, rel=0.03)
    assert parameter_count(discriminator) == pytest.approx(310_000, rel=0.03)


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 2, 3])
def test_f_multiplies_channels_and_d_counts_convolutions(width: int, depth: int) -> None:
    generator, discriminator = build("dcgan-fd", {"width": width, "depth": depth}, MNIST, 10, 100)

    def channels(network: nn.Module) -> list[int]:
        return [conv.out_channels for conv in network.modules() if isinstance(conv, nn.Conv2d)]

    assert channels(generator) == [128 * width, 1]
    assert channels(discriminator) == [128 * width] + [256 * width] * depth


def test_ccgan_adds_the_label_where_its_source_says() -> None:
    plain, labelled = build("dcgan-fd", {}, MNIST, 10, 100), build("ccgan", {}, MNIST, 10, 100)
    assert parameter_count(labelled[0]) - parameter_count(plain[0]) == 10 * 1024  # joined to the dense layer
    plane = (10 + 1) * 784  # a dense layer of 784 units over the one-hot label
    assert parameter_count(labelled[1]) - parameter_count(plain[1]) == plane + 9 * 128  # and one more channel


def test_half_batch_norm_is_batch_norm_by_the_first_half() -> None:
    for shape in ((8, 5), (8, 5, 3, 4), (7, 5, 3, 4)):
        half, x = (shape[0] + 1) // 2, torch.randn(shape) * 3 + 2
        ours, reference = HalfBatchNorm(5), nn.BatchNorm1d(5) if len(shape) == 2 else nn.BatchNorm2d(5)
        for norm in (ours, reference):
            nn.init.constant_(norm.weight, 1.5)
            nn.init.constant_(norm.bias, -0.5)
        assert torch.allclose(ours(x)[:half], reference(x[:half]), atol=1e-5)
        assert torch.allclose(ours.running_mean, reference.running_mean)  # type: ignore[arg-type]
        assert torch.allclose(ours.running_var, reference.running_var)  # type: ignore[arg-type]
        assert torch.allclose(ours.eval()(x), reference.eval()(x), atol=1e-5)


def test_half_batch_norm_normalises_the_other_half_by_the_reference() -> None:
    """The same image gets the same values in either half, and the second half changes nothing in the first."""
    norm, x = HalfBatchNorm(5), torch.randn(8, 5, 3, 3)
    x[5] = x[1]
    out = norm(x)
    assert torch.allclose(out[5], out[1])
    assert torch.allclose(norm(torch.cat([x[:4], x[4:] * 9 + 7]))[:4], out[:4])
    moved = norm(torch.cat([x[:4] * 9 + 7, x[4:]]))
    assert not torch.allclose(moved[4:], out[4:], atol=0.1)


def test_virtual_batch_normalisation_replaces_every_batch_normalisation() -> None:
    for network in build("dcgan-fd", {"virtual_batch_norm": True}, MNIST, 10, 100):
        assert not layers(network, (nn.BatchNorm1d, nn.BatchNorm2d))
        assert layers(network, HalfBatchNorm)


# --- E


def test_wgan_gp_layer_by_layer() -> None:
    generator, discriminator = build("wgan-gp", {}, LARGE, 1, 1536)
    # Élő 2021, table 7.1: a row is a layer and its batch normalisation with its statistics, weights + 4 x channels.
    rows = [2_365_440, 41_664, 10_464, 2_640, 672, 174]
    weights = [layer.weight.numel() for layer in generator.modules() if isinstance(layer, (nn.Linear, nn.Conv2d))]
    norms = [n.num_features for n in generator.modules() if isinstance(n, (nn.BatchNorm1d, nn.BatchNorm2d))]
    assert [w + 4 * c for w, c in zip(weights, norms, strict=True)] == rows
    assert norms == [1536, 48, 24, 12, 6, 3]
    assert (parameter_count(generator), total_count(generator)) == (2_417_796, 2_421_054)
    assert counts(discriminator) == [3_648, 115_296, 460_992, 1_843_584, 24_577]
    assert (parameter_count(discriminator), total_count(discriminator)) == (2_448_097, 2_448_097)


def test_wgan_gp_has_no_biases_in_g_and_dropout_in_d() -> None:
    generator, discriminator = build("wgan-gp", {}, LARGE, 1, 1536)
    biased = [layer for layer in layers(generator, (nn.Linear, nn.Conv2d)) if layer.bias is not None]
    assert not biased
    assert [drop.p for drop in discriminator.modules() if isinstance(drop, nn.Dropout)] == [0.3, 0.3]


@pytest.mark.parametrize(
    ("shape", "start", "channels"),
    [
        (ImageShape(3, 64, 64), 96 * 16, [48, 24, 12, 3]),
        (ImageShape(1, 32, 32), 96 * 16, [48, 24, 1]),
        (ImageShape(1, 28, 28), 96 * 49, [48, 1]),
        (ImageShape(3, 32, 24), 96 * 48, [48, 3]),
        (ImageShape(3, 256, 256), 96 * 16, [48, 24, 12, 6, 3, 3]),
    ],
)
def test_wgan_gp_at_other_sizes(shape: ImageShape, start: int, channels: list[int]) -> None:
    generator = wgan_gp.Generator(shape, 10)
    assert [dense.out_features for dense in generator.modules() if isinstance(dense, nn.Linear)] == [start]
    assert [conv.out_channels for conv in generator.modules() if isinstance(conv, nn.Conv2d)] == channels


def test_wgan_gp_judges_each_image_alone_while_it_trains() -> None:
    """The gradient penalty is a statement about one image: no batch normalisation in D."""
    _, critic = build("wgan-gp", {"dropout": 0.0}, MNIST, 1, 10)
    images = torch.randn(4, *MNIST, requires_grad=True)
    (gradient,) = torch.autograd.grad(critic(images, torch.zeros(4))[0], images)
    assert gradient[0].any() and not gradient[1:].any()


def convs(network: nn.Module) -> list[nn.Conv2d]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]


def test_began_is_figure_1() -> None:
    """At 32 pixels n = 64: filters of the encoder grow by n with each of two halvings, and both decoders keep n."""
    generator, d = began.build(began.Options.model_validate({}), CIFAR, 1, 64)
    encoder = [(conv.out_channels, conv.stride[0]) for conv in convs(d.encoder)]
    first, second, third = [(64, 1)] * 3, [(128, 2), (128, 1), (128, 1)], [(192, 2), (192, 1), (192, 1)]
    assert encoder == [*first, *second, *third]
    dense = [(layer.in_features, layer.out_features) for layer in d.modules() if isinstance(layer, nn.Linear)]
    assert dense == [(192 * 64, 64), (64, 64 * 64)]
    assert counts(generator) == counts(d.decoder)
    assert [conv.out_channels for conv in convs(generator)] == [64] * 6 + [3]


def test_began_judges_by_the_mean_distance_to_what_it_redraws() -> None:
    d = began.Discriminator(began.Options.model_validate({"width": 4}), MNIST)
    images = torch.rand(3, *MNIST) * 2 - 1
    logits, redrawn = d(images, torch.zeros(3)).detach(), d.redraw(images).detach()
    for image, again, logit in zip(images, redrawn, logits, strict=True):
        assert float(logit) == pytest.approx(-float((image - again).abs().sum()) / 784, rel=1e-5)


@pytest.fixture(scope="module")
def joined() -> mitlgan.MitlganGenerator:
    """Two small parents of different families and z sizes, joined at 16x16."""
    seeds.seed_layers(0, "test")
    shape = ImageShape(3, 16, 16)
    first, second = build("wgan-gp", {}, shape, 2, 5)[0], build("ccgan", {}, shape, 2, 7)[0]
    return mitlgan.build(DEFAULTS, shape, [mitlgan.Parent(first, 5), mitlgan.Parent(second, 7)])[0]


def test_mitlgan_layer_by_layer() -> None:
    parents = [mitlgan.Parent(wgan_gp.Generator(LARGE, 1536), 1536) for _ in range(2)]
    generator, discriminator = mitlgan.build(DEFAULTS, LARGE, parents)
    join, *rest = counts(generator.joiner)
    rows = [conv + norm for conv, norm in zip(rest[::2], rest[1::2], strict=True)]  # a convolution and its IN
    assert join == 21
    assert rows[:3] == [9_600, 74_112, 295_680]
    assert rows[3:15:2] == [590_592, 1_180_416, 1_770_240, 2_360_064, 2_949_888, 3_539_712]
    assert rows[4:15:2] == [590_592] * 6
    assert rows[15:] == [2_064_768, 73_920, 9_417]
    assert (parameter_count(generator), total_count(generator)) == (18_461_982, 23_304_090)
    assert parameter_count(discriminator) == 2_448_097


def test_mitlgan_parents_stay_as_they_are(joined: mitlgan.MitlganGenerator) -> None:
    before = copy.deepcopy(joined.parents.state_dict())
    assert not any(parent.training for parent in joined.train().parents.modules())
    assert joined.joiner.training
    joined(torch.randn(4, 12), torch.tensor([0, 1, 0, 1])).sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in joined.parents.parameters())
    assert all(p.grad is not None for p in joined.joiner.parameters())
    assert all(torch.equal(value, before[key]) for key, value in joined.parents.state_dict().items())


def test_mitlgan_gives_each_parent_its_own_part_of_z_and_the_label(joined: mitlgan.MitlganGenerator) -> None:
    seen: list[Tensor] = []
    hook = joined.joiner.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    z, labels = torch.randn(2, 12), torch.tensor([1, 0])
    images = joined.eval()(z, labels)
    hook.remove()
    first, second = joined.parents
    assert torch.equal(seen[0], torch.cat([first(z[:, :5], labels), second(z[:, 5:], labels)], 1))
    assert images.shape == (2, 3, 16, 16)
    assert float(images.detach().abs().max()) <= 1


def test_mitlgan_literal_output_never_leaves_the_bright_half() -> None:
    shape, made = ImageShape(1, 8, 8), torch.randn(4, 2, 8, 8)
    torch.manual_seed(0)
    relu_options = mitlgan.Options.model_validate({"output": "relu"})
    tanh, relu = mitlgan.Joiner(2, shape, DEFAULTS), mitlgan.Joiner(2, shape, relu_options)
    relu.load_state_dict(tanh.state_dict())
    low, literal = tanh(made).detach(), relu(made).detach()
    assert float(low.min()) < 0 and float(low.abs().max()) <= 1
    assert torch.allclose(literal.tanh(), low.clamp(min=0), atol=1e-6)


@pytest.mark.parametrize(
    ("connect", "into_blocks", "into_up"),
    [("dense-residual", [8, 16, 24], 32), ("residual", [8, 8, 8], 8), ("dense", [8, 16, 24], 32)],
)
def test_mitlgan_blocks_join_or_add(connect: str, into_blocks: list[int], into_up: int) -> None:
    """Channels before each of three blocks and before the first doubling; one convolution per block where dense."""
    options = mitlgan.Options.model_validate({"connect": connect, "width": 8, "blocks": 3})
    joiner = mitlgan.Joiner(2, ImageShape(1, 8, 8), options)
    convs = [[conv for conv in block.modules() if isinstance(conv, nn.Conv2d)] for block in joiner.blocks]
    assert [each[0].in_channels for each in convs] == into_blocks
    assert {len(each) for each in convs} == {1 if connect == "dense" else 2}
    assert next(conv for conv in joiner.up.modules() if isinstance(conv, nn.Conv2d)).in_channels == into_up
    x, block = torch.randn(2, 8, 2, 2), joiner.blocks[0]
    made = block(x)
    kept = made[:, :8] if connect != "residual" else made - block.conv2(block.conv1(x))  # type: ignore[operator]
    assert torch.allclose(kept, x, atol=1e-6)
    assert joiner(torch.randn(2, 2, 8, 8)).shape == (2, 1, 8, 8)


def test_mitlgan_joins_more_than_two_parents() -> None:
    shape = ImageShape(1, 16, 12)
    parents = [mitlgan.Parent(wgan_gp.Generator(shape, k), k) for k in (3, 4, 5)]
    generator = mitlgan.MitlganGenerator(parents, shape, DEFAULTS)
    assert counts(generator.joiner)[0] == 3 * 1 + 1
    assert generator(torch.randn(2, 12), torch.zeros(2)).shape == (2, 1, 16, 12)


def test_mitlgan_refuses_what_cannot_be_joined() -> None:
    shape = ImageShape(3, 16, 16)

    def parent(*size: int) -> mitlgan.Parent:
        return mitlgan.Parent(wgan_gp.Generator(ImageShape(*size), 4), 4)

    for found, parents, on in (
        ("1 parent for model mitlgan", [parent(3, 16, 16)], shape),
        ("parent 2 makes 32x32x3 images", [parent(3, 16, 16), parent(3, 32, 32)], shape),
        ("parent 1 makes 16x16x1 images", [parent(1, 16, 16), parent(3, 16, 16)], shape),
        ("multiples of 4 for model mitlgan", [parent(3, 18, 18), parent(3, 18, 18)], ImageShape(3, 18, 18)),
    ):
        with pytest.raises(RecipeError, match=found):
            mitlgan.build(DEFAULTS, on, parents)
