"""The training of a classifier; the same seed, data and number of threads give the same network, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from imagemint import seeds
from imagemint.classifiers.cnn5 import Cnn5
from imagemint.classifiers.evaluation import evaluate
from imagemint.classifiers.lenet import LeNet
from imagemint.classifiers.linear import train_linear
from imagemint.classifiers.network import Classifier, Network
from imagemint.classifiers.outside import read_outside
from imagemint.classifiers.plan import ClassifierPlan
from imagemint.classifiers.resnet import ResNet
from imagemint.data.batches import Batches, RisingBatches
from imagemint.errors import ArgumentError
from imagemint.images import to_images
from imagemint.losses import consistency
from imagemint.models.narrow import has_narrow_maps
from imagemint.progress import Advance, unseen

LINEAR = "linear:"
TRIED = 64  # images of each side of a study, before it begins
LOOKS = 20  # of a history, where it is not said how many
_BLOCK = 8  # batches that are read and augmented in one go: part of the cost of augmentation is by the call

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]
Mix = Callable[[torch.Tensor, torch.Tensor, torch.Generator], tuple[torch.Tensor, torch.Tensor]]
Optimizer = Callable[[Iterable[torch.nn.Parameter], float], torch.optim.Optimizer]


def _adam(parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, rate, fused=True)


def _momentum(parameters: Iterable[torch.nn.Parameter], rate: float) -> torch.optim.Optimizer:
    """He et al. 2016, section 4.2."""
    return torch.optim.SGD(parameters, rate, momentum=0.9, weight_decay=1e-4)


@dataclass(frozen=True)
class Kind:
    """A row of CLASSIFIERS."""

    build: Callable[[int, tuple[int, int], int], Network]  # (channels, size, classes)
    label: str
    learning_rate: float
    optimizer: Optimizer = _adam


CLASSIFIERS: dict[str, Kind] = {
    "lenet": Kind(LeNet, "LeNet", 1e-3),
    "cnn5": Kind(Cnn5, "five convolutions", 1e-3),
    "resnet": Kind(ResNet, "ResNet-20", 0.1, _momentum),
}


@dataclass(frozen=True, eq=False)
class Agreement:
    """Images without labels of which a network is to say the same in two views (Sohn et al. 2020, FixMatch).

    For each batch of labelled images it sees as many of these. Where it gives a class of the weak view (`augment`, as
    for labelled images) a probability of `threshold` or more, it learns to name that class in the view `strong`.
    """

    pixels: np.ndarray  # uint8 [n, c, h, w]
    strong: Augment
    threshold: float = 0.95  # Sohn et al. 2020, table 4; over 1: nothing is learned from them
    weight: float = 1.0  # of the loss, beside that of labelled images; theirs


def check_classifier(name: str, channels: int, size: tuple[int, int], images: Iterable[np.ndarray] = ()) -> None:
    """Raise ArgumentError for an unknown classifier and NetworkError for a `linear:FILE` that cannot be used.

    Such a file is tried on noise, and on up to `TRIED` of each of `images`, uint8 `[n, channels, *size]`: a
    logarithm or a division may give no number for black pixels alone.
    """
    if name.startswith(LINEAR):
        network = read_outside(name[len(LINEAR) :], channels, size)
        for pixels in images:
            network(pixels[np.unique(np.linspace(0, len(pixels) - 1, min(len(pixels), TRIED)).astype(int))])
    elif name not in CLASSIFIERS:
        raise ArgumentError(
            f"no classifier {name!r}", f"{', '.join(CLASSIFIERS)} or linear:FILE", "check the spelling"
        )


def train_classifier(
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    images_seen: int,
    seed: int,
    plan: ClassifierPlan | None = None,
    augment: Augment | None = None,
    mix: Mix | None = None,
    weights: np.ndarray | None = None,
    class_weights: np.ndarray | None = None,
    kind: Kind | None = None,
    order: Batches | RisingBatches | None = None,
    agreement: Agreement | None = None,
    watched: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
    looks: int = LOOKS,
    advance: Advance = unseen,
) -> Classifier:
    """A classifier after `images_seen` images of uint8 `[n, c, h, w]`.

    `labels` are int64 `[n]` in 0..classes-1, or soft: float `[n, classes]`, each row a distribution. `weights` (float
    `[n]`) and `class_weights` (float `[classes]`) say how much an image counts; only their proportions matter.
    `kind` stands in place of the plan's row of CLASSIFIERS. `augment` gets images in [-1, 1] and a generator, some
    batches at a time; `mix` gets what comes of it with float targets `[n, classes]`, and may change both. `order`
    says which image comes when; by default each once per epoch. `agreement` adds images without labels. A linear
    probe takes neither. Sets of labelled images in `watched` are looked at `looks` times, at the end for the last
    time, and change nothing: see `history` of the result. Initial weights depend on `seed` and the shapes alone, not
    on the data. `advance` hears of all images.
    """
    plan = plan or ClassifierPlan()
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    targets = _targets(labels, classes)
    _, channels, h, w = pixels.shape
    if kind is None and plan.classifier.startswith(LINEAR):
        assert order is None and agreement is None, "a linear probe sees all its images at once"
        network = read_outside(plan.classifier[len(LINEAR) :], channels, (h, w))
        importance = _factors(targets, weights, class_weights)
        probe = train_linear(
            network, pixels, _soft(targets, classes), importance, seed=seed, augment=augment, mix=mix
        )
        _look(probe, images_seen, watched or {})
        advance(images_seen)
        return probe
    kind = kind or CLASSIFIERS[plan.classifier]
    seeds.seed_layers(seed, "classifier")
    net = kind.build(channels, (h, w), classes)
    in_bf16 = plan.precision == "bf16" and not has_narrow_maps(net, torch.zeros(2, channels, h, w))
    precise = torch.autocast("cpu", torch.bfloat16, enabled=in_bf16)
    net.train()
    first = plan.learning_rate or kind.learning_rate
    optimizer = kind.optimizer(net.parameters(), first)
    generator = seeds.generator(seed, "classifier augmentation")
    order = order or Batches(len(pixels), seeds.derive(seed, "classifier order"))
    views = _Views(agreement, augment, seed) if agreement else None
    weighed = weights is not None or class_weights is not None
    factors = torch.from_numpy(_factors(targets, weights, class_weights)).float()
    next_look = images_seen / looks
    for block in range(0, images_seen, plan.batch_size * _BLOCK):
        picks = order.take(block, min(plan.batch_size * _BLOCK, images_seen - block))
        images = to_images(torch.from_numpy(pixels[picks]))
        if augment is not None:
            images = augment(images, generator)
        wanted = torch.from_numpy(targets[picks])
        if mix is not None:
            images, wanted = mix(images, torch.from_numpy(_soft(targets[picks], classes)).float(), generator)
        for start in range(0, len(picks), plan.batch_size):
            part = slice(start, start + plan.batch_size)
            optimizer.param_groups[0]["lr"] = plan.rate(first, block + start, images_seen, len(pixels))
            optimizer.zero_grad(set_to_none=True)
            pair = views.take(block + start, len(wanted[part])) if views is not None else None
            with precise:
                logits = net(images[part]).float()
                loss = F.cross_entropy(logits, wanted[part], reduction="none" if weighed else "mean")
                if weighed:
                    loss = (loss * factors[picks[part]]).mean()
                if views is not None and pair is not None:
                    loss = loss + views.loss(net, *pair)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            seen = min(block + start + plan.batch_size, images_seen)
            if watched and seen >= next_look - 1e-6:
                _look(net.eval(), seen, watched)
                net.train()
                next_look += images_seen / looks
        advance(len(picks))
    return net.eval()


class _Views:
    """The term of an agreement. Its randomness is its own: labelled images are seen as they are without it."""

    def __init__(self, asked: Agreement, weak: Augment | None, seed: int) -> None:
        self.asked, self.weak = asked, weak
        self.generator = seeds.generator(seed, "classifier views")
        self.order = Batches(len(asked.pixels), seeds.derive(seed, "classifier views order"))

    def take(self, images_seen: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The weak and the strong view of the next `count` images without labels."""
        images = to_images(torch.from_numpy(self.asked.pixels[self.order.take(images_seen, count)]))
        weak = images if self.weak is None else self.weak(images, self.generator)
        return weak, self.asked.strong(images, self.generator)

    def loss(self, net: Network, weak: torch.Tensor, strong: torch.Tensor) -> torch.Tensor | float:
        """The mean over these images; 0 where the network is sure of none of them."""
        with torch.no_grad():
            named = net.eval()(weak).float().log_softmax(1)
        net.train()
        if not bool((named.max(1).values.exp() >= self.asked.threshold).any()):
            return 0.0
        return self.asked.weight * consistency(named, net(strong).float(), self.asked.threshold).mean()


def balanced_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights per class in inverse proportion to its images, float64 `[classes]`; mean 1 over the images.

    >>> balanced_weights(np.array([0, 0, 0, 1]), 2).tolist()
    [0.6666666666666666, 2.0]
    """
    counts = np.bincount(labels, minlength=classes)
    present = np.count_nonzero(counts)
    return np.where(counts > 0, len(labels) / (present * np.maximum(counts, 1)), 0.0)


def _targets(labels: np.ndarray, classes: int) -> np.ndarray:
    """int64 `[n]`, or float32 `[n, classes]` where labels are soft."""
    labels = np.asarray(labels)
    if labels.ndim == 1:
        assert labels.min() >= 0 and labels.max() < classes, "a label without a class"
        return labels.astype(np.int64)
    assert labels.shape[1] == classes and np.allclose(labels.sum(1), 1, atol=1e-4), (
        "soft labels that do not add up to 1"
    )
    return labels.astype(np.float32)


def _soft(targets: np.ndarray, classes: int) -> np.ndarray:
    return np.eye(classes)[targets] if targets.ndim == 1 else targets.astype(np.float64)


def _factors(targets: np.ndarray, weights: np.ndarray | None, class_weights: np.ndarray | None) -> np.ndarray:
    """How much each image counts, float64 `[n]`, mean 1."""
    factors = np.ones(len(targets)) if weights is None else np.asarray(weights, np.float64)
    if class_weights is not None:
        by_class = np.asarray(class_weights, np.float64)
        factors = factors * (by_class[targets] if targets.ndim == 1 else targets @ by_class)
    assert (factors >= 0).all() and factors.sum() > 0, "weights that are negative or all 0"
    scaled: np.ndarray = factors / factors.mean()
    return scaled


def _look(classifier: Classifier, images_seen: int, watched: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    line: dict[str, object] = {"images_seen": images_seen}
    for name, (pixels, labels) in watched.items():
        found = evaluate(classifier, pixels, labels)
        line[name] = {"loss": found.loss, "accuracy": found.accuracy}
    if watched:
        classifier.history.append(line)
