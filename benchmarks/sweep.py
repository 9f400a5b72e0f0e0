"""What a sweep costs per trial, and what a pack in shards costs to read. No training of any length.

    python benchmarks/sweep.py trials [--counts 10,100]     # seconds of sweeps of so many tiny trials, one job
    python benchmarks/sweep.py shards [--images 20000]      # images per second: one local file against shards
    python benchmarks/sweep.py workers [--cells 8]          # cells of a study on Ray: two workers against one

Processor time counts this process and those that it started. Times depend on the machine; nothing asserts them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

import imagemint
from imagemint import seeds
from imagemint.cluster import fan_out
from imagemint.data import edit
from imagemint.data.pack import Pack, Step, writing
from imagemint.studies.study import study as study_rows
from imagemint.sweeps.plan import make_sweep
from imagemint.sweeps.sweep import sweep


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the wall, and of processors: of this process and its children that have ended."""
    before, wall = os.times(), time.perf_counter()
    work()
    after = os.times()
    return time.perf_counter() - wall, sum(after[:4]) - sum(before[:4])


def trials(folder: Path, counts: list[int]) -> None:
    """Sweeps of tiny trials: principal components of digits, each trained, minted from and measured."""
    digits = imagemint.pack("digits", folder / "digits.pack")
    print("| trials | seconds | of processors | per trial | of processors per trial |\n|---|---|---|---|---|")
    for count in counts:
        plan = {"packs": [str(digits.path)], "recipes": ["ppca"], "grid": {"components": [2, 4]}, "mint": 20}
        plan |= {"seeds": list(range(count // 2)), "features": "pixels", "judge_images": 500}
        wall, busy = clocked(lambda: sweep(make_sweep(plan), folder / str(count), jobs=1))  # noqa: B023
        print(f"| {count} | {wall:.1f} | {busy:.1f} | {wall / count:.3f} | {busy / count:.3f} |", flush=True)


def shards(folder: Path, images: int, turns: int) -> None:
    """Random batches and whole passes, of one file and of the same pack in shards, in turns."""
    with writing(folder / "one.pack", classes=["a"], origin="real", history=[Step(command="x")]) as writer:
        writer.add(
            seeds.rng(0, "benchmark").integers(0, 256, (images, 3, 64, 64), np.uint8), np.zeros(images, np.int64)
        )
    one = writer.pack()
    rows = seeds.rng(1, "benchmark").integers(0, images, (images // 64, 64))
    print("| shards | batches of 64: times one file (range) | in order: times one file (range) |\n|---|---|---|")
    for megabytes in (1024.0, 64.0, 8.0):
        cut = edit.shard(one, folder / f"{megabytes}.pack", megabytes=megabytes)
        ratios = [[_rate(cut, each) / _rate(one, each) for _ in range(turns)] for each in (list(rows), None)]
        words = [f"{statistics.median(each):.2f} ({min(each):.2f}-{max(each):.2f})" for each in ratios]
        print(f"| {len(cut.manifest.shards or [])} | {words[0]} | {words[1]} |", flush=True)


def _rate(pack: Pack, batches: list[np.ndarray] | None) -> float:
    """Images per second of processor time: given batches, or the whole pack block by block."""
    started = time.process_time()
    if batches is None:
        for index in pack.blocks():
            pack.read(index)
    else:
        for rows in batches:
            pack.pixels[rows]
    return len(pack) / (time.process_time() - started)


def workers(folder: Path, cells: int, turns: int) -> None:
    """One study on a Ray of this machine that has room for two: one cell at a time, then two, in turns.

    On a busy machine workers wait for a processor. The second ratio leaves out what the busiest worker waited: the
    wall that a machine with a free processor for each would have shown.
    """
    digits = imagemint.pack("digits", folder / "digits.pack")
    parts = edit.split(digits, folder / "parts", test=0.5)
    on = fan_out("ray")
    options = {"arms": "real,classic", "budgets": [20], "repeats": cells, "classifier_images": 10_000}

    def study(name: str, jobs: int) -> tuple[float, float, list[float]]:
        before = _main_threads()
        work = lambda: study_rows(  # noqa: E731
            parts["train"], parts["test"], None, folder / name, jobs=jobs, fan_out=on, **options
        )
        wall, _ = clocked(work)
        now = _main_threads()
        spent = [tuple(b - a for a, b in zip(before.get(pid, (0, 0)), now[pid], strict=True)) for pid in now]
        busiest = max(spent)
        return wall, wall - busiest[1], sorted((run for run, _ in spent), reverse=True)

    study("warm", 2)  # both workers have torch in memory then
    pairs = [(study(f"one {k}", 1), study(f"two {k}", 2)) for k in range(turns)]
    print(
        "| workers | wall | wall without waiting for a processor | processor time of each worker |\n|---|---|---|---|"
    )
    for pair in pairs:
        for name, (wall, free, spent) in zip(("one", "two"), pair, strict=True):
            print(f"| {name} | {wall:.1f} s | {free:.1f} s | {', '.join(f'{each:.1f} s' for each in spent)} |")
    for what, part in (("by the wall", 0), ("without waiting", 1)):
        ratios = [one[part] / two[part] for one, two in pairs]
        print(f"{cells} cells, {what}: {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) times")


def _main_threads() -> dict[int, tuple[float, float]]:
    """Of the main thread of each worker of Ray below us: seconds that it ran, and that it waited for a processor."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = (int(stat.rpartition(")")[2].split()[1]), stat)
    found, ours = {}, {os.getpid()}
    while new := {pid for pid, (parent, _) in parents.items() if parent in ours} - ours:
        ours |= new
    for pid in ours:
        if "(ray::" in parents[pid][1]:
            run, wait, _ = Path(f"/proc/{pid}/schedstat").read_text().split()
            found[pid] = (int(run) / 1e9, int(wait) / 1e9)
    return found


def main() -> None:
    """Parse, and run one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["trials", "shards", "workers"])
    parser.add_argument("--counts", default="10,100")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--cells", type=int, default=8)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if given.what == "trials":
            trials(Path(folder), [int(each) for each in given.counts.split(",")])
        elif given.what == "shards":
            shards(Path(folder), given.images, given.turns)
        else:
            workers(Path(folder), given.cells, given.turns)


if __name__ == "__main__":
    main()
