"""It says what is wrong, in words: looks at a training, and what the sequence of looks means.

A *look* is a line of watch.jsonl: measures of samples (always from the same noise) and of D's logits. *Findings* are
decided from the looks by a pure function, so a run that was killed and resumed finds the same. Distances are
Euclidean, between pixels averaged down to at most 16 x 16.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from imagemint import images, seeds
from imagemint.config import Recipe
from imagemint.data.pack import Pack
from imagemint.errors import TrainingError
from imagemint.files import append_line, read_lines
from imagemint.losses import realness
from imagemint.runs import Finding, Run
from imagemint.training.state import Gan

SAMPLES = 128  # images of G at a look; a spread over 8,128 pairs is known to a few per cent
REFERENCE = 2000  # real images that they are compared with
SIDE = 16  # longest side, in pixels, at which images are compared
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

    @staticmethod
    def of(line: dict[str, Any]) -> Look:
        """From a line of watch.jsonl."""
        return Look(**{**line, "real": Logits(*line["real"]), "fake": Logits(*line["fake"])})


class Watch:
    """The eyes on one run: fixed noise, fixed real images, and the looks so far."""

    def __init__(self, pack: Pack, fed: np.ndarray, gan: Gan, run: Run) -> None:
        self.run = run
        chosen = fed[seeds.rng(gan.seed, "watch").permutation(len(fed))[:REFERENCE]]
        labels = torch.from_numpy(np.asarray(pack.labels[chosen]))
        parts = [pack.pixels[chosen[k : k + 256]] for k in range(0, len(chosen), 256)]
        self.reference = torch.cat([_small(torch.from_numpy(part)) for part in parts]).to(gan.device)
        self.reference_labels = labels.to(gan.device)
        shown = np.arange(SAMPLES) % len(chosen)  # a small pack is shown more than once
        self.real = torch.from_numpy(pack.pixels[chosen[shown]]).to(gan.device)
        self.labels = self.reference_labels[torch.from_numpy(shown).to(gan.device)]
        image_seeds = [seeds.derive(gan.seed, "watch", k) for k in range(SAMPLES)]
        self.z = seeds.noise(image_seeds, gan.recipe.z_size, gan.recipe.noise).to(gan.device)
        self.conditional = gan.sees_labels

        own = torch.cdist(self.reference, self.reference).fill_diagonal_(0)
        self.spread = float(own.sum()) / max(len(own) * (len(own) - 1), 1)  # mean distance of two different images
        self.own_nearest = own.fill_diagonal_(math.inf).min(1).values  # inf for a single image
        self.looks = [Look.of(line) for line in read_lines(run.path / "watch.jsonl")]
        self.found = [finding.name for finding in run.findings()]

    @torch.no_grad()
    def look(self, gan: Gan) -> list[Finding]:
        """Look now, write the look down, and give back the findings that it brings to light, which are written too.

        Nothing of the training changes: no weight, no statistic of a normalisation, no random state that counts.
        Raises TrainingError where a measure is not finite.
        """
        if self.looks and self.looks[-1].images_seen >= gan.images_seen:
            return []
        look = self._measure(gan)
        self.looks.append(look)
        append_line(self.run.path / "watch.jsonl", asdict(look))
        new = [each for each in findings(self.looks, gan.recipe) if each.images_seen == look.images_seen]
        self.found += [finding.name for finding in new]
        return [write_down(self.run, finding) for finding in new]

    def _measure(self, gan: Gan) -> Look:
        generator = gan.last_generator
        training = generator.training
        made = generator.eval()(self.z, self.labels)
        generator.train(training)
        refuse_not_finite("a sample", float(made.sum()), gan)
        samples = _small(images.to_pixels(made))

        seeds.seed_layers(gan.seed, "watch", gan.images_seen)  # dropout; every iteration seeds anew
        with gan.autocast():
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
            grad_d=_grad_norm(gan.discriminator),
            grad_g=_grad_norm(gan.generator),
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


def refuse_not_finite(name: str, number: float, gan: Gan) -> None:
    """Raise TrainingError for NaN and infinity: they are never replaced by something else."""
    if not math.isfinite(number):
        raise TrainingError(
            f"{name} is {number} at {gan.images_seen} images seen (iteration {gan.iterations})",
            "finite numbers",
            "lower the learning rates (--set optimizer_g.lr=... --set optimizer_d.lr=...) in a new run; "
            "the last checkpoint is from before",
        )


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


def _summary(logits: Tensor) -> Logits:
    at = torch.bucketize(logits, torch.tensor(LOGIT_EDGES, device=logits.device))
    low, median, high = (_round(float(x)) for x in (logits.min(), logits.median(), logits.max()))
    counts = at.bincount(minlength=len(LOGIT_EDGES) + 1).tolist()
    return Logits(low, median, _round(float(logits.mean())), high, counts)


def _grad_norm(module: nn.Module) -> float | None:
    gradients = [p.grad for p in module.parameters() if p.grad is not None]
    return _round(float(torch.nn.utils.get_total_norm(gradients))) if gradients else None


def _round(number: float) -> float:
    return float(f"{number:.6g}")


# What a sequence of looks means.
#
# Every threshold stands between what failing and healthy runs of experiments/watch showed; the numbers in the
# comments are from seed 0 of these.

WARM_UP = 10_000  # images seen before anything is judged: until then an untrained G looks like every failure
LASTS = 8_000  # images over which a symptom must last, ...
LOOKS = 3  # ... and looks in a row at which it must be there: healthy runs showed single bad looks, never three

FLAT = 8.0  # one of LOGIT_EDGES: a logit beyond it has a sigmoid within 4e-4 of 0 or 1, whose gradient is gone
COPY = 1 / 3  # a sample this much nearer to a real image than that image is to any other real one is a copy of it
COPIED = 0.25  # share of samples that are copies; healthy 0.00, trained on 20 images 0.5 and rising to 0.8
FAR = 0.25  # energy distance above which samples are bad; untrained 1.1 to 2, healthy 0.01 to 0.2 in the end
NARROW = 0.4  # diversity below which samples are too much alike; healthy 0.6 to 0.95 in the end, collapsed 0 to 0.3
FEW = 0.35  # share of the classes; healthy 0.5 to 1, collapsed 0.1 to 0.3 (one class in ten is 0.1)
UNMOVED = 0.9  # a distance that is still this much of the one at the start
PROGRESS = 0.97  # a best distance below this much of the earlier best: the slowest healthy run (WGAN-GP) showed 0.96
APART = 0.98  # separation at which D makes hardly a mistake, ...
SURE = 1.0  # ... and by how much: frozen networks were in order by a thousandth of a logit
GUESSED = 0.6  # separation at which D hardly knows
LOST = 5.0  # times the best distance; with a G whose gradient is gone and a D that guesses: nothing leads it back
FOOLED = 0.2  # separation at which D takes samples for real and real images for samples
VANISHED = 0.01  # gradient of the largest so far; healthy above 0.05, frozen below 0.001

# Losses whose logits go through a sigmoid, so that their size has a meaning; of `relativistic` only their difference.
SIGMOID = {"minimax", "non-saturating", "relativistic", "semi-supervised"}

NOT_FINITE = "not finite"
ROLLBACK_RATE = 0.1  # what is left of the learning rates after a roll-back

# The evidence of a symptom at the last of these looks, or None where it is not there.
Symptom = Callable[[Sequence[Look], Recipe], str | None]


class Rule(NamedTuple):
    """A kind of failure: its name, how it shows, and one concrete change against it."""

    name: str
    symptom: Symptom
    remedy: Callable[[Sequence[Look], Recipe], str]


def findings(looks: Sequence[Look], recipe: Recipe) -> list[Finding]:
    """What is wrong, in the order in which it became known; each kind once.

    A finding is known when its symptom has been there at LOOKS looks in a row over LASTS images, after WARM_UP. The
    findings of the first looks are the first findings of all of them: nothing is taken back.
    """
    found = [finding for rule in RULES if (finding := _first(rule, looks, recipe))]
    return sorted(found, key=lambda finding: finding.images_seen)


def _first(rule: Rule, looks: Sequence[Look], recipe: Recipe) -> Finding | None:
    began, lasted = 0, 0
    for k, look in enumerate(looks):
        early = look.images_seen < WARM_UP + recipe.pretrain_images
        evidence = None if early else rule.symptom(looks[: k + 1], recipe)
        if evidence is None:
            lasted = 0
            continue
        began, lasted = (look.images_seen, 1) if lasted == 0 else (began, lasted + 1)
        if lasted >= LOOKS and look.images_seen - began >= LASTS:
            seen, remedy = look.images_seen, rule.remedy(looks[: k + 1], recipe)
            return Finding(images_seen=seen, name=rule.name, began=began, evidence=evidence, remedy=remedy)
    return None


def _stalled(looks: Sequence[Look]) -> bool:
    """The last third of the training so far has brought samples no nearer to real images: slow is not ill."""
    since = looks[-1].images_seen * 2 / 3
    before = min((look.distance for look in looks if look.images_seen <= since), default=math.inf)
    return min(look.distance for look in looks if look.images_seen > since) > PROGRESS * before


def _collapsed(looks: Sequence[Look], recipe: Recipe) -> str | None:
    evidence = _narrow(looks[-1])
    if evidence is None or _learnt_nothing(looks, recipe):  # an untrained G is narrow too
        return None
    fell = any(look.distance < FAR and _narrow(look) is None for look in looks)
    return evidence if fell or _stalled(looks) or _narrowing(looks) else None


def _narrowing(looks: Sequence[Look]) -> bool:
    """Samples of one class are too much alike and do not get less so, though classes may get nearer to real ones."""
    now = looks[-1]
    if now.within is None or now.within >= NARROW:
        return False
    since = now.images_seen * 2 / 3
    before = max((look.within or 0.0 for look in looks if look.images_seen <= since), default=0.0)
    return max(look.within or 0.0 for look in looks if look.images_seen > since) * PROGRESS < before


def _narrow(look: Look) -> str | None:
    """How samples are too much alike."""
    if look.diversity is not None and look.diversity < NARROW:
        return f"samples differ {look.diversity:.2f} times as much as real images do (below {NARROW})"
    if look.within is not None and look.within < NARROW:
        return f"samples of one class differ {look.within:.2f} times as much as real images of it do (below {NARROW})"
    if look.classes is not None and look.classes < FEW:
        return f"samples look like {look.classes:.0%} of the classes (below {FEW:.0%})"
    return None


def _saturated(looks: Sequence[Look], recipe: Recipe) -> str | None:
    look = looks[-1]
    gap = look.real.median - look.fake.median
    if recipe.loss == "relativistic" and abs(gap) > FLAT:
        return f"D's logits of real images lie {gap:.0f} above those of samples (more than {FLAT:.0f})"
    beyond = max(_beyond(look.real), _beyond(look.fake))
    if recipe.loss in SIGMOID - {"relativistic"} and beyond > 0.5:
        low, high = min(look.real.low, look.fake.low), max(look.real.high, look.fake.high)
        return f"D's logits lie between {low:.0f} and {high:.0f}, {beyond:.0%} of them beyond {FLAT:.0f}"
    if _vanished(looks) and look.distance > FAR:
        largest = max(each.grad_g or 0.0 for each in looks)
        return f"the gradient of G's weights is {look.grad_g:.1e}, it was {largest:.1e}, and samples are still bad"
    return None


def _vanished(looks: Sequence[Look]) -> bool:
    """G's gradient is gone."""
    now = looks[-1].grad_g
    return now is not None and now < VANISHED * max(look.grad_g or 0.0 for look in looks)


def _frozen(looks: Sequence[Look]) -> bool:
    """The gradients of both are gone: then nobody overpowers anybody."""
    now = looks[-1].grad_d
    return _vanished(looks) and now is not None and now < VANISHED * max(look.grad_d or 0.0 for look in looks)


def _beyond(logits: Logits) -> float:
    """Share beyond +- FLAT."""
    inside = slice(LOGIT_EDGES.index(-FLAT) + 1, LOGIT_EDGES.index(FLAT) + 1)
    return 1 - sum(logits.counts[inside]) / sum(logits.counts)


def _d_overpowers(looks: Sequence[Look], recipe: Recipe) -> str | None:
    look = looks[-1]
    sure = recipe.loss not in SIGMOID or look.real.median - look.fake.median > SURE
    if look.separation > APART and sure and look.distance > FAR and _stalled(looks):
        return f"D tells {look.separation:.1%} of the pairs apart, and samples stay at distance {look.distance:.2f}"
    return None


def _g_overpowers(looks: Sequence[Look], recipe: Recipe) -> str | None:
    look = looks[-1]
    if look.separation >= GUESSED or _frozen(looks):
        return None
    guesses = f"D tells only {look.separation:.0%} of the pairs apart (50 % is guessing), though samples are at "
    if look.distance > FAR and (look.separation < FOOLED or _stalled(looks)):
        return f"{guesses}distance {look.distance:.2f} from real images"
    best = min(looks, key=lambda each: each.distance)
    if _vanished(looks) and look.distance > LOST * best.distance:
        was = f"they were at {best.distance:.3f} after {best.images_seen:,} images"
        return f"{guesses}distance {look.distance:.3f} from real images; {was}"
    return None


def _copied(looks: Sequence[Look], recipe: Recipe) -> str | None:
    look = looks[-1]
    if look.copies is not None and look.copies > COPIED:
        return (
            f"{look.copies:.0%} of samples are nearly a training image (three times nearer than that is to any other)"
        )
    return None


def _learnt_nothing(looks: Sequence[Look], recipe: Recipe) -> str | None:
    start, now = looks[0], looks[-1]
    if start.images_seen == 0 and now.distance > UNMOVED * start.distance:
        return f"samples are at distance {now.distance:.2f} from real images, as at the start ({start.distance:.2f})"
    return None


def _rates(recipe: Recipe, g: float, d: float) -> str:
    """The settings that multiply the learning rates of G and D by these factors."""
    pairs = (("g", recipe.optimizer_g.lr, g), ("d", recipe.optimizer_d.lr, d))
    return " ".join(f"--set optimizer_{which}.lr={rate * times:.2g}" for which, rate, times in pairs if times != 1)


def _against_sigmoids(recipe: Recipe) -> str:
    """Winkler 2018's step from 0.3 to 0.1: leaky relu at the old rates diverges (experiments/watch/watch.py)."""
    return f"train anew with --set options.activation=leaky {_rates(recipe, 1 / 3, 1 / 3)}"


def _against_collapse(looks: Sequence[Look], recipe: Recipe) -> str:
    if recipe.options.get("activation") == "sigmoid":
        return _against_sigmoids(recipe)
    if balance := _balance(looks, recipe):
        return balance
    if recipe.penalty is None and recipe.loss in ("minimax", "non-saturating"):
        return "train anew with --set loss=relativistic --set penalty='{name: r1r2, weight: 1}'"
    return f"train anew with lower learning rates, {_rates(recipe, 0.1, 0.1)}"


def _against_saturation(looks: Sequence[Look], recipe: Recipe) -> str:
    if recipe.options.get("activation") == "sigmoid":
        return _against_sigmoids(recipe)
    if _g_is_slow(recipe) or recipe.d_steps > 1:
        return _against_strong_d(looks, recipe)
    return f"train anew with lower learning rates, {_rates(recipe, 0.1, 0.1)}"


def _against_nothing(looks: Sequence[Look], recipe: Recipe) -> str:
    return _balance(looks, recipe) or f"train anew for longer, or with a slower D, {_rates(recipe, 1, 0.1)}"


def _balance(looks: Sequence[Look], recipe: Recipe) -> str | None:
    """What helps the weaker side, where one overpowers the other: the cause comes before its consequences."""
    if _d_overpowers(looks, recipe):
        return _against_strong_d(looks, recipe)
    return _against_strong_g(looks, recipe) if _g_overpowers(looks, recipe) else None


def _g_is_slow(recipe: Recipe) -> bool:
    return recipe.optimizer_g.lr < recipe.optimizer_d.lr / 10


def _against_strong_d(looks: Sequence[Look], recipe: Recipe) -> str:
    if _g_is_slow(recipe):
        return f"train anew with a faster G, --set optimizer_g.lr={recipe.optimizer_d.lr:g}"
    if recipe.d_steps > 1 and recipe.loss != "wasserstein":
        return "train anew with --set d_steps=1"
    return f"train anew with a slower D, {_rates(recipe, 1, 0.1)}"


def _against_strong_g(looks: Sequence[Look], recipe: Recipe) -> str:
    if recipe.optimizer_d.lr < recipe.optimizer_g.lr / 10:
        return f"train anew with a faster D, --set optimizer_d.lr={recipe.optimizer_g.lr:g}"
    if recipe.g_steps > 1:
        return "train anew with --set g_steps=1"
    return f"train anew with a slower G, {_rates(recipe, 0.1, 1)}"


def _against_copies(looks: Sequence[Look], recipe: Recipe) -> str:
    if recipe.augment == "none":
        return "train anew with --set augment=affine, or on more images"
    return "mint from an earlier checkpoint, or train on more images"


RULES = (
    Rule("mode collapse", _collapsed, _against_collapse),
    Rule("saturation", _saturated, _against_saturation),
    Rule("discriminator overpowers", _d_overpowers, _against_strong_d),
    Rule("generator overpowers", _g_overpowers, _against_strong_g),
    Rule("copying", _copied, _against_copies),
    Rule("nothing learnt", _learnt_nothing, _against_nothing),
)


def not_finite(error: TrainingError, failed: int, images_seen: int, *, rolled_back: bool = False) -> Finding:
    """The finding of a number that is not finite at `failed` images seen."""
    back = f"rolled back to {images_seen:,} images; from there both learning rates are a tenth"
    remedy = back if rolled_back else error.remedy
    return Finding(images_seen=images_seen, name=NOT_FINITE, began=failed, evidence=error.found, remedy=remedy)


def write_down(run: Run, finding: Finding) -> Finding:
    """Write a finding down, unless it is there."""
    if finding not in run.findings():
        append_line(run.path / "findings.jsonl", finding.model_dump(mode="json"))
    return finding
