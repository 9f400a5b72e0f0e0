"""The mathematics of one update: a discriminator step, a generator step, the average."""

from __future__ import annotations

import math
from functools import partial

import torch
from torch import Tensor, nn

from imagemint import seeds
from imagemint.augment import AUGMENTATIONS, CLASSIC, affine, augment, photo
from imagemint.devices import on_device
from imagemint.losses import (
    LOSSES,
    PENALTIES,
    AdversarialLoss,
    PerSample,
    asked_labels,
    consistency,
    convergence,
    feature_matching,
    next_balance,
    realness,
    smoothed,
)
from imagemint.training.compiled import Network
from imagemint.training.optimisers import update
from imagemint.training.recipe import Balance, Consistency
from imagemint.training.state import Gan

Values = dict[str, Tensor]  # detached scalars worth logging


def discriminator_step(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Values:
    """One update of D on real and fake images `[n, c, h, w]` in [-1, 1] of the same labels int64 `[n]`."""
    recipe, d = gan.recipe, gan.discriminator
    row = LOSSES[recipe.loss]
    loss = smoothed(row.d, recipe.label_smoothing) if recipe.label_smoothing else row.d
    loss = partial(loss, balance=gan.balance) if row.balanced else loss
    d.requires_grad_(True)
    unchanged = real
    real, fake = _augment(gan, real, fake.detach(), "augment d")
    judge = _judge(gan)
    with gan.autocast():
        real_logits, fake_logits = judge(real, labels).float(), judge(fake, labels).float()
    adversarial = _of(loss, real_logits, fake_logits, labels).mean()
    gan.optimizer_d.zero_grad(set_to_none=True)
    adversarial.backward()  # type: ignore[no-untyped-call]
    values = {"loss_d": adversarial.detach()}
    values |= _judgement(real_logits.detach(), fake_logits.detach(), labels, row)
    values |= _rebalance(gan, values) if row.balanced else {}
    if recipe.consistency is not None and bool((labels < 0).any()):
        values |= _agree(gan, unchanged[labels < 0], real[labels < 0], recipe.consistency)
    d_step = gan.images_seen // gan.batch  # counts from 0
    if recipe.penalty is not None and d_step % recipe.penalty.every == 0:
        size = _penalty(gan, real, fake, labels) * (recipe.penalty.weight * recipe.penalty.every)
        size.backward()  # type: ignore[no-untyped-call]
        values["penalty"] = size.detach()
    gan.ranks.average_gradients(d)
    update(gan.optimizer_d, recipe.optimizer_d, d_step)
    if recipe.clip is not None:
        with torch.no_grad():
            for parameter in d.parameters():
                parameter.clamp_(-recipe.clip, recipe.clip)
    return values


def _rebalance(gan: Gan, values: Values) -> Values:
    """Move the weight of samples in D's loss (Berthelot et al. 2017): from the errors before this step's update."""
    choice = gan.recipe.balance or Balance.model_validate({})
    means = gan.ranks.mean({name: -values[f"logit_{name}"] for name in ("real", "fake")})
    gan.balance = next_balance(gan.balance, **means, gamma=choice.gamma, gain=choice.gain)
    measured = {"balance": gan.balance, "convergence": convergence(**means, gamma=choice.gamma)}
    return {name: torch.tensor(number, device=gan.device) for name, number in measured.items()}


def _agree(gan: Gan, unchanged: Tensor, weak: Tensor, asked: Consistency) -> Values:
    """Gradients of D for naming a strong view of images without a label as the averaged D names a weak one.

    Both `unchanged` and `weak` are the same images float `[n, c, h, w]` in [-1, 1]. The views come from (seed, images
    seen). Also the share of images whose class the average is sure of.
    """
    assert gan.ema_d is not None
    nowhere = torch.full((len(weak),), -1, device=gan.device)
    views = seeds.generator(gan.seed, "strong view", gan.images_seen)
    strong = augment(unchanged, views, AUGMENTATIONS[asked.strong], flips=gan.recipe.flips)
    with gan.autocast():
        with torch.no_grad():
            named = gan.ema_d(weak, nowhere).float()[:, :-1].log_softmax(1)
        logits = gan.discriminator(strong, nowhere).float()[:, :-1]
    term = consistency(named, logits, asked.threshold).mean() * asked.weight
    term.backward()  # type: ignore[no-untyped-call]
    return {"consistency": term.detach(), "sure": (named.max(1).values.exp() >= asked.threshold).float().mean()}


def generator_step(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor, k: int) -> Values:
    """One update of G through D, which is frozen: no gradient of D's weights is computed. `k` counts G's steps."""
    gan.discriminator.requires_grad_(False)
    real, fake = _augment(gan, real, fake, f"augment g{k}")
    side = _matching if gan.recipe.loss_g == "feature-matching" else _adversarial
    lowered = side(gan, real, fake, labels)
    gan.optimizer_g.zero_grad(set_to_none=True)
    lowered.backward()  # type: ignore[no-untyped-call]
    gan.ranks.average_gradients(gan.generator)
    update(gan.optimizer_g, gan.recipe.optimizer_g, _g_updates(gan) + k)
    return {"loss_g": lowered.detach()}


def _g_updates(gan: Gan) -> int:
    """Updates of G before this iteration: none in the iterations in which D learned alone."""
    alone = math.ceil(gan.recipe.pretrain_images / (gan.batch * gan.recipe.d_steps))
    return max(gan.iterations - alone, 0) * gan.recipe.g_steps


def _adversarial(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """G's own loss, a scalar."""
    loss, judge = LOSSES[gan.recipe.loss], _judge(gan)
    with gan.autocast():
        fake_logits = judge(fake, labels).float()
        real_logits = judge(real, labels).float() if loss.needs_real else fake_logits.detach()
    return _of(loss.g, real_logits, fake_logits, labels).mean()


def _matching(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """Distance of the mean features of D, a scalar: what G lowers in place of its own loss."""
    with gan.autocast():
        ours = gan.discriminator.features(fake, labels)  # type: ignore[operator]
        theirs = gan.discriminator.features(real, labels).detach()  # type: ignore[operator]
    return feature_matching(*(gan.ranks.mean_row(each.flatten(1).float()) for each in (theirs, ours)))


def _judge(gan: Gan) -> Network:
    """Images and labels -> what the loss is made of: D's logits, of three players the classifier's too."""
    return gan.discriminator.joint if LOSSES[gan.recipe.loss].triple else gan.judge  # type: ignore[return-value]


def _of(loss: PerSample, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """The loss of logits; with k + 1 of them per image it depends on the labels too."""
    return loss(real, fake) if real.dim() == 1 else loss(real, fake, labels)


def _judgement(real: Tensor, fake: Tensor, labels: Tensor, loss: AdversarialLoss) -> Values:
    """D's mean logits, and the shares of real images that it takes for real and of fake ones that it takes for fake.

    Where only differences of logits mean something, both shares are that of the pairs whose real logit is higher.
    With k + 1 logits per image there is also the share of labelled images whose class D names, over the k classes;
    with a classifier beside D, that whose class the classifier names. An image without a label is then judged with
    the class that is asked for in its place.
    """
    classes = real[:, :-1] if real.dim() == 2 else None
    if loss.triple:
        half = real.shape[1] // 2
        pairs, classes = asked_labels(labels)[:, None], real[:, half:]
        real, fake = real.gather(1, pairs).squeeze(1), fake.gather(1, pairs).squeeze(1)
    as_real, as_fake = realness(real), realness(fake)
    edges = (as_fake, as_real) if loss.boundary is None else (loss.boundary, loss.boundary)
    values = {"logit_real": as_real.mean(), "logit_fake": as_fake.mean()}
    values["accuracy_real"] = (as_real > edges[0]).float().mean()
    values["accuracy_fake"] = (as_fake < edges[1]).float().mean()
    known = labels >= 0
    if classes is not None and bool(known.any()):
        values["accuracy"] = (classes[known].argmax(1) == labels[known]).float().mean()
    return values


def _penalty(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """The recipe's penalty, a scalar. In fp32: second derivatives need the precision."""
    assert gan.recipe.penalty is not None
    at = seeds.generator(gan.seed, "between", gan.images_seen)
    share = on_device(gan.ranks.mine(torch.rand(len(real) * gan.ranks.world, 1, 1, 1, generator=at)), gan.device)
    term = PENALTIES[gan.recipe.penalty.name].term
    return term(lambda images: realness(gan.discriminator(images, labels)), real, fake, share)


def average_step(gan: Gan) -> None:
    """Move the averaged networks after an iteration."""
    if gan.recipe.ema_images is None:
        return
    for average, network in ((gan.ema, gan.generator), (gan.ema_d, gan.discriminator)):
        if average is not None:
            move_average(average, network, gan.recipe.ema_images, gan.images_seen, gan.batch * gan.recipe.d_steps)


@torch.no_grad()
def move_average(average: nn.Module, network: nn.Module, half_life: float, images_seen: int, new: int) -> None:
    """Move an average to a network that has learned from `new` more images, `images_seen` in all.

    The half-life, in images, is shorter at the start (5 % of what was seen, as StyleGAN does). Averaged weights go
    with averaged batch statistics.
    """
    half_life = min(half_life, 0.05 * images_seen)
    share = 1 - 0.5 ** (new / max(half_life, 1e-8))
    torch._foreach_lerp_(list[Tensor](average.parameters()), list[Tensor](network.parameters()), share)
    for mean, buffer in zip(average.buffers(), network.buffers(), strict=True):
        if buffer.is_floating_point():
            mean.lerp_(buffer, share)
        else:
            mean.copy_(buffer)


def fakes(gan: Gan, labels: Tensor, purpose: str) -> Tensor:
    """G's images for labels int64 `[n]`; row i of the whole batch has noise of (seed, purpose, images_seen + i)."""
    first = gan.images_seen
    labels = asked_labels(labels) if gan.sees_labels else labels
    z = gan.z([seeds.derive(gan.seed, purpose, first + i) for i in gan.ranks.rows(len(labels))])
    with gan.autocast():
        return gan.draw(z, labels)


def _augment(gan: Gan, real: Tensor, fake: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
    """The same changes of real and of fake images, `[n, c, h, w]` each: stacked as channels they change together."""
    if gan.recipe.augment == "none":
        return real, fake
    both, maps = torch.cat([real, fake], 1), seeds.generator(gan.seed, purpose, gan.images_seen)
    change = photo if gan.recipe.augment == "photo" else partial(affine, movement=CLASSIC)
    changed = change(both, maps, flips=gan.recipe.flips, rank=gan.ranks.rank, world=gan.ranks.world)
    return changed[:, : real.shape[1]], changed[:, real.shape[1] :]
