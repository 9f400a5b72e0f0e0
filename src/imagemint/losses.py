"""Adversarial losses and penalties: pure functions of logits, one value a sample.

Every loss takes `(real, fake)`, float `[n]` each, in this order; means, weights and steps belong to the caller.
`d` is what the discriminator lowers, `g` what the generator lowers. Only relativistic losses look at `real` in `g`.
The semi-supervised loss takes `(real, fake, labels)`: float `[n, k + 1]` logits, one a class and a last one for
*generated*, and int64 `[n]` labels of the real images, -1 where there is none.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus

PerSample = Callable[..., Tensor]


class AdversarialLoss(NamedTuple):
    """A pair of losses and where it comes from."""

    d: PerSample
    g: PerSample
    needs_real: bool  # g looks at real logits
    source: str
    outputs: Literal[1, "k+1"] = 1  # logits an image


# softplus(-x) = -log sigmoid(x): the cross-entropy of a logit that should say "real"; softplus(x): "fake".


def cross_entropy_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z)))."""
    return softplus(-real) + softplus(fake)


def minimax_g(real: Tensor, fake: Tensor) -> Tensor:
    """log(1 - D(G(z))): the generator's side of the minimax game."""
    return -softplus(fake)


def non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(G(z))."""
    return softplus(-fake)


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    """((D(x) - 1)^2 + D(G(z))^2) / 2."""
    return ((real - 1) ** 2 + fake**2) / 2


def least_squares_g(real: Tensor, fake: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2."""
    return (fake - 1) ** 2 / 2


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z)))."""
    return relu(1 - real) + relu(1 + fake)


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x)."""
    return fake - real


def wasserstein_g(real: Tensor, fake: Tensor) -> Tensor:
    """-D(G(z)). Also the generator's side of the hinge loss."""
    return -fake


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))): each fake is judged against a real image of the same label."""
    return softplus(fake - real)


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x))."""
    return softplus(real - fake)


def semi_supervised_d(real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of real images against their class and of fakes against class k + 1, and over the k alone.

    A real image without a label is asked for a low probability of *generated*: -log(1 - p(k + 1)) = softplus of the
    log-odds that it is generated. Winkler 2018's check: real logits (0, 0, 10) of class 2 of 2 and fake logits
    (0, 10, 0) give about 20.
    """
    k = real.shape[1] - 1
    known = labels >= 0
    asked = labels.clamp_min(0)
    supervised = cross_entropy(real, asked, reduction="none") + cross_entropy(real[:, :k], asked, reduction="none")
    generated = cross_entropy(fake, torch.full_like(labels, k), reduction="none")
    return torch.where(known, supervised, softplus(-realness(real))) + generated


def semi_supervised_g(real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """-log(1 - p(k + 1)): fakes are asked for a low probability of *generated*."""
    return softplus(-realness(fake))


def realness(logits: Tensor) -> Tensor:
    """The log-odds that an image is real, float `[n]`, of logits `[n]` or `[n, k + 1]`.

    With k + 1 outputs: log(p(1) + ... + p(k)) - log p(k + 1).
    """
    return logits if logits.dim() == 1 else logits[:, :-1].logsumexp(1) - logits[:, -1]


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """|mean real feature - mean fake feature|^2 of D's last hidden layer, float `[n, f]` each -> a scalar.

    Salimans et al. 2016, sec. 3.1: what G lowers in place of its adversarial loss. A statement on the batch, hence no
    value a sample.
    """
    return (real.flatten(1).mean(0) - fake.flatten(1).mean(0)).square().sum()


LOSSES: dict[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(cross_entropy_d, minimax_g, False, "Goodfellow et al. 2014, eq. 1"),
    "non-saturating": AdversarialLoss(cross_entropy_d, non_saturating_g, False, "Goodfellow et al. 2014, sec. 3"),
    "least-squares": AdversarialLoss(least_squares_d, least_squares_g, False, "Mao et al. 2017, eq. 9"),
    "hinge": AdversarialLoss(hinge_d, wasserstein_g, False, "Miyato et al. 2018, eq. 16-17"),
    "wasserstein": AdversarialLoss(wasserstein_d, wasserstein_g, False, "Arjovsky et al. 2017, eq. 2"),
    "relativistic": AdversarialLoss(relativistic_d, relativistic_g, True, "Huang et al. 2024 (R3GAN), eq. 2"),
    "semi-supervised": AdversarialLoss(
        semi_supervised_d, semi_supervised_g, False, "Winkler 2018, after Salimans et al. 2016, sec. 5", "k+1"
    ),
}


def smoothed(d: PerSample, smoothing: float) -> PerSample:
    """One-sided label smoothing (Salimans et al. 2016, sec. 3.4): real images are asked for 1 - smoothing.

    For the cross-entropy the change is exactly smoothing x D's logit: (1 - s) softplus(-x) + s softplus(x).
    """
    return lambda real, fake: d(real, fake) + smoothing * real


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(|gradient of the logit by its image| - 1)^2, one value a sample: float `[n]` (Gulrajani et al. 2017, eq. 3).

    `images` are the points between real and fake at which `logits` were computed; they require a gradient.
    """
    return (zero_centred(logits, images).clamp_min(1e-12).sqrt() - 1) ** 2


def zero_centred(logits: Tensor, images: Tensor) -> Tensor:
    """|gradient of the logit by its image|^2, one value a sample: float `[n]`.

    At real images this is R1, at fake ones R2 (Mescheder et al. 2018, eq. 9 and 10, without gamma / 2).
    `logits` `[n]` must have been computed from `images` `[n, c, h, w]`, which require a gradient.
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)
