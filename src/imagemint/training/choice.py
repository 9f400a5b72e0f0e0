"""The choice of the final weights: the best by a stated measure against a held-out part of the training pack.

The measure is `fd_lenet`, the Frechet distance between samples and held-out real images on features of a LeNet that
has learned the rest of the training pack. A bank (one GAN a class) is measured class by class and each member's best
weights are kept on their own, as Sterzinger, Stippel & Zogaj 2020 chose an epoch for each class; any other
generator is measured as a whole. Held-out images never reach the GAN or the judge; a test pack plays no part.

Every look has the same noise, the same real images and the same counts, so that looks can be compared with each
other. With few images the distance is far above what many images would give, by about the same amount at every look;
what grows is the luck in the choice. With fewer than two held-out images of a class there is no covariance: an error.

There is a look every `choose_every` images and one at the end, so a run that was extended has had one look more, at
its old end, than one that went through.

RUN/choice.jsonl has one line a look: images_seen, `fd_lenet` by class name (or "all"), `chosen` names that are better
than ever before, `n_real` and `n_minted` behind each number, and the judge's hash.
"""

from __future__ import annotations

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from imagemint import files, images, seeds
from imagemint.classifiers import LeNet, features
from imagemint.config import Recipe
from imagemint.data.pack import Pack
from imagemint.errors import PackError, RunError
from imagemint.files import append_line
from imagemint.metrics.frechet import Moments, frechet
from imagemint.metrics.judge import JudgeSplit, judge_split, train_judge
from imagemint.models.per_class import Bank
from imagemint.runs import Run
from imagemint.training.state import Chosen, Gan

FEWEST_REAL = 2  # for a covariance
FEWEST_MINTED = 50  # of a class: they cost little, and the more there are the less luck is in a number
_BATCH = 256


def hold_out(pack: Pack, recipe: Recipe, seed: int) -> JudgeSplit | None:
    """What to hold out of a pack; None where the recipe takes the last weights.

    A share `recipe.held_out` of every class, at least two and at most half of it; exact duplicates stay on one side.
    Raises PackError where a class has too few images for that.
    """
    if recipe.weights == "last":
        return None
    labels = np.asarray(pack.labels)
    counts = np.bincount(labels[labels >= 0], minlength=len(pack.classes))
    wanted = np.maximum(np.round(counts * recipe.held_out).astype(np.int64), FEWEST_REAL)
    # A seed of its own: `measure` holds out images too, and would take the very ones that the weights were chosen by.
    split = judge_split(pack, np.where(counts > 0, wanted, 0), seeds.derive(seed, "choice"))
    held, left = (np.bincount(labels[part], minlength=len(counts)) for part in (split.held_out, split.reference))
    short = np.flatnonzero((counts > 0) & ((held < FEWEST_REAL) | (left == 0)))
    if len(short) or not len(split.held_out):
        found = f"no image of {pack.path} has a label"
        if len(short):
            found = f"class {pack.classes[short[0]]!r} of {pack.path} has {counts[short[0]]} images"
        wish = f"{2 * FEWEST_REAL} different images of every class, of which {FEWEST_REAL} are held out to choose by"
        raise PackError(found, wish, "say --set weights=last, which needs none, or add images")
    return split


class Chooser:
    """Looks at the samples of a training and keeps the best weights in `gan.best`, `gan.chosen` and choice.jsonl."""

    def __init__(self, pack: Pack, held_out: JudgeSplit, gan: Gan, run: Run) -> None:
        self.run, self.classes = run, pack.classes
        self.judge = _judge(pack, held_out, gan, run)
        indices = held_out.held_out
        self.labels = np.asarray(pack.labels[indices])
        self.real = features(self.judge, pack.pixels[indices])
        counts = np.bincount(self.labels, minlength=len(pack.classes))
        times = -(-FEWEST_MINTED // int(counts[counts > 0].min()))  # a whole factor keeps the shares of the classes
        self.asked = np.repeat(np.arange(len(counts)), counts * times)

    def look(self, gan: Gan) -> None:
        """Measure the newest weights and keep them where they are better than any before."""
        assert gan.best is not None
        found = self.measure(gan)
        chosen = [name for name, value in found.items() if _better(value, gan.chosen.get(name))]
        parts, kept = self._parts(gan.last_generator), self._parts(gan.best)
        for name in chosen:
            kept[name].load_state_dict(parts[name].state_dict())
            gan.chosen[name] = Chosen(images_seen=gan.images_seen, fd_lenet=found[name])
        line = {
            "images_seen": gan.images_seen,
            "fd_lenet": found,
            "chosen": chosen,
            "n_real": self._counts(self.labels, list(found)),
            "n_minted": self._counts(self.asked, list(found)),
            "judge": self.judge.weights_hash(),
        }
        append_line(self.run.path / "choice.jsonl", line)

    def measure(self, gan: Gan) -> dict[str, float]:
        """Frechet distance of samples to the held-out images, by class name of a bank, else of "all"."""
        minted = features(self.judge, _samples(gan, self.asked))
        if not isinstance(gan.generator, Bank):
            return {"all": _distance(minted, self.real)}
        return {
            name: _distance(minted[self.asked == k], self.real[self.labels == k])
            for k, name in enumerate(self.classes)
        }

    def _parts(self, generator: nn.Module) -> dict[str, nn.Module]:
        """What is chosen on its own, by the names that `measure` gives."""
        if isinstance(generator, Bank):
            return dict(zip(self.classes, generator.members, strict=True))
        return {"all": generator}

    def _counts(self, labels: np.ndarray, names: list[str]) -> dict[str, int]:
        if names == ["all"]:
            return {"all": len(labels)}
        return dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))


def _better(value: float, before: Chosen | None) -> bool:
    return before is None or value < before["fd_lenet"]


def _distance(minted: np.ndarray, real: np.ndarray) -> float:
    return round(frechet(Moments.of(minted), Moments.of(real)), 6)


@torch.inference_mode()
def _samples(gan: Gan, labels: np.ndarray) -> np.ndarray:
    """Pixels uint8 `[n, c, h, w]` as they would be minted, with the same noise at every look."""
    generator = gan.last_generator
    training = generator.training
    generator.eval()
    made = []
    for start in range(0, len(labels), _BATCH):
        part = labels[start : start + _BATCH]
        image_seeds = [seeds.derive(gan.seed, "choice", start + k) for k in range(len(part))]
        z = seeds.noise(image_seeds, gan.recipe.z_size, gan.recipe.noise).to(gan.device)
        made.append(images.to_pixels(generator(z, torch.from_numpy(part).to(gan.device))).cpu().numpy())
    generator.train(training)
    return np.concatenate(made)


def _judge(pack: Pack, held_out: JudgeSplit, gan: Gan, run: Run) -> LeNet:
    """The judge of this run, trained at its start and read from the run folder afterwards."""
    file = run.path / "judge.safetensors"
    if not file.is_file():
        judge = train_judge(pack, held_out.reference, seeds.derive(gan.seed, "choice"))
        files.write_bytes(file, save({key: value.contiguous() for key, value in judge.state_dict().items()}))
    judge = LeNet(pack.channels, pack.size, len(pack.classes))
    try:
        judge.load_state_dict(load(file.read_bytes()))
    except (SafetensorError, RuntimeError):
        raise RunError(f"{file} is damaged", "a whole file", "remove it: the judge is trained again then") from None
    known = [line["judge"] for line in run.choices()]
    if known and judge.weights_hash() != known[-1]:
        remedy = "train into a new folder"
        raise RunError(f"{file} is not the judge that {run.path / 'choice.jsonl'} was made with", "that one", remedy)
    return judge.eval()
