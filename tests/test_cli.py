"""The command line as a user meets it: what it prints, its exit status, and one line for every mistake."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load, save

from imagemint import __main__ as start
from imagemint.config import Recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.fitting import only_one, train
from imagemint.runs import Finding
from imagemint.training.watch import write_down
from tests.recipes import gan_recipe


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


Command = Callable[..., Outcome]


@pytest.fixture
def imagemint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """`imagemint("info", pack)` in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("imagemint.progress._on", False)  # put back afterwards: main() turns it on

    def run(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["imagemint", *map(str, words)])
        capsys.readouterr()
        try:
            start.main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
        return Outcome(status, *capsys.readouterr())

    return run


def refused(outcome: Outcome, *words: str) -> None:
    """Exit status 2 and one line on stderr that holds these words."""
    assert outcome.status == 2, outcome
    lines = [line for line in outcome.err.splitlines() if line.startswith("imagemint: ")]
    assert len(lines) == 1, outcome.err
    assert "Traceback" not in outcome.err
    for word in words:
        assert word in lines[0], lines[0]


def photos(folder: Path, classes: dict[str, int], size: tuple[int, int] = (12, 12)) -> Path:
    random = np.random.default_rng(0)
    for name, count in classes.items():
        (folder / name).mkdir(parents=True)
        for k in range(count):
            Image.fromarray(random.integers(0, 256, (*size, 3), np.uint8)).save(folder / name / f"{k:03}.png")
    return folder


def test_the_whole_job(imagemint: Command, tmp_path: Path) -> None:
    """pack, info, train, mint, measure, runs: the README's lines, at tiny scale."""
    assert imagemint("pack", "digits", "digits.pack").status == 0
    info = json.loads(imagemint("info", "digits.pack", "--json").out)
    assert info["images"] == 1797
    assert list(info["classes"]) == list("0123456789")
    assert (info["size"], info["channels"], info["unlabelled"], info["origin"]) == ([8, 8], 1, 0, "real")
    assert {"fingerprint", "history"} <= info.keys()

    words = ("train", "digits.pack", "--recipe", "demo", "--run", "run", "--set", "options.width=8")
    assert imagemint(*words, "--images", 640, "--seed", 3).status == 0
    refused(imagemint(*words, "--images", 640), "already at run", "--resume")
    assert imagemint(*words, "--images", 1280, "--seed", 3, "--resume").status == 0
    assert "demo" in imagemint("runs").out

    assert imagemint("mint", "run", "minted.pack", "--per-class", 30).status == 0
    assert imagemint("mint", "run", "some.pack", "--counts", "3=2,7=5").status == 0
    assert open_pack("some.pack").counts()["7"] == 5
    measures = json.loads(imagemint("measure", "minted.pack", "--against", "digits.pack", "--json").out)
    for name in ("fd_lenet", "classifier_score"):
        assert {"value", "floor", "n_real", "n_minted"} <= measures["values"][name].keys()
    assert "confusion" in measures


def test_findings_are_told_at_the_end_of_a_training_and_in_the_list_of_runs(
    imagemint: Command, digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    run = train(digits, tiny, tmp_path / "run", images=32)
    write_down(run, Finding(images_seen=32, name="copying", began=16, evidence="half are copies", remedy="augment"))
    assert "copying" in imagemint("runs", tmp_path).out
    (tmp_path / "tiny.yaml").write_text(json.dumps(run.recipe.model_dump(mode="json", exclude_none=True)))
    words = ("train", digits.path, "--recipe", tmp_path / "tiny.yaml", "--run", run.path, "--resume")
    assert "copying since 16 images: half are copies; augment\n" in imagemint(*words).out


def test_a_study_from_the_command_line_goes_on_where_it_stopped(imagemint: Command) -> None:
    imagemint("pack", "digits", "digits.pack")
    assert imagemint("edit", "split", "digits.pack", "parts", "--train", 0.8, "--test", 0.2).status == 0
    words = ["study", "parts/train", "--test", "parts/test", "--recipe", "demo", "--out", "study", "--images", 640]
    words += ["--budgets", "5", "--classifier-epochs", 1, "--arms"]
    assert imagemint(*words, "real,floor", "--repeats", 2).status == 0
    rows = Path("study/rows.jsonl").read_text()
    assert len(rows.splitlines()) == 4
    assert imagemint(*words, "real,minted,floor", "--repeats", 2).status == 0
    now = Path("study/rows.jsonl").read_text().splitlines()
    assert set(rows.splitlines()) <= set(now)  # what was computed stays; the lines stand in the order of the plan
    assert "<html" in Path("study/report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("info", "absent"), "no pack at absent"),
        (("pack", "absent", "x"), "absent"),
        (("pack", "digits", "x", "--size", "big"), "N or HEIGHTxWIDTH"),
        (("pack", "digits", "x", "--channels", "2"), "one of 1, 3"),
        (("pack", "digits", "x", "--fit", "squash"), "one of crop, pad, stretch"),
        (("train", "absent", "--recipe", "demo", "--run", "r"), "no pack at absent"),
        (("mint", "absent", "x", "--per-class", "5"), "no run at absent"),
        (("mint", "absent", "x", "--counts", "five"), "NAME=N"),
        (("mint", "absent", "x", "--per-class", "five"), "--per-class"),
        (("measure", "absent", "--against", "absent"), "no pack at absent"),
        (("fly",), "fly"),
        (("train",), "PACK"),
        (("info", "absent", "--colour"), "--colour"),
    ],
)
def test_mistakes_get_one_line(imagemint: Command, words: tuple[str, ...], line: str) -> None:
    refused(imagemint(*words), line)
    assert list(Path().iterdir()) == []


def test_wrong_recipes_get_one_line(imagemint: Command, digits: Pack, tmp_path: Path) -> None:
    train_digits = ("train", digits.path, "--run", "run", "--recipe")
    refused(imagemint(*train_digits, "demo", "--set", "wdith=3"), "unknown key wdith")
    refused(imagemint(*train_digits, "demo", "--set", "options.wdith=3"), "options.wdith")
    refused(imagemint(*train_digits, "demo", "--set", "batch_size"), "--set key=value")
    refused(imagemint(*train_digits, "demo", "--set", "loss=perceptual"), "loss = perceptual", "relativistic")
    refused(imagemint(*train_digits, "demo", "--set", "model=biggan"), "model 'biggan'")
    refused(imagemint(*train_digits, "demo", "--set", "label_smoothing=0.1"), "label_smoothing goes with")
    refused(imagemint(*train_digits, "none"), "no recipe 'none'")
    (tmp_path / "mine.yaml").write_text("name: mine\nmodel: cdcgan\nlearning: 3\n")
    refused(imagemint(*train_digits, "mine.yaml"), "mine.yaml")
    photos(tmp_path / "big", {"a": 3, "b": 3}, (32, 32))
    imagemint("pack", "big", "big.pack")
    refused(imagemint("train", "big.pack", "--recipe", "cdcgan", "--run", "run"), "32x32", "8 to 28", "--size 28")
    assert not Path("run").exists()


def test_a_duration_and_nothing_but_the_recipe_can_be_set(imagemint: Command, digits: Pack) -> None:
    small = ("--recipe", "demo", "--set", "options.width=4", "--set", "batch_size=16")
    done = imagemint("train", digits.path, "--run", "run", *small, "--set", "images=16")
    assert done.status == 0 and "16 images seen" in done.out
    refused(imagemint("train", digits.path, "--run", "other", *small, "--set", "seed=3"), "unknown key seed")


def test_torchrun_trains_and_does_nothing_else(imagemint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    refused(imagemint("info", "pack"), "torchrun with info", "run it without torchrun")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_device_that_is_not_there_gets_one_line(imagemint: Command, digits: Pack, tmp_path: Path) -> None:
    words = ("train", digits.path, "--recipe", "demo", "--run", "run", "--device", "cuda")
    refused(imagemint(*words), "device cuda is not on this machine", "leave --device out")
    assert not (tmp_path / "run").exists()


def test_a_damaged_pack_gets_one_line(imagemint: Command) -> None:
    imagemint("pack", "digits", "digits.pack")
    file = Path("digits.pack/manifest.json")
    file.write_bytes(file.read_bytes()[:200])
    refused(imagemint("info", "digits.pack"), "manifest.json is damaged")
    refused(imagemint("train", "digits.pack", "--recipe", "demo", "--run", "run"), "manifest.json is damaged")


def poison(checkpoint: Path) -> None:
    """NaN in the weights that are minted from; the file is whole and its hash is right."""
    file, state = checkpoint / "weights.safetensors", json.loads((checkpoint / "state.json").read_text())
    tensors = load(file.read_bytes())
    key = next(key for key in sorted(tensors) if key.startswith("ema."))
    file.write_bytes(save(tensors | {key: tensors[key] * float("nan")}))
    state["weights"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (checkpoint / "state.json").write_text(json.dumps(state))


def test_a_checkpoint_that_cannot_be_used_gets_one_line(
    imagemint: Command, digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    """Its numbers are not finite, a file is cut short, it is of other networks, it is of other optimisers."""

    def recipe(name: str, **settings: Any) -> Recipe:
        made = gan_recipe(tiny, {"name": name, "images": 32, **settings})
        (tmp_path / f"{name}.yaml").write_text(json.dumps(made.model_dump(mode="json", exclude_none=True)))
        return made

    runs = {name: train(digits, recipe(name), tmp_path / name) for name in ("nan", "cut", "other", "adam", "state")}
    poison(runs["nan"].newest())
    weights = runs["cut"].newest() / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    wide = train(digits, recipe("wide", **{"options.width": 8}), tmp_path / "wide")
    rmsprop = {"optimizer_g": {"name": "rmsprop", "lr": 0.001}}
    rms = train(digits, recipe("rms", **rmsprop), tmp_path / "rms")
    for mine, theirs in (("other", wide), ("adam", rms)):
        newest = runs[mine].newest()
        shutil.rmtree(newest)
        shutil.copytree(theirs.newest(), newest)
    (runs["state"].newest() / "state.json").write_text("{}")
    lines = {
        "nan": ("numbers that are not finite", "wanted a whole checkpoint", "remove"),
        "cut": ("weights.safetensors is damaged", "wanted a whole checkpoint", "remove"),
        "other": ("belongs to another network", "weights of this run's recipe"),
        "state": ("state.json is damaged", "remove"),
    }
    for name, words in lines.items():
        refused(imagemint("mint", name, "minted.pack", "--per-class", 1), *words)
    tiny_digits = ("train", digits.path, "--resume", "--images", 64)
    assert imagemint(*tiny_digits, "--recipe", "rms.yaml", "--run", "rms").status == 0
    lines["adam"] = ("belongs to another optimiser than adam", "remove")
    for name, words in lines.items():
        refused(imagemint(*tiny_digits, "--recipe", f"{name}.yaml", "--run", name), *words)
    assert not (tmp_path / "minted.pack").exists()


def test_a_folder_that_cannot_be_written_gets_one_line(
    imagemint: Command, digits: Pack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("train", digits.path, "--recipe", "demo", "--images", 64, "--run")
    (tmp_path / "file").write_text("")
    refused(imagemint(*words, "file/run"), "a part of the path file/run is a file")
    refused(imagemint(*words, "file"), "is there and is not a run")

    def read_only(*args: object, **kwargs: object) -> object:
        raise OSError(errno.EROFS, "Read-only file system", "run/run.json")

    monkeypatch.setattr("tempfile.mkstemp", read_only)
    refused(imagemint(*words, "run"), "the file system is read-only at run", "choose another folder")


def test_a_second_training_into_a_run_is_refused_and_changes_nothing(
    imagemint: Command, digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    run = train(digits, tiny, tmp_path / "run", images=32)
    (tmp_path / "tiny.yaml").write_text(json.dumps(tiny.model_dump(mode="json", exclude_none=True)))
    before = (run.path / "run.json").read_bytes()
    words = ("train", digits.path, "--recipe", "tiny.yaml", "--run", "run", "--resume", "--images", 64)
    with only_one(run.path):
        refused(imagemint(*words), "another process is training into run", "choose another --run")
    assert (run.path / "run.json").read_bytes() == before
    assert imagemint(*words).status == 0


@pytest.mark.skipif(os.name == "nt", reason="needs resource limits")
@pytest.mark.parametrize("command", ["pack", "train", "mint"])
def test_a_full_disk_gets_one_line_and_leaves_nothing_half_written(
    command: str, digits: Pack, tiny: Recipe, tmp_path: Path
) -> None:
    """A file size limit stands in for the disk: the system refuses to write on in the same way."""
    run = train(digits, tiny, tmp_path / "run", images=64).path
    words = {
        "pack": ["pack", "digits", "new"],
        "train": ["train", str(digits.path), "--recipe", "demo", "--run", "new", "--images", "64"],
        "mint": ["mint", str(run), "new", "--per-class", "100"],
    }
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000));"
        f"sys.argv = {['imagemint', *words[command]]!r}; import imagemint.__main__; imagemint.__main__.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "the file size limit is reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.partial"))
    assert (tmp_path / "new").exists() == (command == "train")  # a run folder without a checkpoint can be resumed


@pytest.mark.skipif(os.name == "nt", reason="signals are a POSIX matter")
@pytest.mark.parametrize("command", ["train", "mint", "measure", "pack"])
def test_ctrl_c_is_one_line_and_130(command: str, digits: Pack, tiny: Recipe, tmp_path: Path) -> None:
    """A child process gets SIGINT in the middle of its work; what it leaves behind still opens."""
    run = train(digits, tiny, tmp_path / "run", images=64)
    words: dict[str, list[object]] = {
        "train": ["train", digits.path, "--recipe", "demo", "--run", "new", "--images", 10**8],
        "mint": ["mint", run.path, "minted.pack", "--per-class", 10**6],
        "measure": ["measure", digits.path, "--against", digits.path],
        "pack": ["pack", photos(tmp_path / "many", {"a": 2000}, (64, 64)), "many.pack", "--size", 512],
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "imagemint", *map(str, words[command])],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    signs = {"train": "new/log.jsonl", "mint": ".minted.pack.*/pixels.npy", "pack": ".many.pack.*/pixels.npy"}
    deadline = time.monotonic() + 60
    while command in signs and not list(tmp_path.glob(signs[command])) and time.monotonic() < deadline:
        time.sleep(0.02)
    if command == "measure":  # it writes nothing: wait until it has begun, however busy the machine is
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "imagemint", "--help"], capture_output=True, check=True)
        time.sleep(2 * (time.monotonic() - started))
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert sum(line.startswith("imagemint: ") for line in err.splitlines()) == 1, err
    left = {path.name for path in tmp_path.iterdir()} - {"run", "many"}
    assert left == ({"new"} if command == "train" else set())
    if command == "train":
        done = subprocess.run(
            [sys.executable, "-m", "imagemint", "mint", "new", "minted.pack", "--per-class", "1"],
            cwd=tmp_path,
            capture_output=True,
            check=False,
        )
        assert done.returncode == 0


def run_module(*words: object, cwd: Path, shell: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own; `shell` is appended to its command."""
    command = " ".join([sys.executable, "-m", "imagemint", *map(str, words), shell])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, shell=True, cwd=cwd, capture_output=True, encoding="latin-1", env=environment)


def test_pack_ends_with_the_classes_and_their_counts(imagemint: Command, tmp_path: Path) -> None:
    photos(tmp_path / "in", {"cable": 13, "bottle": 12, "x\x1b[2J": 1})
    photos(tmp_path / "in", {"loose": 0})
    (tmp_path / "in" / "loose").rmdir()
    said = imagemint("pack", "in", "p")
    assert said.out == "p: 26 images, 3 classes: bottle 12, cable 13, x\\x1b[2J 1; 12x12 colour\n"
    facts = json.loads(imagemint("pack", "in", "q", "--json").out)
    assert facts["classes"] == {"bottle": 12, "cable": 13, "x\x1b[2J": 1}
    assert facts["remarks"] == []


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell closes the streams")
def test_without_streams_the_work_is_done_all_the_same(tmp_path: Path) -> None:
    for number, shell in enumerate(("2>&-", ">&-", "<&- >&- 2>&-")):
        assert run_module("pack", "digits", f"p{number}", cwd=tmp_path, shell=shell).returncode == 0
        assert len(open_pack(tmp_path / f"p{number}")) == 1797


def test_a_stream_that_does_not_know_a_letter_gets_its_escape(tmp_path: Path) -> None:
    photos(tmp_path / "in", {"W\u00fcrste": 1, "\u732b": 1})
    done = run_module("pack", "in", "p", cwd=tmp_path, PYTHONIOENCODING="cp1252")
    assert done.returncode == 0, done.stderr
    assert "W\u00fcrste 1, \\u732b 1" in done.stdout
    done = run_module("info", "p", "--json", cwd=tmp_path, PYTHONIOENCODING="ascii")
    assert json.loads(done.stdout)["classes"] == {"W\u00fcrste": 1, "\u732b": 1}


@pytest.mark.skipif(os.name == "nt", reason="signals are a POSIX matter")
def test_sigterm_ends_as_ctrl_c_does(tmp_path: Path) -> None:
    photos(tmp_path / "many", {"a": 2000}, (64, 64))
    process = subprocess.Popen(
        [sys.executable, "-m", "imagemint", "pack", "many", "many.pack", "--size", "512"],
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not list(tmp_path.glob(".many.pack.*/pixels.npy")) and process.poll() is None:
        time.sleep(0.02)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143, err
    assert "stopped by SIGTERM; nothing is half-written; the same command starts again" in err
    assert [path.name for path in tmp_path.iterdir()] == ["many"]


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps the working folder")
def test_a_working_folder_that_is_gone_gets_one_line(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    done = subprocess.run(
        ["sh", "-c", f"rmdir ../gone; {sys.executable} -m imagemint pack digits x"],
        cwd=tmp_path / "gone",
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2, done.stderr
    assert "the working folder is gone" in done.stderr
