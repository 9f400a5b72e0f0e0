"""Step times of one and two processes here, and what counts foretell for GPUs: the tables of docs/scaling.md.

    python benchmarks/scaling.py [--repeats 3] [--steps 6]

Measured: seconds per step, for one process of one thread, one of two threads, and two of one thread (gloo), in turns
(A B C A B C ...), each in fresh processes; processor seconds of the first process, which mean something on a busy
machine too; how long the two are in all-reduce; LeNet's images per second.
Counted: floating-point operations, calls of operators, parameters, bytes and calls of all-reduce, per step.
Foretold: everything about GPUs, from ASSUMED below.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from imagemint.classifiers import LeNet, train_classifier
from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, open_pack, writing
from imagemint.methods import settle
from imagemint.models import parameter_count
from imagemint.training.feed import Feed
from imagemint.training.loop import iterate
from imagemint.training.ranks import joined
from imagemint.training.state import Gan, new_gan

# An NVIDIA A100 by its data sheet, and what we take a program to reach of it.
ASSUMED = {
    "peak": 312e12,  # bf16 FLOP/s of the data sheet
    "share": 0.25,  # of it in convolutions of this size, while they run
    "launch": 6e-6,  # seconds an operator call costs the host at least
    "inside": 200e9,  # bytes/s of a ring all-reduce among the 8 GPUs of a machine
    "between": 20e9,  # the same among machines
    "wait_inside": 30e-6,  # seconds a call of all-reduce costs beside its bytes, among 8
    "wait_between": 100e-6,
}
MACHINE = 8  # GPUs
WORLDS = (1, 8, 64)

# The plan of Baker 2018, tables 5.5 and 5.7: images, epochs and batch of each GAN, for two data sets; then LeNet for
# 500 epochs each.
PHASES = [(n, e, b) for e, b in ((25, 64), (100, 64), (100, 100)) for n in (10_000, 20_000, 30_000, 60_000)]
CLASSIFIERS = [500 * n for n in (30_000, 30_000, 60_000, 60_000, 60_000, 120_000)]
SETS = 2
LARGE = (1_000_000, 25, 64)  # images of 128 pixels, epochs, batch of a GPU


class Step(NamedTuple):
    """What one iteration takes, for so many images."""

    batch: int
    flops: float
    operators: int
    gradient_bytes: int  # handed to all-reduce as gradients: D once, G `g_steps` times
    norm_bytes: int  # handed to it by batch normalisation, forward and backward
    calls: int  # of all-reduce


def recipe_and_pack(name: str, folder: Path) -> tuple[Recipe, Pack]:
    size, channels = (128, 3) if name == "dcgan-128" else (28, 1)
    random = np.random.default_rng(0)
    if not folder.exists():
        with writing(folder, classes=list("0123456789"), origin="real", history=[]) as writer:
            writer.add(random.integers(0, 256, (1000, channels, size, size), np.uint8), np.arange(1000) % 10)
    return load_recipe(name), open_pack(folder)


class Counter(TorchDispatchMode):
    """Counts operators and, by torch's own table, their operations, those of backward passes too.

    FlopCounterMode does so as well, but refuses gradient penalties: it does not go with torch.autograd.grad.
    """

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.flops = 0, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.calls += 1
        if func._overloadpacket in flop_registry:
            self.flops += flop_registry[func._overloadpacket](*args, **(kwargs or {}), out_val=result)
        return result


def counted(name: str, folder: Path) -> Step:
    """Counts of one iteration, the mean of four: some penalties come at every fourth."""
    recipe, pack = recipe_and_pack(name, folder)
    batch = recipe.batch_size
    small = min(batch, 8)  # operations grow with the batch, calls of operators do not
    recipe = load_recipe(recipe, {"precision": "fp32", "batch_size": small})
    gan = new_gan(settle(pack, recipe, device="cpu"))
    feed = Feed(pack, gan)
    d, g = (4 * parameter_count(net) for net in (gan.discriminator, gan.generator))  # before a step freezes D
    with Counter() as counter:
        for _ in range(4):
            iterate(gan, feed)
    channels, calls = norm_traffic(gan)
    return Step(
        batch=batch,
        flops=counter.flops / 4 * batch / small,
        operators=counter.calls // 4,
        gradient_bytes=recipe.d_steps * d + recipe.g_steps * g,
        norm_bytes=4 * channels,
        calls=calls + 2 * recipe.d_steps + 2 * recipe.g_steps + 1,  # gradients, logged values, the flag of stopping
    )


def norm_traffic(gan: Gan) -> tuple[int, int]:
    """Numbers and calls of all-reduce by batch normalisation, an iteration.

    Mean and variance travel apart, forward and backward: 4 calls a layer and pass. G passes once a discriminator step
    (backward through the last alone) and once more a generator step after the first; D twice a discriminator step and
    once a generator step, with the real images too where the loss asks.
    """
    recipe = gan.recipe
    norms = {
        name: [layer for layer in net.modules() if isinstance(layer, (nn.BatchNorm1d, nn.BatchNorm2d))]
        for name, net in (("g", gan.generator), ("d", gan.discriminator))
    }
    passes = {"g": recipe.d_steps + recipe.g_steps - 1, "d": 2 * recipe.d_steps + recipe.g_steps}
    calls = sum(4 * passes[name] * len(layers) for name, layers in norms.items())
    numbers = sum(4 * passes[name] * sum(layer.num_features for layer in layers) for name, layers in norms.items())
    return numbers, calls


def worker(name: str, threads: int, steps: int, folder: Path) -> None:
    """Time iterations in this process, one of one or two; rank 0 prints what it saw."""
    torch.set_num_threads(threads)
    recipe, pack = recipe_and_pack(name, folder)
    seen = {"bytes": 0.0, "calls": 0.0, "seconds": 0.0}
    plain = dist.all_reduce

    def noted(x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        result = plain(x, *args, **kwargs)
        seen["seconds"] += time.perf_counter() - started
        seen["bytes"] += x.numel() * x.element_size()
        seen["calls"] += 1
        return result

    with joined("cpu") as ranks:
        gan = new_gan(settle(pack, recipe, device="cpu"), ranks)
        feed = Feed(pack, gan)
        for _ in range(2):
            iterate(gan, feed)
        dist.all_reduce = noted
        taken, busy = [], time.process_time()
        for _ in range(steps):
            started = time.perf_counter()
            iterate(gan, feed)
            ranks.any(False)  # as the loop does
            taken.append(time.perf_counter() - started)
        seen["busy"] = time.process_time() - busy
        if ranks.first:
            shares = {key: value / steps for key, value in seen.items()}
            print(json.dumps({"step": statistics.median(taken), "world": ranks.world, **shares}))


def started(name: str, processes: int, threads: int, steps: int, folder: Path) -> dict[str, float]:
    own = [__file__, "--worker", name, str(threads), str(steps), str(folder)]
    many = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    command = [sys.executable, *(many if processes > 1 else []), *own]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout.strip().splitlines()[-1])


VARIANTS = {"1 process x 1 thread": (1, 1), "1 process x 2 threads": (1, 2), "2 processes x 1 thread": (2, 1)}


def measure(name: str, repeats: int, steps: int, folder: Path) -> dict[str, list[dict[str, float]]]:
    turns: dict[str, list[dict[str, float]]] = {variant: [] for variant in VARIANTS}
    for _ in range(repeats):
        for variant, (processes, threads) in VARIANTS.items():
            turns[variant].append(started(name, processes, threads, steps, folder))
    return turns


def lenet_rate() -> float:
    """Images per processor second, one thread, forwards and backwards."""
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (2000, 1, 28, 28), np.uint8), np.arange(2000) % 10
    rates = []
    for _ in range(3):
        began = time.process_time()
        train_classifier(pixels, labels, 10, images_seen=8000, seed=0)
        rates.append(8000 / (time.process_time() - began))
    return statistics.median(rates)


def lenet_counts() -> tuple[float, int]:
    """Operations an image, and operator calls of a batch of 64, its optimiser included."""
    net = LeNet(1, (28, 28), 10)
    adam = torch.optim.Adam(net.parameters(), fused=True)
    with Counter() as counter:
        nn.functional.cross_entropy(net(torch.zeros(64, 1, 28, 28)), torch.zeros(64, dtype=torch.int64)).backward()
        adam.step()
    return counter.flops / 64, counter.calls


def on_gpus(step: Step, world: int, batch: int | None = None) -> float:
    """Seconds of one iteration of a whole batch on `world` GPUs, by ASSUMED."""
    flops = step.flops * (batch or step.batch) / step.batch / world
    compute = max(flops / (ASSUMED["peak"] * ASSUMED["share"]), step.operators * ASSUMED["launch"])
    if world == 1:
        return compute
    where = "inside" if world <= MACHINE else "between"
    sent = 2 * (world - 1) / world * (step.gradient_bytes + step.norm_bytes)
    return compute + sent / ASSUMED[where] + step.calls * ASSUMED[f"wait_{where}"]


def side_by_side(jobs: list[float], world: int) -> float:
    """Seconds till the last of independent jobs is done, longest first, each on one of `world` GPUs."""
    ends = [0.0] * world
    for job in sorted(jobs, reverse=True):
        ends[ends.index(min(ends))] += job
    return max(ends)


def hours(seconds: float) -> str:
    return f"{seconds / 3600:,.1f} h" if seconds > 5400 else f"{seconds / 60:.0f} min"


def report_measured(name: str, turns: dict[str, list[dict[str, float]]], step: Step) -> None:
    alone = [turn["step"] for turn in turns["1 process x 1 thread"]]
    for variant, seen in turns.items():
        ratios = sorted(a / turn["step"] for a, turn in zip(alone, seen, strict=True))
        median = statistics.median(turn["step"] for turn in seen)
        spread = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f}-{ratios[-1]:.2f})"
        busy = statistics.median(turn["busy"] for turn in seen)
        print(
            f"| {name} | {variant} | {median * 1e3:.0f} | {step.batch / median:.0f} | {spread} | {busy * 1e3:.0f} |"
        )


def report_plan(cdcgan: Step, seconds_a_step: float, lenet: float) -> None:
    flops, operators = lenet_counts()
    runs = [(n * e / b, b) for n, e, b in PHASES] * SETS
    here = [steps * seconds_a_step * b / cdcgan.batch for steps, b in runs]
    judges = [n / lenet for n in CLASSIFIERS] * SETS
    idle = " | ".join(map(hours, (sum(here), sum(judges), sum(here + judges))))
    print(f"| one thread of this machine, if idle | {idle} | |")
    one_lenet = max(64 * flops / (ASSUMED["peak"] * ASSUMED["share"]), operators * ASSUMED["launch"]) / 64
    judges = [n * one_lenet for n in CLASSIFIERS] * SETS
    gans = [steps * on_gpus(cdcgan, 1, b) for steps, b in runs]
    for world in WORLDS:
        spread = [steps * on_gpus(cdcgan, world, b) for steps, b in runs]
        split = hours(sum(spread)) if cdcgan.batch >= 2 * world else "refused: under 2 images a GPU"
        apart = [hours(side_by_side(jobs, world)) for jobs in (gans, judges, gans + judges)]
        print(f"| {world} GPU{'s' if world > 1 else ''} | {' | '.join(apart)} | {split} |")


def report_large(step: Step) -> None:
    images, epochs, batch = LARGE
    alone = images * epochs / batch * on_gpus(step, 1, batch)
    for world in WORLDS:
        whole = batch * world
        seconds = on_gpus(step, world, whole)
        total = images * epochs / whole * seconds
        rate, share = whole / seconds, alone / total / world
        print(f"| {world} | {whole} | {seconds * 1e3:.1f} ms | {rate:,.0f} | {hours(total)} | {share:.0%} |")


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        name, threads, steps, folder = sys.argv[2:]
        worker(name, int(threads), int(steps), Path(folder))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=6, help="steps timed in one turn")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        counts = {name: counted(name, folder / name) for name in ("cdcgan", "demo", "dcgan-128")}
        print("| recipe | batch | GFLOP | operator calls | gradients, MB | normalisation, MB | calls of all-reduce |")
        print("|---|---|---|---|---|---|---|")
        for name, s in counts.items():
            sizes = f"{s.gradient_bytes / 1e6:.1f} | {s.norm_bytes / 1e6:.2f} | {s.calls}"
            print(f"| {name} | {s.batch} | {s.flops / 1e9:.1f} | {s.operators} | {sizes} |")
        print("\n| recipe | what | ms per step | images/s | times the first (range) | processor ms per process |")
        print("|---|---|---|---|---|---|")
        measured = {name: measure(name, options.repeats, options.steps, folder / name) for name in ("cdcgan", "demo")}
        for name, turns in measured.items():
            report_measured(name, turns, counts[name])
        print()
        for name, turns in measured.items():
            seen = turns["2 processes x 1 thread"][-1]
            print(
                f"{name}: {seen['bytes'] / 1e6:.1f} MB in {seen['calls']:.0f} calls of all-reduce per step, "
                f"{seen['seconds'] * 1e3:.0f} of {seen['step'] * 1e3:.0f} ms in them (sending and waiting)"
            )
        lenet = lenet_rate()
        print(f"LeNet: {lenet:,.0f} images per processor second\n")
        alone = statistics.median(turn["busy"] for turn in measured["cdcgan"]["1 process x 1 thread"])
        print("| the plan of Baker 2018 on | GANs | LeNets | both | one GAN after the other, each on all |")
        print("|---|---|---|---|---|")
        report_plan(counts["cdcgan"], alone, lenet)
        print("\n| GPUs | batch | step | images/s | 25 epochs of 1,000,000 | efficiency |\n|---|---|---|---|---|---|")
        report_large(counts["dcgan-128"])


if __name__ == "__main__":
    main()
