"""LeNet: the parameter count of the specification, and a training that depends on nothing but what it is given."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from imagemint.augment import AUGMENTATIONS, classic, mix
from imagemint.classifiers import LeNet, evaluate, features, train_classifier
from imagemint.classifiers.plan import make_plan
from imagemint.classifiers.training import Agreement
from imagemint.data.batches import Batches
from imagemint.images import to_images
from tests.digits import digits, write


def test_parameters_are_those_of_caffes_lenet() -> None:
    assert sum(p.numel() for p in LeNet(1, (28, 28), 10).parameters()) == 431_080


@pytest.mark.parametrize(
    ("channels", "size"), [(1, (8, 8)), (3, (32, 32)), (1, (16, 24)), (3, (128, 96)), (1, (1, 1))]
)
def test_every_size_gives_500_features_and_a_logit_a_class(channels: int, size: tuple[int, int]) -> None:
    net, images = LeNet(channels, size, 7), torch.zeros(2, channels, *size)
    assert net.features(images).shape == (2, 500) and net(images).shape == (2, 7)


def test_training_learns_the_digits() -> None:
    pixels, labels = digits()
    ask = np.arange(len(labels)) % 5 == 0
    learn = ~ask
    net = train_classifier(pixels[learn], labels[learn], 10, images_seen=20_000, seed=0)
    assert isinstance(net, LeNet)
    found = evaluate(net, pixels[ask], labels[ask])
    assert found.accuracy > 0.95
    assert found.confusion.sum() == 360 and np.diag(found.confusion).sum() == round(found.accuracy * 360)
    assert found.confusion.sum(1).tolist() == np.bincount(labels[ask]).tolist()
    logits = net(to_images(torch.from_numpy(pixels[ask])))
    assert found.loss == pytest.approx(F.cross_entropy(logits, torch.from_numpy(labels[ask])).item(), rel=1e-4)
    assert features(net, pixels[ask]).shape == (360, 500)


def test_the_same_seed_gives_the_same_weights_whatever_happened_before() -> None:
    pixels, labels = digits(200)
    train = partial(train_classifier, pixels, labels, 10, images_seen=640, augment=classic)
    first = train(seed=1).weights_hash()
    torch.rand(3)
    assert train(seed=1).weights_hash() == first
    assert train(seed=2).weights_hash() != first


def test_initial_weights_do_not_depend_on_the_data() -> None:
    pixels, labels = digits(200)
    untrained = [
        train_classifier(pixels[part], labels[part], 10, images_seen=0, seed=3) for part in (slice(50), slice(200))
    ]
    assert untrained[0].weights_hash() == untrained[1].weights_hash()


def test_shuffled_labels_are_not_learned() -> None:
    pixels, labels = digits()
    wrong = np.random.default_rng(0).permutation(labels[:1000])
    net = train_classifier(pixels[:1000], wrong, 10, images_seen=6_400, seed=0)
    assert evaluate(net, pixels[1000:], labels[1000:]).accuracy < 0.3


def test_memory_mapped_packs_are_taken_as_they_are(tmp_path: Path) -> None:
    pack = write(tmp_path / "pack", *digits(700))
    net = train_classifier(pack.pixels, pack.labels, 10, images_seen=64, seed=0)
    assert isinstance(net, LeNet)
    assert len(evaluate(net, pack.pixels, pack.labels).predictions) == len(features(net, pack.pixels)) == 700


def test_pixels_stay_uint8_and_untouched() -> None:
    pixels, labels = digits(100)
    before = pixels.copy()
    train_classifier(pixels, labels, 10, images_seen=300, seed=0, augment=classic)
    assert pixels.dtype == np.uint8 and np.array_equal(pixels, before)


def test_mixing_is_part_of_the_training_and_a_share_of_zero_changes_nothing() -> None:
    pixels, labels = digits(200)
    train = partial(train_classifier, pixels, labels, 10, images_seen=1280, seed=1)
    blended = train(mix=partial(mix, ranges=AUGMENTATIONS["mixup"]))
    again = train(mix=partial(mix, ranges=AUGMENTATIONS["mixup"]))
    assert blended.weights_hash() == again.weights_hash() != train().weights_hash()

    def untouched(images: Tensor, targets: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        assert targets.dtype == torch.float32 and (targets.sum(1) == 1).all()
        return images, targets

    usual, same = train().log_probabilities(pixels), train(mix=untouched).log_probabilities(pixels)
    np.testing.assert_allclose(same, usual, atol=1e-3)


def test_targets_that_mixing_changes_are_what_is_learned() -> None:
    """Every image is said to be of class 3, whatever its label."""
    pixels, labels = digits(200)

    def all_threes(images: Tensor, targets: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor]:
        return images, torch.eye(10)[torch.full((len(targets),), 3)]

    net = train_classifier(pixels, labels, 10, images_seen=1280, seed=1, mix=all_threes)
    assert (net.log_probabilities(pixels).argmax(1) == 3).all()


def test_views_that_nobody_is_sure_of_change_nothing_and_others_do() -> None:
    pixels, labels = digits(300)
    strong = partial(classic, flips=False)
    train = partial(train_classifier, pixels[:60], labels[:60], 10, images_seen=640, seed=3, augment=classic)
    alone = train().weights_hash()
    for silent in (Agreement(pixels, strong, threshold=1.1), Agreement(pixels, strong, threshold=0, weight=0)):
        assert train(agreement=silent).weights_hash() == alone
    assert train(agreement=Agreement(pixels, strong, threshold=0.1)).weights_hash() != alone
    assert train(order=Batches(60, 1)).weights_hash() != alone


def test_views_are_named_alike_by_a_network_that_has_learned_it() -> None:
    pixels, labels = digits(600)
    train = partial(train_classifier, pixels[:60], labels[:60], 10, images_seen=2560, seed=0, augment=classic)

    def disagreement(weight: float) -> float:
        """Cross-entropy of a changed view against what the network says of the image itself."""
        net = train(agreement=Agreement(pixels[60:], classic, threshold=0.1, weight=weight))
        views = classic(to_images(torch.from_numpy(pixels[60:])), torch.Generator().manual_seed(5))
        found = net.log_probabilities(((views + 1) * 127.5).round().to(torch.uint8).numpy())
        named = net.log_probabilities(pixels[60:]).argmax(1)
        return float(-found[np.arange(len(named)), named].mean())

    assert disagreement(1.0) < 0.9 * disagreement(0.0)


@pytest.mark.parametrize("agreement", [False, True])
def test_a_training_in_bf16_learns_as_much_and_is_kept_in_fp32(agreement: bool) -> None:
    pixels, labels = digits()
    learn, ask = slice(0, 300), slice(300, 1300)
    views = Agreement(pixels[300:600], classic) if agreement else None
    found = {}
    for precision in ("fp32", "bf16"):
        plan = make_plan(precision=precision)
        net = train_classifier(
            pixels[learn], labels[learn], 10, images_seen=12_800, seed=0, plan=plan, augment=classic, agreement=views
        )
        assert isinstance(net, LeNet) and {each.dtype for each in net.parameters()} == {torch.float32}
        asked = to_images(torch.from_numpy(pixels[ask]))
        assert np.array_equal(net.log_probabilities(pixels[ask]), F.log_softmax(net(asked).double(), 1).detach())
        found[precision] = evaluate(net, pixels[ask], labels[ask]), net.weights_hash()
    assert found["bf16"][1] != found["fp32"][1]
    assert found["bf16"][0].accuracy == pytest.approx(found["fp32"][0].accuracy, abs=0.04)
    assert found["bf16"][0].accuracy > 0.75


def test_images_are_augmented_in_fp32_whatever_the_network_learns_in() -> None:
    pixels, labels = digits(100)
    seen: list[bool] = []

    def watched(images: Tensor, generator: torch.Generator) -> Tensor:
        seen.append(torch.is_autocast_enabled("cpu"))
        return classic(images, generator)

    plan, views = make_plan(precision="bf16"), Agreement(pixels, watched, threshold=0.0)
    train_classifier(pixels, labels, 10, images_seen=128, seed=0, plan=plan, augment=watched, agreement=views)
    assert len(seen) == 1 + 2 * 2 and not any(seen)  # a block of two batches, and two views of each


def test_maps_of_one_pixel_are_trained_in_fp32() -> None:
    pixels, labels = digits(200)
    for classifier, same in (("cnn5", True), ("lenet", False)):  # cnn5 halves 16 pixels to 1 before its last one
        hashes = {
            train_classifier(
                pixels, labels, 10, images_seen=640, seed=1, plan=make_plan(classifier=classifier, precision=each)
            ).weights_hash()
            for each in ("fp32", "bf16")
        }
        assert (len(hashes) == 1) is same, classifier
