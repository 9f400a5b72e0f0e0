"""A pack larger than the memory goes through every edit: `python benchmarks/memory.py [--gigabytes 2] [--limit 600]`.

Makes a synthetic pack (64 x 64 RGB, a tenth of the images repeated) block by block, then runs each edit in a process
of its own that may not hold more than `--limit` MB of data (RLIMIT_DATA: heap and private memory; the address space
is left alone, because a memory-mapped pack takes addresses and no memory). Prints the peak resident size of each
process, which includes the pages of the map that were resident at a time. Needs twice the size of the pack on disk,
and Linux.

Measured (2 cores, 2 GB, 161,792 images, limit 600 MB): 97 to 144 MB, of which 97 are what a process inherits from the
one that made the pack; `augment` 326 MB, of which torch itself is most. As 28 x 28 gray (2,551,808 images): slice 175
MB, split and dedup 330 MB.

12 GB on paper. Pixels are held one block (32 MB) at a time, with what the edit computes from it, so only what is kept
for each image grows with a pack: labels, order and columns, about 35 bytes; in `dedup` and `split`, which remember a
hash of every image, about 100. A 12 GB pack of 64 x 64 RGB has 976,563 images: at most 100 MB more than a small pack,
well under 600 MB for every edit. The same 12 GB as 28 x 28 gray has 15.3 million images: 0.5 GB for slice, 1.5 GB for
split; there the labels are what does not fit, not the pixels. Near duplicates take time in the square of the number
of images (a million: hours), so there `split(near=False)` and `dedup` without `near` are the ones to use.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from imagemint import seeds
from imagemint.data import edit
from imagemint.data.pack import Step, writing

EDITS: dict[str, Callable[[Path, Path], object]] = {
    "slice": lambda pack, dest: edit.slice(pack, dest, fraction=0.5),
    "slice few": lambda pack, dest: edit.slice(pack, dest, per_class=200),
    "split": lambda pack, dest: edit.split(pack, dest, near=False),
    "merge": lambda pack, dest: edit.merge([pack, pack.parent / "slice few"], dest),
    "resize": lambda pack, dest: edit.resize(pack, dest, 48),
    "resize up": lambda pack, dest: edit.resize(pack.parent / "slice few", dest, 512),
    "tile": lambda pack, dest: edit.tile(pack, dest, 24),
    "crop": lambda pack, dest: edit.crop(pack, dest, 24),
    "invert": lambda pack, dest: edit.invert(pack, dest),
    "grayscale": lambda pack, dest: edit.grayscale(pack, dest),
    "balance": lambda pack, dest: edit.balance(pack, dest, "down"),
    "unlabel": lambda pack, dest: edit.unlabel(pack, dest, 100),
    "dedup": lambda pack, dest: edit.dedup(pack, dest),
    "dedup near": lambda pack, dest: edit.dedup(pack.parent / "slice", dest, near=True),
    "augment": lambda pack, dest: edit.augment(pack, dest, 1, ranges="strong", keep=False),
}
KEPT = ("slice", "slice few")  # what later edits start from


def make(dest: Path, gigabytes: float, size: int, channels: int) -> int:
    block = 2048
    blocks = max(1, round(gigabytes * 1e9 / (channels * size * size * block)))
    with writing(
        dest, classes=["a", "b", "c", "d"], origin="real", history=[Step(command="benchmarks/memory.py")]
    ) as writer:
        for k in range(blocks):
            random = seeds.rng(0, "benchmark", k)
            pixels = random.integers(0, 256, (block, channels, size, size), dtype=np.uint8)
            pixels[: block // 10] = pixels[-(block // 10) :]
            writer.add(pixels, random.choice(4, block, p=[0.4, 0.3, 0.2, 0.1]))
    return blocks * block


def run_one(name: str, pack: Path, dest: Path, limit: int) -> None:
    """Run one edit under the limit (in the child), and print what it took."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit << 20, limit << 20))
    started = time.perf_counter()
    EDITS[name](pack, dest)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"edit": name, "peak_mb": round(peak), "seconds": round(time.perf_counter() - started, 1)}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=2.0)
    parser.add_argument("--limit", type=int, default=600, help="MB of data that each edit may hold")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--folder", type=Path, help="where to work (default: a temporary folder)")
    parser.add_argument("--only", choices=EDITS, action="append")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        name, pack, dest = options.child
        run_one(name, Path(pack), Path(dest), options.limit)
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        pack = Path(folder) / "pack"
        images = make(pack, options.gigabytes, options.size, options.channels)
        print(f"{images} images, {(pack / 'pixels.npy').stat().st_size / 1e9:.2f} GB; limit {options.limit} MB")
        for name in options.only or EDITS:
            dest = Path(folder) / name
            call = [sys.executable, __file__, "--limit", str(options.limit), "--child", name, str(pack), str(dest)]
            done = subprocess.run(call, capture_output=True, text=True)
            print(done.stdout.strip() if done.returncode == 0 else f"{name} FAILED: {done.stderr.strip()[-300:]}")
            sys.stdout.flush()
            if name not in KEPT:
                shutil.rmtree(dest, ignore_errors=True)


if __name__ == "__main__":
    main()
