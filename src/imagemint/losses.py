"""Adversarial losses and penalties: pure functions, one table each.

Every loss takes logits `(real, fake)`, float `[n]` each, in this order, and gives one value per sample, float `[n]`;
means, weights and steps belong to the caller. `d` is what the discriminator lowers, `g` what the generator lowers.
Only relativistic losses look at `real` in `g`. The semi-supervised loss takes `(real, fake, labels)`: float
`[n, k + 1]` logits, one per class and a last one for *generated*, and int64 `[n]` labels of the real images, -1 where
there is none; so does that of three players, whose logits its docstring describes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, relu, softplus

PerSample = Callable[..., Tensor]


class AdversarialLoss(NamedTuple):
    """A pair of losses, where it comes from, and what the rest of the package must know of it."""

    d: PerSample
    g: PerSample
    source: str
    needs_real: bool = False  # `g` looks at real logits too
    k_plus_1: bool = False  # D has one logit per class and a last one for *generated*, and learns from the labels
    smoothable: bool = False  # a cross-entropy of single logits, whose real target `smoothed` can move
    sigmoid: bool = False  # logits go through a sigmoid, so that their size has a meaning, and they can saturate
    boundary: float | None = 0.0  # logit above which D takes an image for real; None: only differences mean something
    triple: bool = False  # of three players: D gives its logits with every label, and a classifier's beside them
    balanced: bool = False  # `d` takes a weight of fake images that `next_balance` moves; D is an autoencoder
    critic: bool = False  # D is meant to be ahead of G: several D steps for each G step are no fault
    against_collapse: str = ""  # settings of another loss that holds more modes, where no penalty is used yet

    @property
    def semi_supervised(self) -> bool:
        """Whether images without a label are learned from beside labelled ones."""
        return self.k_plus_1 or self.triple

    @property
    def density_ratio(self) -> bool:
        """Whether D's logit is meant to be log(p_real / p_minted), up to a constant for images of one label."""
        return self.sigmoid and not self.triple


# softplus(-x) = -log sigmoid(x): the cross-entropy of a logit that should say "real"; softplus(x): "fake".


def cross_entropy_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))).

    >>> round(cross_entropy_d(torch.zeros(1), torch.zeros(1)).item(), 4)  # D guesses: ln 4
    1.3863
    """
    return softplus(-real) + softplus(fake)


def minimax_g(real: Tensor, fake: Tensor) -> Tensor:
    """log(1 - D(G(z))): the generator's side of the minimax game."""
    return -softplus(fake)


def non_saturating_g(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(G(z)).

    >>> round(non_saturating_g(torch.zeros(1), torch.zeros(1)).item(), 4)  # ln 2
    0.6931
    """
    return softplus(-fake)


def least_squares_d(real: Tensor, fake: Tensor) -> Tensor:
    """((D(x) - 1)^2 + D(G(z))^2) / 2."""
    return ((real - 1) ** 2 + fake**2) / 2


def least_squares_g(real: Tensor, fake: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2."""
    return (fake - 1) ** 2 / 2


def hinge_d(real: Tensor, fake: Tensor) -> Tensor:
    """max(0, 1 - D(x)) + max(0, 1 + D(G(z))).

    >>> hinge_d(torch.tensor([2.0]), torch.tensor([-0.5])).item()
    0.5
    """
    return relu(1 - real) + relu(1 + fake)


def wasserstein_d(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x)."""
    return fake - real


def wasserstein_g(real: Tensor, fake: Tensor) -> Tensor:
    """-D(G(z)). Also the generator's side of the hinge loss."""
    return -fake


def relativistic_d(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(x) - D(G(z))): each fake is judged against a real image of the same label.

    >>> real, fake = torch.tensor([3.0]), torch.tensor([1.0])
    >>> bool(relativistic_d(real, fake) == relativistic_d(real + 5, fake + 5))  # only the difference counts
    True
    """
    return softplus(fake - real)


def relativistic_g(real: Tensor, fake: Tensor) -> Tensor:
    """-log sigmoid(D(G(z)) - D(x))."""
    return softplus(real - fake)


def semi_supervised_d(real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of real images against their class and of fakes against class k + 1, and over the k alone.

    A real image without a label is asked for a low probability of *generated*: -log(1 - p(k + 1)) = softplus of the
    log-odds that it is generated. Winkler 2018's check: real logits (0, 0, 10) of class 2 of 2 and fake logits
    (0, 10, 0) give about 20.

    >>> real, fake = torch.tensor([[0.0, 0.0, 10.0]]), torch.tensor([[0.0, 10.0, 0.0]])
    >>> round(semi_supervised_d(real, fake, torch.tensor([1])).item())
    21
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


TRIPLE_ALPHA = 0.5  # Li et al. 2017, eq. 4: the classifier's share among D's false pairs
TRIPLE_SAMPLES = 0.1  # alpha_P, weight of samples in the classifier's loss (its value for MNIST)


def asked_labels(labels: Tensor) -> Tensor:
    """The classes that G is asked for beside real images of these labels, int64 `[n]`.

    An image without a label (-1) lends the next known one in turn, so that classes are asked for as often as they are
    known; class 0 where none is known.

    >>> asked_labels(torch.tensor([3, 5, -1, -1, -1])).tolist()
    [3, 5, 3, 5, 3]
    """
    unknown = labels < 0  # by sorting and not by masks, whose counts the host would have to wait for
    known_first = labels[unknown.byte().argsort(stable=True)]
    turn = (unknown.cumsum(0) - 1) % (~unknown).sum().clamp_min(1)
    return torch.where(unknown, known_first[turn], labels).clamp_min(0)


def triple_d(real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """What D and the classifier C of Li et al. 2017 (algorithm 1) lower, added up: float `[n]`.

    `real` and `fake` are float `[n, 2k]`: D's logits of the image with each of k labels, then C's logits. With
    alpha = 1/2, x real, y its label where it has one, (G, y') a sample with the class asked for, and p what C gives:

        D    -log D(x, y) - (1 - alpha) log(1 - D(G, y')) - alpha sum_y p(y) log(1 - D(x, y))
        C    -log p(y) - alpha_P log p(y' | G) + alpha sum_y p(y) log(1 - D(x, y))

    The sum over y is the expectation that the paper draws from. In each line the other player is a constant. Terms of
    labelled images are scaled so that their mean over the batch is that over the labelled ones.
    """
    k = real.shape[1] // 2
    known, asked = labels >= 0, asked_labels(labels)
    scale = known.float() * len(labels) / known.sum().clamp_min(1)
    true_pairs = softplus(-_with(real, asked)) + cross_entropy(real[:, k:], asked, reduction="none")
    false_pairs = (1 - TRIPLE_ALPHA) * softplus(_with(fake, asked))
    samples = TRIPLE_SAMPLES * cross_entropy(fake[:, k:], asked, reduction="none")
    p, taken_for_false = real[:, k:].softmax(1), softplus(real[:, :k])  # the latter: -log(1 - D)
    guesses = (p.detach() * taken_for_false - p * taken_for_false.detach()).sum(1)
    return scale * true_pairs + false_pairs + samples + TRIPLE_ALPHA * guesses


def triple_g(real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """(1 - alpha) log(1 - D(G, y')), as algorithm 1 of Li et al. 2017 has it; logits as above."""
    return (TRIPLE_ALPHA - 1) * softplus(_with(fake, asked_labels(labels)))


def _with(logits: Tensor, labels: Tensor) -> Tensor:
    """D's logit of each image with its label: float `[n, 2k]`, int64 `[n]` -> `[n]`."""
    return logits.gather(1, labels[:, None]).squeeze(1)


def began_d(real: Tensor, fake: Tensor, balance: float) -> Tensor:
    """L(x) - k L(G(z)) (Berthelot et al. 2017, sec. 3.4), L being D's error and `real` and `fake` its negatives.

    `balance` is k, 0 to 1. G lowers L(G(z)): `wasserstein_g`.

    >>> round(began_d(torch.tensor([-0.3]), torch.tensor([-0.2]), balance=0.5).item(), 4)
    0.2
    """
    return balance * fake - real


def next_balance(balance: float, real: float, fake: float, *, gamma: float, gain: float) -> float:
    """k after an update: k + gain x (gamma L(x) - L(G(z))), kept in 0 to 1 (Berthelot et al. 2017, sec. 3.4).

    `real` and `fake` are mean errors, 0 or above.

    >>> next_balance(0.5, 0.4, 0.1, gamma=0.5, gain=0.1)
    0.51
    """
    return min(max(balance + gain * (gamma * real - fake), 0.0), 1.0)


def convergence(real: float, fake: float, *, gamma: float) -> float:
    """L(x) + |gamma L(x) - L(G(z))|, lower is better (Berthelot et al. 2017, sec. 3.4.1); mean errors as above.

    >>> round(convergence(0.4, 0.1, gamma=0.5), 4)
    0.5
    """
    return real + abs(gamma * real - fake)


def realness(logits: Tensor) -> Tensor:
    """The log-odds that an image is real, float `[n]`, of logits `[n]` or `[n, k + 1]`.

    With k + 1 outputs: log(p(1) + ... + p(k)) - log p(k + 1).

    >>> realness(torch.tensor([0.5])).item(), round(realness(torch.zeros(1, 4)).item(), 4)  # ln 3
    (0.5, 1.0986)
    """
    return logits if logits.dim() == 1 else logits[:, :-1].logsumexp(1) - logits[:, -1]


def feature_matching(real: Tensor, fake: Tensor) -> Tensor:
    """|mean real feature - mean fake feature|^2 of D's last hidden layer, float `[n, f]` each -> a scalar.

    Salimans et al. 2016, sec. 3.1: what G lowers in place of its adversarial loss. It compares means of the
    batch, so there is one value for all of it.
    """
    return (real.flatten(1).mean(0) - fake.flatten(1).mean(0)).square().sum()


def consistency(weak: Tensor, strong: Tensor, threshold: float) -> Tensor:
    """Cross-entropy of one view of an image against the class that a teacher sees in another view, float `[n]`.

    `weak` are the teacher's log probabilities float `[n, k]` for a view that was changed little, `strong` the logits
    float `[n, k]` of a network for a view that was changed much. 0 where the teacher's largest probability is under
    `threshold`. Nothing flows back to the teacher. Sohn et al. 2020 (FixMatch), eq. 4.

    >>> weak = torch.tensor([[0.97, 0.03], [0.6, 0.4]]).log()
    >>> consistency(weak, torch.zeros(2, 2), 0.95).tolist()[1]  # not sure enough
    0.0
    """
    sure, classes = weak.detach().max(1)
    return cross_entropy(strong, classes, reduction="none") * (sure.exp() >= threshold)


_STEADIER = "--set loss=relativistic --set penalty='{name: r1r2, weight: 1}'"

LOSSES: dict[str, AdversarialLoss] = {
    "minimax": AdversarialLoss(
        cross_entropy_d,
        minimax_g,
        source="Goodfellow et al. 2014, eq. 1",
        smoothable=True,
        sigmoid=True,
        against_collapse=_STEADIER,
    ),
    "non-saturating": AdversarialLoss(
        cross_entropy_d,
        non_saturating_g,
        source="Goodfellow et al. 2014, sec. 3",
        smoothable=True,
        sigmoid=True,
        against_collapse=_STEADIER,
    ),
    "least-squares": AdversarialLoss(least_squares_d, least_squares_g, source="Mao et al. 2017, eq. 9", boundary=0.5),
    "hinge": AdversarialLoss(hinge_d, wasserstein_g, source="Miyato et al. 2018, eq. 16-17"),
    "wasserstein": AdversarialLoss(
        wasserstein_d, wasserstein_g, source="Arjovsky et al. 2017, eq. 2", boundary=None, critic=True
    ),
    "relativistic": AdversarialLoss(
        relativistic_d,
        relativistic_g,
        source="Huang et al. 2024 (R3GAN), eq. 2",
        needs_real=True,
        boundary=None,
        sigmoid=True,
    ),
    "began": AdversarialLoss(
        began_d, wasserstein_g, source="Berthelot et al. 2017, sec. 3.4", boundary=None, balanced=True
    ),
    "triple": AdversarialLoss(triple_d, triple_g, source="Li et al. 2017, algorithm 1", triple=True, sigmoid=True),
    "semi-supervised": AdversarialLoss(
        semi_supervised_d,
        semi_supervised_g,
        source="Winkler 2018, after Salimans et al. 2016, sec. 5",
        k_plus_1=True,
        sigmoid=True,
    ),
}


def smoothed(d: PerSample, smoothing: float) -> PerSample:
    """One-sided label smoothing (Salimans et al. 2016, sec. 3.4): the target for real images is 1 - smoothing.

    For the cross-entropy the change is exactly smoothing x D's logit: (1 - s) softplus(-x) + s softplus(x).
    """
    return lambda real, fake: d(real, fake) + smoothing * real


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(|gradient of the logit by its image| - 1)^2, one value per sample: float `[n]` (Gulrajani et al. 2017, eq. 3).

    `images` are the points between real and fake at which `logits` were computed; they require a gradient.
    """
    return (zero_centred(logits, images).clamp_min(1e-12).sqrt() - 1) ** 2


def zero_centred(logits: Tensor, images: Tensor) -> Tensor:
    """|gradient of the logit by its image|^2, one value per sample: float `[n]`.

    At real images this is R1, at fake ones R2 (Mescheder et al. 2018, eq. 9 and 10, without gamma / 2).
    `logits` `[n]` must have been computed from `images` `[n, c, h, w]`, which require a gradient.

    >>> images = torch.zeros(1, 1, 2, 2, requires_grad=True)
    >>> zero_centred(3 * images.sum((1, 2, 3)), images).item()  # a slope of 3 at each of four pixels
    36.0
    """
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().flatten(1).sum(1)


# A penalty: `(d, real, fake, share)` -> a scalar, the mean over the batch. `d` maps images float `[n, c, h, w]` to
# the log-odds that they are real, float `[n]`; `share` is float `[n, 1, 1, 1]`, uniform in [0, 1).
PenaltyTerm = Callable[[Callable[[Tensor], Tensor], Tensor, Tensor, Tensor], Tensor]


class Penalty(NamedTuple):
    """A term that is added to D's loss."""

    term: PenaltyTerm
    source: str


def r1r2(d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """R1 + R2, halved as in Huang et al. 2024, eq. 5: |gradient|^2 / 2 at real and at fake images."""
    total = torch.zeros((), device=real.device)
    for images in (real, fake):
        images = images.detach().requires_grad_(True)
        total = total + zero_centred(d(images), images).mean() / 2
    return total


def between(d: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """WGAN-GP: at a random point on the line from each real image to a fake one (Gulrajani et al. 2017, eq. 3)."""
    images = (real + share * (fake - real)).detach().requires_grad_(True)
    return gradient_penalty(d(images), images).mean()


PENALTIES: dict[str, Penalty] = {
    "r1r2": Penalty(r1r2, source="|gradient|^2 / 2 at real and at fake images (Huang et al. 2024)"),
    "gradient": Penalty(between, source="(|gradient| - 1)^2 between real and fake images (Gulrajani et al. 2017)"),
}
