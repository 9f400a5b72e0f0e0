"""The rows of one budget and one repeat: draw the real images, mint from them, teach a classifier for every arm."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from torch import Tensor

from imagemint import seeds
from imagemint.augment import classic
from imagemint.classifiers import Evaluation, evaluate, train_classifier
from imagemint.data.pack import Pack, open_pack
from imagemint.data.rewriting import rewrite
from imagemint.fitting import train
from imagemint.minting import mint
from imagemint.progress import Advance, progress
from imagemint.studies.arms import Arm, Images, Sources, TrainingSet, find_arm
from imagemint.studies.folder import Cell, Row, save_classes
from imagemint.studies.material import Material
from imagemint.studies.plan import ALL, StudyPlan

# What `Arm.augment` names; each takes `flips`, whether mirror images keep their class.
AUGMENTATIONS: dict[str, Callable[..., Tensor] | None] = {"none": None, "classic": classic}


def compute_rows(cell: Cell, plan: StudyPlan, material: Material, arms: Sequence[str]) -> Iterator[Row]:
    """One row for each arm, as soon as its predictions are written.

    All classifiers of a cell start from the same weights and see the same number of images.
    """
    subset = drawn_subset(cell, plan, material)
    minted = minted_pack(cell, plan, subset) if any(find_arm(arm).minted for arm in arms) else None
    images_seen = plan.classifier_plan.images_seen(len(subset))
    taught = sum(find_arm(arm).images is not None for arm in arms)
    with progress(taught * images_seen, "classify") as advance:
        for name in arms:
            started, arm = time.monotonic(), find_arm(name)
            added, fingerprint = None, minted.fingerprint if minted and arm.minted else None
            if arm.path:
                added, note = material.added[name]
                fingerprint = note.fingerprint
            sources = Sources(
                real=_images(subset),
                minted=_images(minted) if minted and arm.minted else None,
                pack=added,
                real_share=plan.real_share,
                seed=_classifier_seed(cell, plan),
            )
            taught_with = arm.images(sources) if arm.images else None
            found = _answers(cell, plan, material, subset, arm, taught_with, partial(advance, note=name))
            save_classes(cell.predictions(name), found.predictions)
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
                images_seen=images_seen if taught_with else 0,
                seed=_classifier_seed(cell, plan),
                subset=subset.fingerprint,
                minted=fingerprint,
                test=material.test_fingerprint,
                seconds=round(time.monotonic() - started, 2),
            )


def subset_rows(budget: str, repeat: int, seed: int, pool: Sequence[np.ndarray]) -> np.ndarray:
    """Indices of the images of a budget, int64, ascending; those of smaller budgets of the repeat are among them."""
    count = None if budget == ALL else int(budget)
    drawn = [seeds.rng(seed, f"study subset {k}", repeat).permutation(each)[:count] for k, each in enumerate(pool)]
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


def minted_pack(cell: Cell, plan: StudyPlan, subset: Pack) -> Pack:
    """What the recipe mints, which sees the subset and nothing else: by default as many of each class as it has."""
    if cell.minted.exists():
        return open_pack(cell.minted)
    assert plan.recipe is not None
    seed = plan.seed_for("gan", cell.budget, cell.repeat)
    run = train(subset, plan.recipe, cell.run, seed=seed, epochs=plan.epochs, images=plan.images, resume=True)
    per_class = plan.minted_per_class
    counts = subset.counts() if per_class is None else dict.fromkeys(subset.classes, per_class)
    return mint(run, cell.minted, counts=counts, seed=plan.seed_for("mint", cell.budget, cell.repeat))


def _classifier_seed(cell: Cell, plan: StudyPlan) -> int:
    return plan.seed_for("classifier", cell.budget, cell.repeat)


def _images(pack: Pack) -> Images:
    return Images(pack.pixels, np.asarray(pack.labels))


def _answers(
    cell: Cell,
    plan: StudyPlan,
    material: Material,
    subset: Pack,
    arm: Arm,
    taught_with: TrainingSet | None,
    advance: Advance,
) -> Evaluation:
    """What a classifier that learned from `taught_with`, or nothing, says about the test images."""
    if taught_with is None:
        return _most_frequent(np.asarray(subset.labels), material)
    augmentation = AUGMENTATIONS[arm.augment]
    flips = plan.recipe is not None and plan.recipe.flips
    net = train_classifier(
        taught_with.pixels,
        taught_with.labels,
        len(material.classes),
        images_seen=plan.classifier_plan.images_seen(len(subset)),
        seed=_classifier_seed(cell, plan),
        plan=plan.classifier_plan,
        weights=taught_with.weights,
        augment=partial(augmentation, flips=flips) if augmentation else None,
        advance=advance,
    )
    return evaluate(net, *material.test)


def _most_frequent(learned: np.ndarray, material: Material) -> Evaluation:
    """Always the most frequent class of the labels `learned`; its loss is that of stating the class frequencies."""
    frequencies = np.bincount(learned, minlength=len(material.classes)) / len(learned)
    return Evaluation(np.tile(np.log(frequencies), (len(material.test.labels), 1)), np.asarray(material.test.labels))


def _by_class(found: Evaluation) -> list[float | None]:
    """Accuracy on the test images of each class."""
    right, asked = np.diag(found.confusion), found.confusion.sum(1)
    return [float(r / n) if n else None for r, n in zip(right, asked, strict=True)]
