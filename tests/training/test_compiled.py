"""Training through `torch.compile`: the same training up to rounding, exact with itself, and refused in one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack
from imagemint.errors import RecipeError, RunError
from imagemint.fitting import train
from imagemint.methods import settle
from imagemint.training import compiled, loop
from imagemint.training.feed import Feed
from imagemint.training.ranks import Ranks
from imagemint.training.state import Gan, new_gan
from tests.test_recipes import noise_pack
from tests.test_recipes import tiny as smallest

# Warnings of torch about torch, while Dynamo looks at what a call is given.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning"),
]
TRACED = "aot_eager"  # traces forward and backward as inductor does, then runs torch's own operators: no C++ compiler


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "compiled"))


def iterated(pack: Pack, name: str, **overrides: Any) -> Gan:
    facts = settle(pack, load_recipe(name, {**overrides, "precision": "fp32"}), device="cpu")
    gan = new_gan(facts)
    feed = Feed(pack, gan)
    for _ in range(2):
        loop.iterate(gan, feed)
    return gan


@pytest.mark.parametrize("name", ["fewshot", "per-class", "sgan-mnist", "triple-gan"])
def test_the_same_training_up_to_rounding(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With penalties, many networks in one, semi-supervised losses, and three players."""
    monkeypatch.setattr(compiled, "BACKEND", TRACED)
    small = smallest(name)
    pack = noise_pack(tmp_path / "pack", small.shape)
    plain, other = (iterated(pack, name, **small.overrides, compile=each) for each in (False, True))
    assert other.judge is not other.discriminator and plain.judge is plain.discriminator
    for one, two in ((plain.generator, other.generator), (plain.discriminator, other.discriminator)):
        for (key, a), (_, b) in zip(one.state_dict().items(), two.state_dict().items(), strict=True):
            assert torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-5), key


def test_resumed_is_never_stopped_and_a_run_stays_as_it_began(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", TRACED)
    straight = train(digits, tiny, tmp_path / "straight", images=320, compile=True, device="cpu")
    train(digits, tiny, tmp_path / "run", images=96, compile=True, device="cpu")
    run = train(digits, tiny, tmp_path / "run", images=320, compile=True, device="cpu", resume=True)
    assert run.checkpoint_hash == straight.checkpoint_hash
    with pytest.raises(RunError, match=r"recipe\.compile was True and is False"):
        train(digits, tiny, tmp_path / "run", images=640, device="cpu", resume=True)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="no C++ compiler")
@pytest.mark.timeout(600)
def test_compiled_code_computes_the_same(digits: Pack) -> None:
    made = [iterated(digits, "dense-minimal", batch_size=8, smallest=8, compile=each) for each in (False, True)]
    for a, b in zip(made[0].generator.parameters(), made[1].generator.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-5)


def test_what_cannot_compile_refuses_before_anything_is_written(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "BACKEND", "nonesuch")
    with pytest.raises(
        RecipeError, match=r"^compile: true \(.*a C\+\+ compiler for the CPU.*leave compile out"
    ) as error:
        train(digits, tiny, tmp_path / "run", compile=True, device="cpu")
    assert "\n" not in str(error.value) and not (tmp_path / "run").exists()


@pytest.mark.timeout(300)
def test_a_machine_without_a_compiler_says_so(digits: Pack, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "imagemint", "train", str(digits.path), "--recipe", "demo", "--device", "cpu"]
    command += ["--images", "64", "--set", "compile=true", "--run", str(tmp_path / "run")]
    none = {**os.environ, "CXX": str(tmp_path / "none")}
    made = subprocess.run(command, env=none, capture_output=True, text=True, check=False)
    assert made.returncode == 2 and "compile: true (" in made.stderr and len(made.stderr.splitlines()) == 1, (
        made.stderr
    )
    assert not (tmp_path / "run").exists()


def test_many_processes_are_refused(digits: Pack, tiny: Recipe) -> None:
    facts = settle(digits, load_recipe(tiny, {"compile": True}), device="cpu")
    with pytest.raises(RunError, match=r"compile: true on 2 processes; wanted one process"):
        new_gan(facts, Ranks(0, 2))
