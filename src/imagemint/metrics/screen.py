"""Which drawn images are kept: by a classifier that has learned the training images alone, by the discriminator that
learned beside the generator, and copies left out.

    --above P       keep images whose class has at least this probability
    --keep SHARE    draw 1 / SHARE times as many per class and keep the most probable
    --reject-copies leave out images that are nearer to a training image than 99 % of training images are to another
    --density-ratio SHARE
                    keep about this share of each class, by the run's own discriminator (`metrics.rejection`)

No test image plays a part. (GaFi, arXiv 2305.10118, filters by confidence too; its threshold was chosen
on the test set.) Images are drawn in the order of their seeds, class by class, until there are enough; the number of
draws has a limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from imagemint import seeds
from imagemint.arguments import number
from imagemint.classifiers import AT_LEAST, Classifier, train_classifier
from imagemint.data.pack import Pack
from imagemint.errors import ArgumentError, RunError
from imagemint.metrics.copies import CLOSEST_REAL
from imagemint.metrics.nearest import Nearest
from imagemint.metrics.rejection import BURN_IN, Bar, Critic, bar
from imagemint.progress import progress
from imagemint.words import counted, shown

ABOVE = 0.9  # where nothing else is asked for
DRAWS_PER_IMAGE = 50  # at most, for each image wanted ...
FEWEST_DRAWS = 1000  # ... but never fewer than this per class
_EPOCHS = 20
_BURN_IN_BATCH = 128  # images that are drawn together
_SAMPLE = 1000  # training images whose distances to the others say what is near

Draw = Callable[[np.ndarray], np.ndarray]  # numbers of images of a class, int64 [n] -> pixels uint8 [n, c, h, w]
Lots = Callable[[np.ndarray], np.ndarray]  # the same numbers -> a random number of each, uniform in 0..1, float64 [n]


@dataclass(frozen=True)
class Screening:
    """What is asked for. Raises ArgumentError where it makes no sense."""

    above: float | None = None
    keep: float | None = None
    reject_copies: bool = False
    density_ratio: float | None = None

    def __post_init__(self) -> None:
        if self.above is not None and self.keep is not None:
            raise ArgumentError("--above and --keep", "one of the two", "leave one of them out")
        if self.above is not None:
            number(self.above, "--above", 0, 1)
        for option, share in (("--keep", self.keep), ("--density-ratio", self.density_ratio)):
            if share is not None and number(share, option, 0, 1) == 0:
                raise ArgumentError(f"{option} 0", "a share over 0, up to 1", f"write for example {option} 0.5")

    @property
    def by_classifier(self) -> bool:
        """Whether a classifier is needed."""
        return self.above is not None or self.keep is not None

    @property
    def by_training_pack(self) -> bool:
        """Whether the images that the run learned from are needed."""
        return self.by_classifier or self.reject_copies

    @property
    def anything(self) -> bool:
        """Whether any image may be left out."""
        return self.by_training_pack or self.density_ratio is not None


@dataclass(frozen=True, eq=False)
class Screen:
    """A screening with what it needs: a classifier, and a limit of distance to the training images."""

    asked: Screening
    classifier: Classifier | None
    training: Nearest | None
    limit: int  # l1 distance at which an image counts as a copy
    critic: Critic | None = None  # the discriminator, where images are kept by its density ratio

    def bar(self, draw: Draw, label: int) -> Bar | None:
        """What the first images of the class `label` are held against; None where no discriminator was asked for."""
        if self.critic is None or self.asked.density_ratio is None:
            return None
        logits = [self.critic(draw(part), label) for part in _batches(BURN_IN, _BURN_IN_BATCH)]
        return bar(np.concatenate(logits), self.asked.density_ratio)

    def rejected(self, pixels: np.ndarray, label: int, bar: Bar | None, lots: Callable[[], np.ndarray]) -> np.ndarray:
        """Which of uint8 `[n, c, h, w]` the discriminator leaves out, bool `[n]`, by one of the `lots` for each."""
        if self.critic is None or bar is None:
            return np.zeros(len(pixels), bool)
        return lots() >= bar.acceptance(self.critic(pixels, label))

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
            "density_ratio": self.asked.density_ratio,
            "classifier": self.classifier.weights_hash() if self.classifier else None,
            "copy_limit": self.limit if self.training else None,
        }


@dataclass(frozen=True, eq=False)
class Selection:
    """Of one class: the numbers of the images that are kept, ascending, and what became of the others."""

    kept: np.ndarray  # int64 [wanted]
    drawn: int
    copies: int
    rejected: int = 0  # by the discriminator


def make_screen(asked: Screening, pack: Pack | None, seed: int, critic: Critic | None = None) -> Screen:
    """Train and measure what a screening needs, on the training pack alone; None where it needs none of it."""
    classifier, training, limit = None, None, -1
    if pack is None:
        return Screen(asked, classifier, training, limit, critic)
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
    return Screen(asked, classifier, training, limit, critic)


def select(
    screen: Screen, draw: Draw, label: int, name: str, wanted: int, batch_size: int, lots: Lots = np.zeros_like
) -> Selection:
    """Draw images of a class until `wanted` can be kept. Raises RunError where the draws have a limit before that."""
    if not wanted:
        return Selection(np.empty(0, np.int64), 0, 0)
    keep = screen.asked.keep
    candidates = wanted if keep is None else max(int(np.ceil(wanted / keep - 1e-9)), wanted)
    most = max(DRAWS_PER_IMAGE * candidates, FEWEST_DRAWS)
    numbers, probabilities = np.empty(0, np.int64), np.empty(0)
    drawn = copies = rejected = 0
    bar = screen.bar(draw, label)
    for part in _batches(most, batch_size):
        pixels = draw(part)
        copied = screen.copies(pixels)
        sure = screen.probabilities(pixels, label)
        refused = ~copied & screen.rejected(pixels, label, bar, partial(lots, part))
        usable = ~copied & ~refused & (sure >= (screen.asked.above or 0))
        missing = candidates - len(numbers)
        used = np.flatnonzero(usable)[:missing]
        end = int(used[-1]) + 1 if len(used) == missing else len(part)
        numbers, probabilities = np.append(numbers, part[used]), np.append(probabilities, sure[used])
        drawn, copies = drawn + end, copies + int(copied[:end].sum())
        rejected += int(refused[:end].sum())
        if len(numbers) == candidates:
            best = np.argsort(-probabilities, kind="stable")[:wanted]
            return Selection(np.sort(numbers[best]), drawn, copies, rejected)
    unsure = drawn - copies - rejected - len(numbers)
    _, why, remedy = max(
        (copies, f"{copies:,} are copies", "ask for fewer images, or train the run for longer"),
        (rejected, f"the discriminator leaves out {rejected:,}", "ask for a higher --density-ratio"),
        (
            unsure,
            f"the others are not sure enough for {screen.asked.above}",
            "ask for a lower --above or for fewer images, or train the run for longer",
        ),
    )
    raise RunError(
        f"class {shown(name)}: of {counted(drawn, 'drawn image')} only {len(numbers):,} can be kept ({why})",
        f"{candidates:,} within {most:,} draws",
        remedy,
    )


def _batches(total: int, size: int) -> Iterator[np.ndarray]:
    for start in range(0, total, size):
        yield np.arange(start, min(start + size, total))
