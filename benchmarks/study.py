"""A study by imagemint, cells side by side, against the same work as a person would write it.

    python benchmarks/study.py --data DATA [--scale 0.02] [--turns 2] [--jobs 2] [--recipe fewshot]
                               [--repeats 3] [--threads 2]

The study is that of the README: three budgets (20, 50 and all images per class) in three repeats, a GAN for each of
the nine cells, 2,000 minted images per class, and a classifier for each of six arms and for the two trainings that
choose the yardstick. `--scale` shortens everything that has a length: images that a GAN and a classifier see, and
minted images. The images are MNIST's (`DATA/mnist`, the IDX files): 2,000 to learn from, 1,000 to test on.

The plain version computes the same cells one after the other with so many threads: the same networks in eager fp32
(`train_step.py` says what its loop does), LeNet of ordinary layers, Adam, batches of 64 that are read, moved and
brightened by kornia's RandomAffine and RandomBrightness, and no histories. It writes nothing. Both take turns.
Wall time and processor time (children included) are both told, since machines are shared. At last the rows of one
job are compared with those of several: all but the seconds must be equal.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import kornia.augmentation as K
import numpy as np
import torch
import train_step
from torch import nn
from torch.nn import functional as F

import imagemint
from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, writing
from imagemint.models import ImageShape, build

BUDGETS = ("20", "50", "all")
ARMS = ("real", "minted", "mix", "classic", "minted+classic", "mix+classic")
CHOICES = ("real", "classic")  # trained once more on three quarters of the real images, to choose the yardstick
CLASSIFIER_IMAGES, MINTED, REAL_SHARE, BATCH = 40_000, 2_000, 0.7, 64


def halves(data: Path, folder: Path) -> tuple[Pack, Pack]:
    """2,000 images to learn from and 1,000 to test on."""
    whole = imagemint.pack(data / "mnist", folder / "mnist", split="train")
    rows = np.random.default_rng(0).permutation(len(whole))[:3000]
    made = []
    for name, part in (("train", np.sort(rows[:2000])), ("test", np.sort(rows[2000:]))):
        with writing(folder / name, classes=whole.classes, origin="real", history=[]) as writer:
            writer.add(whole.read(part), np.asarray(whole.labels)[part])
        made.append(imagemint.open_pack(folder / name))
    return made[0], made[1]


def ours(
    packs: tuple[Pack, Pack], recipe: str, out: Path, scale: float, jobs: int, repeats: int
) -> list[dict[str, object]]:
    found = imagemint.study(
        *packs,
        recipe,
        out,
        jobs=jobs,
        arms=ARMS,
        budgets=BUDGETS,
        repeats=repeats,
        images=gan_images(recipe, scale),
        classifier_epochs=1,
        classifier_images=scaled(CLASSIFIER_IMAGES, scale),
        minted_per_class=scaled(MINTED, scale),
        real_share=REAL_SHARE,
    )
    return [row.model_dump(mode="json", exclude={"seconds"}) for row in found.rows]


def scaled(count: int, scale: float) -> int:
    return max(round(count * scale), 1)


def gan_images(recipe: str, scale: float) -> int:
    made = load_recipe(recipe)
    assert isinstance(made, Recipe) and made.images is not None
    return scaled(made.images, scale)


# --- as a person would write it -----------------------------------------------------------------------------------


class InMemory:
    """What `train_step.plain` wants of a pack."""

    def __init__(self, pixels: np.ndarray, labels: np.ndarray) -> None:
        self.pixels, self.labels = pixels, labels

    def __len__(self) -> int:
        return len(self.labels)


def lenet(classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(800, 500), nn.ReLU(), nn.Linear(500, classes)),
    )


def moves() -> nn.Module:
    return nn.Sequential(
        K.RandomAffine(12.0, (0.1, 0.1), (0.88, 1.12), (-8.6, 8.6, -8.6, 8.6), padding_mode="border", p=1.0),
        K.RandomBrightness((0.8, 1.2), p=1.0),
    )


def teach(pixels: np.ndarray, labels: np.ndarray, test: Pack, seen: int, *, augmented: bool) -> float:
    net, change = lenet(len(test.classes)), moves()
    adam = torch.optim.Adam(net.parameters(), 1e-3)
    rng, steps = np.random.default_rng(0), -(-seen // BATCH)
    falls = torch.optim.lr_scheduler.ExponentialLR(adam, 0.01 ** (1 / steps))
    for _ in range(steps):
        rows = rng.integers(0, len(labels), BATCH)
        images = torch.from_numpy(pixels[rows]).float() / 255
        images = (change(images) if augmented else images) * 2 - 1
        loss = F.cross_entropy(net(images), torch.from_numpy(labels[rows]))
        adam.zero_grad()
        loss.backward()
        adam.step()
        falls.step()
    with torch.no_grad():
        images = torch.from_numpy(np.array(test.pixels)).float() / 127.5 - 1
        return float((net(images).argmax(1).numpy() == np.asarray(test.labels)).mean())


def mixed(real: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Rows of both, the real ones so often that they are about `REAL_SHARE` of all."""
    times = max(round(REAL_SHARE / (1 - REAL_SHARE) * len(other) / len(real)), 1)
    return np.concatenate([*[real] * times, other])


def plain(packs: tuple[Pack, Pack], name: str, scale: float, repeats: int) -> None:
    pack, test = packs
    recipe, labels = load_recipe(name), np.asarray(pack.labels)
    assert isinstance(recipe, Recipe)
    classes, shape = len(pack.classes), ImageShape(pack.channels, *pack.size)
    for repeat in range(repeats):
        order = np.random.default_rng(repeat).permutation(len(pack))
        for budget in BUDGETS:
            several = [order[labels[order] == k] for k in range(classes)]
            rows = np.concatenate([each if budget == "all" else each[: int(budget)] for each in several])
            real, real_labels = pack.read(np.sort(rows)), labels[np.sort(rows)]
            networks = build(recipe.model, recipe.options, shape, classes, recipe.z_size)
            step = train_step.plain(recipe, InMemory(real, real_labels), False, networks)  # type: ignore[arg-type]
            step(-(-gan_images(name, scale) // recipe.batch_size))
            wanted = np.repeat(np.arange(classes), scaled(MINTED, scale))
            with torch.no_grad():
                made = [
                    networks[0].eval()(torch.randn(len(part), recipe.z_size), torch.from_numpy(part))
                    for part in np.array_split(wanted, max(len(wanted) // 256, 1))
                ]
            minted = ((torch.cat(made) + 1) * 127.5).round().clamp(0, 255).byte().numpy()
            sides = {
                "real": (real, real_labels),
                "minted": (minted, wanted),
                "mix": (mixed(real, minted), mixed(real_labels, wanted)),
            }
            sides["classic"] = sides["real"]
            seen = max(scaled(CLASSIFIER_IMAGES, scale), len(real))
            for arm in (*ARMS, *CHOICES):
                teach(*sides[arm.removesuffix("+classic")], test, seen, augmented="classic" in arm)


# --- the clock ----------------------------------------------------------------------------------------------------


def timed(work: Callable[[], object]) -> tuple[float, float, object]:
    """Wall time and processor time, children included, in seconds, and what came out."""
    before, started = os.times(), time.perf_counter()
    found = work()
    wall, after = time.perf_counter() - started, os.times()
    return wall, sum(after[:4]) - sum(before[:4]), found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--scale", type=float, default=0.02)
    arguments.add_argument("--turns", type=int, default=2)
    arguments.add_argument("--jobs", type=int, default=2)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--recipe", default="fewshot")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        packs = halves(given.data, folder)
        ratios = []
        for turn in range(given.turns):
            out = folder / f"ours-{turn}"
            wall, processor, rows = timed(
                lambda out=out: ours(packs, given.recipe, out, given.scale, given.jobs, given.repeats)
            )
            print(f"turn {turn + 1}: ours {wall:.0f} s ({processor:.0f} s of processor time)", flush=True)
            torch.set_num_threads(given.threads)
            plain_wall, plain_processor, _ = timed(lambda: plain(packs, given.recipe, given.scale, given.repeats))
            ratios.append((plain_wall / wall, plain_processor / processor))
            print(
                f"turn {turn + 1}: plain {plain_wall:.0f} s ({plain_processor:.0f} s): "
                f"{ratios[-1][0]:.2f} times (wall), {ratios[-1][1]:.2f} (processor)",
                flush=True,
            )
        wall, processor, alone = timed(
            lambda: ours(packs, given.recipe, folder / "alone", given.scale, 1, given.repeats)
        )
        print(f"one job: {wall:.0f} s ({processor:.0f} s of processor time); rows equal: {alone == rows}")
        by_wall, by_processor = (statistics.median(each) for each in zip(*ratios, strict=True))
        print(f"median: {by_wall:.2f} times by the wall, {by_processor:.2f} by the processor")


if __name__ == "__main__":
    main()
