"""The mathematics of one update: a discriminator step, a generator step, the average."""

from __future__ import annotations

import torch
from torch import Tensor

from imagemint import seeds
from imagemint.augment import CLASSIC, affine
from imagemint.losses import LOSSES, PerSample, feature_matching, gradient_penalty, realness, smoothed, zero_centred
from imagemint.models.layers import last_features
from imagemint.training.state import Gan

Values = dict[str, Tensor]  # detached scalars worth logging


def discriminator_step(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Values:
    """One update of D on real and fake images `[n, c, h, w]` in [-1, 1] of the same labels int64 `[n]`."""
    recipe, d = gan.recipe, gan.discriminator
    loss = LOSSES[recipe.loss].d
    if recipe.label_smoothing:
        loss = smoothed(loss, recipe.label_smoothing)
    d.requires_grad_(True)
    real, fake = _augment(gan, real, fake.detach(), "augment d")
    with gan.autocast():
        real_logits, fake_logits = d(real, labels).float(), d(fake, labels).float()
    adversarial = _of(loss, real_logits, fake_logits, labels).mean()
    gan.optimizer_d.zero_grad(set_to_none=True)
    adversarial.backward()  # type: ignore[no-untyped-call]
    values = {"loss_d": adversarial.detach()}
    values["logit_real"] = realness(real_logits.detach()).mean()
    values["logit_fake"] = realness(fake_logits.detach()).mean()
    if real_logits.dim() == 2:
        values |= _accuracy(real_logits.detach(), labels)
    penalty = recipe.penalty
    if penalty is not None and gan.iterations % penalty.every == 0:
        size = _PENALTIES[penalty.name](gan, real, fake, labels) * (penalty.weight * penalty.every)
        size.backward()  # type: ignore[no-untyped-call]
        values["penalty"] = size.detach()
    gan.ranks.average_gradients(d)
    gan.optimizer_d.step()
    if recipe.clip is not None:
        with torch.no_grad():
            for parameter in d.parameters():
                parameter.clamp_(-recipe.clip, recipe.clip)
    return values


def generator_step(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor, k: int) -> Values:
    """One update of G through D, which is frozen: no gradient of D's weights is computed. `k` counts G's steps."""
    loss, d = LOSSES[gan.recipe.loss], gan.discriminator
    d.requires_grad_(False)
    matching = gan.recipe.loss_g == "feature-matching"
    real, fake = _augment(gan, real, fake, f"augment g{k}")
    with gan.autocast(), last_features(d) as features:
        fake_logits = d(fake, labels).float()
        real_logits = d(real, labels).float() if matching or loss.needs_real else fake_logits.detach()
    if matching:
        theirs, ours = (gan.ranks.mean_row(each.flatten(1).float()) for each in (features[1].detach(), features[0]))
        lowered = feature_matching(theirs, ours)
    else:
        lowered = _of(loss.g, real_logits, fake_logits, labels).mean()
    gan.optimizer_g.zero_grad(set_to_none=True)
    lowered.backward()  # type: ignore[no-untyped-call]
    gan.ranks.average_gradients(gan.generator)
    gan.optimizer_g.step()
    return {"loss_g": lowered.detach()}


def _of(loss: PerSample, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """The loss of logits; with k + 1 of them an image it depends on the labels too."""
    return loss(real, fake) if real.dim() == 1 else loss(real, fake, labels)


def _accuracy(logits: Tensor, labels: Tensor) -> Values:
    """Share of the batch's labelled images whose class D names, over the k real classes."""
    known = labels >= 0
    right = logits[known, :-1].argmax(1) == labels[known]
    return {"accuracy": right.float().mean()} if len(right) else {}


@torch.no_grad()
def average_step(gan: Gan) -> None:
    """Move the averaged generator; its half-life is shorter at the start (5 % of what was seen, as StyleGAN does)."""
    if gan.ema is None or gan.recipe.ema_images is None:
        return
    half_life = min(gan.recipe.ema_images, 0.05 * gan.images_seen)
    images = gan.batch * gan.recipe.d_steps
    share = 1 - 0.5 ** (images / max(half_life, 1e-8))
    averages: list[Tensor] = list(gan.ema.parameters())
    torch._foreach_lerp_(averages, list[Tensor](gan.generator.parameters()), share)
    for average, buffer in zip(gan.ema.buffers(), gan.generator.buffers(), strict=True):
        if buffer.is_floating_point():  # averaged weights go with averaged batch statistics
            average.lerp_(buffer, share)
        else:
            average.copy_(buffer)


def fakes(gan: Gan, labels: Tensor, purpose: str) -> Tensor:
    """G's images for labels int64 `[n]`; row i of the whole batch has noise of (seed, purpose, images_seen + i)."""
    first = gan.images_seen
    image_seeds = [seeds.derive(gan.seed, purpose, first + i) for i in gan.ranks.rows(len(labels))]
    z = seeds.noise(image_seeds, gan.recipe.z_size, gan.recipe.noise).to(gan.device)
    with gan.autocast():
        images: Tensor = gan.generator(z, labels)
    return images


def _augment(gan: Gan, real: Tensor, fake: Tensor, purpose: str) -> tuple[Tensor, Tensor]:
    """The same maps for real and for fake images, `[n, c, h, w]` each: stacked as channels they move together."""
    if gan.recipe.augment == "none":
        return real, fake
    both, maps = torch.cat([real, fake], 1), seeds.generator(gan.seed, purpose, gan.images_seen)
    moved = affine(both, maps, CLASSIC, share=(gan.ranks.rank, gan.ranks.world))
    return moved[:, : real.shape[1]], moved[:, real.shape[1] :]


def _r1r2(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """R1 + R2, halved as in the paper (Huang et al. 2024, eq. 5). In fp32: second derivatives need the precision."""
    total = torch.zeros((), device=gan.device)
    for images in (real, fake):
        images = images.detach().requires_grad_(True)
        total = total + zero_centred(realness(gan.discriminator(images, labels)), images).mean() / 2
    return total


def _between(gan: Gan, real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
    """WGAN-GP: at a random point on the line from each real image to a fake one."""
    at = seeds.generator(gan.seed, "between", gan.images_seen)
    share = gan.ranks.mine(torch.rand(len(real) * gan.ranks.world, 1, 1, 1, generator=at)).to(gan.device)
    images = (real + share * (fake - real)).detach().requires_grad_(True)
    return gradient_penalty(realness(gan.discriminator(images, labels)), images).mean()


_PENALTIES = {"r1r2": _r1r2, "gradient": _between}
