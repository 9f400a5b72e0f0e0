"""The rows of one budget and one repeat: draw the real images, mint from them, teach a classifier for every arm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any

import numpy as np

from imagemint import seeds
from imagemint.augment import AUGMENTATIONS, Ranges, times
from imagemint.augment import augment as augmented
from imagemint.augment import mix as mixed
from imagemint.classifiers import Classifier, Evaluation, evaluate, train_classifier
from imagemint.classifiers.network import History
from imagemint.classifiers.training import CLASSIFIERS, Agreement, Augment, Kind, Mix
from imagemint.config import load_recipe
from imagemint.data.batches import RisingBatches
from imagemint.data.pack import Pack, open_pack
from imagemint.data.rewriting import rewrite
from imagemint.fitting import train
from imagemint.labelling import judge_of
from imagemint.metrics.scores import SCORES
from imagemint.minting import mint
from imagemint.progress import Advance, progress, scaled, unseen
from imagemint.recipe import AnyRecipe
from imagemint.runfolder import Run
from imagemint.studies import statistics
from imagemint.studies.arms import USUALLY, Arm, Images, Minting, Need, Sources, TrainingSet, find_arm, free_arms
from imagemint.studies.discriminators import started_from
from imagemint.studies.folder import FIRST_SCORE, Cell, Look, Row, save_classes, save_log_probabilities
from imagemint.studies.material import Material
from imagemint.studies.plan import CHOICES, StudyPlan, images_of

LOOKS, WATCHED = 8, 250  # of the history of a row: how many, and at how many images of each kind at most
SEEN = "images_seen"
STRONG_VIEW = replace(AUGMENTATIONS["strong"], harder_share=1.0)  # every view moved far and partly covered
HELD_OUT = 0.25  # of the images of each class of a subset, to choose the best free arm by


def compute_rows(cell: Cell, plan: StudyPlan, material: Material, arms: Sequence[str]) -> Iterator[Row]:
    """One row for each arm, as soon as its predictions are written.

    All classifiers of a cell start from the same weights and see the same number of images.
    """
    subset = drawn_subset(cell, plan, material)
    real = _images(subset)
    minted = {minting: minted_pack(cell, plan, subset, minting) for minting in _mintings(arms)}
    images_seen = plan.classifier_plan.images_seen(len(subset))
    teach = partial(_taught, cell, plan, material, images_seen)
    chosen_among = free_arms(plan.arms)
    taught = sum(find_arm(arm).images is not None for arm in arms)
    with progress((taught + sum(arm in chosen_among for arm in arms)) * images_seen, "classify") as advance:

        @cache
        def teacher() -> Classifier:
            """What `classic` trains, for this arm alone: from other weights, in another order."""
            teaching = TrainingSet(*real, n_real=len(subset), n_added=0)
            return teach(find_arm("classic"), teaching, unseen, purpose="teacher")

        for name in arms:
            started, arm = time.monotonic(), find_arm(name)
            pack = minted[arm.minting] if arm.minting else None
            factors: dict[str, float] = {}
            seen, added, fingerprint = images_seen, None, pack.fingerprint if pack else None
            if arm.path:
                added, note = material.added[name]
                fingerprint = note.fingerprint
            sources = Sources(
                real=real,
                minted=(_images(pack) if pack else _none_of(real)) if arm.minting else None,
                pack=added,
                classes=material.classes,
                real_share=plan.real_share_at(cell.budget),
                rising=plan.real_schedule == "rising",
                shares=plan.shares,
                seed=_classifier_seed(cell, plan),
                teacher=lambda pixels: np.exp(teacher().log_probabilities(pixels)),
            )
            if arm.images is None:
                taught_with, found = None, _most_frequent(real.labels, material)
                history: History = []
            else:
                taught_with = arm.images(sources)
                watched = {"training": _some(_certain(taught_with), plan), "test": _some(material.test, plan)}
                run = trained(cell, plan, subset, USUALLY) if arm.discriminator else None
                if run is not None and arm.discriminator == "as it is":
                    net: Classifier = judge_of(run)
                    seen = run.images_seen
                    advance(images_seen, note=name)
                else:
                    teach_it = partial(teach, kind=started_from(run) if run is not None else None)
                    factors = _chosen(arm, sources, plan, teach_it)
                    teach_it = partial(teach_it, factors=factors)
                    net = teach_it(arm, taught_with, partial(advance, note=name), watched=watched)
                    seen = _length(images_seen, factors)
                found, history = evaluate(net, *material.test), net.history
            held_out = None
            if name in chosen_among:
                choice = partial(advance, note="choice")
                held_out = _held_out(arm, sources, plan, partial(teach, factors=factors), choice)
            save_classes(cell.predictions(name), found.predictions)
            save_log_probabilities(cell.log_probabilities(name), _of_label(found))
            yield Row(
                budget=cell.budget,
                repeat=cell.repeat,
                arm=name,
                accuracy=found.accuracy,
                loss=found.loss,
                per_class=_by_class(found),
                n_real=taught_with.n_real if taught_with else 0,
                n_minted=taught_with.n_added if taught_with else 0,
                n_test=len(material.test.labels),
                images_seen=seen if taught_with else 0,
                seed=_classifier_seed(cell, plan),
                subset=subset.fingerprint,
                minted=fingerprint,
                test=material.test_fingerprint,
                seconds=round(time.monotonic() - started, 2),
                scores={each: score.compute(found.labels, found.probabilities) for each, score in SCORES.items()},
                validation=held_out[0] if held_out else None,
                chosen=factors,
                history=_looks(history, held_out[1] if held_out else []),
            )


def subset_rows(budget: str, repeat: int, seed: int, pool: Sequence[np.ndarray]) -> np.ndarray:
    """Indices of the images of a budget, int64, ascending; those of smaller budgets of the repeat are among them."""
    orders = [seeds.rng(seed, f"study subset {k}", repeat).permutation(each) for k, each in enumerate(pool)]
    drawn = [each[: images_of(budget, len(each))] for each in orders]
    rows: np.ndarray = np.sort(np.concatenate(drawn))
    return rows


def drawn_subset(cell: Cell, plan: StudyPlan, material: Material) -> Pack:
    """The pack of real images that this budget and repeat may learn from."""
    if cell.subset.exists():
        return open_pack(cell.subset)
    parameters = {"budget": cell.budget, "repeat": cell.repeat, "seed": plan.seed}
    return rewrite(
        material.pack,
        cell.subset,
        "study subset",
        parameters,
        order=subset_rows(cell.budget, cell.repeat, plan.seed, material.pool),
        labels=material.labels,
        classes=material.classes,
    )


def minted_pack(cell: Cell, plan: StudyPlan, subset: Pack, minting: Minting) -> Pack | None:
    """What the recipe mints, which sees the subset and nothing else; None where no image is wanted.

    The first images of a class are the same ones in every pack that the same training minted.
    """
    dest = cell.minted_for(minting.name)
    if dest.exists():
        return open_pack(dest)
    counts = minting.counts(Need(subset.counts(), plan.minted_per_class, plan.rare, plan.shares))
    if not any(counts.values()):
        return None
    run = trained(cell, plan, subset, minting)
    screening: dict[str, Any] = {} if minting.keep is None else {"keep": minting.keep, "pack": subset}
    screening |= {} if minting.density_ratio is None else {"density_ratio": minting.density_ratio}
    return mint(run, dest, counts=counts, seed=plan.seed_for("mint", cell.budget, cell.repeat), **screening)


def trained(cell: Cell, plan: StudyPlan, subset: Pack, minting: Minting) -> Run:
    """The training of the recipe of a minting on the subset, from its newest checkpoint where it has begun."""
    return train(
        subset,
        recipe_of(plan, minting),
        cell.run_of(minting.recipe),
        seed=plan.seed_for("gan", cell.budget, cell.repeat),
        resume=True,
    )


def recipe_of(plan: StudyPlan, minting: Minting) -> AnyRecipe:
    """The study's recipe or the arm's own, for as long as the plan says."""
    wanted = minting.recipe or plan.recipe
    assert wanted is not None
    recipe = load_recipe(wanted)
    fixed = minting.recipe and not recipe.has_length
    return recipe if fixed else load_recipe(recipe, plan.duration)


def _mintings(arms: Sequence[str]) -> list[Minting]:
    return list(dict.fromkeys(minting for arm in arms if (minting := find_arm(arm).minting)))


def _classifier_seed(cell: Cell, plan: StudyPlan) -> int:
    return plan.seed_for("classifier", cell.budget, cell.repeat)


def _images(pack: Pack) -> Images:
    return Images(pack.pixels, np.asarray(pack.labels))


def _none_of(real: Images) -> Images:
    return Images(real.pixels[:0], real.labels[:0])


def _taught(
    cell: Cell,
    plan: StudyPlan,
    material: Material,
    images_seen: int,
    arm: Arm,
    taught_with: TrainingSet,
    advance: Advance,
    purpose: str = "classifier",
    watched: Mapping[str, Images] | None = None,
    kind: Kind | None = None,
    factors: Mapping[str, float] | None = None,
) -> Classifier:
    """A classifier that learned from `taught_with`; `factors` of what the plan says, by the names of CHOICES."""
    factors = factors or {}
    how = plan.classifier_plan
    if "learning-rate" in factors:
        usual = (kind or CLASSIFIERS[plan.classifier]).learning_rate
        how = how.model_copy(update={"learning_rate": (how.learning_rate or usual) * factors["learning-rate"]})
    length, seed = _length(images_seen, factors), plan.seed_for(purpose, cell.budget, cell.repeat)
    return train_classifier(
        taught_with.pixels,
        taught_with.labels,
        len(material.classes),
        images_seen=length,
        seed=seed,
        plan=how,
        augment=_augmentation(arm, plan, factors.get("augmentation", 1.0)),
        mix=_mixing(arm, factors.get("augmentation", 1.0)),
        weights=taught_with.weights,
        kind=kind,
        order=_order(taught_with, length, seed),
        agreement=_agreement(taught_with, plan, factors.get("augmentation", 1.0)),
        watched=watched,
        looks=LOOKS,
        advance=scaled(advance, images_seen / length),  # a chosen length is as much of the study as the usual one
    )


def _order(taught_with: TrainingSet, length: int, seed: int) -> RisingBatches | None:
    if taught_with.rising is None:
        return None
    n_real, n_added = taught_with.n_real, taught_with.n_added
    return RisingBatches(n_real, n_added, share=taught_with.rising, length=length, seed=seed)


def _agreement(taught_with: TrainingSet, plan: StudyPlan, factor: float) -> Agreement | None:
    if taught_with.unlabelled is None:
        return None
    return Agreement(taught_with.unlabelled, _changed(STRONG_VIEW, plan, factor))


def _length(images_seen: int, factors: Mapping[str, float]) -> int:
    return max(round(images_seen * factors.get("length", 1.0)), 1)


def _chosen(arm: Arm, sources: Sources, plan: StudyPlan, teach: Callable[..., Classifier]) -> dict[str, float]:
    """The factors of CHOICES that the plan wants chosen, by the score on held-out real images of the subset.

    One after the other: each with the best of those before it. Of equal ones the first, which is 1, stands.
    """
    found: dict[str, float] = {}
    for name in plan.classifier_choose:
        if name == "augmentation" and arm.augment == "none":
            continue
        scores: dict[float, float] = {}
        for factor in CHOICES[name]:
            held_out = _held_out(arm, sources, plan, partial(teach, factors={**found, name: factor}), unseen)
            if held_out is None:  # no class has two images
                return {}
            scores[factor] = held_out[0]
        found[name] = max(scores, key=lambda factor: scores[factor])
    return found


def _certain(taught_with: TrainingSet) -> Images:
    """The images of a training set with the most probable class of each."""
    labels = taught_with.labels
    return Images(taught_with.pixels, labels if labels.ndim == 1 else labels.argmax(1))


def _some(images: Images, plan: StudyPlan) -> Images:
    """`WATCHED` of some images at most: a look costs time."""
    if len(images.labels) <= WATCHED:
        return images
    rows = np.sort(seeds.rng(plan.seed, "study looks").choice(len(images.labels), WATCHED, replace=False))
    return Images(images.pixels[rows], images.labels[rows])


def _looks(history: History, of_twin: History) -> list[Look]:
    """Both histories line by line; rounded, since a study has many."""
    looks: dict[int, dict[str, Any]] = {}
    for line in [*history, *of_twin]:
        marks = {
            name: {of: round(each, 5) for of, each in mark.items()} for name, mark in line.items() if name != SEEN
        }
        looks.setdefault(line[SEEN], {SEEN: line[SEEN]}).update(marks)
    return [Look.model_validate(looks[seen]) for seen in sorted(looks)]


def _augmentation(arm: Arm, plan: StudyPlan, factor: float) -> Augment | None:
    return None if arm.augment == "none" else _changed(AUGMENTATIONS[arm.augment], plan, factor)


def _changed(ranges: Ranges, plan: StudyPlan, factor: float) -> Augment:
    flips = plan.recipe is not None and plan.recipe.flips
    return partial(augmented, ranges=times(ranges, factor), flips=flips)


def _mixing(arm: Arm, factor: float) -> Mix | None:
    if arm.augment == "none" or AUGMENTATIONS[arm.augment].mixing == "none":
        return None
    return partial(mixed, ranges=times(AUGMENTATIONS[arm.augment], factor))


def _held_out(
    arm: Arm, sources: Sources, plan: StudyPlan, teach: Callable[..., Classifier], advance: Advance
) -> tuple[float, History] | None:
    """The study's score of an arm that learned from a part of the real images, on the others; higher is better.

    With the history of that classifier on the others. The split is the same for every arm. None where no class has
    two images. No test image plays a part.
    """
    assert arm.images is not None
    labels = sources.real.labels
    held_out = np.zeros(len(labels), bool)
    for label in range(len(sources.classes)):
        members = seeds.rng(sources.seed, "study validation", label).permutation(np.flatnonzero(labels == label))
        if len(members) > 1:
            held_out[members[: max(round(HELD_OUT * len(members)), 1)]] = True
    if not held_out.any():
        return None
    kept = Images(sources.real.pixels[~held_out], labels[~held_out])
    others = Images(sources.real.pixels[held_out], labels[held_out])
    net = teach(
        arm,
        arm.images(replace(sources, real=kept)),
        advance,
        purpose="choice",
        watched={"validation": _some(others, plan)},
    )
    found = evaluate(net, *others)
    score = statistics.SCORES[plan.score or FIRST_SCORE]
    return float(score.per_image(found.labels, found.probabilities).mean()), net.history


def _most_frequent(learned: np.ndarray, material: Material) -> Evaluation:
    """Always the most frequent class of the labels `learned`; its loss is that of stating the class frequencies."""
    frequencies = np.bincount(learned, minlength=len(material.classes)) / len(learned)
    return Evaluation(np.tile(np.log(frequencies), (len(material.test.labels), 1)), np.asarray(material.test.labels))


def _of_label(found: Evaluation) -> np.ndarray:
    """The log probability of the label of each image, float64 `[n]`."""
    return np.minimum(found.log_probabilities[np.arange(len(found.labels)), found.labels], 0)


def _by_class(found: Evaluation) -> list[float | None]:
    """Accuracy on the test images of each class."""
    right, asked = np.diag(found.confusion), found.confusion.sum(1)
    return [float(r / n) if n else None for r, n in zip(right, asked, strict=True)]
