"""run + pack -> the same pack with every image named by the run's discriminator.

A discriminator that has an output per class beside *generated* (loss semi-supervised; Salimans et al. 2016, section
5) is a classifier that learned from labelled and unlabelled images. So is the one beside a discriminator of three
players (loss triple; Li et al. 2017).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from imagemint import arguments
from imagemint.checkpoints import load_weights, read_tensors
from imagemint.classifiers.network import Network, blocks
from imagemint.data.pack import UNLABELLED, Pack, Step, check_absent, open_pack, writing
from imagemint.errors import PackError, RunError
from imagemint.losses import LOSSES, realness
from imagemint.methods import METHODS, method_of
from imagemint.metrics.rejection import Critic
from imagemint.progress import progress
from imagemint.runfolder import Run, RunFacts
from imagemint.runs import open_run
from imagemint.training.recipe import Recipe
from imagemint.training.state import ONE_GAN, saved_discriminator
from imagemint.words import counted, listed

PROBABILITY = "probability"  # the column that holds how sure the run is of each image
WHOLE = 1_000_000  # its unit: columns of packs are whole numbers, so probabilities stand in parts per million
RATIO_LOSSES = [name for name, row in LOSSES.items() if row.density_ratio]
_EXAMPLES = "sgan-mnist, sgan-fm, sgan-consistent or triple-gan"


class Judge(Network):
    """The class logits of a discriminator of k + 1 outputs, or of the classifier that learned beside one."""

    def __init__(self, discriminator: nn.Module, size: tuple[int, int]) -> None:
        super().__init__(size)
        self.discriminator = discriminator

    def forward(self, images: Tensor) -> Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> logits `[n, k]`; the last output, *generated*, is left out."""
        joint = getattr(self.discriminator, "joint", None)
        if joint is not None:  # of three players: logits of pairs, then the classifier's
            both: Tensor = joint(images, no_labels(images))
            return both[:, both.shape[1] // 2 :]
        logits: Tensor = self.discriminator(images, no_labels(images))
        return logits[:, :-1]


def no_labels(images: Tensor) -> Tensor:
    """Labels for a network that does not look at them, int64 `[n]`."""
    return torch.zeros(len(images), dtype=torch.int64)


def is_one_gan(facts: RunFacts) -> bool:
    """Whether a run has a single discriminator, of images of all classes."""
    return method_of(facts.recipe.model) is METHODS["gan"] and isinstance(facts.recipe, Recipe)


def names_classes(facts: RunFacts) -> bool:
    """Whether the discriminator of a run has an output for each class, or a classifier beside it."""
    return is_one_gan(facts) and isinstance(facts.recipe, Recipe) and LOSSES[facts.recipe.loss].semi_supervised


def discriminator_of(run: Run, checkpoint: Path | None = None) -> nn.Module:
    """The discriminator of a checkpoint (the newest), averaged where the run has it, on the CPU, not training."""
    checkpoint = checkpoint or run.newest()
    _, discriminator = ONE_GAN.networks(run.facts)
    weights = read_tensors(checkpoint, "weights", run.state(checkpoint).weights)
    load_weights(discriminator, saved_discriminator(run), weights, checkpoint)
    return discriminator.eval()


def judge_of(run: Run) -> Judge:
    """A run's discriminator of k + 1 outputs as a classifier."""
    judge = Judge(discriminator_of(run), run.facts.pack.size)
    judge.eval()
    return judge


def tells_density_ratio(facts: RunFacts) -> bool:
    """Whether a run has a discriminator whose logits mean the log of a density ratio."""
    return is_one_gan(facts) and isinstance(facts.recipe, Recipe) and facts.recipe.loss in RATIO_LOSSES


def critic_of(run: Run, checkpoint: Path, device: torch.device | str = "cpu") -> Critic:
    """The log of the density ratio of real and minted images, up to a constant, as a run's discriminator sees it.

    Raises RunError for a run without a discriminator whose logits mean that.
    """
    if not tells_density_ratio(run.facts):
        raise RunError(
            f"--density-ratio and {run.path} (recipe {run.recipe.name}), whose discriminator tells no density ratio",
            f"a run of one GAN with loss {listed(RATIO_LOSSES)}",
            "leave --density-ratio out, or screen by a classifier: --screen",
        )
    discriminator = discriminator_of(run, checkpoint).to(device)

    @torch.inference_mode()
    def logits(pixels: np.ndarray, label: int) -> np.ndarray:
        found = []
        for images in blocks(pixels):
            labels = torch.full((len(images),), label, device=device)
            found.append(realness(discriminator(images.to(device), labels).double()).cpu().numpy())
        return np.concatenate(found)

    return logits


def class_probabilities(run: Run | Path | str, pixels: np.ndarray) -> np.ndarray:
    """What a semi-supervised run makes of images uint8 `[n, c, h, w]`: float64 `[n, classes]`, rows that sum to 1.

    Raises RunError for a run whose discriminator has no outputs for classes.
    """
    run = open_run(run)
    _check_names_classes(run)
    return np.exp(judge_of(run).log_probabilities(pixels))


def label(run: Run | Path | str, pack: Pack | Path | str, dest: Path | str, *, above: float | None = None) -> Pack:
    """Write `pack` to `dest` with every image named by a run that learned from labelled and unlabelled images.

    The classes are those of the run. Each image gets the most probable one, or no label (-1) where its probability
    is under `above`; by default every image is named. Labels that the pack has are not kept: the last step of the
    history counts them and says how many of them the run agrees with. Column `probability` holds the probability of
    the most probable class of each image, in parts per million, abstentions included.

    Raises ArgumentError for an `above` outside 0 to 1, RunError for a run that names no classes, PackError for images
    of another size or colour; all of it before the first file.

    >>> from imagemint import pack, train
    >>> digits = pack("digits", "digits.pack")
    >>> labelled = label(train(digits, "sgan-mnist", "run", images=256), digits, "labelled.pack")
    >>> labelled.unlabelled(), list(labelled.columns), len(labelled) == len(digits)
    (0, ['probability'], True)
    """
    above = None if above is None else arguments.number(above, "--above", 0, 1)
    run, pack = open_run(run), open_pack(pack)
    dest = check_absent(dest)
    _check_names_classes(run)
    _check_same_shape(run, pack)
    judge, classes = judge_of(run), run.facts.pack.classes
    given = _given(pack, classes)
    parents = [pack.fingerprint, *(each for each in run.facts.learned_from if each != pack.fingerprint)]
    facts: dict[str, Any] = {"run": str(run.path), "checkpoint": run.checkpoint_hash, "above": above}
    facts |= {"labelled_before": int((np.asarray(pack.labels) >= 0).sum()), "agree": 0}
    with (
        writing(dest, classes=classes, origin=pack.manifest.origin, history=[]) as writer,
        progress(len(pack), "label") as advance,
    ):
        writer.unreadable, writer.mintings = list(pack.manifest.unreadable), list(pack.manifest.mintings)
        writer.remarks = [f"no person gave these labels: run {run.path} did"]
        for index in pack.blocks():
            pixels = pack.read(index)
            probabilities = np.exp(judge.log_probabilities(pixels))
            best, labels = probabilities.max(1), probabilities.argmax(1).astype(np.int64)
            facts["agree"] += int((labels == given[index]).sum())
            if above is not None:
                labels[best < above] = UNLABELLED
            columns = {name: np.asarray(column[index]) for name, column in pack.columns.items()}
            columns[PROBABILITY] = (best * WHOLE).round().astype(np.int64)
            writer.add(pixels, labels, **columns)
            advance(len(index))
        writer.history = [*pack.manifest.history, Step(command="label", parameters=facts, parents=parents)]
    return writer.pack()


def said(pack: Pack) -> list[str]:
    """What there is to know of a pack that was just labelled, a sentence per line."""
    facts = pack.manifest.history[-1].parameters
    lines = [
        f"{counted(pack.unlabelled(), 'image')} left without a label: no class reached {facts['above']}"
        if facts["above"] is not None
        else "every image was given its most probable class, however improbable; --above P abstains under P",
    ]
    if facts["labelled_before"]:
        had = counted(facts["labelled_before"], "image")
        lines.append(f"{had} had a label before; the run names {facts['agree']:,} of them the same")
    empty = [repr(name) for name, count in pack.counts().items() if not count]
    if empty:
        lines.append(f"given to no image: {listed(empty)}")
    return lines


def _given(pack: Pack, classes: list[str]) -> np.ndarray:
    """The labels that a pack has, as numbers of the run's classes: int64 `[n]`, -1 for none, -2 for another class."""
    number = {name: k for k, name in enumerate(classes)}
    table = np.array([*(number.get(name, -2) for name in pack.classes), UNLABELLED], np.int64)
    found: np.ndarray = table[np.asarray(pack.labels)]
    return found


def _check_names_classes(run: Run) -> None:
    if not names_classes(run.facts):
        raise RunError(
            f"the discriminator of {run.path} (recipe {run.recipe.name}) has no outputs for classes",
            "a run of a semi-supervised recipe",
            f"train one on a pack in which some images have labels: --recipe {_EXAMPLES}",
        )


def _check_same_shape(run: Run, pack: Pack) -> None:
    (h, w), channels = run.facts.pack.size, run.facts.pack.channels
    if pack.channels != channels:
        found, wanted = ("colour", "gray") if channels == 1 else ("gray", "colour")
        gray = f"imagemint edit grayscale {pack.path} {pack.path}-gray"
        remedy = f"make them gray: {gray}" if channels == 1 else "train on gray images"
        raise PackError(f"{pack.path} holds {found} images", f"{wanted} ones, as the run saw", remedy)
    if pack.size != (h, w):
        raise PackError(
            f"{pack.path} holds {pack.size[0]}x{pack.size[1]} images",
            f"{h}x{w} as the run saw",
            f"resize them: imagemint edit resize {pack.path} {pack.path}-{h}x{w} --width {w} --height {h}",
        )
