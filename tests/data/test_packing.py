"""Packing: the same input gives the same pack, whatever the workers; what cannot be packed is said in one line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from imagemint import progress
from imagemint.data.edit.pixels import grayscale
from imagemint.data.packing import pack
from imagemint.data.workers import spread
from imagemint.errors import ImagemintError, PackError, SourceError


def save(path: Path, value: int | tuple[int, ...] = 0, size: tuple[int, int] = (4, 4), **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(value, int) else "RGB", size, value).save(path, **options)
    return path


def many(folder: Path, count: int = 200) -> Path:
    """Gray images in two classes; the value of each is its number."""
    for k in range(count):
        save(folder / ("cat" if k < count // 2 else "dog") / f"{k:04}.png", k % 256)
    return folder


def empty(folder: Path) -> bool:
    """Nothing was left behind: no pack, nothing aside."""
    return not list(folder.iterdir())


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    lines: list[str] = []
    monkeypatch.setattr(progress, "say", lines.append)
    return lines


def test_pixels_labels_and_history(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in", 10)
    made = pack(folder, out / "p")
    assert made.classes == ["cat", "dog"]
    assert made.pixels.shape == (10, 1, 4, 4)
    assert made.pixels[:, 0, 0, 0].tolist() == list(range(10))
    assert np.asarray(made.labels).tolist() == [0] * 5 + [1] * 5
    assert made.manifest.origin == "real"
    (step,) = made.manifest.history
    assert (step.command, step.parameters, step.parents) == ("pack", {"source": str(folder)}, [])
    sized = pack(folder, out / "q", size=(3, 2), channels=3, fit="pad")
    assert sized.pixels.shape == (10, 3, 3, 2)
    assert sized.manifest.history[0].parameters == {
        "source": str(folder),
        "size": [3, 2],
        "channels": 3,
        "fit": "pad",
    }


def test_the_number_of_workers_changes_nothing(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in")
    save(folder / "cat" / "9999.png", (250, 0, 0))
    (folder / "dog" / "0150.png").write_bytes(b"text")
    packs = [pack(folder, out / str(workers), workers=workers) for workers in (1, 2, 3)]
    assert len({made.fingerprint for made in packs}) == 1
    assert len(packs[0]) == 200
    assert all([bad.name for bad in made.manifest.unreadable] == ["dog/0150.png"] for made in packs)


def test_one_image_in_colour_makes_all_three_channels_wherever_it_is(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in")
    assert pack(folder, out / "gray").channels == 1
    for k in (0, 37, 199):  # among the headers that are looked at first, and not
        path = save(folder / "cat" / f"x{k:04}.png", (9, 9, 9))  # gray to look at, but of a kind with colour
        made = pack(folder, out / f"colour{k}")
        assert made.channels == 3 and len(made) == 201
        assert (made.pixels[:, 0] == made.pixels[:, 2]).all()
        path.unlink()


def test_a_broken_image_has_no_say_in_size_and_channels(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in")
    big = save(folder / "cat" / "0000.png", (1, 2, 3), (40, 50))
    big.write_bytes(big.read_bytes()[:60])  # the header is whole and promises 40x50 in colour
    made = pack(folder, out / "p")
    assert (made.size, made.channels, len(made)) == ((4, 4), 1, 199)


def test_sizes_that_differ_are_listed(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in", 130)
    save(folder / "cat" / "0001.png", 1, (6, 5))
    with pytest.raises(SourceError, match=r"4x4 \(129 images\), 5x6 \(1 image\).*--size 4"):
        pack(folder, out / "p")
    assert empty(out)
    for k in range(8):
        save(folder / "dog" / f"x{k}.png", 1, (7, 10 + k))
    with pytest.raises(SourceError, match=r"of 10 sizes .* and 5 more"):
        pack(folder, out / "p")
    assert pack(folder, out / "p", size=4).size == (4, 4)


def test_images_that_have_the_size_are_not_touched(tmp_path: Path, out: Path) -> None:
    folder = tmp_path / "in"
    (folder / "a").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (9, 9), np.uint8)
    Image.fromarray(noise).save(folder / "a" / "0.png")
    for fit in ("crop", "pad", "stretch"):
        made = pack(folder, out / fit, size=9, fit=fit)
        assert (made.pixels[0, 0] == noise).all()


def test_one_percent_may_be_unreadable(tmp_path: Path, out: Path, said: list[str]) -> None:
    folder = many(tmp_path / "in", 200)
    for k in (3, 150):
        (folder / ("cat" if k < 100 else "dog") / f"{k:04}.png").write_bytes(b"text")
    made = pack(folder, out / "p")
    assert len(made) == 198 and made.counts() == {"cat": 99, "dog": 99}
    assert [each.name for each in made.manifest.unreadable] == ["cat/0003.png", "dog/0150.png"]
    assert all("not an image" in each.problem for each in made.manifest.unreadable)
    assert sum("cat/0003.png" in line or "dog/0150.png" in line for line in said) == 2
    (folder / "dog" / "0151.png").write_bytes(b"")
    with pytest.raises(SourceError, match=r"3 of 200 images cannot be read: cat/0003.png .*at most 1%"):
        pack(folder, out / "q")
    assert [path.name for path in out.iterdir()] == ["p"]


def test_a_class_that_is_lost_whole_is_an_error(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in", 300)
    (folder / "owl").mkdir()
    (folder / "owl" / "0.png").write_bytes(b"text")
    with pytest.raises(SourceError, match=r"no image of owl can be read: owl/0.png"):
        pack(folder, out / "p")
    assert empty(out)


def test_nothing_readable_at_all(tmp_path: Path, out: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    for k in range(100):
        (tmp_path / "in" / "a" / f"{k}.png").write_bytes(b"text")
    with pytest.raises(SourceError, match="100 of 100 images cannot be read"):
        pack(tmp_path / "in", out / "p")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size 0"),
        ({"size": (4, -1)}, "size"),
        ({"size": 10**6}, "8,192"),
        ({"size": 2.5}, "size 2.5"),
        ({"channels": 2}, "channels 2"),
        ({"fit": "squeeze"}, "squeeze"),
        ({"split": "train"}, "no split"),
    ],
)
def test_options_that_make_no_sense(tmp_path: Path, out: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(ImagemintError, match=words):
        pack(many(tmp_path / "in", 4), out / "p", **options)
    assert empty(out)


def test_what_is_there_is_never_overwritten(tmp_path: Path, out: Path) -> None:
    (out / "p").mkdir()
    with pytest.raises(PackError, match="already there"):
        pack("digits", out / "p")


def test_a_pack_is_not_packed_again(out: Path) -> None:
    pack("digits", out / "p")
    with pytest.raises(SourceError, match="imagemint edit"):
        pack(out / "p", out / "q")


def test_a_dead_worker_is_said() -> None:
    with pytest.raises(SourceError, match=r"worker process ended .*exit status 3"), spread(2) as over:
        list(over(exec, ["import os; os._exit(3)"], None))  # type: ignore[arg-type]


SCRIPT = """
import sys
print("started", flush=True)
from imagemint.data.packing import pack
made = pack(sys.argv[1], sys.argv[2], size=int(sys.argv[3]), workers=2)
print(len(made))
"""


def test_a_script_without_a_main_guard_packs_once(tmp_path: Path, out: Path) -> None:
    folder, script = many(tmp_path / "in", 60), tmp_path / "script.py"
    script.write_text(SCRIPT)
    current = tmp_path / "current"
    current.mkdir()
    (current / "random.py").write_text("raise SystemExit('a worker imported a file of the current folder')")
    command = [sys.executable, str(script), str(folder), str(out / "p"), "4"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=current, check=False)
    assert (done.stdout.split(), done.returncode) == (["started", "60"], 0), done.stderr


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")
def test_ctrl_c_leaves_nothing_behind(tmp_path: Path, out: Path) -> None:
    folder, script = many(tmp_path / "in", 600), tmp_path / "script.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), str(folder), str(out / "p"), "2048"]  # 2.5 GB of pixels: long enough
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as running:
        for _ in range(600):
            if any(path.stat().st_size for path in out.glob(".p.*/pixels.npy")):
                break
            time.sleep(0.05)
        workers = _children(running.pid)
        os.killpg(running.pid, signal.SIGINT)  # as a terminal does: to everyone in the group
        _, stderr = running.communicate(timeout=60)
    assert running.returncode == -signal.SIGINT
    assert stderr.count("Traceback") == 1 and stderr.rstrip().endswith("KeyboardInterrupt"), stderr
    assert empty(out)
    assert workers and not any(_alive(pid) for pid in workers)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="finds the workers in /proc")
def test_workers_end_when_their_parent_is_killed(tmp_path: Path) -> None:
    program = (
        "import time; from imagemint.data.workers import spread\n"
        "with spread(3) as over: print('started', flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as running:
        assert running.stdout is not None and running.stdout.readline() == b"started\n"
        workers = _children(running.pid)
        running.kill()
    for _ in range(600):
        if not any(map(_runs, workers)):
            break
        time.sleep(0.05)
    assert len(workers) == 3 and not any(map(_runs, workers))


def _runs(pid: int) -> bool:
    """Whether a process is there and more than an entry that nobody has waited for."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_deep_gray_images_that_use_few_levels_are_said(tmp_path: Path, out: Path, said: list[str]) -> None:
    levels = np.arange(4096, dtype=np.uint16).reshape(2, 4, 512)
    for k, values in enumerate(levels):
        (tmp_path / "in" / "ab"[k]).mkdir(parents=True)
        Image.fromarray(values).save(tmp_path / "in" / "ab"[k] / "1.png")
    pack(tmp_path / "in", out / "dark")
    assert any("values from 0 to 4,095 keep 17 of 256 levels and are dark; --levels 12" in line for line in said)
    expected = np.rint(np.arange(4096) * 255 / 4095).astype(np.uint8).reshape(2, 1, 4, 512)  # one map for both
    for given, span in ((12, [0, 4095]), ("auto", [0, 4095]), ((0, 4095), [0, 4095])):
        said.clear()
        made = pack(tmp_path / "in", out / f"{given}", levels=given)  # type: ignore[arg-type]
        assert (made.pixels == expected).all() and not said
        assert made.manifest.history[0].parameters["levels"] == span
    pack(many(tmp_path / "8 bits", 4), out / "same", levels=12)
    assert any("--levels changed nothing" in line for line in said)
    for given, words in (("auto", "no image has more than 8 bits"), ((5, 5), "a lower and an upper end")):
        with pytest.raises(ImagemintError, match=words):
            pack(tmp_path / "8 bits", out / "refused", levels=given)  # type: ignore[arg-type]
    with pytest.raises(SourceError, match="holds pixels of 8 bits"):
        pack("digits", out / "refused", levels=12)
    assert not (out / "refused").exists()


def test_gray_by_packing_is_gray_by_editing_bit_for_bit(tmp_path: Path, out: Path) -> None:
    rng = np.random.default_rng(0)
    for k in range(6):
        (tmp_path / "in" / "ab"[k % 2]).mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8)).save(tmp_path / "in" / "ab"[k % 2] / f"{k}.png")
    for size in (None, 16):
        by_packing = pack(tmp_path / "in", out / f"gray{size}", size=size, channels=1)
        by_editing = grayscale(pack(tmp_path / "in", out / f"colour{size}", size=size), out / f"edited{size}")
        assert (np.asarray(by_packing.pixels) == np.asarray(by_editing.pixels)).all()


def test_numpy_numbers_are_numbers(tmp_path: Path, out: Path) -> None:
    folder = many(tmp_path / "in", 4)
    made = pack(folder, out / "p", size=np.int64(3), channels=np.int32(1))  # type: ignore[arg-type]
    assert made.pixels.shape == (4, 1, 3, 3)
    assert pack(folder, out / "q", size=np.array([2, 3])).size == (2, 3)  # type: ignore[arg-type]
    assert made.manifest.history[0].parameters == {
        "source": str(folder),
        "size": 3,
        "channels": 1,
        "fit": "crop",
    }


def test_threads_pack_side_by_side(tmp_path: Path, out: Path) -> None:
    sources = []
    for k in range(3):
        source = tmp_path / f"{k}.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for path in many(tmp_path / f"in{k}", 60).rglob("*.png"):
                archive.write(path, path.relative_to(tmp_path / f"in{k}"))
        sources.append(source)
    with ThreadPoolExecutor(3) as threads:
        made = list(threads.map(lambda source: pack(source, out / source.stem, workers=1), sources))
    assert [len(each) for each in made] == [60] * 3 and len({each.fingerprint for each in made}) == 1


def _children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
