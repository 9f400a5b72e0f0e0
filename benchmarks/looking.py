"""What looking costs: a training with and without tracking, a monitor and a studio at rest, a folder of 100 runs.

    pip install -e '.[track,studio]'
    python benchmarks/looking.py --turns 5

Trainings with and without `track` take turns, after one of each that does not count: `fewshot` on scikit-learn's
digits at 28 pixels, posted to a monitor of the benchmark's own and to TensorBoard at once. Monitor, poster and
training share the processors: the wall clock says what a user of this machine sees, with the start of the poster
and the last post; processor time says what the training itself pays. Memory is the proportional share (PSS) of all
processes, which counts shared libraries once.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import imagemint

MINT = [sys.executable, "-m", "imagemint"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=30_000, help="that each training sees")
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        with serving("monitor", folder / "monitor") as (monitor, uri, _):
            print(f"monitor at rest: {megabytes(monitor)} MB")
            tracking(folder, uri, options)
            print(f"monitor after {options.turns + 1} runs: {megabytes(monitor)} MB")
        with serving("studio", folder / "studio") as (studio, _, first):
            print(f"studio: first page after {first:.1f} s; at rest: {megabytes(studio)} MB")
        listing(folder)


def tracking(folder: Path, uri: str, options: argparse.Namespace) -> None:
    """Ratios of pairs of trainings, and what the poster took."""
    pack = imagemint.pack("digits", folder / "digits.pack", size=28)
    wall, processor = [], []
    for turn in range(-1, options.turns):
        taken = {}
        for track in ((), (f"mlflow:{uri}", f"tensorboard:{folder / 'board'}"))[:: 1 if turn % 2 else -1]:
            started, before = time.perf_counter(), time.process_time()
            run = folder / f"run-{turn}-{len(track)}"
            images = 640 if turn < 0 else options.images
            imagemint.train(pack, "fewshot", run, images=images, seed=turn + 1, track=track)
            taken[bool(track)] = time.perf_counter() - started, time.process_time() - before
        if turn < 0:
            continue
        (with_wall, with_own), (plain_wall, plain_own) = taken[True], taken[False]
        wall.append(with_wall / plain_wall)
        processor.append(with_own / plain_own)
        print(f"turn {turn}: wall {wall[-1]:.3f}, processor {processor[-1]:.3f}", flush=True)
    for name, ratios in (("wall", wall), ("processor time of the training", processor)):
        low, high = min(ratios), max(ratios)
        print(f"with tracking / without, {name}: median {statistics.median(ratios):.3f} ({low:.3f} to {high:.3f})")


def listing(folder: Path) -> None:
    """100 runs with 200,000 lines in all."""
    source = next(folder.glob("run-*"))
    for k in range(100):
        copy = folder / "many" / f"run{k}"
        (copy / "checkpoints").mkdir(parents=True)
        for name in ("run.json", "findings.jsonl"):
            if (source / name).exists():
                (copy / name).write_bytes((source / name).read_bytes())
        newest = sorted((source / "checkpoints").iterdir())[-1]
        (copy / "checkpoints" / newest.name).symlink_to(newest)
        lines = [json.dumps({"images_seen": n, "loss_d": 0.5, "loss_g": 0.7}) for n in range(2000)]
        (copy / "log.jsonl").write_text("\n".join(lines) + "\n")
    started = time.perf_counter()
    shown = subprocess.run([*MINT, "runs", str(folder / "many")], capture_output=True, text=True, check=True).stdout
    print(f"imagemint runs: {len(shown.splitlines())} runs in {time.perf_counter() - started:.2f} s")


@contextmanager
def serving(verb: str, folder: Path) -> Iterator[tuple[int, str, float]]:
    """A server in a process of its own: its process, its address, and the seconds until its first page came."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = time.perf_counter()
    quiet = subprocess.DEVNULL
    command = [*MINT, verb, "--folder", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=quiet, stderr=quiet) as process:
        try:
            uri = f"http://127.0.0.1:{port}"
            while True:
                try:
                    urllib.request.urlopen(uri, timeout=60).read()
                    break
                except OSError:
                    time.sleep(0.05)
            first = time.perf_counter() - started
            time.sleep(5)
            yield process.pid, uri, first
        finally:
            process.terminate()


def megabytes(root: int) -> int:
    """The proportional share of memory of a process and its descendants."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    family = {root}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    sizes = []
    for pid in family:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        sizes += [int(line.split()[1]) for line in lines if line.startswith("Pss:")]
    return round(sum(sizes) / 1024)


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
