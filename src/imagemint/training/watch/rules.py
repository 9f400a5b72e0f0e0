"""What a sequence of looks means: the rules of failure, and a remedy for each.

Every threshold stands between what failing and healthy runs of experiments/watch showed; the numbers behind the
comments are from seed 0 of these.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from imagemint.losses import LOSSES
from imagemint.runfolder import Finding
from imagemint.training.recipe import Recipe
from imagemint.training.watch.measure import LOGIT_EDGES, Logits, Look

WARM_UP = 10_000  # images seen before anything is judged: until then an untrained G looks like every failure
LASTS = 8_000  # images over which a symptom must last, ...
LOOKS = 3  # ... and looks in a row at which it must be there: healthy runs showed single bad looks, never three

FLAT = 8.0  # one of LOGIT_EDGES: a logit beyond it has a sigmoid within 4e-4 of 0 or 1, whose gradient is gone
COPIED = 0.25  # share of samples that are copies; healthy 0.00, trained on 20 images 0.5 and rising to 0.8
FAR = 0.25  # energy distance above which samples are bad; untrained 1.1 to 2, healthy 0.01 to 0.2 in the end
NARROW = 0.4  # diversity below which samples are too much alike; healthy 0.6 to 0.95 in the end, collapsed 0 to 0.3
TOTAL = 0.04  # diversity of one image for every z: `minimal` 0.036, healthy nets at their worst 0.044
FEW = 0.35  # share of the classes; healthy 0.5 to 1, collapsed 0.1 to 0.3 (one class in ten is 0.1)
UNMOVED = 0.9  # a distance that is still this much of the one at the start
PROGRESS = 0.97  # a best distance below this much of the earlier best: the slowest healthy run (WGAN-GP) showed 0.96
APART = 0.98  # separation at which D makes hardly a mistake, ...
SURE = 1.0  # ... and by how much: frozen networks were in order by a thousandth of a logit
GUESSED = 0.6  # separation at which D hardly knows
LOST = 5.0  # times the best distance; with a G whose gradient is gone and a D that guesses: nothing leads it back
FOOLED = 0.2  # separation at which D takes samples for real and real images for samples
VANISHED = 0.01  # gradient of the largest so far; healthy above 0.05, frozen below 0.001

# Of samples that D does not depend on: what a slower D or other rates would do to its labels is another question.
_FOR_LABELS = "imagemint label, which asks D, is not concerned; to mint images, train another recipe"

# The evidence of a symptom at the last of these looks, or None where it is not there.
Symptom = Callable[[Sequence[Look], Recipe], str | None]


class Rule(NamedTuple):
    """A kind of failure: its name, how it shows, and one concrete change against it."""

    name: str
    symptom: Symptom
    remedy: Callable[[Sequence[Look], Recipe], str]
    at_once: Symptom | None = None  # evidence so strong that it need not last


def findings(looks: Sequence[Look], recipe: Recipe) -> list[Finding]:
    """What is wrong, in the order in which it became known; each kind once.

    A finding is known when its symptom has been there at LOOKS looks in a row over LASTS images, after WARM_UP; or as
    soon as there is evidence that need not last. The findings of the first looks are the first findings of all of
    them: nothing is taken back.
    """
    found = [finding for rule in RULES if (finding := _first(rule, looks, recipe))]
    return sorted(found, key=lambda finding: finding.images_seen)


def _first(rule: Rule, looks: Sequence[Look], recipe: Recipe) -> Finding | None:
    began, lasted = 0, 0
    for k, look in enumerate(looks):
        early = look.images_seen < WARM_UP + recipe.pretrain_images
        if rule.at_once and not early and (evidence := rule.at_once(looks[: k + 1], recipe)):
            remedy, began = _remedy(rule, looks[: k + 1], recipe), looks[k - 1].images_seen
            return Finding(
                images_seen=look.images_seen, name=rule.name, began=began, evidence=evidence, remedy=remedy
            )
        evidence = None if early else rule.symptom(looks[: k + 1], recipe)
        if evidence is None:
            lasted = 0
            continue
        began, lasted = (look.images_seen, 1) if lasted == 0 else (began, lasted + 1)
        if lasted >= LOOKS and look.images_seen - began >= LASTS:
            seen, remedy = look.images_seen, _remedy(rule, looks[: k + 1], recipe)
            return Finding(images_seen=seen, name=rule.name, began=began, evidence=evidence, remedy=remedy)
    return None


def _remedy(rule: Rule, looks: Sequence[Look], recipe: Recipe) -> str:
    """What to do: where D is there to name images and G learns beside it, nothing that would change D."""
    beside = _matches_features(recipe) and LOSSES[recipe.loss].k_plus_1
    return _FOR_LABELS if beside else rule.remedy(looks, recipe)


def _matches_features(recipe: Recipe) -> bool:
    """G learns from D's features (Salimans et al. 2016, section 3.1), so that a sure D takes nothing from it."""
    return recipe.loss_g == "feature-matching"


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


def _one_image(looks: Sequence[Look], recipe: Recipe) -> str | None:
    """G has moved and still gives one image for every z, at two looks in a row, however far they are apart."""
    alike = [look.diversity is not None and look.diversity < TOTAL for look in looks[-2:]]
    if len(alike) < 2 or not all(alike) or _learnt_nothing(looks, recipe):
        return None
    return f"all samples are one image: they differ {looks[-1].diversity:.2f} times as much as real images do"


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
    loss = LOSSES[recipe.loss]
    through_sigmoid = loss.sigmoid and not _matches_features(recipe)
    if through_sigmoid and loss.boundary is None and abs(gap) > FLAT:
        return f"D's logits of real images lie {gap:.0f} above those of samples (more than {FLAT:.0f})"
    beyond = max(_beyond(look.real), _beyond(look.fake))
    if through_sigmoid and loss.boundary is not None and beyond > 0.5:
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
    if _matches_features(recipe):
        return None
    look = looks[-1]
    sure = not LOSSES[recipe.loss].sigmoid or look.real.median - look.fake.median > SURE
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
    if recipe.penalty is None and (settings := LOSSES[recipe.loss].against_collapse):
        return f"train anew with {settings}"
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
    if recipe.d_steps > 1 and not LOSSES[recipe.loss].critic:
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
    Rule("mode collapse", _collapsed, _against_collapse, at_once=_one_image),
    Rule("saturation", _saturated, _against_saturation),
    Rule("discriminator overpowers", _d_overpowers, _against_strong_d),
    Rule("generator overpowers", _g_overpowers, _against_strong_g),
    Rule("copying", _copied, _against_copies),
    Rule("nothing learnt", _learnt_nothing, _against_nothing),
)
