"""Saturation: a curve that is still falling says so, a flat one says that nothing can be gained."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from imagemint.cli import app
from imagemint.studies.saturation import Answer, Saturation, saturation_of
from imagemint.studies.statistics import Curve, Estimate
from tests.digits import digits, write

N = [10.0, 20.0, 40.0, 80.0]


def errors(repeats: int, scale: float, floor: float = 0.05, images: int = 4000) -> np.ndarray:
    """bool `[repeats, budgets, images]`: the same images are hard at every budget."""
    rng = np.random.default_rng(0)
    hard = rng.random(images) + rng.normal(0, 0.003, (repeats, 1, 1))
    return hard < np.array([floor + scale * n**-0.7 for n in N])[:, None]


@pytest.mark.parametrize(
    ("scale", "repeats", "answer"),
    [(2.0, 5, "could help"), (0.0, 5, "no measurable help"), (2.0, 1, "too few repeats")],
)
def test_the_answer_is_what_the_curve_was_made_with(scale: float, repeats: int, answer: Answer) -> None:
    found = saturation_of("real", "accuracy", N, errors(repeats, scale))
    assert found is not None and found.answer == answer
    assert found.gain.value == pytest.approx(scale * (80**-0.7 - 160**-0.7), abs=0.006)
    assert found.errors == pytest.approx([0.05 + scale * n**-0.7 for n in N], abs=0.02)
    assert found.facts()["sentence"] == found.sentence()


def test_few_images_cannot_tell() -> None:
    found = saturation_of("real", "accuracy", N, errors(3, 0.2, images=100))
    assert found is not None and found.answer == "cannot be told"


def test_there_is_no_curve_without_three_different_budgets() -> None:
    assert saturation_of("real", "accuracy", N[:2], errors(3, 1)[:, :2]) is None
    assert saturation_of("real", "accuracy", [1, 1, 2], errors(3, 1)[:, :3]) is None


def test_the_command_says_it_without_a_recipe(tmp_path: Path) -> None:
    pixels, labels = digits(400)
    ask = np.arange(400) % 4 == 0
    write(tmp_path / "real", pixels[~ask], labels[~ask])
    write(tmp_path / "test", pixels[ask], labels[ask])
    short = ["--repeats", "2", "--classifier-epochs", "1", "--classifier-images", "640", "--jobs", "1"]
    both = ["study", str(tmp_path / "real"), "--test", str(tmp_path / "test"), "--saturation", *short]
    out = ["--out", str(tmp_path / "out")]
    said = CliRunner().invoke(app, [*both, *out, "--json"])
    assert said.exit_code == 0, said.output
    facts = json.loads(said.stdout)
    curve, gain = facts["saturation"]["curve"], facts["saturation"]["gain"]
    assert curve["floor"] >= 0 and gain["low"] <= gain["value"] <= gain["high"]
    assert (
        facts["saturation"]["images"] == sorted(facts["saturation"]["images"])
        and not (tmp_path / "out/runs").exists()
    )
    plain = CliRunner().invoke(app, [*both, *out])
    assert facts["saturation"]["sentence"] in " ".join(plain.stdout.split())
    two = CliRunner().invoke(app, [*both, "--out", str(tmp_path / "two"), "--budgets", "5,10"])
    assert "it takes 3 budgets" in " ".join(two.stdout.split())


@pytest.mark.parametrize(
    ("low", "high", "answer"),
    [
        (0.002, 0.01, "could help"),
        (0.0019, 0.01, "cannot be told"),
        (-0.01, 0.002, "cannot be told"),
        (-0.01, 0.0019, "no measurable help"),
        (None, None, "too few repeats"),
    ],
)
def test_less_than_a_fifth_of_a_point_is_no_help(low: float | None, high: float | None, answer: Answer) -> None:
    found = Saturation("real", "accuracy", N, [], Curve(0.1, 0.5, 1), Estimate(0.001, low, high))
    assert found.answer == answer and "the 80 real images per class would add +0.1 points" in found.sentence()
