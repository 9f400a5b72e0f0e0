"""Pages and pictures of runs: whole, self-contained, true to the run, refused in one line where they cannot be."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import imagemint
from imagemint.errors import ImagemintError, PackError, RunError
from imagemint.pages.run_page import command_of, compare, run_page
from imagemint.pages.show import show
from imagemint.pages.strip import strip
from imagemint.pages.walk import between, walk
from imagemint.runs import open_run

TINY: dict[str, Any] = {"options": {"width": 8}, "z_size": 4, "batch_size": 32, "log_every": 32}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> imagemint.Pack:
    return imagemint.pack("digits", tmp_path_factory.mktemp("digits") / "digits.pack")


@pytest.fixture(scope="module")
def run(digits: imagemint.Pack, tmp_path_factory: pytest.TempPathFactory) -> imagemint.Run:
    folder = tmp_path_factory.mktemp("runs") / "<b>first</b>"
    return imagemint.train(digits, "demo", folder, images=640, picture_every=64, watch_every=64, **TINY)


@pytest.fixture(scope="module")
def linear(digits: imagemint.Pack, tmp_path_factory: pytest.TempPathFactory) -> imagemint.Run:
    return imagemint.train(digits, "ppca", tmp_path_factory.mktemp("linear") / "ppca", components=4)


def test_a_page_holds_every_moment_and_refers_to_nothing_outside(run: imagemint.Run) -> None:
    text = run_page(run)
    assert not re.search(r'(src|href)="(?!data:|#)', text) and "<script" not in text
    assert "<b>first" not in text
    for path in run.samples():
        assert f"samples after {int(path.stem):,} images" in text
        assert text.count(f">{int(path.stem):,}</span>") == 1
    for words in ("losses", "logits of real images", run.facts.pack.fingerprint, "recipe demo", "--recipe demo"):
        assert words in text, words
    for finding in run.findings():
        assert finding.name in text


@pytest.mark.parametrize("recipe", ["pca", "ppca"])
def test_runs_of_other_methods_have_a_page(digits: imagemint.Pack, tmp_path: Path, recipe: str) -> None:
    made = imagemint.train(digits, recipe, tmp_path / "run", components=4)
    assert "Samples over time" in show(made.path, tmp_path / "page.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", ["gan", "best", "per-class", "mitlgan", "pca", "ppca"])
def test_runs_of_an_earlier_version_have_a_page(kind: str, tmp_path: Path) -> None:
    old = Path(__file__).parent / "fixtures" / "v0.1" / kind
    text = show(old, tmp_path / "page.html").read_text(encoding="utf-8")
    assert open_run(old).facts.pack.fingerprint in text and f"<bdi>{kind}</bdi></h1>" in text
    looks = open_run(old).lines("watch.jsonl")
    assert ("<h2>Measures</h2>" in text) == bool(looks)
    if looks:
        measured = text.partition("<h2>Measures</h2>")[2].partition("<h2>")[0]
        assert f'data-head="at last">{looks[-1]["distance"]:.4g}<' in measured


def test_a_run_that_was_stopped_early_has_a_page(run: imagemint.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    for name in ("log.jsonl", "watch.jsonl"):
        (tmp_path / "run" / name).unlink()
    shutil.rmtree(tmp_path / "run" / "samples")
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    text = run_page(open_run(tmp_path / "run"))
    assert "not complete: 0 images seen" in text and "No sample picture yet" in text


def test_the_command_of_a_run_trains_the_same_again(run: imagemint.Run, tmp_path: Path) -> None:
    words = shlex.split(command_of(run))
    words[words.index("NEW-RUN")] = str(tmp_path / "again")
    threads = {"OMP_NUM_THREADS": str(torch.get_num_threads())}  # sums are of another order with another number
    assert subprocess.run([sys.executable, "-m", *words], env=os.environ | threads).returncode == 0
    assert open_run(tmp_path / "again").checkpoint_hash == run.checkpoint_hash


def test_a_strip_has_a_column_per_moment(run: imagemint.Run, tmp_path: Path) -> None:
    with Image.open(strip(run, tmp_path / "strip.png", moments=3)) as picture:
        few = picture.width
    with Image.open(strip(run, tmp_path / "strip.png", moments=6)) as picture:
        assert picture.width == pytest.approx(2 * few, abs=10)
    with Image.open(show(run.path, tmp_path / "shown.png")) as picture:
        assert picture.height > 100


def test_a_walk_comes_back_to_where_it_began(run: imagemint.Run, tmp_path: Path) -> None:
    out = walk(run, tmp_path / "walk.gif", points=2, frames=3, classes=["3", "5"])
    with Image.open(out) as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]
        assert film.width > 1.9 * film.height, "two classes side by side"
    again = walk(run, tmp_path / "again.gif", points=2, frames=3, classes=["3", "5"])
    assert again.read_bytes() == out.read_bytes()
    other = walk(run, tmp_path / "other.gif", points=2, frames=3, classes=["3", "5"], seed=1)
    assert other.read_bytes() != out.read_bytes()


def test_a_walk_of_a_linear_method(linear: imagemint.Run, tmp_path: Path) -> None:
    with Image.open(walk(linear, tmp_path / "walk.gif", points=2, frames=2)) as film:
        assert film.n_frames == 4  # type: ignore[attr-defined]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_a_walk_as_a_video(run: imagemint.Run, tmp_path: Path) -> None:
    data = walk(run, tmp_path / "walk.mp4", points=2, frames=2).read_bytes()
    assert data[4:8] == b"ftyp"


def test_points_between() -> None:
    a, b = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    for spherical in (False, True):
        assert torch.allclose(between(a, b, 0.0, spherical=spherical), a, atol=1e-5)
        assert torch.allclose(between(a, b, 1.0, spherical=spherical), b, atol=1e-5)
    a, b = a / a.norm(), b / b.norm()
    path = [between(a, b, share, spherical=True) for share in np.linspace(0, 1, 9)]
    assert [float(each.norm()) for each in path] == pytest.approx([1.0] * 9, abs=1e-4)
    steps = [float((x - y).norm()) for x, y in pairwise(path)]
    assert steps == pytest.approx([steps[0]] * 8, rel=1e-3), "even steps along the circle"
    assert torch.allclose(between(a, -a, 0.25, spherical=True), a / 2, atol=1e-5), "opposite points have no circle"


def test_comparing_says_what_differs(run: imagemint.Run, linear: imagemint.Run, tmp_path: Path) -> None:
    text = compare([run.path, linear.path], tmp_path / "both.html").read_text(encoding="utf-8")
    assert "recipe.model" in text and text.count("samples by images seen") == 2 and "<b>first" not in text
    alike = compare([run, run.path], tmp_path / "same.html").read_text(encoding="utf-8")
    assert "Nothing but the folder" in alike


def test_what_cannot_be_drawn_is_refused_before_anything_is_written(run: imagemint.Run, tmp_path: Path) -> None:
    for call, words in (
        (lambda: show(run, tmp_path / "a" / "run.pdf"), "ends in .html or .png"),
        (lambda: strip(run, tmp_path / "a" / "run.gif"), "ends in .png"),
        (lambda: walk(run, tmp_path / "a" / "run.png"), "ends in .gif or .mp4"),
        (lambda: walk(run, tmp_path / "a" / "w.gif", frames=10**6), "at most 2,000"),
        (lambda: walk(run, tmp_path / "w.gif", classes=["cat"]), "--classes cat"),
        (lambda: compare([run], tmp_path / "a" / "c.html"), "two runs"),
    ):
        with pytest.raises(ImagemintError, match=re.escape(words)):
            call()  # type: ignore[no-untyped-call]
    with pytest.raises(RunError, match="no run"):
        strip(tmp_path / "nothing", tmp_path / "s.png")
    with pytest.raises(PackError, match="no pack"):
        show(tmp_path / "nothing", tmp_path / "s.html")
    with pytest.raises(PackError, match="no pack"):
        show(tmp_path / "nothing", tmp_path / "new" / "s.html")
    assert not list(tmp_path.iterdir()), "neither a file nor a folder"


def test_a_run_without_pictures_or_with_damaged_ones(run: imagemint.Run, tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "samples" / "000000000640.png").write_bytes(b"no picture")
    with pytest.raises(RunError, match="is no picture"):
        strip(tmp_path / "run", tmp_path / "s.png")
    shutil.rmtree(tmp_path / "run" / "samples")
    with pytest.raises(RunError, match="no sample picture yet"):
        strip(tmp_path / "run", tmp_path / "s.png")


def test_a_picture_of_a_strip_is_what_the_samples_are(run: imagemint.Run, tmp_path: Path) -> None:
    with Image.open(strip(run, tmp_path / "s.png", moments=100)) as made, Image.open(run.samples()[0]) as first:
        left = np.asarray(made)[16 : 16 + first.height, :30]
        assert np.array_equal(left, np.asarray(first.convert("RGB"))[:, :30])
    assert io.BytesIO((tmp_path / "s.png").read_bytes()).read(4) == b"\x89PNG"


def test_things_show_themselves_in_a_notebook(
    run: imagemint.Run, digits: imagemint.Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from imagemint import progress
    from imagemint.pages.notebook import attach

    parts = imagemint.split(digits, tmp_path / "parts", test=0.3)
    study = imagemint.study(
        parts["train"],
        parts["test"],
        None,
        tmp_path / "study",
        arms="real",
        budgets="5",
        repeats=1,
        classifier_images=64,
    )
    measures = imagemint.measure(parts["test"], parts["train"], features="pixels")
    attach()
    try:
        for each in (run, digits, study, measures):
            shown: str = each._repr_html_()  # type: ignore[union-attr]
            assert shown.startswith("<") and "<script" not in shown and "<b>first</b>" not in shown
        assert shown_rows(digits) == 10 and "data:image/png" in run._repr_html_()  # type: ignore[attr-defined]
    finally:
        progress.turn_on(False)
        for kind in (imagemint.Run, imagemint.Pack, imagemint.Study, imagemint.Measures):
            delattr(kind, "_repr_html_")


def shown_rows(pack: Any) -> int:
    return int(pack._repr_html_().count("<tr>"))


def test_the_core_knows_no_notebook_until_there_is_one() -> None:
    asked = "print(hasattr(imagemint.Pack, '_repr_html_'))"
    code = f"import sys, imagemint; {asked}; sys.modules['ipykernel'] = sys; del imagemint.Pack; {asked}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True"], done.stderr


BESIDE_THE_BAR = """
import time
from imagemint import progress
progress.turn_on()
with progress.progress(1000, "train", unit="images") as advance:
    for k in range(10):
        advance(100, note="loss D 0.66 G 0.76" if k == 2 else "")
        time.sleep(0.12)
        if k == 5:
            progress.say("mode collapse since 500 images: one picture; train for longer")
"""


def test_beside_the_bar_stand_rate_time_left_and_losses_and_findings_are_lines() -> None:
    pty = pytest.importorskip("pty", reason="a terminal to look at needs POSIX")
    master, slave = pty.openpty()
    size = {**os.environ, "COLUMNS": "80", "TERM": "xterm"}
    with subprocess.Popen([sys.executable, "-c", BESIDE_THE_BAR], stderr=slave, env=size) as child:
        os.close(slave)
        said = b""
        with contextlib.suppress(OSError):  # what Linux says at the end
            while part := os.read(master, 65_536):
                said += part
        os.close(master)
    assert child.returncode == 0
    lines = [line.strip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()))]
    assert "mode collapse since 500 images: one picture; train for longer" in lines
    bars = [line for line in lines if line.startswith("train") and "700/1000" in line]
    assert bars and re.search(r"[\d,.]+ images/s left 0:00:0\d loss D 0\.66 G 0\.76$", bars[-1])


def test_lines_in_a_log_say_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from imagemint import progress

    said: list[str] = []
    clock = iter([0.0, 10.0, 20.0, 40.0])
    monkeypatch.setattr(progress, "say", said.append)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    advance = progress._lines(1000, "train", 200, "images")
    advance(100, note="loss D 0.66 G 0.76")
    advance(100)
    advance(200)
    assert said == [
        "train: 400/1000, 10 images/s, left 0:01:00, loss D 0.66 G 0.76",
        "train: 600/1000, 10 images/s, left 0:00:40, loss D 0.66 G 0.76",
    ]


def test_a_notebook_that_cannot_redraw_a_bar_gets_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from imagemint import progress

    monkeypatch.setitem(sys.modules, "ipykernel", sys)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(progress, "_on", True)
    monkeypatch.setattr(progress, "_SECONDS_BETWEEN_LINES", 0.0)
    with progress.progress(2, "train", unit="images") as advance:
        advance(2)
    said = capsys.readouterr()
    assert said.out == "" and said.err.startswith("train: 2/2, ")
