"""The choice of the final weights: the best by a stated measure against a held-out part of the training pack.

The measure is `fd_lenet`, the Frechet distance between samples and held-out real images on features of a LeNet that
has learned the rest of the training pack. Where each class has a GAN of its own, they are measured class by class and
the best weights of each are kept, as Sterzinger, Stippel & Zogaj 2020 chose an epoch for each class; any other
generator is measured as a whole. Held-out images never reach the GAN or the judge; a test pack plays no part.

Every measurement has the same noise, the same real images and the same counts, so that they can be compared with each
other. Small samples bias the distance upwards by about the same amount at every checkpoint: comparisons stay valid,
but get noisier. With fewer than two held-out images of a class there is no covariance: an error.

There is one every `choose_every` images and one at the end, so a run that was extended has had one more, at its old
end, than one that went through.

RUN/choice.jsonl has one line per measurement: images_seen, `fd_lenet` by class name (or "all"), `chosen` names that
are better than ever before, `n_real` and `n_minted` behind each number, and the judge's hash.
"""

from __future__ import annotations

import numpy as np
from safetensors import SafetensorError
from safetensors.torch import load, save

from imagemint import files, seeds
from imagemint.checkpoints import Choice
from imagemint.classifiers import LeNet, features
from imagemint.data.pack import Pack
from imagemint.errors import PackError, RunError
from imagemint.files import append_line
from imagemint.metrics.frechet import Moments, frechet
from imagemint.metrics.judge import JudgeSplit, judge_split, train_judge
from imagemint.runfolder import Run
from imagemint.training.recipe import Recipe
from imagemint.training.state import Gan, Part

FEWEST_REAL = 2  # for a covariance
FEWEST_MINTED = 50  # per class: they cost little, and the more there are the less luck is in a number
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
    """Measures the samples of a training and keeps the best weights in `gan.best`, `gan.chosen` and choice.jsonl."""

    def __init__(self, pack: Pack, held_out: JudgeSplit, gan: Gan, run: Run) -> None:
        self.run = run
        self.judge = _judge(pack, held_out, gan, run)
        indices = held_out.held_out
        self.labels = np.asarray(pack.labels[indices])
        self.real = features(self.judge, pack.pixels[indices])
        counts = np.bincount(self.labels, minlength=len(pack.classes))
        times = -(-FEWEST_MINTED // int(counts[counts > 0].min()))  # a whole factor keeps the shares of the classes
        self.asked = np.repeat(np.arange(len(counts)), counts * times)

    def observe(self, gan: Gan) -> None:
        """Measure the newest weights and keep them where they are better than any before."""
        assert gan.best is not None
        found = self.measure(gan)
        chosen = [name for name, value in found.items() if _better(value, gan.chosen.get(name))]
        parts, kept = gan.parts(gan.last_generator), gan.parts(gan.best)
        for part, copy in zip(parts, kept, strict=True):
            if part.name in chosen:
                copy.network.load_state_dict(part.network.state_dict())
                gan.chosen[part.name] = Choice(images_seen=gan.images_seen, fd_lenet=found[part.name])
        line = {
            "images_seen": gan.images_seen,
            "fd_lenet": found,
            "chosen": chosen,
            "n_real": {part.name: int(_rows(self.labels, part).sum()) for part in parts},
            "n_minted": {part.name: int(_rows(self.asked, part).sum()) for part in parts},
            "judge": self.judge.weights_hash(),
        }
        append_line(self.run.path / "choice.jsonl", line)

    def measure(self, gan: Gan) -> dict[str, float]:
        """Fréchet distance of samples to the held-out images, by the names of what is chosen on its own."""
        minted = features(self.judge, _samples(gan, self.asked))
        return {
            part.name: _distance(minted[_rows(self.asked, part)], self.real[_rows(self.labels, part)])
            for part in gan.parts(gan.last_generator)
        }


def _rows(labels: np.ndarray, part: Part) -> np.ndarray:
    """The images that a part of the generator answers for, bool `[n]`: those of its class, or all."""
    return np.ones(len(labels), bool) if part.label is None else labels == part.label


def _better(value: float, before: Choice | None) -> bool:
    return before is None or value < before.fd_lenet


def _distance(minted: np.ndarray, real: np.ndarray) -> float:
    return round(frechet(Moments.of(minted), Moments.of(real)), 6)


def _samples(gan: Gan, labels: np.ndarray) -> np.ndarray:
    """Pixels uint8 `[n, c, h, w]` as they would be minted from the newest weights, with the same noise every time."""
    minter, made = gan.minter(gan.last_generator), []
    for start in range(0, len(labels), _BATCH):
        part = labels[start : start + _BATCH]
        made.append(minter.draw([seeds.derive(gan.seed, "choice", start + k) for k in range(len(part))], part))
    return np.concatenate(made)


def _judge(pack: Pack, held_out: JudgeSplit, gan: Gan, run: Run) -> LeNet:
    """The judge of this run, trained at its start and read from the run folder afterwards."""
    file = run.path / "judge.safetensors"
    if not file.is_file():
        judge = train_judge(pack, held_out.reference, seeds.derive(gan.seed, "choice"))
        files.write_bytes(file, save({key: value.contiguous() for key, value in judge.state_dict().items()}))
    judge = LeNet(pack.channels, pack.size, len(pack.classes))
    try:
        judge.load_state_dict(load(files.read_bytes(file)))
    except (SafetensorError, RuntimeError, files.Damaged):
        raise RunError(f"{file} is damaged", "a whole file", "remove it: the judge is trained again then") from None
    known = [line.get("judge") for line in run.choices()]
    if known and judge.weights_hash() != known[-1]:
        remedy = "train into a new folder"
        raise RunError(f"{file} is not the judge that {run.path / 'choice.jsonl'} was made with", "that one", remedy)
    return judge.eval()
