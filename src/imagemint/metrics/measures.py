"""Two packs -> named numbers, each with its floor: what held-out real images get by the same rule.

    measure(minted, against)
      hold out    from every class as many real images as were minted, at most half of the class
      judge       a LeNet that learns the other real images
      compare     minted images, and held-out real ones in the same numbers, with what the judge has learned from

A minted pack without any label (its networks do not see labels) is compared as a whole with real images in their own
proportions; what asks for labels is left out then.

A new measure is one function from Evidence to Measure and one row of METRICS.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, model_serializer

from imagemint import seeds
from imagemint.classifiers import Evaluation, evaluate, features
from imagemint.data.pack import Pack, open_pack
from imagemint.data.rewriting import relabelled
from imagemint.errors import MeasureError
from imagemint.metrics.frechet import Moments, frechet
from imagemint.metrics.judge import judge_split, train_judge
from imagemint.metrics.scores import classifier_score

# Under 50 on a side, a covariance of 500 features says nothing even beside a floor. Our choice.
FEWEST = 50


@dataclass(frozen=True)
class Measure:
    """One number, what real images get instead of it, and how many images each of the two was computed from."""

    value: float
    floor: float
    n_real: int
    n_minted: int


@dataclass(frozen=True, eq=False)
class Evidence:
    """What every metric is computed from. Features are float32 `[n, 500]` of the judge's last hidden layer."""

    reference: np.ndarray  # real images that the judge has learned
    held_out: np.ndarray  # real images that it has not: k of them
    minted: np.ndarray  # k minted images, the same number of each class as `held_out`
    judged_real: Evaluation  # all held-out images
    judged_minted: Evaluation | None  # all minted images that have a label; None where none has


def _fd_lenet(evidence: Evidence) -> Measure:
    """Frechet distance to the reference on LeNet features; smaller is better. No relation to FID's numbers."""
    reference = Moments.of(evidence.reference)
    value, floor = (frechet(Moments.of(side), reference) for side in (evidence.minted, evidence.held_out))
    return Measure(value, floor, len(evidence.held_out), len(evidence.minted))


def _classifier_score(evidence: Evidence) -> Measure | None:
    """Share of images that the judge assigns to the class asked for (real: to their label); larger is better."""
    minted, real = evidence.judged_minted, evidence.judged_real
    if minted is None:
        return None
    n_real, n_minted = len(real.predictions), len(minted.predictions)
    return Measure(classifier_score(minted), classifier_score(real), n_real, n_minted)


METRICS: dict[str, Callable[[Evidence], Measure | None]] = {  # None: not to be had from this evidence
    "fd_lenet": _fd_lenet,
    "classifier_score": _classifier_score,
}


class Measures(BaseModel):
    """Everything that `measure` found; `measures["fd_lenet"].value`."""

    model_config = ConfigDict(frozen=True)

    values: dict[str, Measure]
    classes: list[str]
    confusion: list[list[int]]  # row: class asked for, column: class that the judge sees; no rows without labels
    seen_as: list[int]  # minted images by the class that the judge sees
    minted: str  # fingerprint
    against: str  # fingerprint
    judge: str  # sha256 of the judge's weights

    def __getitem__(self, name: str) -> Measure:
        return self.values[name]

    @model_serializer
    def to_dict(self) -> dict[str, Any]:
        """What `imagemint measure --json` prints."""
        return {
            **{name: asdict(value) for name, value in self.values.items()},
            "confusion": {"classes": self.classes, "rows": self.confusion},
            "seen_as": self.seen_as,
            "minted": self.minted,
            "against": self.against,
            "judge": self.judge,
        }

    def table(self) -> str:
        """A few lines for the terminal."""
        head = f"{'':<18}{'minted':>10}{'real floor':>12}   images (real, minted)"
        rows = [
            f"{name:<18}{each.value:>10.4g}{each.floor:>12.4g}   {each.n_real}, {each.n_minted}"
            for name, each in self.values.items()
        ]
        seen = ", ".join(f"{name} {n}" for name, n in zip(self.classes, self.seen_as, strict=True))
        return "\n".join([head, *rows, f"the judge sees: {seen}"])


def measure(minted: Pack | Path | str, against: Pack | Path | str, *, seed: int = 0) -> Measures:
    """Measure a minted pack against a real one: `METRICS`, and the judge's confusion matrix.

    Needs at least 50 images on either side in classes that both have. Unlabelled images are left out where others
    have labels. The same packs and seed give the same numbers. Raises MeasureError where the packs do not fit or are
    too small.
    """
    minted, against = open_pack(minted), open_pack(against)
    labels = _matching_labels(minted, against)
    labelled = bool((labels >= 0).any())
    asked = np.flatnonzero(labels >= 0) if labelled else np.arange(len(labels))
    available = _available(labels[asked], against, labelled)
    split = judge_split(against, available, seed)
    held_out_labels = np.asarray(against.labels[split.held_out])
    _check_enough(available, len(asked), against)
    judge = train_judge(against, split.reference, seed)

    held_out_pixels = against.pixels[split.held_out]
    counts = np.bincount(held_out_labels, minlength=len(against.classes))
    sample = _sample(labels, counts, seed) if labelled else _any(len(labels), len(held_out_labels), seed)
    judged = evaluate(judge, minted.pixels[asked], labels[asked].clip(0))
    evidence = Evidence(
        reference=features(judge, against.pixels[split.reference]),
        held_out=features(judge, held_out_pixels),
        minted=features(judge, minted.pixels[sample]),
        judged_real=evaluate(judge, held_out_pixels, held_out_labels),
        judged_minted=judged if labelled else None,
    )
    found = {name: metric(evidence) for name, metric in METRICS.items()}
    return Measures(
        values={name: value for name, value in found.items() if value is not None},
        classes=against.classes,
        confusion=judged.confusion.tolist() if labelled else [],
        seen_as=np.bincount(judged.predictions, minlength=len(against.classes)).tolist(),
        minted=minted.fingerprint,
        against=against.fingerprint,
        judge=judge.weights_hash(),
    )


def _available(labels: np.ndarray, against: Pack, labelled: bool) -> np.ndarray:
    """Minted images of each class, int64 `[k]`; without labels as many in all, in the real pack's proportions."""
    if labelled:
        return np.bincount(labels, minlength=len(against.classes))
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
    unknown = [name for name in minted.classes if name not in against.classes]
    if unknown:
        raise MeasureError(
            f"minted class {unknown[0]!r} is not in the real pack (it has {', '.join(against.classes)})",
            "classes of the same names",
            "measure against the pack that the run was trained on, or rename the class",
        )
    return relabelled(np.asarray(minted.labels), [against.classes.index(name) for name in minted.classes])


def _check_enough(available: np.ndarray, n_minted: int, against: Pack) -> None:
    """Raise MeasureError unless both sides can give FEWEST images of classes that both have."""
    if n_minted < FEWEST:
        found, remedy = f"{n_minted} minted images to measure", f"mint at least {FEWEST}"
        raise MeasureError(found, f"at least {FEWEST}", remedy)
    real = np.array(list(against.counts().values()))
    shared = int(np.minimum(available, real // 2).sum())
    if shared < FEWEST:
        raise MeasureError(
            f"only {shared} real images can be held out beside {n_minted} minted ones (at most half of each class)",
            f"at least {FEWEST}, so {2 * FEWEST} or more real images in the classes that were minted",
            "measure against a larger real pack",
        )


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
    return f"{shape[1]}x{shape[2]} with {shape[0]} channel{'s' if shape[0] > 1 else ''}"
