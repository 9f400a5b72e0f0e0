"""Images a second of our cdcgan step against a plain loop of the same network, both in one run.

    python benchmarks/train_step.py [--repeats 5] [--steps 12]

The plain loop is what a careful person writes from the paper in eager fp32 PyTorch: label planes joined with
torch.cat, ordinary layers, ordinary Adam, the fakes of the discriminator step used again in the first generator
step. Both see the same batch size (64) and take one discriminator and two generator steps. The variants take turns
(A B C A B C ...), so that a machine that speeds up or slows down does so for all; ratios are taken turn by turn.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import imagemint  # noqa: F401 (first: it chooses how waiting threads wait)

# isort: split
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from imagemint.config import load_recipe
from imagemint.data.pack import Pack, writing
from imagemint.models import parameter_count
from imagemint.training.loop import Feed, iterate, run_facts
from imagemint.training.state import new_gan

BATCH, CLASSES, Z = 64, 10, 100


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

    def forward(self, z: Tensor, y: Tensor) -> Tensor:
        x = F.relu(self.n1(self.fc1(join(z, y))))
        x = F.relu(self.n2(self.fc2(join(x, y)))).view(-1, 128, 7, 7)
        x = F.relu(self.n3(self.up3(join(x, y))))
        return torch.sigmoid(self.up4(join(x, y)))


class PlainDiscriminator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(11, 11, 5, 2, 2)
        self.conv2, self.n2 = nn.Conv2d(21, 74, 5, 2, 2), nn.BatchNorm2d(74)
        self.fc3, self.n3 = nn.Linear(3636, 1024), nn.BatchNorm1d(1024)
        self.fc4 = nn.Linear(1034, 1)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = F.leaky_relu(self.conv1(join(x, y)), 0.2)
        x = F.leaky_relu(self.n2(self.conv2(join(x, y))), 0.2).flatten(1)
        x = F.leaky_relu(self.n3(self.fc3(join(x, y))), 0.2)
        return self.fc4(join(x, y)).squeeze(1)


def plain(pixels: np.ndarray, labels: np.ndarray) -> Callable[[int], None]:
    g, d = PlainGenerator(), PlainDiscriminator()
    assert (parameter_count(g), parameter_count(d)) == (7_065_211, 3_769_479)
    adam_g = torch.optim.Adam(g.parameters(), lr=2e-4, betas=(0.5, 0.999))
    adam_d = torch.optim.Adam(d.parameters(), lr=2e-4, betas=(0.5, 0.999))
    bce = nn.BCEWithLogitsLoss()
    one, zero = torch.ones(BATCH), torch.zeros(BATCH)
    random = np.random.default_rng(0)

    def step(steps: int) -> None:
        for _ in range(steps):
            chosen = random.integers(0, len(labels), BATCH)
            real = torch.from_numpy(pixels[chosen]).float() / 255
            y = F.one_hot(torch.from_numpy(labels[chosen]), CLASSES).float()
            fake = g(torch.rand(BATCH, Z) * 2 - 1, y)
            loss = bce(d(real, y), one) + bce(d(fake.detach(), y), zero)
            adam_d.zero_grad()
            loss.backward()
            adam_d.step()
            for k in range(2):
                if k:
                    fake = g(torch.rand(BATCH, Z) * 2 - 1, y)
                loss = bce(d(fake, y), one)
                adam_g.zero_grad()
                loss.backward()
                adam_g.step()
            loss.item()

    return step


def ours(pack: Pack, precision: str) -> tuple[str, Callable[[int], None]]:
    facts = run_facts(pack, load_recipe("cdcgan", {"precision": precision}), device="cpu")
    gan = new_gan(facts)
    feed = Feed(pack, gan)

    def step(steps: int) -> None:
        for _ in range(steps):
            iterate(gan, feed)

    return facts.precision, step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=12, help="steps timed in one turn")
    options = parser.parse_args()
    random = np.random.default_rng(0)
    pixels, labels = random.integers(0, 256, (10_000, 1, 28, 28), np.uint8), random.integers(0, CLASSES, 10_000)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        with writing(folder / "pack", classes=list("0123456789"), origin="real", history=[]) as writer:
            writer.add(pixels, labels)
        default, _ = ours(writer.pack(), "auto")
        variants = {"plain fp32": plain(pixels, labels)}
        for precision in ("fp32", "bf16"):
            _, variants[f"ours {precision}"] = ours(writer.pack(), precision)
        seconds: dict[str, list[float]] = {name: [] for name in variants}
        for step in variants.values():
            step(3)  # warm-up
        for _ in range(options.repeats):
            for name, step in variants.items():
                started = time.perf_counter()
                step(options.steps)
                seconds[name].append(time.perf_counter() - started)
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads; the default here is {default}")
    for name, times in seconds.items():
        rate = statistics.median(options.steps * BATCH / t for t in times)
        ratios = sorted(p / t for p, t in zip(seconds["plain fp32"], times, strict=True))
        spread = f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        print(f"{name:<11} {rate:7.0f} images/s   {statistics.median(ratios):.2f} x plain ({spread})")


if __name__ == "__main__":
    main()
