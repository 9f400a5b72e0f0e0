"""What a study cannot use: one line, exit status 2, and nothing written."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from torch import nn

from tests.classifiers.test_outside import scripted
from tests.digits import NAMES, digits, write
from tests.test_cli import Command, imagemint, refused

__all__ = ["imagemint"]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """Packs `real`, `test`, one without a class in the test, one of a single class, and one of other sizes."""
    pixels, labels = digits(400)
    ask = np.arange(400) % 4 == 0
    write(tmp_path / "real", pixels[~ask], labels[~ask])
    write(tmp_path / "test", pixels[ask], labels[ask])
    write(tmp_path / "nine", pixels[ask & (labels != 9)], labels[ask & (labels != 9)], NAMES[:9])
    for name, side in (("lone", ~ask), ("lone-test", ask)):
        write(tmp_path / name, pixels[side & (labels == 0)], labels[side & (labels == 0)], NAMES[:1])
    write(tmp_path / "wide", np.kron(pixels[ask], np.ones((1, 1, 1, 2), np.uint8)), labels[ask])
    write(tmp_path / "unlabelled", pixels[ask], np.full(int(ask.sum()), -1))
    (tmp_path / "no-network.pt").write_bytes(b"not a network")
    (tmp_path / "no-network.json").write_text(json.dumps({"size": 8, "channels": 1, "range": [0, 1]}))
    return tmp_path


SIDES = ["--test", "test"]
OPTIONS: dict[str, tuple[list[object], str]] = {
    "an arm that is none": ([*SIDES, "--arms", "real,magic"], "magic"),
    "a score that is none": ([*SIDES, "--score", "f2"], "accuracy"),
    "a classifier that is none": ([*SIDES, "--classifier", "vgg"], "vgg"),
    "a features file that is not there": ([*SIDES, "--classifier", "linear:gone.pt"], "gone.pt"),
    "a features file that is no network": ([*SIDES, "--classifier", "linear:no-network.pt"], "no-network.pt"),
    "a share of 0": ([*SIDES, "--arms", "real,share:0", "--recipe", "ppca"], "share:0"),
    "a share over 100": ([*SIDES, "--arms", "real,share:101", "--recipe", "ppca"], "share:101"),
    "a share of all": ([*SIDES, "--real-share", "1"], "share"),
    "a share of a class over 100": (
        [*SIDES, "--arms", "class-shares", "--class-shares", "digit 0=120"],
        "digit 0=120",
    ),
    "a share of no class": (
        [*SIDES, "--arms", "class-shares", "--class-shares", "digit x=10", "--recipe", "ppca"],
        "digit x",
    ),
    "a ratio that is none": ([*SIDES, "--arms", "mix:-1"], "mix:-1"),
    "a pack that is not there": ([*SIDES, "--arms", "classic,pack:gone"], "gone"),
    "a pack of another size": ([*SIDES, "--arms", "classic,pack:wide"], "wide"),
    "a pack without labels": ([*SIDES, "--arms", "classic,pack:unlabelled"], "unlabelled"),
    "no budget": ([*SIDES, "--budgets", "0"], "not '0'"),
    "a budget over 100 %": ([*SIDES, "--budgets", "120%"], "120%"),
    "a budget that no class can fill": ([*SIDES, "--budgets", "5000"], "5000"),
    "no repeat": ([*SIDES, "--repeats", "0"], "repeats"),
    "a rare class that is none": ([*SIDES, "--arms", "minted-rare", "--rare", "x", "--recipe", "ppca"], "'x'"),
    "no recipe": ([*SIDES, "--arms", "mix"], "no recipe"),
    "no test": ([], "no test images"),
    "a test pack without one class": (["--test", "nine"], "digit 9"),
    "a test pack of another size": (["--test", "wide"], "[1, 8, 16]"),
    "a test pack without labels": (["--test", "unlabelled"], "no labelled image"),
    "the same images to learn from and to test on": (["--test", "real"], "copies of test images"),
    "jobs more than memory holds": ([*SIDES, "--jobs", "1024"], "--jobs"),
    "no job": ([*SIDES, "--jobs", "0"], "--jobs"),
    "a learning rate of 0": ([*SIDES, "--classifier-learning-rate", "0"], "classifier"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_cannot_be_used(case: str, here: Path, imagemint: Command) -> None:
    options, word = OPTIONS[case]
    usual = {"--arms": "real,classic", "--budgets": "5", "--repeats": "1"}
    others = [word for name, value in usual.items() if name not in options for word in (name, value)]
    refused(imagemint("study", "real", *others, *options, "--out", "out"), word)
    assert not (here / "out").exists()


class Undefined(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) * float("nan")


class UndefinedOnBlack(nn.Module):
    """Noise, on which every network is tried first, has no black corner; digits have."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) / x[:, :, 0, 0]


@pytest.mark.parametrize(
    ("network", "settings", "words"),
    [
        (Undefined(), {}, ["NaN", "net.json"]),
        (UndefinedOnBlack(), {}, ["NaN", "net.json"]),
        (nn.Flatten(), {"width": 512}, ["64 features", "512"]),
        (nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), {"size": 9}, ["1x9x9", "net.json"]),
    ],
    ids=["no numbers", "no numbers for some images", "another width", "another size"],
)
def test_networks_that_cannot_be_used(
    network: nn.Module, settings: dict[str, object], words: list[str], here: Path, imagemint: Command
) -> None:
    scripted(network, here / "net.pt", {"size": 8, "channels": 1, "range": [0, 1], **settings})
    options = ["--arms", "real,classic", "--budgets", "5", "--repeats", "1", "--out", "out"]
    done = imagemint("study", "real", *SIDES, *options, "--classifier", "linear:net.pt")
    for word in words:
        refused(done, word)
    assert not (here / "out").exists()


def test_a_pack_of_one_class(here: Path, imagemint: Command) -> None:
    refused(
        imagemint("study", "lone", "--test", "lone-test", "--arms", "real", "--budgets", "5", "--out", "out"),
        "one class",
    )
    assert not (here / "out").exists()


@pytest.mark.parametrize(
    ("lines", "word"),
    [
        ({"armes": ["real"]}, "armes"),
        ({"arms": ["real", "magic"]}, "magic"),
        ({"arms": 3}, "arms"),
        ({"score": "f2"}, "score"),
        ({"repeats": "many"}, "repeats"),
        ({"saturation": "perhaps"}, "saturation"),
        ({"recipe": 7}, "recipe"),
        ({"test": None}, "test"),
        ({"real_share": float("nan")}, "real_share"),
    ],
)
def test_plans_that_cannot_be_used(lines: dict[str, object], word: str, here: Path, imagemint: Command) -> None:
    plan = {"pack": "real", "test": "test", "arms": ["real"], "budgets": [5], **lines}
    (here / "plan.yaml").write_text(yaml.safe_dump(plan))
    refused(imagemint("study", "plan.yaml", "--out", "out"), word)
    assert not (here / "out").exists()


@pytest.mark.parametrize("text", ["pack: [", "- real", "", "pack: real\npack: other\n", "!!python/name:os.system x"])
def test_files_that_are_no_plan(text: str, here: Path, imagemint: Command) -> None:
    (here / "plan.yaml").write_text(text)
    refused(imagemint("study", "plan.yaml", "--out", "out"), "plan.yaml")
    assert not (here / "out").exists()
