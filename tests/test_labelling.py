"""A pack is named by a run: by its discriminator alone, with nothing lost, and nothing said that nobody gave."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import imagemint
from imagemint import ImagemintError, Pack, Run
from imagemint.cli import app
from imagemint.data import edit
from imagemint.labelling import PROBABILITY, WHOLE, class_probabilities, judge_of, label
from tests.digits import digits, write


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    pixels, labels = digits(500)
    return write(tmp_path_factory.mktemp("label") / "digits", pixels, np.where(np.arange(500) % 2, labels, -1))


@pytest.fixture(scope="module")
def run(pack: Pack, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return imagemint.train(pack, "sgan-mnist", tmp_path_factory.mktemp("label") / "run", images=6400)


def test_labels_are_the_most_probable_classes_and_the_rest_stays(run: Run, pack: Pack, tmp_path: Path) -> None:
    made = label(run, pack, tmp_path / "out")
    probabilities = class_probabilities(run, pack.pixels[:])
    assert probabilities.shape == (500, 10) and np.allclose(probabilities.sum(1), 1)
    assert np.array_equal(made.labels, probabilities.argmax(1)) and np.array_equal(made.pixels, pack.pixels)
    assert np.abs(made.columns[PROBABILITY] - WHOLE * probabilities.max(1)).max() <= 0.5
    step = made.manifest.history[-1]
    known = np.asarray(pack.labels) >= 0
    assert step.command == "label" and step.parameters["labelled_before"] == 250
    assert step.parameters["agree"] == (made.labels[known] == pack.labels[known]).sum() > 125  # better than guessing
    assert step.parents == [pack.fingerprint] and made.manifest.history[:-1] == pack.manifest.history


def test_under_the_threshold_it_abstains(run: Run, pack: Pack, tmp_path: Path) -> None:
    named, careful = label(run, pack, tmp_path / "named"), label(run, pack, tmp_path / "careful", above=0.9)
    sure = class_probabilities(run, pack.pixels[:]).max(1) >= 0.9
    assert 0 < sure.sum() < 500
    assert np.array_equal(np.asarray(careful.labels), np.where(sure, named.labels, -1))
    assert np.array_equal(careful.columns[PROBABILITY], named.columns[PROBABILITY])


def test_other_names_and_orders_of_classes_are_compared_by_name(run: Run, pack: Pack, tmp_path: Path) -> None:
    plain = label(run, pack, tmp_path / "plain").manifest.history[-1].parameters["agree"]
    turned = edit.rename(pack, tmp_path / "turned", {"digit 0": "x"})  # a class that the run does not know
    agree = label(run, turned, tmp_path / "out").manifest.history[-1].parameters["agree"]
    named = np.asarray(imagemint.open_pack(tmp_path / "plain").labels)
    zeros = ((np.asarray(pack.labels) == 0) & (named == 0)).sum()
    assert agree == plain - zeros < plain
    assert imagemint.open_pack(tmp_path / "out").classes == run.facts.pack.classes


def test_the_column_goes_with_its_image(run: Run, pack: Pack, tmp_path: Path) -> None:
    made = label(run, pack, tmp_path / "out", above=0.5)
    kept = edit.drop(made, tmp_path / "kept", ["digit 3"])
    assert np.array_equal(kept.columns[PROBABILITY], made.columns[PROBABILITY][np.asarray(made.labels) != 3])
    again = label(run, made, tmp_path / "again")  # one that has the column already
    assert list(again.columns) == [PROBABILITY]


def test_what_cannot_be_labelled_is_refused_before_anything_is_written(run: Run, pack: Pack, tmp_path: Path) -> None:
    other = imagemint.train(pack, "ppca", tmp_path / "ppca")
    larger = edit.resize(pack, tmp_path / "larger", width=12, height=12)
    colour = write(tmp_path / "colour", np.repeat(pack.pixels[:4], 3, 1), np.zeros(4, np.int64))
    for args, found in [
        ((other, pack), "no outputs for classes"),
        ((run, larger), "imagemint edit resize"),
        ((run, colour), "holds colour images"),
    ]:
        with pytest.raises(ImagemintError, match=found):
            label(*args, tmp_path / "out")
    with pytest.raises(ImagemintError, match="--above"):
        label(run, pack, tmp_path / "out", above=1.5)
    with pytest.raises(ImagemintError, match="already there"):
        label(run, pack, tmp_path)
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_was_named_and_what_was_not(run: Run, pack: Pack, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["label", str(run.path), str(pack.path), str(tmp_path / "out"), "--above", "0.99"]
    )
    assert result.exit_code == 0, result.output
    words = " ".join(result.output.split())
    made = imagemint.open_pack(tmp_path / "out")
    assert f"{made.unlabelled()} images left without a label: no class reached 0.99" in words
    assert "250 images had a label before" in words
    assert judge_of(run).history == []
