"""Which drawn images are kept: by a classifier that has learned the training images alone, and copies left out.

    --above P       keep images whose class has at least this probability
    --keep SHARE    draw 1 / SHARE times as many per class and keep the most probable
    --reject-copies leave out images that are nearer to a training image than 99 % of training images are to another

No test image plays a part. (GaFi, arXiv 2305.10118, filters by confidence too; its threshold was chosen
on the test set.) Images are drawn in the order of their seeds, class by class, until there are enough; the number of
draws has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from imagemint import seeds
from imagemint.arguments import number
from imagemint.classifiers import AT_LEAST, Classifier, train_classifier
from imagemint.data.pack import Pack
from imagemint.errors import ArgumentError, RunError
from imagemint.metrics.copies import CLOSEST_REAL
from imagemint.metrics.nearest import Nearest
from imagemint.progress import progress
from imagemint.words import counted, shown

ABOVE = 0.9  # where nothing else is asked for
DRAWS_PER_IMAGE = 50  # at most, for each image wanted ...
FEWEST_DRAWS = 1000  # ... but never fewer than this per class
_EPOCHS = 20
_SAMPLE = 1000  # training images whose distances to the others say what is near

Draw = Callable[[np.ndarray], np.ndarray]  # numbers of images of a class, int64 [n] -> pixels uint8 [n, c, h, w]


@dataclass(frozen=True)
class Screening:
    """What is asked for. Raises ArgumentError where it makes no sense."""

    above: float | None = None
    keep: float | None = None
    reject_copies: bool = False

    def __post_init__(self) -> None:
        if self.above is not None and self.keep is not None:
            raise ArgumentError("--above and --keep", "one of the two", "leave one of them out")
        if self.above is not None:
            number(self.above, "--above", 0, 1)
        if self.keep is not None and number(self.keep, "--keep", 0, 1) == 0:
            raise ArgumentError("--keep 0", "a share over 0, up to 1", "write for example --keep 0.5")

    @property
    def by_classifier(self) -> bool:
        """Whether a classifier is needed."""
        return self.above is not None or self.keep is not None


@dataclass(frozen=True, eq=False)
class Screen:
    """A screening with what it needs: a classifier, and a limit of distance to the training images."""

    asked: Screening
    classifier: Classifier | None
    training: Nearest | None
    limit: int  # l1 distance at which an image counts as a copy

    def copies(self, pixels: np.ndarray) -> np.ndarray:
        """Which of uint8 `[n, c, h, w]` are copies, bool `[n]`."""
        if self.training is None:
            return np.zeros(len(pixels), bool)
        return self.training.of(pixels)[1] <= self.limit

    def probabilities(self, pixels: np.ndarray, label: int) -> np.ndarray:
        """Probability that images show the class `label`, float64 `[n]`; 1 where no classifier was asked for."""
        if self.classifier is None:
            return np.ones(len(pixels))
        return np.exp(self.classifier.log_probabilities(pixels)[:, label])

    def facts(self) -> dict[str, object]:
        """For the history of the pack."""
        return {
            "above": self.asked.above,
            "keep": self.asked.keep,
            "reject_copies": self.asked.reject_copies,
            "classifier": self.classifier.weights_hash() if self.classifier else None,
            "copy_limit": self.limit if self.training else None,
        }


@dataclass(frozen=True, eq=False)
class Selection:
    """Of one class: the numbers of the images that are kept, ascending, and what became of the others."""

    kept: np.ndarray  # int64 [wanted]
    drawn: int
    copies: int


def make_screen(asked: Screening, pack: Pack, seed: int) -> Screen:
    """Train and measure what a screening needs, on the training pack alone."""
    classifier, training, limit = None, None, -1
    labelled = np.flatnonzero(np.asarray(pack.labels) >= 0)
    if asked.by_classifier:
        if not len(labelled):
            raise RunError(f"no image of {pack.path} has a label", "labels to screen by", "leave --screen out")
        images_seen = max(_EPOCHS * len(labelled), AT_LEAST)
        with progress(images_seen, "screen") as advance:
            classifier = train_classifier(
                pack.pixels[labelled],
                np.asarray(pack.labels[labelled]),
                len(pack.classes),
                images_seen=images_seen,
                seed=seeds.derive(seed, "screen"),
                advance=advance,
            )
    if asked.reject_copies and len(pack) > 1:
        training = Nearest(pack.pixels)
        sample = seeds.rng(seed, "copy limit").permutation(len(pack))[:_SAMPLE]
        distances = np.sort(training.of(pack.pixels[np.sort(sample)], leave_out=np.sort(sample))[1])
        limit = int(distances[int(CLOSEST_REAL * len(distances))])
    return Screen(asked, classifier, training, limit)


def select(screen: Screen, draw: Draw, label: int, name: str, wanted: int, batch_size: int) -> Selection:
    """Draw images of a class until `wanted` can be kept. Raises RunError where the draws have a limit before that."""
    if not wanted:
        return Selection(np.empty(0, np.int64), 0, 0)
    keep = screen.asked.keep
    candidates = wanted if keep is None else max(int(np.ceil(wanted / keep - 1e-9)), wanted)
    most = max(DRAWS_PER_IMAGE * candidates, FEWEST_DRAWS)
    numbers, probabilities = np.empty(0, np.int64), np.empty(0)
    drawn = copies = 0
    for part in _batches(most, batch_size):
        pixels = draw(part)
        copied = screen.copies(pixels)
        sure = screen.probabilities(pixels, label)
        usable = ~copied & (sure >= (screen.asked.above or 0))
        missing = candidates - len(numbers)
        used = np.flatnonzero(usable)[:missing]
        end = int(used[-1]) + 1 if len(used) == missing else len(part)
        numbers, probabilities = np.append(numbers, part[used]), np.append(probabilities, sure[used])
        drawn, copies = drawn + end, copies + int(copied[:end].sum())
        if len(numbers) == candidates:
            best = np.argsort(-probabilities, kind="stable")[:wanted]
            return Selection(np.sort(numbers[best]), drawn, copies)
    why = (
        f"{copies:,} are copies" if copies * 2 > drawn else f"the others are not sure enough for {screen.asked.above}"
    )
    raise RunError(
        f"class {shown(name)}: of {counted(drawn, 'drawn image')} only {len(numbers):,} can be kept ({why})",
        f"{candidates:,} within {most:,} draws",
        "ask for a lower --above or for fewer images, or train the run for longer",
    )


def _batches(total: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))
