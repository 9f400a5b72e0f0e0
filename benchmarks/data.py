"""Packing and opening, side by side with what one would write by hand. Nothing here is asserted by a test.

    python benchmarks/data.py --data ../shared/data [--images 60000] [--repeats 3] [--only png|photos|open|against]

png     60,000 PNG of 28x28 in class folders: `pack` against a plain Pillow loop in one process, and against the
        imagefolder of `datasets`, decoded to arrays (where it is installed)
photos  flower_photos.zip to 64x64: `pack` against the plain loop (LANCZOS on the largest centred part); and how far
        the pixels are from plain LANCZOS, also where JPEGs are decoded at a part of their size
open    opening a pack of 60,000 images
against --against SRC: `pack` of this checkout against that of another one (the `src` folder of a git worktree, say of
        the last release), in processor time of the whole process with its workers, for both of the sources above

The ways take turns (A B C A B C ...), all in this process; a ratio is the median of the ratios within a turn, so
that whatever else the machine does slows both sides of it. Everything runs once before that is counted, so that
nobody pays for a cold disk, and `datasets` not for the cache that it builds at first (which takes it minutes).
"""

from __future__ import annotations

import argparse
import io
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import PIL
from PIL import Image, ImageOps

import imagemint
from imagemint.data.decode import Wanted, decode
from imagemint.data.packing import pack
from imagemint.jobs import available

Way = Callable[[Path], int]  # (a path that is not there yet) -> images


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with mnist/ and flower_photos.zip")
    parser.add_argument("--images", type=int, default=60_000, help="PNG files, at most 60,000 (default: all)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", choices=["png", "photos", "open", "against"])
    parser.add_argument("--against", type=Path, metavar="SRC", help="the src folder of another checkout")
    options = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    print(f"{available()} processors, load {load:.1f} at the start, Pillow {PIL.__version__}")
    with tempfile.TemporaryDirectory(prefix="imagemint-benchmark-") as folder:
        work = Path(folder)
        if options.only in (None, "png"):
            png(options.data, work, options.images, options.repeats)
        if options.only in (None, "photos"):
            photos(options.data / "flower_photos.zip", work, options.repeats)
        if options.only in (None, "open"):
            opening(options.data, work, options.repeats)
        if options.against:
            against(options.against, options.data, work, options.images, options.repeats)


def mnist_files(data: Path, work: Path, images: int) -> Path:
    """MNIST's training images as PNG files in class folders."""
    source = work / "png"
    if not source.exists():
        mnist = pack(data / "mnist", work / "mnist", split="train")
        for k in range(10):
            (source / str(k)).mkdir(parents=True)
        for k in range(min(images, len(mnist))):
            Image.fromarray(mnist.pixels[k, 0]).save(source / str(mnist.labels[k]) / f"{k:05}.png")
    return source


def png(data: Path, work: Path, images: int, repeats: int) -> None:
    source = mnist_files(data, work, images)
    files = sorted(source.glob("*/*.png"))

    def plain(dest: Path) -> int:
        pixels = np.empty((len(files), 1, 28, 28), np.uint8)
        labels = np.empty(len(files), np.int64)
        for k, file in enumerate(files):
            pixels[k, 0] = np.asarray(Image.open(file).convert("L"))
            labels[k] = int(file.parent.name)
        return save(dest, pixels, labels)

    def ours(dest: Path) -> int:
        return len(pack(source, dest))

    def hugging_face(dest: Path) -> int:
        import datasets

        datasets.disable_progress_bars()
        rows = datasets.load_dataset(
            "imagefolder", data_dir=str(source), split="train", cache_dir=str(work / "cache")
        )
        pixels = np.empty((len(rows), 1, 28, 28), np.uint8)
        labels = np.empty(len(rows), np.int64)
        for k, row in enumerate(rows):
            pixels[k, 0], labels[k] = np.asarray(row["image"]), row["label"]
        return save(dest, pixels, labels)

    ways: dict[str, Way] = {"plain Pillow loop": plain, "imagemint pack": ours}
    try:
        import datasets  # noqa: F401

        ways["datasets imagefolder"] = hugging_face
    except ImportError:
        print("datasets is not installed: left out")
    compare(f"{len(files):,} PNG of 28x28", ways, work, repeats)


def photos(source: Path, work: Path, repeats: int) -> None:
    def jpegs() -> Iterator[tuple[str, bytes]]:
        with zipfile.ZipFile(source) as archive:
            for name in sorted(archive.namelist()):
                if name.endswith(".jpg"):
                    yield name.split("/")[-2], archive.read(name)

    def plain(dest: Path) -> int:
        pixels, classes = [], []
        for name, data in jpegs():
            image = ImageOps.fit(Image.open(io.BytesIO(data)).convert("RGB"), (64, 64), Image.Resampling.LANCZOS)
            pixels.append(np.asarray(image).transpose(2, 0, 1))
            classes.append(name)
        return save(dest, np.stack(pixels), np.unique(classes, return_inverse=True)[1])

    def ours(dest: Path) -> int:
        return len(pack(source, dest, size=64))

    images = sum(1 for _ in jpegs())
    compare(f"{images:,} photos to 64x64", {"plain Pillow loop": plain, "imagemint pack": ours}, work, repeats)
    for size in (64, 32, 16):  # JPEGs are decoded at a part of their size only where they shrink a lot
        away = [difference(data, size) for k, (_, data) in enumerate(jpegs()) if k % 10 == 0]
        print(f"  mean absolute difference to plain LANCZOS at {size:>3}: {statistics.fmean(away):.3f} of 255")


def difference(data: bytes, size: int) -> float:
    """Mean |ours - plain LANCZOS| of one JPEG, in levels of 0..255."""
    ours = np.frombuffer(decode([data], Wanted((size, size), "crop", 3, False)).pixels, np.uint8)
    image = ImageOps.fit(Image.open(io.BytesIO(data)).convert("RGB"), (size, size), Image.Resampling.LANCZOS)
    return float(np.abs(np.asarray(image, np.int16).ravel() - ours).mean())


def opening(data: Path, work: Path, repeats: int) -> None:
    path = work / "mnist"
    if not path.exists():
        pack(data / "mnist", path, split="train")
    seconds = []
    for _ in range(max(20, repeats)):
        start = time.process_time()
        images = len(imagemint.open_pack(path))
        seconds.append(time.process_time() - start)
    print(f"opening a pack of {images:,} images: {statistics.median(seconds) * 1000:.2f} ms of work")


def against(other: Path, data: Path, work: Path, images: int, repeats: int) -> None:
    """Processor time of packing, of another checkout and of this one in turn; ratios within a turn, their median."""
    here = Path(imagemint.__file__).parents[1]
    for what, source, size in (
        ("PNG of 28x28", mnist_files(data, work, images), None),
        ("photos to 64x64", data / "flower_photos.zip", 64),
    ):
        ratios, times = [], []
        for turn in range(-1, repeats):
            seconds = [packing_time(src, source, work / "against", size) for src in (other, here)]
            if turn >= 0:
                ratios.append(seconds[1] / seconds[0])
                times.append(seconds)
        old, new = (statistics.median(column) for column in zip(*times, strict=True))
        print(f"{what}: {old:.2f} s of work before, {new:.2f} s now, median of {repeats};", end=" ")
        print(f"ratios {min(ratios):.3f} to {max(ratios):.3f}, median {statistics.median(ratios):.3f}")


def packing_time(src: Path, source: Path, dest: Path, size: int | None) -> float:
    """Seconds of processor time that one `pack` by the code in `src` takes, with its worker processes."""
    program = (
        "import resource, sys; from imagemint.data.packing import pack; "
        f"pack(sys.argv[1], sys.argv[2], size={size}); "
        "each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]; "
        "print(sum(one.ru_utime + one.ru_stime for one in each))"
    )
    environment = {**os.environ, "PYTHONPATH": str(src)}
    command = [sys.executable, "-c", program, str(source), str(dest)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    shutil.rmtree(dest)
    return float(done.stdout)


def save(dest: Path, pixels: np.ndarray, labels: np.ndarray) -> int:
    """What the ways by hand end with: two arrays on the disk."""
    dest.mkdir(exist_ok=True)
    np.save(dest / "pixels.npy", pixels)
    np.save(dest / "labels.npy", labels)
    return len(labels)


def compare(title: str, ways: dict[str, Way], work: Path, repeats: int) -> None:
    """Run the ways in turn and print medians; ratios are against the first way."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(-1, repeats):
        for number, (name, way) in enumerate(ways.items()):
            dest = work / f"{title.split()[1]}-{turn}-{number}"
            start = time.perf_counter()
            way(dest)
            if turn >= 0:
                seconds[name].append(time.perf_counter() - start)
    print(f"{title}, median of {repeats}")
    baseline = next(iter(seconds.values()))
    for name, each in seconds.items():
        ratio = statistics.median(base / own for base, own in zip(baseline, each, strict=True))
        print(f"  {name:<22} {statistics.median(each):7.2f} s   {ratio:5.2f} times the plain loop's speed")


if __name__ == "__main__":
    main()
