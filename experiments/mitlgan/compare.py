"""The open question of Élő 2021 (chapter 8): does joining frozen, trained generators help early on.

    python experiments/mitlgan/compare.py SCENES.zip WORK --size 64 --epochs 2 --parent-epochs 10

SCENES.zip holds the folders foreground, background and combined. WORK gets packs and runs, this folder the results.
The protocol of Élő 2021, chapter 7: WGAN-GP on the foregrounds, on the backgrounds and on the combined images, and
MITLGAN from the first two on the combined images; everything but the networks is the same. MITLGAN and WGAN-GP on the
combined images are compared at equal images seen by the Frechet distance between real and minted images on the same
features: those of a LeNet that learned to tell the three folders apart on one half of the images. The other half is
the floor: what real images get at the same count. Started again, it goes on where it was stopped, and with more
epochs it goes further. With the network of Élő 2021 a checkpoint of MITLGAN has 270 MB, and all are kept.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import torch
from PIL import Image

import imagemint
from imagemint import progress, seeds
from imagemint.classifiers import LeNet, features
from imagemint.config import load_recipe
from imagemint.data.edit import drop
from imagemint.data.pack import Pack, open_pack
from imagemint.files import read_lines
from imagemint.methods import load_minter
from imagemint.metrics.frechet import Moments, frechet
from imagemint.metrics.judge import JudgeSplit, judge_split, train_judge
from imagemint.runs import Run
from imagemint.samples import PICTURE_COLUMNS

mpl.use("Agg")
from matplotlib import pyplot as plt

FOLDERS = ("foreground", "background", "combined")
SHOWN = ("wgan-gp", "mitlgan")
BATCH = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("work", type=Path)
    parser.add_argument("--size", type=int, default=64, help="side of the images, in pixels; 128 in Élő 2021")
    parser.add_argument("--epochs", type=float, default=2, help="passes over the combined images")
    parser.add_argument("--parent-epochs", type=float, default=10, help="passes over foregrounds and backgrounds")
    parser.add_argument("--every", type=float, default=0.5, help="epochs between two measurements")
    parser.add_argument("--width", type=int, default=256, help="channels of MITLGAN's blocks; 256 in Élő 2021")
    parser.add_argument("--output", default="tanh", help="tanh, or relu as in Élő 2021, table 7.3")
    parser.add_argument("--count", type=int, default=500, help="images in a Frechet distance")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    progress.turn_on()

    scenes, packs = pack_all(options.source, options.work, options.size)
    parts = judge_split(scenes, np.array([options.count if name == "combined" else 0 for name in scenes.classes]), 0)
    judge = train_judge(scenes, parts.reference, 0)
    real, floor = moments_of_real(scenes, parts, judge, options.count)
    rows, shown = [], {}
    for seed in range(options.seeds):
        runs = train_all(packs, options, seed)
        shown = shown or runs
        for name, run in runs.items():
            for checkpoint in run.checkpoints():
                made = draw(run, checkpoint, options.count)
                distance = frechet(Moments.of(features(judge, made)), real)
                row = {"arm": name, "seed": seed, "images_seen": int(checkpoint.name), "fd_lenet": round(distance, 3)}
                rows.append(row)
                print(json.dumps(row), flush=True)
    options.results.mkdir(parents=True, exist_ok=True)
    result = {
        "settings": {key: value for key, value in vars(options).items() if key not in ("source", "work", "results")},
        "images": {name: len(pack) for name, pack in packs.items()},
        "judge": judge.weights_hash(),
        "floor": round(floor, 3),
        "rows": rows,
        "seconds": {name: seconds(run) for name, run in shown.items()},
        "log": {name: run.log() for name, run in shown.items()},
    }
    (options.results / "results.json").write_text(json.dumps(result, indent=1) + "\n")
    curves(result, options.results / "curves.png")
    strip(shown, len(packs["combined"]), options.results / "first-epoch.png")
    print(f"real images among themselves: {floor:.2f}; results in {options.results}")


def pack_all(source: str, work: Path, size: int) -> tuple[Pack, dict[str, Pack]]:
    """All scenes as three classes, which the judge learns, and one pack of each folder."""

    def made(name: str, make: Any) -> Pack:
        dest = work / f"{name}-{size}.pack"
        return open_pack(dest) if dest.exists() else make(dest)

    scenes = made("scenes", lambda dest: imagemint.pack(source, dest, size=size))
    others = {name: [other for other in FOLDERS if other != name] for name in FOLDERS}
    return scenes, {name: made(name, lambda dest, n=name: drop(scenes, dest, others[n])) for name in FOLDERS}


def train_all(packs: dict[str, Pack], options: argparse.Namespace, seed: int) -> dict[str, Run]:
    """The parents, then the two that are compared."""
    epoch = len(packs["combined"])
    often = {
        "checkpoint_every": round(options.every * epoch),
        "picture_every": max(1, epoch // 6),
        "log_every": 1,
        "keep": 1000,
    }
    wgan = load_recipe("mitlgan", {"name": "wgan-gp", "model": "wgan-gp", "options": {}, "z_size": 1536})
    folder = options.work / f"runs-{options.size}-seed{seed}"
    parents = []
    for name in ("foreground", "background"):
        train = imagemint.train(
            packs[name], wgan, folder / name, seed=seed, epochs=options.parent_epochs, resume=True
        )
        parents.append(str(train.path))
    common = {"seed": seed, "epochs": options.epochs, "resume": True, **often}
    choice = {"output": options.output, "width": options.width}
    joined = folder / f"mitlgan-{options.output}-{options.width}"
    return {
        "wgan-gp": imagemint.train(packs["combined"], wgan, folder / "combined", **common),
        "mitlgan": imagemint.train(packs["combined"], "mitlgan", joined, parents=parents, options=choice, **common),
    }


def moments_of_real(scenes: Pack, parts: JudgeSplit, judge: LeNet, count: int) -> tuple[Moments, float]:
    """Moments of the real combined images that the judge knows, and the distance of those that it does not."""
    labels = np.asarray(scenes.labels)
    known = parts.reference[labels[parts.reference] == scenes.classes.index("combined")]
    real = Moments.of(features(judge, scenes.pixels[known]))
    return real, frechet(Moments.of(features(judge, scenes.pixels[parts.held_out[:count]])), real)


def draw(run: Run, checkpoint: Path, count: int) -> np.ndarray:
    """uint8 `[count, c, h, w]`, from the same noise at every checkpoint."""
    minter = load_minter(run, checkpoint, run.facts.device)
    made = []
    with torch.autocast(run.facts.device, torch.bfloat16, enabled=run.facts.precision == "bf16"):
        for start in range(0, count, BATCH):
            image_seeds = [seeds.derive(0, "draw", k) for k in range(start, min(start + BATCH, count))]
            made.append(minter.draw(image_seeds, np.zeros(len(image_seeds), np.int64)))
    return np.concatenate(made)


def seconds(run: Run) -> float:
    """Seconds of training, sessions added up."""
    last: dict[int, float] = {}
    for line in read_lines(run.path / "clock.jsonl"):
        last[line["from"]] = line["seconds"]
    return round(sum(last.values()), 1)


def curves(result: dict[str, Any], dest: Path) -> None:
    """Frechet distance, and the absolute values of both losses, by images seen."""
    figure, (distance, loss_g, loss_d) = plt.subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    for colour, name in zip(("tab:blue", "tab:orange"), SHOWN, strict=True):
        rows = [row for row in result["rows"] if row["arm"] == name]
        for seed in sorted({row["seed"] for row in rows}):
            points = [(row["images_seen"], row["fd_lenet"]) for row in rows if row["seed"] == seed]
            distance.plot(*zip(*points, strict=True), ".-", color=colour, label=name if seed == 0 else None)
        log = result["log"][name]
        seen = [line["images_seen"] for line in log]
        loss_g.plot(seen, [abs(line["loss_g"]) for line in log], color=colour, label=name, lw=1)
        loss_d.plot(seen, [abs(line["loss_d"]) for line in log], color=colour, label=name, lw=1)
    distance.axhline(result["floor"], color="gray", ls=":", label="real")
    for axes, title in (
        (distance, "Fréchet distance, LeNet features"),
        (loss_g, "|loss of G|"),
        (loss_d, "|loss of D|, penalty apart"),
    ):
        axes.set(title=title, xlabel="images seen", yscale="log")
        axes.legend()
    figure.savefig(dest, dpi=110)
    plt.close(figure)


def strip(runs: dict[str, Run], epoch: int, dest: Path) -> None:
    """Samples of the first epoch, the same noise in every row, top down: WGAN-GP left, MITLGAN right."""
    sides = []
    for name in SHOWN:
        files = [file for file in runs[name].samples() if int(file.stem) <= epoch * 1.05]
        sides.append(np.concatenate([_padded(np.asarray(Image.open(file))) for file in files]))
    rows = min(len(side) for side in sides)
    gap = np.full((rows, 16, sides[0].shape[2]), 255, np.uint8)
    Image.fromarray(np.concatenate([sides[0][:rows], gap, sides[1][:rows]], 1)).save(dest)


def _padded(picture: np.ndarray) -> np.ndarray:
    """Five samples of the row, with a gap below."""
    width = (picture.shape[1] + 2) // PICTURE_COLUMNS * 5 - 2
    return np.pad(picture[:, :width], ((0, 2), (0, 0), (0, 0)), constant_values=255)


if __name__ == "__main__":
    main()
