"""run + counts per class + seed -> pack. Image k of a class depends on its own seed and on nothing else."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from imagemint import seeds
from imagemint.arguments import names, number, whole
from imagemint.checkpoints import State
from imagemint.data.pack import UNLABELLED, Minting, Pack, Step, check_absent, open_pack, writing
from imagemint.data.remote import address_of
from imagemint.devices import usable_device
from imagemint.errors import ArgumentError, RunError
from imagemint.labelling import critic_of
from imagemint.methods import load_minter, method_of
from imagemint.metrics.screen import ABOVE, Screen, Screening, Selection, make_screen, select
from imagemint.minter import Minter, NetworkMinter, SnapshotMinter, SpreadMinter
from imagemint.progress import progress
from imagemint.runs import Run, RunFacts, open_run
from imagemint.words import counted, listed

BATCH_SIZE = 128  # images; on a CPU 10 to 30 % faster than 256, whose maps outgrow its caches
WIDEST = 10.0  # spread of the noise: what a network makes of more is not worth looking at
_COLUMNS = 3 * 8  # bytes of label, seed and minting of an image


def mint(
    run: Run | Path | str,
    dest: Path | str,
    *,
    per_class: int | None = None,
    counts: Mapping[str, int] | None = None,
    unlabelled: int | None = None,
    at: int | None = None,
    snapshots: int = 1,
    spread: float = 1.0,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    device: str | None = None,
    screen: bool = False,
    above: float | None = None,
    keep: float | None = None,
    reject_copies: bool = False,
    density_ratio: float | None = None,
    pack: Pack | Path | str | None = None,
) -> Pack:
    """Mint labelled images from a run: `per_class` of every class, or `counts` by name.

    From its newest checkpoint, or from the one `at` so many images seen, if the run has kept it.
    Images come class by class in label order. The k-th image of a class is the same whatever else is minted and
    whatever the batch size (up to rounding of floating-point sums), and bit-equal when repeated. Weights are used in
    fp32, the best or the averaged ones where the run keeps them. Networks that do not see labels can mint
    `unlabelled` images, or labelled ones where they were trained on a single class.

    `snapshots`: images come from so many checkpoints, the newest ones or those up to `at`; which of them draws an
    image depends on the seed of the image. `spread` multiplies the noise z, whose standard deviation it is: over 1
    for more variety, under 1 for less. Several runs are minted one by one and merged (`imagemint edit merge`).

    `screen` keeps images to whose class a classifier gives a probability of 0.9 or `above`, or the share `keep` of
    each class that is most probable; `reject_copies` leaves out copies of training images. Both learn from the run's
    own training pack alone, which is looked for where it was, or at `pack`. `density_ratio` keeps about this share of
    each class by the run's discriminator: more of what the generator draws too rarely (Azadi et al. 2019). Counts
    stay exact: see `metrics.screen`.

    Raises ArgumentError for numbers that are none, RunError for a run without (that) checkpoint, for class names or
    counts that do not fit, for more snapshots than it keeps, for a spread of noise that is not normal, for a density
    ratio of a discriminator that tells none, and where the images would not fit on the disk; all of it before the
    first file.

    >>> from imagemint import pack, train
    >>> run = train(pack("digits", "digits.pack"), "ppca", "run", components=4)
    >>> minted = mint(run, "minted.pack", counts={"3": 2, "8": 1})
    >>> minted.manifest.origin, [minted.classes[label] for label in minted.labels]
    ('minted', ['3', '3', '8'])
    """
    batch_size, seed = whole(batch_size, "--batch-size", 1), whole(seed, "--seed")
    snapshots, spread = whole(snapshots, "--snapshots", 1), number(spread, "--spread", 0, WIDEST)
    screening = Screening(
        ABOVE if screen and above is None and keep is None else above, keep, reject_copies, density_ratio
    )
    run = open_run(run)
    dest = check_absent(dest)
    order = _order(run, per_class, counts, unlabelled)
    _check_room(dest, run.facts, order.total)
    checkpoint = run.newest() if at is None else run.checkpoint(whole(at, "--at", 0))
    checkpoints = _last(run, checkpoint, snapshots)
    device = usable_device(device)
    minter = SnapshotMinter([_minter(run, each, device, spread) for each in checkpoints])
    critic = critic_of(run, checkpoint, device) if screening.density_ratio is not None else None
    facts = run.facts

    parameters: dict[str, Any] = {"run": str(run.path), "counts": order.asked, "seed": seed}
    parameters |= {"snapshots": snapshots} if snapshots > 1 else {}
    parameters |= {"spread": spread} if spread != 1 else {}
    if screening.anything:
        _check_classes_to_screen(order, screening)
        learned = _training_pack(run, pack) if screening.by_training_pack else None
        screen_with = make_screen(screening, learned, seed, critic)
        order, parameters["screen"] = _screened(order, screen_with, minter, seed, batch_size)
    history = [Step(command="mint", parameters=parameters, parents=facts.learned_from)]
    with writing(dest, classes=facts.pack.classes, origin="minted", history=history) as writer:
        writer.mintings = [_minting(run, run.state(each), seed, spread) for each in checkpoints]
        with progress(order.total, "mint") as advance:
            for labels, image_seeds in order.batches(seed, batch_size):
                pixels = minter.draw(image_seeds, labels)
                written = labels if order.labelled else np.full(len(labels), UNLABELLED)
                writer.add(pixels, written, seed=np.array(image_seeds), minting=minter.turn(image_seeds))
                advance(len(labels))
    return writer.pack()


def _last(run: Run, newest: Path, count: int) -> list[Path]:
    """The last checkpoints up to `newest`, which comes last. Raises RunError where the run keeps fewer."""
    there = [path for path in run.checkpoints() if int(path.name) <= int(newest.name)]
    if count > len(there):
        raise RunError(
            f"--snapshots {count} and {counted(len(there), 'checkpoint')} in {run.path}",
            f"at most {len(there)}",
            "ask for fewer; a recipe keeps more with --set keep=N, where it trains with checkpoints",
        )
    return there[-count:]


def _minter(run: Run, checkpoint: Path, device: str, spread: float) -> Minter:
    minter = load_minter(run, checkpoint, device)
    if spread == 1:
        return minter
    if not isinstance(minter, NetworkMinter) or minter.noise != "normal":
        raise RunError(
            f"--spread {spread:g} and noise of {run.path} (model {run.recipe.model}) that is {minter.noise}",
            "normal noise, whose standard deviation can be changed",
            "leave --spread out",
        )
    return SpreadMinter(minter, spread)


def _minting(run: Run, state: State, seed: int, spread: float) -> Minting:
    return Minting(
        run=str(run.path),
        checkpoint=state.weights,
        images_seen=state.images_seen,
        recipe=run.recipe.name,
        seed=seed,
        trained_on=run.facts.pack.fingerprint,
        chosen={name: best.images_seen for name, best in state.chosen.items()} or None,
        spread=spread if spread != 1 else None,
    )


class _Order(NamedTuple):
    """How many images of which class. Unlabelled ones are drawn, and their seeds derived, as the first class's."""

    names: list[str]  # of the classes, in label order; one empty name where the run knows none
    counts: list[int]
    labelled: bool
    numbers: list[np.ndarray] | None = None  # of each class int64 [count]: which of its images; by default the first

    @property
    def total(self) -> int:
        """All images."""
        return sum(self.counts)

    @property
    def asked(self) -> dict[str, int]:
        """For the history of the pack."""
        return dict(zip(self.names, self.counts, strict=True)) if self.labelled else {"unlabelled": self.total}

    def batches(self, seed: int, size: int) -> Iterator[tuple[np.ndarray, list[int]]]:
        """Labels int64 `[n]` and the seed of each image, class by class, at most `size` at a time."""
        ends = np.cumsum(self.counts)  # class k fills positions ends[k] - counts[k] to ends[k]
        chosen = None if self.numbers is None else np.concatenate(self.numbers)
        for start in range(0, self.total, size):
            positions = np.arange(start, min(start + size, self.total))
            labels = np.searchsorted(ends, positions, side="right")
            numbers = positions - (ends - self.counts)[labels] if chosen is None else chosen[positions]
            yield labels, self.seeds(seed, labels, numbers)

    def seeds(self, seed: int, labels: np.ndarray, numbers: np.ndarray) -> list[int]:
        """The seed of image `numbers[i]` of class `labels[i]`, for each i."""
        pairs = zip(labels.tolist(), numbers.tolist(), strict=True)
        return [seeds.derive(seed, f"mint {self.names[label]}", k) for label, k in pairs]


def _order(run: Run, per_class: int | None, counts: Mapping[str, int] | None, unlabelled: int | None) -> _Order:
    """What is asked for, checked. Raises ArgumentError or RunError."""
    classes = run.facts.pack.classes
    if sum(each is not None for each in (per_class, counts, unlabelled)) != 1:
        found = "not exactly one of per class, counts and unlabelled"
        raise RunError(found, "one of them", "say --per-class N, --counts name=N,... or --unlabelled N")
    if unlabelled is not None:
        first, *others = classes or [""]
        count = whole(unlabelled, "--unlabelled", 1)
        return _Order([first, *others], [count, *[0] * len(others)], labelled=False)
    if not method_of(run.recipe.model).sees_labels(run.facts) and len(classes) > 1:
        raise RunError(
            f"the networks of {run.path} (model {run.recipe.model}) never saw the labels of their "
            f"{len(classes)} classes",
            "networks that know classes, or images without labels",
            "mint with --unlabelled N, or train a conditional recipe",
        )
    if not classes:
        raise RunError(f"{run.path} was trained on images without classes", "classes", "mint with --unlabelled N")
    if counts is None:
        return _Order(classes, [whole(per_class, "--per-class", 1)] * len(classes), labelled=True)
    wanted = {name: whole(counts[name], f"the count of {name}", 0) for name in names(counts, "--counts")}
    unknown = [name for name in wanted if name not in classes]
    if unknown:
        raise RunError(f"no class {unknown[0]!r} in the run", f"one of {listed(classes, 12)}", "check the names")
    if not any(wanted.values()):
        raise RunError(f"counts {wanted}", "at least one image", "ask for more")
    return _Order(classes, [wanted.get(name, 0) for name in classes], labelled=True)


def _training_pack(run: Run, given: Pack | Path | str | None) -> Pack:
    """The pack that the run learned from. Raises RunError where it is another, or is not where it was."""
    known = run.facts.pack
    if given is None and (known.path is None or not Path(known.path).is_dir()):
        where = f"not at {known.path}" if known.path else "at a place that the run does not tell"
        wanted = "the pack that it learned from, to screen with"
        raise RunError(f"the training pack of {run.path} is {where}", wanted, "say --pack PACK")
    pack = open_pack(given or known.path or "")
    if pack.fingerprint != known.fingerprint:
        raise RunError(
            f"{pack.path} is not the pack that {run.path} was trained on",
            f"the one with fingerprint {known.fingerprint[:12]}",
            "say --pack PACK",
        )
    return pack


def _check_classes_to_screen(order: _Order, asked: Screening) -> None:
    if asked.by_classifier and not order.labelled:
        wanted = "images with labels: a class to be sure of"
        raise ArgumentError("--screen with --unlabelled", wanted, "leave --screen out, or mint with labels")


def _screened(
    order: _Order, screen: Screen, minter: Minter, seed: int, batch_size: int
) -> tuple[_Order, dict[str, Any]]:
    """The order with the images that are kept, and for the history how they were found. Raises RunError."""

    def draw(label: int, numbers: np.ndarray) -> np.ndarray:
        labels = np.full(len(numbers), label)
        return minter.draw(order.seeds(seed, labels, numbers), labels)

    def lots(label: int, numbers: np.ndarray) -> np.ndarray:
        own = order.seeds(seed, np.full(len(numbers), label), numbers)
        return np.array([seeds.rng(each, "density ratio").random() for each in own])

    found: dict[str, Selection] = {}
    with progress(order.total, "screen") as advance:
        for label, (name, count) in enumerate(zip(order.names, order.counts, strict=True)):
            of_class = partial(draw, label), label, name, count, batch_size, partial(lots, label)
            found[name] = select(screen, *of_class)
            advance(count)
    about = {
        **screen.facts(),
        "drawn": {name: each.drawn for name, each in found.items()},
        "copies": {name: each.copies for name, each in found.items()},
        "rejected": {name: each.rejected for name, each in found.items()},
    }
    return order._replace(numbers=[each.kept for each in found.values()]), about


def _check_room(dest: Path, facts: RunFacts, images: int) -> None:
    """Raise RunError unless so many images fit on the disk."""
    if address_of(dest):
        return
    h, w = facts.pack.size
    needed = images * (facts.pack.channels * h * w + _COLUMNS)
    there = next(folder for folder in (dest.absolute(), *dest.absolute().parents) if os.path.isdir(folder))
    free = shutil.disk_usage(there).free
    if needed > free:
        raise RunError(
            f"{images:,} images need {needed / 1e9:,.1f} GB and {free / 1e9:,.1f} GB are free at {there}",
            "room for them",
            "ask for fewer, or free some space",
        )
