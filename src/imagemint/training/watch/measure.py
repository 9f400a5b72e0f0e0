"""One look at a training: measures of samples, always from the same noise, and of D's logits.

Distances are Euclidean, between pixels averaged down to at most 16 x 16.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from imagemint import images, seeds
from imagemint.data.pack import Pack
from imagemint.losses import realness
from imagemint.models.layers import LabelledConv, LabelledLinear
from imagemint.training.finite import refuse_not_finite
from imagemint.training.ranks import alone
from imagemint.training.state import Gan

SAMPLES = 128  # images of G at a look; a spread over 8,128 pairs is known to a few per cent
REFERENCE = 2000  # real images that they are compared with
SIDE = 16  # longest side, in pixels, at which images are compared
COPY = 1 / 3  # a sample this much nearer to a real image than that image is to any other real one is a copy of it
WEIGHTY = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, LabelledLinear, LabelledConv)
LAYERS = 8  # of each network whose outputs are looked at: the first, the last, and others evenly between
OUTPUTS = 10_000  # of a layer, evenly spaced: a share in a bin is then known to half a per cent
PAIRS = 20  # fewer pairs of the same class say nothing about the spread within classes

# Bins of the histograms of logits: powers of two on both sides of 0, because losses differ in scale; the first and
# the last bin are open.
LOGIT_EDGES = [-(2.0**k) for k in range(10, -3, -1)] + [0.0] + [2.0**k for k in range(-2, 11)]


class Logits(NamedTuple):
    """D's logits of one kind of images: four numbers and the counts in the bins of LOGIT_EDGES."""

    low: float
    median: float
    mean: float
    high: float
    counts: list[int]


@dataclass(frozen=True)
class Look:
    """What was seen at one moment; a value is None where it has no meaning for this pack or network."""

    images_seen: int
    distance: float  # energy distance of samples to real images, in units of the mean distance of real images
    diversity: float | None  # mean distance between samples / between real images
    within: float | None  # the same between images of one class, for networks that know classes
    classes: float | None  # exp(entropy) of the classes of the nearest real images / of the real images' classes
    nearest: float | None  # median distance to the nearest real image / of real images to each other
    copies: float | None  # share of samples much nearer to a real image than that image is to any other
    separation: float  # share of pairs (real, fake) of one class whose real logit is the higher; 0.5 is chance
    real: Logits
    fake: Logits
    grad_d: float | None  # norm of the gradient of all of D's weights at the last step; None before the first
    grad_g: float | None
    layers: dict[str, list[int]] = field(default_factory=dict)  # outputs of layers of G and D in bins of LOGIT_EDGES

    @staticmethod
    def of(line: dict[str, Any]) -> Look:
        """From a line of watch.jsonl."""
        return Look(**{**line, "real": Logits(*line["real"]), "fake": Logits(*line["fake"])})


class Eyes:
    """What a training is looked at with: fixed noise and fixed real images."""

    def __init__(self, pack: Pack, indices: np.ndarray, gan: Gan) -> None:
        """`indices`: the images of the pack that the networks see."""
        if gan.sees_labels:  # what it is asked for is compared with real images of that class
            indices = indices[np.asarray(pack.labels[indices]) >= 0]
        chosen = indices[seeds.rng(gan.seed, "watch").permutation(len(indices))[:REFERENCE]]
        labels = torch.from_numpy(np.asarray(pack.labels[chosen]))
        parts = [pack.pixels[chosen[k : k + 256]] for k in range(0, len(chosen), 256)]
        self.reference = torch.cat([_small(torch.from_numpy(part)) for part in parts]).to(gan.device)
        self.reference_labels = labels.to(gan.device)
        shown = np.arange(SAMPLES) % len(chosen)  # a small pack is shown more than once
        self.real = torch.from_numpy(pack.pixels[chosen[shown]]).to(gan.device)
        self.labels = self.reference_labels[torch.from_numpy(shown).to(gan.device)]
        self.image_seeds = [seeds.derive(gan.seed, "watch", k) for k in range(SAMPLES)]
        self.z = gan.z(self.image_seeds)
        self.conditional = gan.sees_labels

        own = torch.cdist(self.reference, self.reference).fill_diagonal_(0)
        self.spread = float(own.sum()) / max(len(own) * (len(own) - 1), 1)  # mean distance of two different images
        self.own_nearest = own.fill_diagonal_(math.inf).min(1).values  # inf for a single image

    @torch.no_grad()
    def measure(self, gan: Gan) -> Look:
        """A look now. Raises TrainingError where a measure is not finite.

        Nothing of the training changes: no weight, no statistic of a normalisation, no random state that counts.
        """
        pixels = gan.minter(gan.last_generator).draw(self.image_seeds, self.labels.cpu().numpy())
        samples = _small(torch.from_numpy(pixels).to(gan.device))

        seeds.seed_layers(gan.seed, "watch", gan.images_seen)  # dropout; every iteration seeds anew
        layers: dict[str, list[int]] = {}
        with gan.autocast(), alone(gan.generator, gan.discriminator), _counted(gan, layers):
            fake = _as_in_training(gan.generator, self.z, self.labels)
            fake_logits = realness(_as_in_training(gan.discriminator, fake, self.labels).float())
            real = images.to_images(self.real)
            real_logits = realness(_as_in_training(gan.discriminator, real, self.labels).float())
        refuse_not_finite("a logit", float((real_logits + fake_logits).sum()), gan)

        apart = torch.cdist(samples, self.reference)
        to_real, position = apart.min(1)
        between = float(torch.pdist(samples).mean())
        distance = (2 * float(apart.mean()) - between - self.spread) / (self.spread or 1.0)
        diversity = between / self.spread if self.spread else None
        return Look(
            images_seen=gan.images_seen,
            distance=_round(distance),
            diversity=None if diversity is None else _round(diversity),
            within=self._within(samples),
            classes=self._classes(position),
            nearest=self._nearest(to_real),
            copies=self._copies(to_real, position),
            separation=self._separation(real_logits, fake_logits),
            real=_summary(real_logits),
            fake=_summary(fake_logits),
            grad_d=_grad_norm("D", gan),
            grad_g=_grad_norm("G", gan),
            layers=layers,
        )

    def _within(self, samples: Tensor) -> float | None:
        real = self.reference[:SAMPLES]
        ours, theirs = _mean_same(samples, self.labels), _mean_same(real, self.reference_labels[:SAMPLES])
        return _round(ours / theirs) if self.conditional and ours is not None and theirs else None

    def _classes(self, position: Tensor) -> float | None:
        wanted = _effective(self.labels)
        return _round(_effective(self.reference_labels[position]) / wanted) if wanted > 1 else None

    def _nearest(self, to_real: Tensor) -> float | None:
        usual = float(self.own_nearest.median())
        return _round(float(to_real.median()) / usual) if math.isfinite(usual) and usual > 0 else None

    def _copies(self, to_real: Tensor, position: Tensor) -> float | None:
        if len(self.reference) < 2:
            return None
        return _round(float((to_real < COPY * self.own_nearest[position]).float().mean()))

    def _separation(self, real: Tensor, fake: Tensor) -> float:
        higher = (real[:, None] > fake).float() + 0.5 * (real[:, None] == fake)
        if self.conditional:
            higher = higher[self.labels[:, None] == self.labels]
        return _round(float(higher.mean()))


def _as_in_training(module: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """The module's answer in training mode; what its normalisations would remember of this goes into copies."""
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
    answer: Tensor = functional_call(module, buffers, (x, labels))
    return answer


def _small(pixels: Tensor) -> Tensor:
    """uint8 `[n, c, h, w]` -> float `[n, c * h' * w']` in [0, 1], sides h', w' at most SIDE."""
    h, w = pixels.shape[2:]
    size = (min(h, SIDE), min(w, SIDE))
    return F.adaptive_avg_pool2d(pixels.float() / 255, size).flatten(1)


def _mean_same(points: Tensor, labels: Tensor) -> float | None:
    """Mean over the pairs of one class, or None where there are fewer than PAIRS."""
    same = torch.triu(labels[:, None] == labels, 1)
    return float(torch.cdist(points, points)[same].mean()) if int(same.sum()) >= PAIRS else None


def _effective(labels: Tensor) -> float:
    """How many classes there seem to be: exp of the entropy of int64 `[n]`; -1 is not counted."""
    known = labels[labels >= 0]
    shares = known.bincount().float() / max(len(known), 1)
    return float(torch.special.entr(shares).sum().exp())


@contextmanager
def _counted(gan: Gan, layers: dict[str, list[int]]) -> Iterator[None]:
    """Within, what layers give before their activation is counted in bins of LOGIT_EDGES; D's real and fake together.

    Those of up to LAYERS dense and convolutional layers of each network, by the name that they have in a checkpoint.
    Winkler 2018 (figure 4.4) saw in such histograms why learning froze: the sigmoids behind them were saturated.
    """

    def note(name: str, out: Tensor) -> None:
        values = out.detach().float().flatten()
        counts = _bins(values[:: max(len(values) // OUTPUTS, 1)])
        layers[name] = [a + b for a, b in zip(layers.get(name, [0] * len(counts)), counts, strict=True)]

    hooks = []
    for which, network in (("G", gan.generator), ("D", gan.discriminator)):
        weighty = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, WEIGHTY)]
        places = np.unique(np.linspace(0, len(weighty) - 1, min(LAYERS, len(weighty))).round().astype(int))
        for name, layer in (weighty[k] for k in places):
            hooks.append(layer.register_forward_hook(lambda _, __, out, name=f"{which} {name}": note(name, out)))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _bins(values: Tensor) -> list[int]:
    """Counts of float `[n]` between LOGIT_EDGES."""
    at = torch.bucketize(values.contiguous(), torch.tensor(LOGIT_EDGES, device=values.device))
    counts: list[int] = at.bincount(minlength=len(LOGIT_EDGES) + 1).tolist()
    return counts


def _summary(logits: Tensor) -> Logits:
    low, median, high = (_round(float(x)) for x in (logits.min(), logits.median(), logits.max()))
    return Logits(low, median, _round(float(logits.mean())), high, _bins(logits))


def _grad_norm(which: Literal["D", "G"], gan: Gan) -> float | None:
    network = gan.discriminator if which == "D" else gan.generator
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    if not gradients:
        return None
    norm = float(torch.nn.utils.get_total_norm(gradients))
    refuse_not_finite(f"the norm of {which}'s gradient", norm, gan)
    return _round(norm)


def _round(number: float) -> float:
    return float(f"{number:.6g}")
