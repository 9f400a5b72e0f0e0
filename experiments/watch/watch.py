"""Whether the watcher of training says what is wrong, and is silent when nothing is.

    python experiments/watch/watch.py train MNIST.pack DIGITS.pack experiments/watch/looks [NAME]   # an hour
    python experiments/watch/watch.py table experiments/watch/looks                               # the README's table

MNIST.pack: 1,000 images per class of MNIST's training part; DIGITS.pack: scikit-learn's digits. Every run leaves its
looks in a JSON file, and one that is there is not done again. The table decides anew from the looks, so a threshold
can be judged without training again. The thresholds were chosen on seed 0; the rates are stated for the others too.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, open_pack, writing
from imagemint.errors import TrainingError
from imagemint.files import read_lines
from imagemint.fitting import train
from imagemint.runs import Finding, open_run
from imagemint.training.watch.measure import Look
from imagemint.training.watch.rules import findings

ADAM = {"name": "adam", "lr": 0.001, "beta1": 0.5}  # Winkler 2018
DENSE: dict[str, Any] = {
    "model": "dense",
    "options": {},
    "z_size": 100,
    "noise": "uniform",
    "loss": "non-saturating",
    "penalty": None,
    "optimizer_g": ADAM,
    "optimizer_d": ADAM,
    "augment": "none",
    "ema_images": None,
    "batch_size": 128,
}


def sgd(lr: float) -> dict[str, Any]:
    return {"name": "sgd", "lr": lr}


def adam(lr: float) -> dict[str, Any]:
    return {"name": "adam", "lr": lr, "beta1": 0.5}


MINIMAL = DENSE | {
    "options": {"hidden_g": [30], "hidden_d": [30], "activation": "sigmoid"},
    "optimizer_g": sgd(0.3),
    "optimizer_d": sgd(0.3),
}
LEAKY = MINIMAL | {
    "options": {"hidden_g": [30], "hidden_d": [30], "activation": "leaky"},
    "optimizer_g": sgd(0.1),
    "optimizer_d": sgd(0.1),
}
CONV = DENSE | {"model": "conv", "options": {"variant": "mnist"}}
WGAN: dict[str, Any] = {  # Gulrajani et al. 2017, section 4, for a dense net
    "loss": "wasserstein",
    "penalty": {"name": "gradient", "weight": 10},
    "d_steps": 5,
    "optimizer_g": adam(0.0001),
    "optimizer_d": adam(0.0001),
}
SLIM: dict[str, Any] = {"options.width": 8}  # a quarter of the demo's network: seconds


@dataclass(frozen=True)
class Case:
    """A kind of run: the pack, how long, how often, with which settings, and what must be said (one of these)."""

    pack: str
    images: int
    seeds: int
    settings: dict[str, Any]
    recipe: str = "demo"
    expected: set[str] = field(default_factory=set)  # empty: silence


CASES: dict[str, Case] = {
    # healthy
    "digits demo": Case("digits", 30_000, 20, SLIM),
    "mnist dense": Case("mnist", 100_000, 3, DENSE),
    "mnist dense least-squares": Case("mnist", 150_000, 1, DENSE | {"loss": "least-squares"}),
    "mnist dense hinge": Case("mnist", 80_000, 1, DENSE | {"loss": "hinge"}),
    "mnist dense wgan-gp": Case("mnist", 80_000, 1, DENSE | WGAN),
    "mnist leaky": Case("mnist", 300_000, 1, LEAKY),
    "digits dense": Case("digits", 60_000, 4, DENSE),
    "mnist cdcgan": Case("mnist", 15_000, 1, {"watch_every": 2500}, "cdcgan"),
    "mnist conv": Case("mnist", 25_000, 1, CONV),
    "mnist small": Case("mnist", 25_000, 1, {"options.width": 8}),
    # failing on purpose
    "minimal": Case("mnist", 2_000_000, 1, MINIMAL, expected={"mode collapse", "saturation"}),
    "dense, rates x100": Case(
        "mnist", 100_000, 2, DENSE | {"optimizer_g": adam(0.1), "optimizer_d": adam(0.1)}, expected={"saturation"}
    ),
    "demo, rates x100": Case(
        "digits",
        30_000,
        2,
        SLIM | {"optimizer_g.lr": 0.1, "optimizer_d.lr": 0.1},
        expected={"mode collapse", "saturation"},
    ),
    "dense, 10 D steps": Case("mnist", 150_000, 2, DENSE | {"d_steps": 10}, expected={"discriminator overpowers"}),
    "digits dense, 10 D steps": Case(
        "digits", 150_000, 2, DENSE | {"d_steps": 10}, expected={"discriminator overpowers"}
    ),
    "digits minimax, 10 D steps": Case(
        "digits", 150_000, 2, DENSE | {"d_steps": 10, "loss": "minimax"}, expected={"discriminator overpowers"}
    ),
    "demo, 10 D steps": Case("digits", 60_000, 1, SLIM | {"d_steps": 10}),
    "dense, D at 1/1000": Case(
        "mnist", 100_000, 2, DENSE | {"optimizer_d": adam(1e-6)}, expected={"generator overpowers"}
    ),
    "demo, 10 G steps, slow D": Case(
        "digits",
        30_000,
        1,
        SLIM | {"g_steps": 10, "optimizer_d.lr": 1e-5},
        expected={"generator overpowers", "mode collapse"},
    ),
    "G stands still": Case("mnist", 60_000, 2, DENSE | {"optimizer_g": adam(1e-9)}, expected={"nothing learnt"}),
    "20 images, dense": Case("20", 100_000, 1, DENSE, expected={"copying"}),
    "20 images, demo without augmentation": Case("20", 60_000, 1, SLIM | {"augment": "none"}, expected={"copying"}),
    "demo, G almost without noise": Case(
        "digits", 30_000, 2, SLIM | {"z_size": 1, "loss": "minimax"}, expected={"mode collapse"}
    ),
    # what the remedy of a finding does
    "mended dense, rates x100": Case(
        "mnist", 100_000, 1, DENSE | {"optimizer_g": adam(0.01), "optimizer_d": adam(0.01)}
    ),
    "mended demo, rates x100": Case("digits", 30_000, 1, SLIM | {"optimizer_g.lr": 0.01, "optimizer_d.lr": 0.01}),
    "mended 20 images, dense": Case("20", 100_000, 1, DENSE | {"augment": "affine"}),
}


def run_case(name: str, case: Case, seed: int, packs: dict[str, Pack], out: Path) -> None:
    file = out / f"{re.sub('[^a-z0-9]+', '-', name.lower())}-seed-{seed}.json"
    if file.exists():
        return
    folder = out / "run"
    shutil.rmtree(folder, ignore_errors=True)
    recipe = load_recipe(
        case.recipe,
        case.settings | {"largest": 128, "precision": "fp32", "checkpoint_every": 10**9, "images": case.images},
    )
    started, died = time.monotonic(), None
    try:
        train(packs[case.pack], recipe, folder, seed=seed, device="cpu")
    except TrainingError as error:
        died = error.found
    looks = read_lines(folder / "watch.jsonl")
    seconds = round(time.monotonic() - started)
    result = {
        "name": name,
        "seed": seed,
        "seconds": seconds,
        "recipe": recipe.model_dump(),
        "died": died,
        "looks": looks,
    }
    file.write_text(json.dumps(result))
    if open_run(folder).samples():
        shutil.copy(open_run(folder).samples()[-1], file.with_suffix(".png"))
    print(name, seed, seconds, "s", flush=True)


def main(what: str, *rest: str) -> None:
    torch.set_num_threads(1)
    if what == "train":
        mnist, digits, out = (Path(each) for each in rest[:3])
        only = rest[3] if len(rest) > 3 else ""
        out.mkdir(parents=True, exist_ok=True)
        packs = {"mnist": open_pack(mnist), "digits": open_pack(digits)}
        packs["20"] = twenty(packs["digits"], out / "20.pack")
        for name, case in CASES.items():
            for seed in range(case.seeds if only in name else 0):
                run_case(name, case, seed, packs, out)

    else:
        print(table(Path(rest[0])))


def table(out: Path) -> str:
    """One row a kind of run: what was said, in how many runs, and when first; then the rate of false alarms."""
    said: dict[str, dict[int, list[Finding]]] = {name: {} for name in CASES}
    for file in sorted(out.glob("*.json")):
        result = json.loads(file.read_text())
        looks = [Look.of(line) for line in result["looks"]]
        if result["name"] in said:
            said[result["name"]][result["seed"]] = findings(looks, Recipe.model_validate(result["recipe"]))
    lines = [
        "| run | pack | images | runs | findings: in how many runs, known at (earliest) |",
        "|---|---|---|---|---|",
    ]
    healthy: list[tuple[int, bool]] = []
    for name, runs in said.items():
        case = CASES[name]
        per_name: dict[str, list[int]] = {}
        for finding in (finding for found in runs.values() for finding in found):
            per_name.setdefault(finding.name, []).append(finding.images_seen)
        words = "; ".join(f"{what}: {len(at)}, {min(at):,}" for what, at in per_name.items()) or "none"
        missed = sum(not any(each.name in case.expected for each in found) for found in runs.values())
        if case.expected:
            words += f" (**missed in {missed}**)" if missed else ""
        elif not name.startswith("mended"):
            healthy += [(seed, bool(found)) for seed, found in runs.items()]
        kind = " (fails on purpose)" if case.expected else ""
        lines.append(f"| {name}{kind} | {case.pack} | {case.images:,} | {len(runs)} | {words} |")
    for what, rows in (("all", healthy), ("seeds above 0", [row for row in healthy if row[0] > 0])):
        lines.append(f"\nFalse alarms, {what}: {sum(alarm for _, alarm in rows)} of {len(rows)} healthy runs")
    return "\n".join(lines)


def twenty(pack: Pack, dest: Path) -> Pack:
    if dest.exists():
        return open_pack(dest)
    with writing(dest, classes=pack.classes, origin="real", history=pack.manifest.history) as writer:
        writer.add(pack.pixels[:20], pack.labels[:20])
    return open_pack(dest)


if __name__ == "__main__":
    main(*sys.argv[1:])
