"""Images per second of our training step, of minting, and peak memory, against plain loops of the same networks.

    python benchmarks/train_step.py [--recipes cdcgan,dcgan-64] [--repeats 5] [--steps N] [--threads 1]
                                    [--clock process] [--one-noise] [--precision fp32] [--mint 1024] [--memory]

The plain loop is what a careful person writes in eager fp32 PyTorch: ordinary layers (for cdcgan label planes joined
with torch.cat), ordinary Adam, fresh noise for each step, no gradient through G in D's step; gradients of D's weights
are computed in G's step and thrown away. With `--one-noise` its first generator step takes the fakes of the
discriminator step, as many tutorials do and as ours does. Both see the same batch sizes and take the same steps with
the same losses, penalties and augmentation. They take turns (A B A B ...), so that a machine that speeds up or slows
down does so for both; ratios are taken turn by turn. `--clock process` counts processor time, for busy machines.

Work: floating-point operations of the convolutions and matrix products, counted in the plain loop with one noise.
Share: that work, done at our rate, against torch.mm at 1024 x 1024 in the same run.
Bound: the ratio that our step would have if its own convolutions and matrix products ran at the rate of torch.mm in
its precision and everything else cost nothing.
Minting: images written per second against the bare forward pass of the generator at its best batch size.
Memory: a child process trains a few steps on 60,000 images and on 600; the difference is what the pack costs.

Figures hold for the processor and the precision that the first line names. To see on a processor with AVX-512 what
one with AVX2 does, set ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scaling import Counter
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.augment import CLASSIC, affine
from imagemint.config import Optimizer, Recipe, load_recipe
from imagemint.data.pack import Pack, open_pack, writing
from imagemint.fitting import train
from imagemint.losses import LOSSES, gradient_penalty, zero_centred
from imagemint.methods import method_of, settle
from imagemint.minting import mint
from imagemint.models import ImageShape, build, parameter_count
from imagemint.models.layers import ImageConv, LeakyReLU
from imagemint.training.feed import Feed
from imagemint.training.loop import iterate
from imagemint.training.state import new_gan

RECIPES = ("cdcgan", "dcgan-64", "conv-cifar-final", "wgan-gp", "sgan-mnist", "fewshot")
Z, CLASSES = 100, 10  # of the plain cdcgan
TURN = 2.0  # seconds of the plain loop in one turn, unless --steps says otherwise
BATCHES = (16, 32, 64, 128, 256)  # tried for the bare forward pass

Step = Callable[[int], None]  # takes that many iterations


def join(x: Tensor, y: Tensor) -> Tensor:
    planes = y if x.ndim == 2 else y[:, :, None, None].expand(-1, -1, *x.shape[2:])
    return torch.cat([x, planes], 1)


class PlainGenerator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.n1 = nn.Linear(Z + CLASSES, 1024), nn.BatchNorm1d(1024)
        self.fc2, self.n2 = nn.Linear(1024 + CLASSES, 6272), nn.BatchNorm1d(6272)
        self.up3, self.n3 = nn.ConvTranspose2d(138, 128, 5, 2, 2, 1), nn.BatchNorm2d(128)
        self.up4 = nn.ConvTranspose2d(138, 1, 5, 2, 2, 1)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        y = F.one_hot(labels, CLASSES).float()
        x = F.relu(self.n1(self.fc1(join(z, y))))
        x = F.relu(self.n2(self.fc2(join(x, y)))).view(-1, 128, 7, 7)
        x = F.relu(self.n3(self.up3(join(x, y))))
        return 2 * torch.sigmoid(self.up4(join(x, y))) - 1


class PlainDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(11, 11, 5, 2, 2)
        self.conv2, self.n2 = nn.Conv2d(21, 74, 5, 2, 2), nn.BatchNorm2d(74)
        self.fc3, self.n3 = nn.Linear(3636, 1024), nn.BatchNorm1d(1024)
        self.fc4 = nn.Linear(1034, 1)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        y = F.one_hot(labels, CLASSES).float()
        x = F.leaky_relu(self.conv1(join((x + 1) / 2, y)), 0.2)
        x = F.leaky_relu(self.n2(self.conv2(join(x, y))), 0.2).flatten(1)
        x = F.leaky_relu(self.n3(self.fc3(join(x, y))), 0.2)
        return self.fc4(join(x, y)).squeeze(1)


def plain_networks(recipe: Recipe) -> tuple[nn.Module, nn.Module]:
    """The same networks of ordinary layers, begun alike; PyTorch's own transposed convolution and leaky relu too."""
    shown = recipe.shown_at
    shape = ImageShape(shown.channels, shown.size, shown.size)
    g, d = build(recipe.model, recipe.options, shape, shown.classes, recipe.z_size)
    if recipe.model == "cdcgan":
        counts = parameter_count(g), parameter_count(d)
        labelled = [[layer for layer in net.modules() if hasattr(layer, "label_weight")] for net in (g, d)]
        g, d = PlainGenerator(), PlainDiscriminator()
        assert (parameter_count(g), parameter_count(d)) == counts
        for net, layers in zip((g, d), labelled, strict=True):
            ordinary = [
                layer for layer in net.modules() if hasattr(layer, "bias") and "Norm" not in type(layer).__name__
            ]
            for mine, theirs in zip(ordinary, layers, strict=True):
                inputs = 0 if isinstance(mine, nn.ConvTranspose2d) else 1
                mine.weight.data = torch.cat([theirs.weight.data, theirs.label_weight.data], inputs)
                mine.bias.data = theirs.bias.data
    ordinary_layers: dict[type[nn.Module], type[nn.Module]] = {ImageConv: nn.ConvTranspose2d, LeakyReLU: nn.LeakyReLU}
    for layer in (*g.modules(), *d.modules()):
        layer.__class__ = ordinary_layers.get(type(layer), type(layer))
    return g, d


def adam(choice: Optimizer, network: nn.Module) -> torch.optim.Optimizer:
    assert choice.name == "adam"
    return torch.optim.Adam(network.parameters(), lr=choice.lr, betas=(choice.beta1, choice.beta2), eps=choice.eps)


Networks = tuple[nn.Module, nn.Module]


def plain(recipe: Recipe, pack: Pack, one_noise: bool, networks: Networks | None = None, seed: int = 0) -> Step:
    g, d = networks or plain_networks(recipe)
    average = copy.deepcopy(g) if recipe.ema_images else None
    adam_g, adam_d = adam(recipe.optimizer_g, g), adam(recipe.optimizer_d, d)
    loss, penalty, batch = LOSSES[recipe.loss], recipe.penalty, recipe.batch_size
    random, moves = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    done = itertools.count()

    def noise() -> Tensor:
        size = (batch, recipe.z_size)
        return torch.randn(size) if recipe.noise == "normal" else torch.rand(size) * 2 - 1

    def moved(images: Tensor, state: Tensor) -> Tensor:
        if recipe.augment == "none":
            return images
        return affine(images, moves.set_state(state), CLASSIC)

    def of(pure: Callable[..., Tensor], real: Tensor, fake: Tensor, labels: Tensor) -> Tensor:
        return (pure(real, fake) if real.dim() == 1 else pure(real, fake, labels)).mean()

    def iterate_once(iteration: int) -> None:
        for _ in range(recipe.d_steps):
            chosen = random.integers(0, len(pack), batch)
            real = torch.from_numpy(pack.pixels[chosen]).float() / 127.5 - 1
            labels = torch.from_numpy(pack.labels[chosen])
            with torch.set_grad_enabled(one_noise):
                fake = g(noise(), labels)
            state = moves.get_state()
            seen, made = moved(real, state), moved(fake.detach(), state)
            lowered = of(loss.d, d(seen, labels), d(made, labels), labels)
            if penalty is not None and iteration % penalty.every == 0:
                if penalty.name == "gradient":
                    share = torch.rand(batch, 1, 1, 1)
                    between = (seen + share * (made - seen)).requires_grad_(True)
                    size = gradient_penalty(d(between, labels), between).mean()
                else:
                    seen, made = seen.requires_grad_(True), made.requires_grad_(True)
                    size = zero_centred(d(seen, labels), seen).mean() + zero_centred(d(made, labels), made).mean()
                    size = size / 2
                lowered = lowered + penalty.weight * penalty.every * size
            adam_d.zero_grad()
            lowered.backward()
            adam_d.step()
            lowered.item()
        for k in range(recipe.g_steps):
            if k or not one_noise:
                fake = g(noise(), labels)
            state = moves.get_state()
            made_logits = d(moved(fake, state), labels)
            real_logits = d(moved(real, state), labels) if loss.needs_real else made_logits
            lowered = of(loss.g, real_logits, made_logits, labels)
            adam_g.zero_grad()
            lowered.backward()
            adam_g.step()
            lowered.item()
        if average is not None:
            with torch.no_grad():
                for mine, theirs in zip(average.parameters(), g.parameters(), strict=True):
                    mine.lerp_(theirs, 0.01)

    def step(steps: int) -> None:
        for _ in range(steps):
            iterate_once(next(done))

    return step


def ours(recipe: Recipe, pack: Pack) -> tuple[str, Step]:
    facts = settle(pack, recipe, device="cpu")
    gan = new_gan(facts)
    feed = Feed(pack, gan)

    def step(steps: int) -> None:
        for _ in range(steps):
            iterate(gan, feed)

    return facts.precision, step


def processor() -> str:
    """The processor's name as the system gives it."""
    listing = Path("/proc/cpuinfo")  # Linux; elsewhere platform knows as much as there is
    named = re.search(r"model name\s*: (.+)", listing.read_text()) if listing.is_file() else None
    return named[1] if named else platform.processor() or platform.machine()


def matmul_rate(dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """FLOP/s of torch.mm at 1024 x 1024, the median of 9."""
    a, b, seconds = torch.randn(1024, 1024).to(dtype), torch.randn(1024, 1024).to(dtype), []
    for _ in range(10):
        started = clock()
        torch.mm(a, b)
        seconds.append(clock() - started)
    return 2 * 1024**3 / statistics.median(seconds[1:])


def synthetic(dest: Path, recipe: Recipe, count: int) -> Pack:
    """Noise images of the size that the recipe is shown at, written block by block."""
    shown, random = recipe.shown_at, np.random.default_rng(0)
    block = random.integers(0, 256, (200, shown.channels, shown.size, shown.size), np.uint8)
    with writing(dest, classes=[str(k) for k in range(shown.classes)], origin="real", history=[]) as writer:
        for _ in range(0, count, len(block)):
            writer.add(block, np.arange(len(block)) % shown.classes)
    return writer.pack()


def gan_recipe(name: str, precision: str = "auto") -> Recipe:
    recipe = load_recipe(name, {"precision": precision})
    assert isinstance(recipe, Recipe), name
    return recipe


def time_steps(name: str, folder: Path, options: argparse.Namespace, clock: Callable[[], float]) -> str:
    """One row of the table."""
    recipe = gan_recipe(name, options.precision)
    pack = synthetic(folder / "pack", recipe, 2000)
    precision, our_step = ours(recipe, pack)
    variants = {"plain": plain(recipe, pack, options.one_noise), "ours": our_step}
    every = recipe.penalty.every if recipe.penalty else 1
    for step in variants.values():
        step(every)  # warm-up; of whole periods of the penalty, in which counted work and turns are too
    with Counter() as counted:
        plain(recipe, pack, True)(every)
    with Counter() as counted_ours:
        our_step(every)
    images = recipe.batch_size * recipe.d_steps
    work, our_work = (each.flops / (every * images) for each in (counted, counted_ours))
    started = clock()
    variants["plain"](every)
    steps = options.steps or every * max(1, round(TURN / (clock() - started)))
    steps += -steps % every
    seconds: dict[str, list[float]] = {key: [] for key in variants}
    fp32, bf16 = [], []
    for _ in range(options.repeats):
        for key, step in variants.items():
            started = clock()
            step(steps)
            seconds[key].append(clock() - started)
        fp32.append(matmul_rate(torch.float32, clock))
        bf16.append(matmul_rate(torch.bfloat16, clock))
    rates = {key: statistics.median(steps * images / t for t in times) for key, times in seconds.items()}
    ratios = sorted(p / t for p, t in zip(seconds["plain"], seconds["ours"], strict=True))
    reached = work * rates["ours"]
    shares = [reached / statistics.median(each) for each in (bf16, fp32)]
    bound = statistics.median(bf16 if precision == "bf16" else fp32) / our_work / rates["plain"]
    return (
        f"| {name} | {precision} | {rates['plain']:.0f} | {rates['ours']:.0f} | **{statistics.median(ratios):.2f}** "
        f"({ratios[0]:.2f}-{ratios[-1]:.2f}) | {bound:.2f} | {work / 1e9:.2f} | {shares[0]:.0%} | {shares[1]:.0%} |"
    )


def time_minting(name: str, folder: Path, options: argparse.Namespace, clock: Callable[[], float]) -> str:
    """One row of the table."""
    recipe = gan_recipe(name)
    pack = synthetic(folder / "pack", recipe, 400)
    run = train(pack, recipe, folder / "run", images=2 * recipe.batch_size, device="cpu")
    generator = new_gan(run.facts).generator.eval()
    wanted = (
        {"per_class": options.mint // len(pack.classes)} if method_of(recipe.model).sees_labels(run.facts) else {}
    )
    wanted = wanted or {"unlabelled": options.mint}
    count = options.mint // len(pack.classes) * len(pack.classes) if "per_class" in wanted else options.mint
    bare: dict[int, list[float]] = {batch: [] for batch in BATCHES}
    written = []
    with torch.inference_mode():
        for turn in range(options.repeats):
            for batch, seconds in bare.items():
                z, labels = torch.randn(batch, recipe.z_size), torch.arange(batch) % len(pack.classes)
                started = clock()
                for _ in range(max(1, count // batch)):
                    generator(z, labels)
                seconds.append((clock() - started) / (max(1, count // batch) * batch))
            started = clock()
            mint(run, folder / f"minted {turn}", device="cpu", **wanted)
            written.append((clock() - started) / count)
    medians = {batch: statistics.median(seconds) for batch, seconds in bare.items()}
    best = min(medians, key=lambda batch: medians[batch])
    ratio = statistics.median(b / w for b, w in zip(bare[best], written, strict=True))
    return f"| {name} | {1 / medians[best]:.0f} ({best}) | {1 / statistics.median(written):.0f} | {ratio:.2f} |"


def peak_memory(name: str, folder: Path) -> str:
    """One row of the table."""
    recipe = gan_recipe(name)
    peaks = []
    for count in (600, 60_000):
        pack = synthetic(folder / f"pack of {count}", recipe, count)
        call = [sys.executable, __file__, "--child", name, str(pack.path), str(folder / f"run on {count}")]
        done = subprocess.run(call, capture_output=True, text=True, check=True)
        peaks.append(json.loads(done.stdout.splitlines()[-1])["peak_mb"])
    as_float = pack.pixels.size * 4 / 2**20
    return f"| {name} | {peaks[0]:.0f} | {peaks[1]:.0f} | {peaks[1] - peaks[0]:+.0f} | {as_float:.0f} |"


def child(name: str, pack: str, run: str) -> None:
    recipe = gan_recipe(name)
    train(open_pack(pack), recipe, run, images=4 * recipe.batch_size * recipe.d_steps, device="cpu")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    status = Path("/proc/self/status")  # Linux: getrusage tells the parent's peak where that is higher
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    print(json.dumps({"peak_mb": int(found[1]) / 1024 if found else peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", default=",".join(RECIPES), help="names, with commas between them")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument(
        "--steps", type=int, help="iterations timed in one turn (default: two seconds of the plain loop)"
    )
    parser.add_argument("--threads", type=int, help="torch's threads (default: as torch chooses)")
    parser.add_argument("--clock", choices=("wall", "process"), default="wall")
    parser.add_argument("--one-noise", action="store_true", help="the plain loop uses D's fakes in G's first step")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of our step")
    parser.add_argument("--mint", type=int, default=0, help="time minting of so many images too")
    parser.add_argument(
        "--memory", action="store_true", help="measure peak memory too (writes 60,000 images a recipe)"
    )
    parser.add_argument("--no-steps", action="store_true", help="leave the training step out")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.child:
        child(*options.child)
        return
    clock = time.process_time if options.clock == "process" else time.perf_counter
    rates = " and ".join(f"{matmul_rate(d, clock) / 1e9:.0f}" for d in (torch.bfloat16, torch.float32))
    print(f"{processor()}; {torch.backends.cpu.get_cpu_capability()}; ", end="")
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {options.clock} clock; ", end="")
    print(f"torch.mm: {rates} GFLOP/s in bf16 and fp32")
    tables: list[tuple[str, Callable[[str, Path], str]]] = []
    if not options.no_steps:
        head = (
            "| recipe | ours in | plain images/s | ours images/s | times plain (range) | bound | GFLOP per image | "
        )
        head += "share of bf16 mm | of fp32 mm |"
        tables.append((head, lambda name, folder: time_steps(name, folder, options, clock)))
    if options.mint:
        head = "| recipe | bare forward images/s (batch) | minting images/s | ratio |"
        tables.append((head, lambda name, folder: time_minting(name, folder, options, clock)))
    if options.memory:
        head = "| recipe | peak MB, 600 images | 60,000 images | difference | pack as float |"
        tables.append((head, peak_memory))
    for head, row in tables:
        print(f"\n{head}\n{'|---' * (head.count('|') - 1)}|", flush=True)
        for name in options.recipes.split(","):
            with tempfile.TemporaryDirectory() as folder:
                print(row(name, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
