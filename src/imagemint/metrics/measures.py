"""Two packs -> named numbers, each with its interval and its floor: what held-out real images get by the same rule.

    measure(minted, against)
      hold out    from every class as many real images as were minted, at most half of the class
      judge       a LeNet that learns the other real images, which are the reference
      compare     minted images, and held-out real ones in the same numbers, with the reference

Only classes that both packs have play a part; what was left out is said. A minted pack without any label (its
networks do not see labels) is compared as a whole with real images in their own proportions, and what asks for labels
is left out.

Intervals are value +- 1.96 bootstrap standard errors: images of each class are drawn again with replacement, 50
times. Of the Fréchet distance the minted images alone are drawn again; of precision, recall, density and coverage the
balls stay those of all images.

Fréchet's distance comes out too large where images are few, of minted and of real ones alike: compare it with its
floor, never with a distance from another number of images. The kernel distance has no such bias; with as many images
per class on both sides it and its floor may lie a little below 0.

A new metric is one function and one row of METRICS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from imagemint import seeds
from imagemint.arguments import whole
from imagemint.classifiers import LeNet
from imagemint.data.pack import UNLABELLED, Pack, open_pack
from imagemint.data.rewriting import relabelled
from imagemint.errors import MeasureError
from imagemint.metrics.comparison import Comparison, Side, Weights
from imagemint.metrics.copies import SHOWN, nearest_features, summary
from imagemint.metrics.features import Features, feature_file, features_of
from imagemint.metrics.frechet import frechet_distances
from imagemint.metrics.judge import JudgeSplit, judge_plan, judge_split, train_judge
from imagemint.metrics.kernel import kernel_distance
from imagemint.metrics.nearest import Nearest
from imagemint.metrics.scores import classifier_score, diversity, variety
from imagemint.progress import progress
from imagemint.words import counted, listed

Direction = Literal["lower", "higher"]
FEWEST = 50  # images on either side: below, a distance says nothing even beside a floor. Our choice
FEWEST_SCORED = 20  # for what is a share or a spread and no distance between distributions
_COPY_BYTES = 2 << 20  # of pixels, between two signs of progress
NORMAL_95 = 1.96  # standard deviations: 95 % of a normal distribution lie within


@dataclass(frozen=True, eq=False)
class Sides:
    """All images that play a part, and what is compared with what: (minted beside real, and real in its place)."""

    every: Side  # minted images
    minted: Side  # of these as many per class as were held out
    held_out: Side  # real images that the judge has not seen
    reference: Side  # real images that it has learned
    seed: int

    @cached_property
    def with_learned(self) -> tuple[Comparison, Comparison]:
        """As many minted as held-out images, beside the real images that the judge has learned."""
        return Comparison(self.minted, self.reference), Comparison(self.held_out, self.reference)

    @cached_property
    def with_every_minted(self) -> tuple[Comparison, Comparison]:
        """The same with all minted images."""
        return Comparison(self.every, self.reference), Comparison(self.held_out, self.reference)

    @cached_property
    def with_unseen(self) -> tuple[Comparison, Comparison]:
        """Minted beside held-out images; for the floor, one half of these of each class beside the other half."""
        order = seeds.rng(self.seed, "halves of the held-out images").permutation(len(self.held_out))
        order = order[np.argsort(self.held_out.labels[order], kind="stable")]
        one, other = (self.held_out.rows(order[start::2]) for start in (0, 1))
        return Comparison(self.minted, self.held_out), Comparison(one, other)

    def of_class(self, label: int) -> Sides:
        """The images of one class."""
        return Sides(
            every=self.every.of_class(label),
            minted=self.minted.of_class(label),
            held_out=self.held_out.of_class(label),
            reference=self.reference.of_class(label),
            seed=self.seed,
        )


SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Metric:
    """A row of METRICS. `compute` gives one value per row of weights, float64 `[b]`."""

    compute: Callable[[Comparison, Weights], np.ndarray]
    direction: Direction  # which values are better
    label: str
    bounds: tuple[float, float] = SHARE
    least: int = FEWEST  # images of minted, held-out and reference each
    compared: Callable[[Sides], tuple[Comparison, Comparison]] = lambda sides: sides.with_learned
    on_features: bool = False  # its name carries the name of the features: fd_lenet
    labels: bool = False  # asks for labels


METRICS: dict[str, Metric] = {
    "fd": Metric(
        lambda c, w: frechet_distances(c.sample.features, c.real.features, w.sample),
        "lower",
        "Fréchet distance",
        bounds=(0, np.inf),
        on_features=True,
    ),
    "kd": Metric(
        lambda c, w: kernel_distance(c.sample.features, c.real.features, (w.sample, w.real)),
        "lower",
        "kernel distance",
        bounds=(-np.inf, np.inf),
        on_features=True,
    ),
    "precision": Metric(
        lambda c, w: _mean(c.manifold.precise, w.sample),
        "higher",
        "precision: share of minted images that lie among real ones",
    ),
    "recall": Metric(
        lambda c, w: _mean(c.manifold.recalled, w.real),
        "higher",
        "recall: share of real images that lie among minted ones",
    ),
    "density": Metric(
        lambda c, w: _mean(c.manifold.dense, w.sample),
        "higher",
        "density: how densely real images lie around minted ones",
        bounds=(0, np.inf),
    ),
    "coverage": Metric(
        lambda c, w: _mean(c.manifold.covered, w.real),
        "higher",
        "coverage: share of real images with a minted one beside them",
    ),
    "diversity": Metric(
        lambda c, w: diversity(
            (c.sample.features, c.sample.labels), (c.real.features, c.real.labels), (w.sample, w.real)
        ),
        "higher",
        "diversity within classes: 1 where it is that of real images",
        least=FEWEST_SCORED,
        compared=lambda sides: sides.with_unseen,
        labels=True,
    ),
    "confidence": Metric(
        lambda c, w: _mean(c.sample.confidence, w.sample),
        "higher",
        "confidence: mean probability that the judge gives the class it sees",
        least=FEWEST_SCORED,
        compared=lambda sides: sides.with_every_minted,
    ),
    "variety": Metric(
        lambda c, w: variety((c.sample.predicted, c.real.predicted), (w.sample, w.real)),
        "higher",
        "variety of classes that the judge sees: 1 where it is that of real images",
        least=FEWEST_SCORED,
    ),
    "classifier_score": Metric(
        lambda c, w: classifier_score(c.sample.predicted, c.sample.labels, w.sample),
        "higher",
        "classifier score: share of images that the judge assigns to their class",
        least=FEWEST_SCORED,
        compared=lambda sides: sides.with_every_minted,
        labels=True,
    ),
}


def metric_named(name: str) -> Metric:
    """The row of METRICS that a name in a result stands for.

    >>> metric_named("fd_pixels").label, metric_named("recall").direction
    ('Fréchet distance', 'higher')
    """
    short = {"fid": "fd", "kid": "kd"}.get(name, name)
    return METRICS[short] if short in METRICS else METRICS[short.partition("_")[0]]


def _mean(terms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted means of `[n]` for each row of `[b, n]`: float64 `[b]`."""
    mean: np.ndarray = weights @ terms / weights.sum(1)
    return mean


@dataclass(frozen=True)
class Measure:
    """A number with its 95 % interval, what real images get instead, and how many images are behind the two."""

    value: float
    low: float
    high: float
    floor: float
    n_real: int
    n_minted: int
    direction: Direction


class Measures(BaseModel):
    """Everything that `measure` found; `measures["fd_lenet"].value`. Its JSON is what `imagemint measure` prints."""

    model_config = ConfigDict(frozen=True)

    values: dict[str, Measure]
    per_class: dict[str, dict[str, Measure]]  # by class name, then as `values`; what a class has enough images for
    remarks: list[str]  # what was left out, and why
    features: dict[str, Any]  # name, origin, sha256, width
    copies: dict[str, Any]  # verdict, nearness by pixels and by features, by class, closest pairs: `metrics.copies`
    n_reference: int  # real images that everything was compared with
    confusion: dict[str, Any]  # classes; rows: class asked for, columns: class that the judge sees; empty: no labels
    seen_as: list[int]  # minted images by the class that the judge sees
    minted: str  # fingerprint
    against: str  # fingerprint
    judge: str  # sha256 of the judge's weights
    judge_plan: dict[str, Any]  # how the judge learned
    seed: int

    def __getitem__(self, name: str) -> Measure:
        return self.values[name]

    @property
    def classes(self) -> list[str]:
        """Class names of the real pack."""
        return list(self.confusion["classes"])

    def table(self) -> str:
        """A few lines for the terminal."""
        head = f"{'':<18}{'minted':>10}{'95 % interval':>26}{'real floor':>12}   images (real, minted)"
        rows = []
        for name, each in self.values.items():
            interval = f"{each.low:.4g} to {each.high:.4g}"
            line = f"{name:<18}{each.value:>10.4g}{interval:>26}{each.floor:>12.4g}"
            rows.append(f"{line}   {each.n_real}, {each.n_minted}; {each.direction} is better")
        seen = ", ".join(f"{name} {n}" for name, n in zip(self.classes, self.seen_as, strict=True))
        return "\n".join([head, *rows, self.copies["verdict"], f"the judge sees: {seen}", *self.remarks])


def measure(
    minted: Pack | Path | str,
    against: Pack | Path | str,
    *,
    features: str = "lenet",
    seed: int = 0,
    **judge_options: Any,
) -> Measures:
    """Measure a minted pack against a real one: `METRICS`, and the judge's confusion matrix.

    `features` are `lenet` (learned from the real pack), `pixels`, or `file:PATH` (a network of your own, see
    `imagemint.classifiers.outside`). `judge_options` say how the judge learns: learning_rate, decay, batch_size,
    epochs and at_least of `ClassifierPlan`. Needs at least 50 images on either side in classes that both have. The
    same packs, features and seed give the same numbers. Raises MeasureError where the packs do not fit or are too
    small, and NetworkError for a features file that cannot be used.

    >>> from imagemint import pack, split
    >>> halves = split(pack("digits", "digits.pack"), "halves", test=0.5)
    >>> found = measure(halves["test"], halves["train"], at_least=1000)  # real images as if they were minted
    >>> found["fd_lenet"].n_real > 400, found["fd_lenet"].floor > 0
    (True, True)
    """
    seed, plan = whole(seed, "--seed", 0), judge_plan(**judge_options)
    minted, against = open_pack(minted), open_pack(against)
    labels = _matching_labels(minted, against)
    file = feature_file(features, against)
    labelled = bool((labels >= 0).any())
    available = _available(labels, against, labelled)
    _check_enough(available, int((labels >= 0).sum()) if labelled else len(labels), against)
    split = judge_split(against, available, seed)
    held_out_labels = np.asarray(against.labels[split.held_out])
    counts = np.bincount(held_out_labels, minlength=len(against.classes))
    asked = np.flatnonzero(counts[labels.clip(0)] * (labels >= 0)) if labelled else np.arange(len(labels))
    _check_left(len(asked), len(split.held_out))

    judge = train_judge(against, split.reference, seed, plan)
    learned = split.reference
    if labelled:  # the judge learns every class; compared are those of both packs
        learned = learned[counts[against.labels[learned]] > 0]
    made = features_of(features, judge, file)
    every = _side(minted, asked, labels[asked], made, judge)
    picks = _sample(every.labels, counts, seed) if labelled else _any(len(asked), len(held_out_labels), seed)
    held_out = _side(against, split.held_out, held_out_labels, made, judge)
    reference = _side(against, learned, np.asarray(against.labels[learned]), made, judge)
    sides = Sides(every, every.rows(picks), held_out, reference, seed)
    confusion = np.zeros((len(against.classes), len(against.classes)), np.int64)
    if labelled:
        np.add.at(confusion, (every.labels, every.predicted), 1)
    return Measures(
        values=_values(sides, made, labelled),
        per_class=_per_class(sides, made, against.classes) if labelled else {},
        remarks=_remarks(labels, counts, against) if labelled else [],
        features={
            "name": made.name,
            "origin": made.origin,
            "sha256": made.sha256,
            "width": int(every.features.shape[1]),
        },
        copies=_copies(minted, against, asked, picks, split, sides, seed),
        n_reference=len(reference),
        confusion={"classes": against.classes, "rows": confusion.tolist() if labelled else []},
        seen_as=np.bincount(every.predicted, minlength=len(against.classes)).tolist(),
        minted=minted.fingerprint,
        against=against.fingerprint,
        judge=judge.weights_hash(),
        judge_plan=plan.model_dump(exclude={"classifier"}),
        seed=seed,
    )


# --- from images to numbers ---------------------------------------------------------------------------------------


def _side(pack: Pack, rows: np.ndarray, labels: np.ndarray, made: Features, judge: LeNet) -> Side:
    """Features and the judge's opinion of the images `rows` of a pack, read in blocks."""
    found, seen = [], []
    for index in pack.blocks(rows):
        pixels = np.asarray(pack.pixels[index])
        found.append(made.of(pixels))
        seen.append(judge.log_probabilities(pixels))
    logs = np.concatenate(seen)
    return Side(np.concatenate(found), labels, logs.argmax(1), np.exp(logs.max(1).astype(np.float64)))


def _values(sides: Sides, made: Features, labelled: bool) -> dict[str, Measure]:
    """What METRICS have enough images and labels for."""
    fewest = min(len(sides.minted), len(sides.held_out), len(sides.reference))
    found = {}
    for name, metric in METRICS.items():
        if fewest < metric.least or (metric.labels and not labelled):
            continue
        minted, real = metric.compared(sides)
        values = metric.compute(minted, Weights.drawn(minted, sides.seed))
        floor = metric.compute(real, Weights.once(real))
        if not np.isfinite([values[0], floor[0]]).all():  # no class has two images on both sides
            continue
        reach = NORMAL_95 * float(values[1:].std(ddof=1))
        low, high = (float(np.clip(values[0] + side, *metric.bounds)) for side in (-reach, reach))
        found[made.named(name) if metric.on_features else name] = Measure(
            value=float(values[0]),
            low=low,
            high=high,
            floor=float(floor[0]),
            n_real=len(sides.held_out),
            n_minted=len(minted.sample),
            direction=metric.direction,
        )
    return found


def _per_class(sides: Sides, made: Features, classes: list[str]) -> dict[str, dict[str, Measure]]:
    """`_values` of each class, as far as its images go."""
    labels = np.unique(sides.held_out.labels).tolist()
    found = {classes[label]: _values(sides.of_class(label), made, labelled=True) for label in labels}
    return {name: values for name, values in found.items() if values}


def _copies(
    minted: Pack, against: Pack, asked: np.ndarray, picks: np.ndarray, split: JudgeSplit, sides: Sides, seed: int
) -> dict[str, Any]:
    """How near the minted images that are compared are, and of all of them the closest pairs: indices into both."""
    learned = Nearest(against.pixels, split.reference)
    nearest, distances = _in_blocks(learned, minted, asked)
    found = summary(
        (distances[picks], _in_blocks(learned, against, split.held_out)[1]),
        (
            nearest_features(sides.minted.features, sides.reference.features),
            nearest_features(sides.held_out.features, sides.reference.features),
        ),
        (sides.minted.labels, sides.held_out.labels),
        against.classes,
        seed,
    )
    closest = np.argsort(distances, kind="stable")[:SHOWN]
    found["closest"] = [
        {
            "minted": int(asked[k]),
            "real": int(split.reference[nearest[k]]),
            "distance": float(distances[k] / np.prod(minted.pixels.shape[1:])),  # levels of 255, mean over the values
        }
        for k in closest
    ]
    return found


def _in_blocks(learned: Nearest, pack: Pack, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    with progress(len(rows), "copies") as advance:
        found = []
        for index in pack.blocks(rows, block_bytes=_COPY_BYTES):
            found.append(learned.of(np.asarray(pack.pixels[index])))
            advance(len(index))
    numbers, distances = zip(*found, strict=True)
    return np.concatenate(numbers), np.concatenate(distances)


# --- which images -------------------------------------------------------------------------------------------------


def _available(labels: np.ndarray, against: Pack, labelled: bool) -> np.ndarray:
    """Minted images of each class, int64 `[k]`; without labels as many in all, in the real pack's proportions."""
    if labelled:
        return np.bincount(labels[labels >= 0], minlength=len(against.classes))
    real = np.array(list(against.counts().values()))
    return (len(labels) * real) // max(real.sum(), 1)


def _matching_labels(minted: Pack, against: Pack) -> np.ndarray:
    """The minted labels as indices into the real pack's classes, int64 `[n]`; -1 stays."""
    shape, wanted = minted.pixels.shape[1:], against.pixels.shape[1:]
    if shape != wanted:
        raise MeasureError(
            f"the minted images are {_shape(shape)} and the real ones {_shape(wanted)}",
            "the same size and channels in both packs",
            "pack or resize one of them again",
        )
    unknown = [name for name, count in minted.counts().items() if count and name not in against.classes]
    if unknown:
        raise MeasureError(
            f"minted class {unknown[0]!r} is not in the real pack (it has {listed(against.classes)})",
            "classes of the same names",
            "measure against the pack that the run was trained on, or rename the class",
        )
    index = {name: label for label, name in enumerate(against.classes)}
    return relabelled(np.asarray(minted.labels), [index.get(name, UNLABELLED) for name in minted.classes])


def _check_enough(available: np.ndarray, n_minted: int, against: Pack) -> None:
    """Raise MeasureError unless both sides can give FEWEST images of classes that both have."""
    if n_minted < FEWEST:
        found, remedy = f"{counted(n_minted, 'minted image')} to measure", f"mint at least {FEWEST}"
        raise MeasureError(found, f"at least {FEWEST}", remedy)
    real = np.array(list(against.counts().values()))
    shared = int(np.minimum(available, real // 2).sum())
    if shared < FEWEST:
        raise MeasureError(
            f"only {counted(shared, 'real image')} can be held out beside {counted(n_minted, 'minted image')} "
            "(at most half of each class)",
            f"at least {FEWEST}, so {2 * FEWEST} or more real images in the classes that were minted",
            "measure against a larger real pack",
        )


def _check_left(minted: int, real: int) -> None:
    """The same once exact copies are kept together and classes without a real image beside them are out."""
    if min(minted, real) < FEWEST:
        raise MeasureError(
            f"only {counted(real, 'different real image')} can be held out beside {counted(minted, 'minted image')}",
            f"at least {FEWEST} of either in the same classes",
            "measure against a larger real pack, or mint more of the classes that it has",
        )


def _remarks(labels: np.ndarray, held_out: np.ndarray, against: Pack) -> list[str]:
    """What plays no part, in words: classes that one side lacks, and images without a label."""
    minted = np.bincount(labels[labels >= 0], minlength=len(against.classes))
    remarks = []
    alone = [name for name, n, real in zip(against.classes, minted, held_out, strict=True) if n and not real]
    if alone:
        why = "too few different real images to hold one out"
        remarks.append(f"left out on both sides, {why}: {listed(alone, 20)}")
    absent = [name for (name, real), n in zip(against.counts().items(), minted, strict=True) if real and not n]
    if absent:
        remarks.append(f"left out on both sides, no minted image: {listed(absent, 20)}")
    for what, count in (("minted", int((labels < 0).sum())), ("real", against.unlabelled())):
        if count:
            remarks.append(f"left out: {counted(count, f'{what} image')} without a label")
    return remarks


def _sample(labels: np.ndarray, counts: np.ndarray, seed: int) -> np.ndarray:
    """`counts[k]` indices of every label k, int64, in order."""
    picks = [
        seeds.rng(seed, "minted sample", label).permutation(np.flatnonzero(labels == label))[:count]
        for label, count in enumerate(counts)
    ]
    return np.sort(np.concatenate(picks))


def _any(n: int, count: int, seed: int) -> np.ndarray:
    """`count` of n indices, int64, in order."""
    return np.sort(seeds.rng(seed, "minted sample").permutation(n)[:count])


def _shape(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[2]} with {counted(shape[0], 'channel')}"
