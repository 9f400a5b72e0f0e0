"""Hostile and damaged inputs at every door: `python benchmarks/attack.py [--inputs 2000] [--only SEED]`.

Small valid inputs of every source, and every file of a pack, a run and a study, are damaged (cut short, bytes
flipped, numbers made giant or negative, fields of another type, members swapped, hostile names, pipes, devices and
links where files were) and given to the command line, each in a process of its own with limits on time and memory.
Prints a table of what came out and exits with status 1 where an input ended in a traceback, a crash, a hang, growth
beyond the limit, or left unfinished files behind.

    read      exit status 0: the damage was harmless, or what could be read was read
    refused   exit status 2 and one line that says why
    traceback any other exit status, or a traceback
    crash     ended by a signal
    hang      took longer than the limit
    memory    grew by more than the limit
    litter    left something unfinished, or a DEST after a refusal

Everything about an input follows from its seed: `--only SEED` makes it again, says what was damaged, and shows what
imagemint said. Linux only: the children are forks of a process that has loaded everything.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import io
import json
import os
import pickle
import pkgutil
import random
import re
import resource
import shutil
import signal
import sys
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

os.environ["OMP_NUM_THREADS"] = "1"  # before torch loads: many children share the processors

import numpy as np
from PIL import Image

OUTCOMES = ("read", "refused", "traceback", "crash", "hang", "memory", "litter")
_GROWTH = 1 << 30  # bytes that a child may grow beyond one that does nothing
_WALL = 4  # a child may wait so many times as long as it may compute


class Door(NamedTuple):
    """A kind of input: its template, where the damage goes, and the commands that read it."""

    name: str
    template: str  # a folder below the templates
    commands: tuple[str, ...]  # one is drawn
    inside: str = "in"  # what is damaged


class Result(NamedTuple):
    """What became of one input."""

    seed: int
    door: str
    command: str
    damages: list[str]
    outcome: str
    said: str
    seconds: float


_PACK = ("pack {source} out", "pack {source} out --size 6", "pack {source} out --json")
_SPLIT = ("pack {source} out --split train", "pack {source} out --split test")
_READERS = (
    "info in",
    "info in --json",
    "show in --out out.html",
    "show in --out out.png",
    "export in out --format folder",
    "export in out --format tfrecord",
    "export in out --format parquet",
    "edit slice in out --per-class 2",
    "edit grayscale in out",
    "edit dedup in out",
    "edit drop in out --classes 3",
    "edit merge in whole out",
    "edit split in out",
    "measure in --against whole --features pixels",
    "train in --recipe ppca --run out",
)
DOORS = (
    Door("folder", "folder", tuple(each.format(source="in") for each in _PACK)),
    Door("zip", "zip", tuple(each.format(source="in/a.zip") for each in _PACK)),
    Door("tar", "tar", tuple(each.format(source="in/a.tar") for each in _PACK)),
    Door("tar.gz", "tar.gz", tuple(each.format(source="in/a.tar.gz") for each in _PACK)),
    Door("npz", "npz", tuple(each.format(source="in/a.npz") for each in _PACK)),
    Door("IDX", "idx", tuple(each.format(source="in") for each in _PACK + _SPLIT)),
    Door("CIFAR", "cifar", tuple(each.format(source="in") for each in _PACK + _SPLIT)),
    Door("csv", "csv", tuple(each.format(source="in/list.csv") for each in _PACK)),
    Door("jsonl", "jsonl", tuple(each.format(source="in/list.jsonl") for each in _PACK)),
    Door("parquet", "parquet", tuple(each.format(source="in") for each in _PACK)),
    Door("tfrecord", "tfrecord", tuple(each.format(source="in") for each in _PACK)),
    Door("webdataset", "webdataset", tuple(each.format(source="in") for each in _PACK)),
    Door("dataset.json", "stylegan", tuple(each.format(source="in") for each in _PACK)),
    Door("pack", "pack", _READERS),
    Door("run", "run", ("runs in", "mint in out --per-class 2", "train whole --recipe {recipe} --run in --resume")),
    Door("study", "study", ("study whole --test test --out in {study}", "runs in")),
)
_GAN = "demo --images 128 --set batch_size=16"
_STUDY = "--recipe ppca --budgets 3 --repeats 1 --arms floor,real,minted --classifier-epochs 1 --classifier-images 10"


def load_everything() -> None:
    """All modules, once for all children."""
    import pyarrow.parquet
    import torch

    import imagemint

    for module in pkgutil.walk_packages(imagemint.__path__, "imagemint."):
        importlib.import_module(module.name)
    torch.set_num_threads(1)
    assert pyarrow.parquet


# ---------------------------------------------------------------------------------------------- valid inputs


def make_templates(root: Path) -> None:
    """One small valid input per door, from the built-in digits; `whole` and `test` are packs that stay whole."""
    here = os.getcwd()
    os.chdir(root)
    for line in (
        "pack digits digits",
        "edit slice digits whole --per-class 12 --seed 1",
        "edit slice digits test --per-class 3 --seed 2",
        *(f"export whole {kind}/in --format {kind}" for kind in ("folder", "idx", "stylegan")),
        *(f"export whole {kind}/in --format {kind}" for kind in ("parquet", "tfrecord", "webdataset")),
        "export whole npz/in/a.npz --format npz",
        "train whole --recipe ppca --run run-ppca/in",
        f"train whole --recipe {_GAN} --run run/in",
        f"study whole --test test --out study/in {_STUDY}",
    ):
        status, said, *_ = run(line.split(), root, seconds=300)
        if status != 0:
            sys.exit(f"imagemint {line}\n{said}")
    for name in ("list.csv", "list.jsonl"):
        kind = name.split(".")[1]
        shutil.copytree("folder/in", f"{kind}/in/images")
        images = sorted(path for path in Path(kind, "in", "images").rglob("*.png"))
        rows = [{"path": str(path.relative_to(f"{kind}/in")), "label": path.parent.name} for path in images]
        lines = [json.dumps(row) for row in rows]
        if kind == "csv":
            lines = ["path,label", *(f"{row['path']},{row['label']}" for row in rows)]
        Path(kind, "in", name).write_text("\n".join(lines) + "\n")
    images = [path for path in sorted(Path("folder/in").rglob("*")) if path.is_file()]
    members = [(str(path.relative_to("folder/in")), path.read_bytes()) for path in images]
    for name, build in (("a.zip", build_zip), ("a.tar", build_tar), ("a.tar.gz", build_tar)):
        folder = Path(name.removeprefix("a."), "in")
        folder.mkdir(parents=True)
        data = build(members)
        (folder / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    Path("cifar/in").mkdir(parents=True)
    rows_of = np.random.default_rng(0).integers(0, 256, (6, 3072), np.uint8)
    for name in ("data_batch_1", "data_batch_2", "test_batch"):
        batch = {b"data": rows_of, b"labels": [0, 1, 2, 0, 1, 2], b"batch_label": name.encode()}
        Path("cifar/in", name).write_bytes(pickle.dumps(batch, protocol=2))
    Path("cifar/in/batches.meta").write_bytes(pickle.dumps({b"label_names": [b"cat", b"dog", b"owl"]}, protocol=2))
    shutil.copytree("whole", "pack/in")
    for k, kind in enumerate(("BMP", "GIF", "JPEG", "TIFF", "WEBP", "PPM")):  # a few kinds beside the PNG files
        for folder in sorted(Path("folder/in").iterdir())[k : k + 2]:
            if folder.is_dir():
                Image.new("L", (8, 8), 40 * k).save(folder / f"other.{kind.lower()}", kind)
    os.chdir(here)


def build_zip(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of names that come twice
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name[:60_000]), data, method)
    return buffer.getvalue()


def build_tar(members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in members:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return buffer.getvalue()


# ---------------------------------------------------------------------------------------------------- damage

NAMES = ("../x.png", "/etc/passwd", "a\\..\\..\\x.png", "C:\\x.png", "", ".", "a\0b.png", "a" * 5000 + ".png")
NAMES += ("\x1b[2J.png", "\udce9.png", "<script>alert(1)</script>", "a,b=c", "a/" * 300 + "1.png", "名.png", "-rf")
NAMES += ("\u202egnp.exe", "nan", "train/a/1.png", "con.png", "line\nbreak/1.png")
NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, -(2**63), 10**12, 255, 65536)
VALUES: tuple[Any, ...] = (None, True, -1, 0, 2**63, 10**30, 1e308, 0.5, "", "nan", "\0", "../../etc/passwd", [], {})
VALUES += ([[]], {"a": {}}, "x" * 10_000, "<b>", [None], ["a", 1], -(10**9), "1" * 5000, 10**9, "\ud800")


def flip(rng: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        if changed:
            changed[rng.randrange(len(changed))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return bytes(changed)


def cut(rng: random.Random, data: bytes) -> bytes:
    return data[: rng.randrange(len(data) + 1)]


def lose(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    return data[:start] + data[start + rng.choice((1, 4, 100, 4096)) :]


def repeat(rng: random.Random, data: bytes) -> bytes:
    start = rng.randrange(len(data) + 1)
    part = data[start : start + rng.choice((1, 16, 512, 4096))]
    return data[:start] + part * rng.choice((2, 50)) + data[start:]


def number(rng: random.Random, data: bytes) -> bytes:
    """A number of 1 to 8 bytes somewhere (early ones are headers), giant or negative; or digits in a text."""
    digits = list(re.finditer(rb"\d+", data[:100_000]))
    if digits and rng.random() < 0.5:
        found = rng.choice(digits)
        text = str(rng.choice((*NUMBERS, 10**30, "9" * 5000, "1e999", "nan"))).encode()
        return data[: found.start()] + text + data[found.end() :]
    width = rng.choice((1, 2, 4, 8))
    value = (rng.choice(NUMBERS) % 2 ** (8 * width)).to_bytes(width, rng.choice(("big", "little")))
    start = rng.randrange(max(1, min(len(data), rng.choice((64, 1024, 10**9)))))
    return data[:start] + value + data[start + width :]


def replace(rng: random.Random, data: bytes) -> bytes:
    return rng.choice((b"", b"\0" * 1000, b"{}", b"[]", b"null", b"\xff" * 64, rng.randbytes(500), b"[" * 100_000))


BYTES: tuple[Callable[[random.Random, bytes], bytes], ...] = (flip, flip, cut, lose, repeat, number, number, replace)


def damage_json(rng: random.Random, data: bytes) -> bytes:
    """A value of another type or size, or a key lost or added, somewhere in a JSON text."""
    value = json.loads(data)
    places: list[tuple[Any, Any]] = []

    def collect(inside: Any) -> None:
        for key in inside if isinstance(inside, dict) else range(len(inside)):
            places.append((inside, key))
            if isinstance(inside[key], (dict, list)):
                collect(inside[key])

    if isinstance(value, (dict, list)):
        collect(value)
    if not places:
        return replace(rng, data)
    inside, key = rng.choice(places)
    action = rng.random()
    if action < 0.7:
        inside[key] = rng.choice((*VALUES, *NAMES))
    elif action < 0.85:
        del inside[key]
    elif isinstance(inside, dict):
        inside[rng.choice(NAMES)] = inside[key]
    else:
        inside.extend([inside[key]] * rng.choice((1, 1000)))
    return json.dumps(value).encode()


def damage_lines(rng: random.Random, data: bytes) -> bytes:
    """One line of a text of lines: damaged as JSON where it is, doubled, swapped with another, or as bytes."""
    lines = data.split(b"\n")
    k = rng.randrange(len(lines))
    action = rng.randrange(4)
    if action == 0 and lines[k].startswith(b"{"):
        lines[k] = damage_json(rng, lines[k])
    elif action == 1:
        other = rng.randrange(len(lines))
        lines[k], lines[other] = lines[other], lines[k]
    elif action == 2:
        lines[k:k] = [lines[k]] * rng.choice((1, 500))
    else:
        lines[k] = rng.choice(BYTES)(rng, lines[k])
    return b"\n".join(lines)


def damage_members(rng: random.Random, members: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """Contents swapped or damaged, names hostile, doubled or lost; the archive around them is sound."""
    k, other = rng.randrange(len(members)), rng.randrange(len(members))
    (name, data), action = members[k], rng.randrange(5)
    if action == 0:
        members[k], members[other] = (name, members[other][1]), (members[other][0], data)
    elif action == 1:
        members[k] = rng.choice(NAMES).replace("\udce9", "é") or "x", data
    elif action == 2:
        members.append((members[other][0], data))
    else:
        members[k] = name, damage_bytes(rng, Path(name), data)
    return members


def damage_archive(rng: random.Random, path: Path, data: bytes) -> bytes:
    if path.name.endswith((".zip", ".npz")):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(name, archive.read(name)) for name in archive.namelist()]
        return build_zip(damage_members(rng, members), rng.choice((0, 8, 8, 12, 14)))
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        files = [member for member in archive if member.isreg()]
        members = [(member.name, archive.extractfile(member).read()) for member in files]  # type: ignore[union-attr]
    tar = build_tar(damage_members(rng, members))
    if rng.random() < 0.5:  # a header's field, with the checksum that belongs to it
        start = 512 * rng.randrange(len(tar) // 512)
        block = bytearray(tar[start : start + 512])
        at, width = rng.choice(((0, 100), (124, 12), (156, 1), (157, 100), (257, 6), (345, 155)))
        block[at : at + width] = rng.choice((rng.randbytes(width), b"\xff" * width, b"\0" * width, b"7" * width))
        block[148:156] = b" " * 8
        block[148:156] = b"%06o\0 " % sum(block)
        tar = tar[:start] + bytes(block) + tar[start + 512 :]
    return tar


def damage_bytes(rng: random.Random, path: Path, data: bytes) -> bytes:
    """The content of a file, with knowledge of its kind half of the time."""
    name = path.name
    try:
        if rng.random() < 0.5:
            if name.endswith(".gz"):
                inner = damage_bytes(rng, Path(name[: -len(".gz")]), gzip.decompress(data))
                return gzip.compress(inner, 1)
            if name.endswith((".zip", ".npz", ".tar")):
                return damage_archive(rng, path, data)
            if name.endswith(".json"):
                return damage_json(rng, data)
            if name.endswith((".jsonl", ".csv", ".yaml", ".txt")):
                return damage_lines(rng, data)
    except Exception:
        return rng.choice(BYTES)(rng, data)  # damaged before: as bytes then
    return rng.choice(BYTES)(rng, data)


def damage(rng: random.Random, root: Path) -> str:
    """Damage something below a folder; says what."""
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    if not files:
        return "nothing is left to damage"
    path = rng.choice(files)
    name = path.relative_to(root)
    action = rng.random()
    if action < 0.75:
        data = path.read_bytes()
        changed = damage_bytes(rng, path, data)
        path.write_bytes(changed)
        return f"{name}: {len(data):,} bytes are {len(changed):,} now"
    if action < 0.8:
        other = rng.choice(files)
        data = path.read_bytes()
        path.write_bytes(other.read_bytes())
        other.write_bytes(data)
        return f"{name} and {other.relative_to(root)} swapped"
    if action < 0.86:
        hostile = rng.choice(NAMES).replace("\0", "").replace("/", "∕")[:80].strip(".") or "x"
        target = path.with_name(hostile if rng.random() < 0.5 else hostile + path.suffix)
        path.rename(target)
        return f"{name} renamed to {target.name!r}"
    if action < 0.9:
        folder = path.parent if path.parent != root else root / "linked"
        link = (folder if folder.is_dir() else root) / "up"
        if not link.is_symlink():
            link.symlink_to(root)
        return f"a link to the top beside {name}"
    path.unlink()
    what = rng.choice(("pipe", "device", "folder", "ring", "dangling", "missing", "passwd"))
    if what == "pipe":
        os.mkfifo(path)
    elif what == "folder":
        path.mkdir()
    elif what != "missing":
        target = {"device": "/dev/zero", "ring": path.name, "dangling": "nowhere", "passwd": "/etc/passwd"}[what]
        path.symlink_to(target)
    return f"{name} is a {what} now"


# ------------------------------------------------------------------------------------------------- one input


def prepare(seed: int, templates: Path, place: Path) -> tuple[Door, str, list[str]]:
    """The input of a seed, made in `place`: its door, the command and what was damaged."""
    rng = random.Random(seed)
    door = DOORS[seed % len(DOORS)]
    template, recipe = door.template, _GAN
    if door.name == "run" and rng.random() < 0.3:
        template, recipe = "run-ppca", "ppca"
    shutil.copytree(templates / template / "in", place / "in", symlinks=True)
    for name in ("whole", "test"):
        shutil.copytree(templates / name, place / name)
    (place / "tmp").mkdir()
    command = rng.choice(door.commands).format(recipe=recipe, study=_STUDY)
    return door, command, [damage(rng, place / "in") for _ in range(rng.choice((1, 1, 1, 2, 3)))]


def start(words: list[str], place: Path, seconds: float) -> int:
    """`imagemint WORDS` in a fork, with its output in `place`/said; the process id."""
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        os.chdir(place)
        tempfile.tempdir = str(place / "tmp")
        os.environ["TMPDIR"] = str(place / "tmp")
        output = os.open("said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        empty = os.open(os.devnull, os.O_RDONLY)
        for number_, target in ((0, empty), (1, output), (2, output)):
            os.dup2(target, number_)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (used + 4 * _GROWTH,) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds),) * 2)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        from imagemint.__main__ import main

        sys.argv = ["imagemint", *words]
        try:
            main()
            status = 0
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
        except BaseException:
            import traceback

            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(status)


def run(words: list[str], place: Path, seconds: float) -> tuple[int, str, int, float]:
    """One command to its end: exit status (negative: a signal), what it said, its largest size in bytes, seconds."""
    began = time.monotonic()
    child = start(words, place, seconds)
    _, status, used = os.wait4(child, 0)
    said = (place / "said").read_text(errors="replace")
    return os.waitstatus_to_exitcode(status), said, used.ru_maxrss * 1024, time.monotonic() - began


def judge(status: int | None, said: str, size: int, idle: int, place: Path, command: str) -> str:
    """The outcome of a child; status None: it was still running at the limit."""
    if status is None or status == -signal.SIGXCPU or (status == -signal.SIGKILL):
        return "hang"
    if status < 0:
        return "crash"
    if size - idle > _GROWTH or "MemoryError" in said:
        return "memory"
    if status not in (0, 2) or "Traceback (most recent call last)" in said:
        return "traceback"
    if status == 2 and sum(line.startswith("imagemint: ") for line in said.splitlines()) != 1:
        return "traceback"  # more or less than one line
    return "litter" if litter(status, place, command) else "read" if status == 0 else "refused"


def litter(status: int, place: Path, command: str) -> list[str]:
    """What a command left unfinished: files aside, temporary ones, and a DEST after a refusal."""
    left = [path for path in place.rglob("*") if path.name.endswith(".partial")]
    left += [path for path in (place / "tmp").iterdir() if path.name.startswith("imagemint-")]
    if status == 2 and "--run" not in command:
        left += place.glob("out*")
    return [str(path.relative_to(place)) for path in left]


def attack(seeds: Iterator[int], templates: Path, work: Path, seconds: float, processes: int) -> Iterator[Result]:
    """Run the inputs of all seeds, some side by side."""
    idle_place = work / "idle"
    (idle_place / "tmp").mkdir(parents=True)
    idle = run(["--help"], idle_place, seconds)[2]
    running: dict[int, tuple[int, Door, str, list[str], Path, float]] = {}
    for seed in [*seeds, None]:
        while running and (seed is None or len(running) >= processes):
            child, status, used = os.wait4(-1, os.WNOHANG)
            now = time.monotonic()
            if not child:
                for each, (*_, began) in running.items():
                    if now - began > _WALL * seconds:
                        os.killpg(each, signal.SIGKILL)
                time.sleep(0.005)
                continue
            number_, door, command, damages, place, began = running.pop(child)
            said = (place / "said").read_text(errors="replace")
            code = os.waitstatus_to_exitcode(status)
            outcome = judge(code, said, used.ru_maxrss * 1024, idle, place, command)
            if outcome == "litter":
                said += f"\nleft: {litter(code, place, command)}"
            elif outcome == "memory":
                said += f"\ngrew by {(used.ru_maxrss * 1024 - idle) >> 20:,} MiB"
            yield Result(number_, door.name, command, damages, outcome, said, now - began)
            shutil.rmtree(place, ignore_errors=True)
        if seed is not None:
            place = work / str(seed)
            place.mkdir()
            door, command, damages = prepare(seed, templates, place)
            child = start(command.split(), place, seconds)
            running[child] = seed, door, command, damages, place, time.monotonic()


def table(results: list[Result]) -> str:
    """Outcomes per door, as a Markdown table."""
    counts = {door.name: Counter(each.outcome for each in results if each.door == door.name) for door in DOORS}
    rows = [["door", "inputs", *OUTCOMES]]
    for name, count in counts.items():
        if count:
            rows.append([name, f"{count.total():,}", *(f"{count[outcome]:,}" for outcome in OUTCOMES)])
    total = Counter(each.outcome for each in results)
    rows.append(["all", f"{len(results):,}", *(f"{total[outcome]:,}" for outcome in OUTCOMES)])
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(f"{cell:{'<' if not k else '>'}{widths[k]}}" for k, cell in enumerate(row)) + " |"
        for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 1) + ("-" if not k else ":") for k, width in enumerate(widths)) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, metavar="SEED", help="the seeds count up from here")
    parser.add_argument("--only", type=int, metavar="SEED", help="this input alone, with what it said")
    parser.add_argument("--doors", help="these doors only, with commas")
    parser.add_argument(
        "--seconds", type=float, default=20, help="of processor time per input; four times as many in all"
    )
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--templates", type=Path, help="where the valid inputs are kept from one call to the next")
    options = parser.parse_args()
    load_everything()
    seeds = range(options.first, options.first + options.inputs) if options.only is None else [options.only]
    if options.doors:
        chosen = options.doors.split(",")
        seeds = [seed for seed in seeds if DOORS[seed % len(DOORS)].name in chosen]
    results: list[Result] = []
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="imagemint-attack-") as folder:
        templates = options.templates or Path(folder, "templates")
        if not (templates / "pack").is_dir():
            templates.mkdir(parents=True, exist_ok=True)
            (templates / "tmp").mkdir(exist_ok=True)
            make_templates(templates)
        for each in attack(iter(seeds), templates, Path(folder), options.seconds, options.processes):
            results.append(each)
            if each.outcome not in ("read", "refused") or options.only is not None:
                last = (each.said.strip().splitlines() or [""])[-1][:300]
                print(f"{each.outcome}: seed {each.seed} ({each.door}): imagemint {each.command}", flush=True)
                print(f"    {'; '.join(map(ascii, each.damages))}\n    {each.said if options.only else last}")
    print(table(results))
    minutes = (time.monotonic() - began) / 60
    print(f"{len(results):,} inputs in {minutes:.1f} minutes with {options.processes} processes")
    sys.exit(any(each.outcome not in ("read", "refused") for each in results))


if __name__ == "__main__":
    main()
