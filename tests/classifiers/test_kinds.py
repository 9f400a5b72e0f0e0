"""Every classifier learns; soft labels, weights and looks mean what they say; plans are strict."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from torch import nn

from imagemint.classifiers import CLASSIFIERS, ClassifierPlan, balanced_weights, check_classifier, evaluate
from imagemint.classifiers import train_classifier as train
from imagemint.classifiers.cnn5 import Cnn5
from imagemint.classifiers.lenet import LeNet
from imagemint.classifiers.outside import read_outside
from imagemint.classifiers.resnet import ResNet
from imagemint.classifiers.training import Kind
from imagemint.errors import ArgumentError, NetworkError
from tests.digits import digits

PIXELS, LABELS = digits()
ASK = np.arange(len(LABELS)) % 4 == 0
LEARN = ~ASK


def plan(**settings: object) -> ClassifierPlan:
    return ClassifierPlan.model_validate(settings)


def test_the_residual_network_has_the_parameters_of_resnet_20() -> None:
    assert sum(p.numel() for p in ResNet(3, (32, 32), 10).parameters()) == 269_722


def test_cnn5_is_five_convolutions_with_pooling_dropout_and_two_dense_layers() -> None:
    net = Cnn5(3, (64, 64), 5)
    kinds = [type(module) for module in net.modules()]
    assert kinds.count(nn.Conv2d) == 5 and kinds.count(nn.Linear) == 2
    assert net.hidden.in_features == 128 * 2 * 2  # 64 pixels halved five times
    assert Cnn5(1, (28, 28), 10).hidden.in_features == 128
    images = torch.randn(2, 3, 64, 64)
    assert not torch.equal(net.train()(images), net(images)) and torch.equal(net.eval()(images), net(images))


@pytest.mark.parametrize("name", CLASSIFIERS)
@pytest.mark.parametrize(
    ("channels", "size"), [(1, (8, 8)), (3, (32, 48)), (1, (28, 28)), (3, (100, 64)), (1, (1, 1))]
)
def test_every_size_has_its_logits(name: str, channels: int, size: tuple[int, int]) -> None:
    net = CLASSIFIERS[name].build(channels, size, 7).train()
    assert net(torch.zeros(3, channels, *size)).shape == (3, 7)


@pytest.mark.parametrize(("name", "images_seen"), [("cnn5", 8_000), ("resnet", 4_000)])
def test_every_classifier_learns_the_digits_the_same_way_twice(name: str, images_seen: int) -> None:
    def once() -> object:
        return train(PIXELS[LEARN], LABELS[LEARN], 10, images_seen=images_seen, seed=0, plan=plan(classifier=name))

    first = once()
    assert evaluate(first, PIXELS[ASK], LABELS[ASK]).accuracy > 0.75  # type: ignore[arg-type]
    short = [train(PIXELS, LABELS, 10, images_seen=200, seed=s, plan=plan(classifier=name)) for s in (0, 0, 1)]
    hashes = [net.weights_hash() for net in short]
    assert hashes[0] == hashes[1] != hashes[2]


def test_soft_labels_that_are_sure_are_labels() -> None:
    hard = train(PIXELS[:300], LABELS[:300], 10, images_seen=1_000, seed=0)
    soft = train(PIXELS[:300], np.eye(10, dtype=np.float32)[LABELS[:300]], 10, images_seen=1_000, seed=0)
    np.testing.assert_allclose(soft.log_probabilities(PIXELS), hard.log_probabilities(PIXELS), atol=1e-3)


def test_a_classifier_believes_soft_labels() -> None:
    share = np.tile([0.7, 0.3], (300, 1))
    found = train(PIXELS[:300], share, 2, images_seen=6_000, seed=0)
    assert np.exp(found.log_probabilities(PIXELS)).mean(0) == pytest.approx([0.7, 0.3], abs=0.05)


def test_images_of_no_weight_teach_nothing_and_only_proportions_of_weights_matter() -> None:
    wrong = (LABELS[LEARN] + 1) % 10
    pixels, labels = np.concatenate([PIXELS[LEARN]] * 2), np.concatenate([LABELS[LEARN], wrong])
    weights = np.repeat([2.0, 0.0], len(wrong))
    found = train(pixels, labels, 10, images_seen=10_000, seed=0, weights=weights)
    assert evaluate(found, PIXELS[ASK], LABELS[ASK]).accuracy > 0.9
    assert evaluate(found, PIXELS[LEARN], wrong).accuracy < 0.02
    ones = [train(PIXELS, LABELS, 10, images_seen=640, seed=0, weights=np.full(len(LABELS), w)) for w in (1, 8)]
    assert ones[0].weights_hash() == ones[1].weights_hash()


def test_class_weights_are_scikit_learns_and_make_the_rare_class_known() -> None:
    labels = np.repeat([0, 1, 3], [60, 30, 10])
    found = balanced_weights(labels, 4)
    assert found[[0, 1, 3]] == pytest.approx(compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=labels))
    assert found[2] == 0

    noise = np.random.default_rng(0).normal(0, 90, PIXELS.shape)
    blurred = (PIXELS + noise).clip(0, 255).astype(np.uint8)
    rare = (LABELS == 8).astype(np.int64)
    rows = np.flatnonzero(LEARN & ((rare == 0) | (np.arange(len(LABELS)) % 5 == 1)))
    recall = []
    for class_weights in (None, balanced_weights(rare[rows], 2)):
        net = train(blurred[rows], rare[rows], 2, images_seen=4_000, seed=0, class_weights=class_weights)
        confusion = evaluate(net, blurred[ASK], rare[ASK]).confusion
        recall.append(confusion[1, 1] / confusion[1].sum())
    assert recall[1] > recall[0] + 0.1


def test_a_history_is_taken_at_fixed_numbers_of_images_and_changes_nothing() -> None:
    watched = {"training": (PIXELS[LEARN], LABELS[LEARN]), "test": (PIXELS[ASK], LABELS[ASK])}
    settings = plan(classifier="cnn5")  # its dropout draws random numbers

    def once(**options: object) -> object:
        return train(PIXELS[LEARN], LABELS[LEARN], 10, images_seen=3_200, seed=0, plan=settings, **options)  # type: ignore[arg-type]

    plain, seen = once(), once(watched=watched, looks=5)
    assert plain.weights_hash() == seen.weights_hash() and plain.history == []  # type: ignore[attr-defined]
    history = seen.history  # type: ignore[attr-defined]
    assert [line["images_seen"] for line in history] == [640, 1280, 1920, 2560, 3200]
    last = evaluate(seen, PIXELS[ASK], LABELS[ASK])  # type: ignore[arg-type]
    assert history[-1]["test"] == {"loss": last.loss, "accuracy": last.accuracy}
    assert history[-1]["training"]["loss"] < history[0]["training"]["loss"]


def test_learning_rates_fall_as_stated() -> None:
    rates = {
        decay: [plan(decay=decay).rate(0.1, seen, 1000, 100) for seen in (0, 99, 100, 500, 1000)]
        for decay in ("even", "epoch", "constant", "cosine")
    }
    assert rates["constant"] == [0.1] * 5
    assert rates["even"] == pytest.approx([0.1, 0.1 * 0.01**0.099, 0.1 * 0.01**0.1, 0.01, 0.001])
    assert rates["epoch"] == pytest.approx([0.1, 0.1, 0.095, 0.1 * 0.95**5, 0.1 * 0.95**10])
    assert rates["cosine"] == pytest.approx([0.1, 0.0976, 0.09755, 0.05, 0.0], abs=5e-5)


def test_the_learning_rate_of_a_plan_is_used() -> None:
    slow = train(PIXELS, LABELS, 10, images_seen=3_000, seed=0, plan=plan(learning_rate=1e-6))
    assert evaluate(slow, PIXELS, LABELS).accuracy < 0.5


@pytest.mark.parametrize("wrong", [{"decay": "sine"}, {"learning_rate": 0}, {"batch_size": 0}, {"momentum": 0.9}])
def test_plans_are_strict(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        plan(**wrong)


def test_a_classifier_that_nobody_knows_is_refused() -> None:
    check_classifier("resnet", 1, (8, 8))
    with pytest.raises(ArgumentError, match="lenet, cnn5, resnet or linear:FILE"):
        check_classifier("vgg", 1, (8, 8))
    with pytest.raises(NetworkError, match="no file"):
        check_classifier("linear:absent.pt", 1, (8, 8))


# --- the linear probe ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random features of digits, which are enough to tell most of them apart."""
    file = tmp_path_factory.mktemp("networks") / "random.pt"
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU())).save(str(file))  # type: ignore[no-untyped-call]
    file.with_suffix(".json").write_text('{"channels": 1}', encoding="utf-8")
    return file


def test_the_probe_is_scikit_learns_regression_on_features(network: Path) -> None:
    probe = train(PIXELS[LEARN], LABELS[LEARN], 10, images_seen=1, seed=0, plan=plan(classifier=f"linear:{network}"))
    features = read_outside(network, 1, (8, 8))
    scaler = StandardScaler().fit(features(PIXELS[LEARN]).astype(np.float64))
    scaled = [scaler.transform(features(PIXELS[part]).astype(np.float64)) for part in (LEARN, ASK)]
    wanted = LogisticRegression(max_iter=1000).fit(scaled[0], LABELS[LEARN]).predict_log_proba(scaled[1])
    np.testing.assert_allclose(probe.log_probabilities(PIXELS[ASK]), wanted, atol=0.05)
    assert evaluate(probe, PIXELS[ASK], LABELS[ASK]).accuracy > 0.9


def test_the_probe_knows_two_classes_one_class_weights_and_soft_labels(network: Path) -> None:
    settings, pixels = plan(classifier=f"linear:{network}"), PIXELS[:400]
    odd = LABELS[:400] % 2
    two = train(pixels, odd, 3, images_seen=1, seed=0, plan=settings)
    assert evaluate(two, pixels, odd).accuracy > 0.85
    assert (two.log_probabilities(pixels)[:, 2] == -np.inf).all()  # nobody showed it that class
    one = train(pixels, np.full(400, 1), 3, images_seen=1, seed=0, plan=settings)
    assert (one.log_probabilities(pixels)[:, 1] == 0).all()
    soft = train(pixels, np.tile([0.7, 0.3], (400, 1)), 2, images_seen=1, seed=0, plan=settings)
    assert np.exp(soft.log_probabilities(pixels)).mean(0) == pytest.approx([0.7, 0.3], abs=0.02)
    wrong = np.concatenate([odd, 1 - odd])
    weights = np.repeat([1.0, 0.0], 400)
    found = train(np.concatenate([pixels] * 2), wrong, 2, images_seen=1, seed=0, plan=settings, weights=weights)
    assert evaluate(found, pixels, odd).accuracy > 0.85


def test_the_probe_learns_augmented_copies_too(network: Path) -> None:
    calls = []

    def darker(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        calls.append(len(images))
        return images / 2 - 0.5

    settings = plan(classifier=f"linear:{network}")
    plain, copied = (
        train(PIXELS[:100], LABELS[:100], 10, images_seen=1, seed=0, plan=settings, augment=augment)
        for augment in (None, darker)
    )
    assert calls == [100] * 4 and plain.weights_hash() != copied.weights_hash()


def test_the_probe_learns_the_labels_that_mixing_gives(network: Path) -> None:
    """Four of five copies are said to be of class 1, whatever they are."""

    def ones(images: torch.Tensor, targets: torch.Tensor, _: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        return images, torch.eye(2, dtype=targets.dtype)[torch.ones(len(targets), dtype=torch.long)]

    settings = plan(classifier=f"linear:{network}")
    probe = train(PIXELS[:600], np.zeros(600, np.int64), 2, images_seen=1, seed=0, plan=settings, mix=ones)
    assert np.exp(probe.log_probabilities(PIXELS[:600])).mean(0) == pytest.approx([0.2, 0.8], abs=0.02)


def test_reading_a_plan_does_not_wait_for_torch() -> None:
    code = "import sys; from imagemint.classifiers import ClassifierPlan; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- sizes, first weights, plans ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "seen"),
    [
        ((1, 1), (16, 16)),
        ((8, 8), (16, 16)),
        ((15, 20), (30, 40)),
        ((16, 16), (16, 16)),
        ((64, 64), (64, 64)),
        ((65, 64), (32, 32)),
        ((128, 96), (64, 48)),
        ((200, 100), (50, 25)),
        ((40, 400), (20, 200)),  # long and narrow: no more than leaves 16 pixels
        ((20, 400), (20, 400)),
        ((33, 400), (16, 200)),
    ],
)
def test_networks_see_16_pixels_at_least_and_64_at_most_by_whole_factors(
    size: tuple[int, int], seen: tuple[int, int]
) -> None:
    net = Cnn5(1, size, 2)
    assert net.seen == seen
    net.maps = lambda images: images  # type: ignore[method-assign]
    assert net.features(torch.zeros(1, 1, *size)).shape[2:] == seen


def test_resnet_halves_images_from_48_pixels() -> None:
    assert [ResNet(1, (side, side), 2).first.stride for side in (28, 47, 48, 64)] == [(1, 1)] * 2 + [(2, 2)] * 2


def test_first_weights_have_the_variance_that_their_source_says() -> None:
    torch.manual_seed(0)
    lenet, cnn5, resnet = LeNet(3, (32, 32), 10), Cnn5(3, (64, 64), 10), ResNet(3, (32, 32), 10)
    for layer in (lenet.conv2, lenet.hidden):  # Caffe's filler: 1 / fan-in, uniform
        fan_in = layer.weight[0].numel()
        assert layer.weight.var().item() * fan_in == pytest.approx(1, rel=0.05)
        assert layer.weight.abs().max().item() == pytest.approx((3 / fan_in) ** 0.5, rel=0.01)
    last = cnn5.convolutions[4]
    assert isinstance(last, nn.Conv2d)
    for weight, fans in ((cnn5.hidden.weight, 512 + 512), (last.weight, 2 * 128 * 9)):  # Glorot & Bengio: 2 / both
        assert weight.var().item() * fans / 2 == pytest.approx(1, rel=0.05)
    stage = next(each for each in resnet.modules() if isinstance(each, nn.Conv2d) and each.in_channels == 64)
    # He et al.: 2 / fan-in
    assert stage.weight.var().item() * 64 * 9 / 2 == pytest.approx(1, rel=0.05)
    for net in (lenet, cnn5):
        assert all(not value.any() for name, value in net.named_parameters() if name.endswith("bias"))


def test_cnn5_has_the_widths_that_it_states_and_drops_half() -> None:
    net = Cnn5(3, (64, 64), 5)
    assert [module.out_channels for module in net.convolutions if isinstance(module, nn.Conv2d)] == [
        32, 64, 128, 128, 128,
    ]  # fmt: skip
    assert net.hidden.out_features == net.out.in_features == 512
    nn.init.eye_(net.hidden.weight)
    images = torch.rand(64, 3, 64, 64)
    with torch.no_grad():
        whole, dropped = net.eval().features(images), net.train().features(images)
    alive = whole > 0
    assert (dropped[alive] == 0).float().mean().item() == pytest.approx(0.5, abs=0.03)


def test_a_plan_has_bounds_and_says_how_many_images_are_seen() -> None:
    bounds = {
        "learning_rate": (10, 10.1), "batch_size": (65_536, 65_537), "epochs": (10**6, 10**6 + 1),
        "at_least": (10**12, 10**12 + 1),
    }  # fmt: skip
    for name, (most, more) in bounds.items():
        assert getattr(plan(**{name: most}), name) == most
        with pytest.raises(ValidationError):
            plan(**{name: more})
    assert plan(batch_size=1, at_least=0, learning_rate=1e-9).batch_size == 1
    for wrong in ({"epochs": 0}, {"at_least": -1}):
        with pytest.raises(ValidationError):
            plan(**wrong)
    assert (plan().classifier, plan().batch_size, plan().epochs, plan().at_least) == ("lenet", 64, 20, 40_000)
    assert plan().images_seen(100) == 40_000 and plan().images_seen(5_000) == 100_000
    assert plan(epochs=0.5, at_least=0).images_seen(7) == 4 and plan(epochs=0.001, at_least=0).images_seen(1) == 1


def test_labels_and_weights_that_make_no_sense_stop_a_training() -> None:
    with pytest.raises(AssertionError):
        evaluate(LeNet(1, (8, 8), 10), PIXELS[:0], LABELS[:0])
    soft = np.full((4, 3), 1 / 3)
    for labels, options in (
        (np.array([0, 1, 2, 3]), {}),  # of three classes
        (np.array([0, 1, 2, -1]), {}),
        (soft * 1.01, {}),
        (soft[:, :2], {}),
        (np.zeros(4, int), {"weights": np.array([1.0, 1, 1, -1])}),
        (np.zeros(4, int), {"weights": np.zeros(4)}),
    ):
        with pytest.raises(AssertionError):
            train(PIXELS[:4], labels, 3, images_seen=4, seed=0, **options)
    train(PIXELS[:4], soft, 3, images_seen=4, seed=0, weights=np.array([0.0, 0, 0, 1]))


@pytest.mark.parametrize("images_seen", [64, 700, 1000])
def test_every_step_has_the_rate_of_its_images_and_all_images_are_seen(images_seen: int) -> None:
    rates, sizes, heard = [], [], []

    class Steps(torch.optim.SGD):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            rates.append(self.param_groups[0]["lr"])
            super().step()

    class Seen(LeNet):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return super().forward(images)

    kind = Kind(Seen, "seen", 0.25, lambda parameters, rate: Steps(parameters, rate))
    settings = plan(batch_size=32, decay="even")
    train(
        PIXELS[:50], LABELS[:50], 10, images_seen=images_seen, seed=0, plan=settings, kind=kind,
        advance=lambda amount=1, note="": heard.append(amount),
    )  # fmt: skip
    starts = range(0, images_seen, 32)
    assert rates == pytest.approx([settings.rate(0.25, start, images_seen, 50) for start in starts])
    assert sizes == [min(32, images_seen - start) for start in starts] and sum(heard) == images_seen


def test_the_table_of_classifiers_is_that_of_their_sources() -> None:
    def optimizer(name: str) -> torch.optim.Optimizer:
        row = CLASSIFIERS[name]
        return row.optimizer([nn.Parameter(torch.zeros(1))], row.learning_rate)

    for name in ("lenet", "cnn5"):
        found = optimizer(name)
        assert type(found) is torch.optim.Adam and found.defaults["lr"] == 1e-3  # Keras' and Adam's own
    he = optimizer("resnet")  # He et al. 2016, section 4.2
    assert type(he) is torch.optim.SGD
    assert (he.defaults["lr"], he.defaults["momentum"], he.defaults["weight_decay"]) == (0.1, 0.9, 1e-4)
