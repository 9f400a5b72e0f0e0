"""Two processes train what one trains with the same batch; what goes wrong on one of them ends both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from imagemint.config import Recipe, load_recipe, saved_recipe
from imagemint.data.pack import Pack, Step, open_pack, writing
from imagemint.errors import RecipeError, RunError
from imagemint.fitting import refuse_changes, train
from imagemint.methods import joined
from imagemint.models.layers import HalfBatchNorm
from imagemint.runs import open_run
from imagemint.training.ranks import Ranks
from imagemint.training.state import ONE_GAN, load_checkpoint, new_gan
from tests.recipes import gan_recipe
from tests.training.test_exact import contents

ROOT = Path(__file__).parents[2]
SMALL = {"batch_size": 16, "images": 128, "log_every": 16, "picture_every": 64, "checkpoint_every": 48, "keep": 1}


def recipes(tiny: Recipe) -> dict[str, Recipe]:
    """A recipe for every family, and for each part of the loop that looks at more than one image at a time.

    SGD in small steps, because Adam divides rounding errors of tiny gradients by their own size, and networks that
    jump about make them grow. No dropout.
    """
    sgd = {f"optimizer_{net}.{key}": value for net in "gd" for key, value in (("name", "sgd"), ("lr", 0.002))}
    common: dict[str, Any] = {**SMALL, **sgd, "precision": "fp32", "z_size": 8}
    plain = {"penalty": None, "loss": "non-saturating", "augment": "none", "ema_images": None}

    def changed(recipe: Recipe | str, more: dict[str, Any]) -> Recipe:
        return gan_recipe(recipe, {**common, **more})

    return {
        "demo": changed(tiny, {}),  # relativistic pairs, R1 + R2, augmentation, EMA
        "balanced": changed(tiny, {"balanced": True, "batch_size": 2, "images": 160}),
        "per-class": changed(
            tiny,
            {**plain, "model": "per-class", "options": {"width": 2, "dropout": 0.0}}
            | {"balanced": True, "batch_size": 4, "images": 160},
        ),
        "matching": changed(tiny, {"loss_g": "feature-matching"}),
        "cdcgan": changed("cdcgan", {}),
        "dcgan": changed(tiny, {**plain, "model": "dcgan", "options": {}, "images": 16}),
        "dense": changed(tiny, {**plain, "model": "dense", "options": {"batch_norm": True}}),
        "semi-supervised": changed("sgan-mnist", {"labelled_share": 0.25}),
        "ccgan": changed(  # steps smaller still: the maximum of a pool jumps from pixel to pixel
            tiny,
            {**plain, "model": "ccgan", "options": {}, "label_smoothing": 0.1, "images": 64}
            | {"optimizer_g.lr": 2e-4, "optimizer_d.lr": 2e-4},
        ),
        "virtual": changed(  # nine images a rank: the first half is no whole number of images on each
            tiny,
            {**plain, "model": "dcgan-fd", "options": {"virtual_batch_norm": True}}
            | {"batch_size": 18, "images": 54},
        ),
        "wgan-gp": changed(
            tiny,
            {**plain, "model": "wgan-gp", "options": {"dropout": 0.0}, "loss": "wasserstein", "d_steps": 2}
            | {"penalty": {"name": "gradient", "weight": 10.0}},
        ),
    }


def norms() -> dict[str, dict[str, Any]]:
    """Layers with their state, an input for the whole batch and the weights of a loss."""
    random = torch.Generator().manual_seed(0)
    shapes = {"BatchNorm1d": (12, 3), "BatchNorm2d": (12, 3, 4, 5), "Half": (12, 3, 2, 2), "HalfOdd": (10, 3, 2, 2)}
    cases = {}
    for name, shape in shapes.items():
        kind = name.removesuffix("Odd")
        state = norm(kind).state_dict()
        state["0.weight"], state["0.bias"] = (torch.randn(3, generator=random) for _ in range(2))
        x, weight = (torch.randn(shape, generator=random) * 3 + 5 for _ in range(2))
        cases[name] = {"kind": kind, "state": state, "x": x, "weight": weight}
    return cases


def norm(kind: str) -> nn.Module:
    layers: dict[str, Any] = {"BatchNorm1d": nn.BatchNorm1d, "BatchNorm2d": nn.BatchNorm2d, "Half": HalfBatchNorm}
    return nn.Sequential(layers[kind](3))


def torchrun(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Two processes of one thread each on this machine."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *arguments]
    with subprocess.Popen(command, env=environment, stdout=-1, stderr=-1, text=True) as process:
        try:
            out, err = process.communicate(timeout=200)
        finally:
            process.terminate()  # it takes its children along
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@pytest.fixture(scope="module")
def pair(digits: Pack, tiny: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two ranks left behind: one run a recipe, and what each rank saw go wrong."""
    folder = tmp_path_factory.mktemp("pair")
    random = np.random.default_rng(0)
    with writing(folder / "larger", classes=digits.classes, origin="real", history=[Step(command="x")]) as writer:
        writer.add(random.integers(0, 256, (40, 1, 16, 16), np.uint8), np.arange(40) % 10)
    with writing(folder / "few", classes=digits.classes, origin="real", history=[Step(command="x")]) as writer:
        labels = np.where(np.arange(400) % 2, -1, np.array(digits.labels[:400]))
        writer.add(np.array(digits.pixels[:400]), labels)
    packs = {"dcgan": folder / "larger", "semi-supervised": folder / "few"}
    parents = [str(train(digits, tiny, folder / f"parent-{k}", images=64, seed=k).path) for k in range(2)]
    wanted = recipes(tiny)
    joins = {"options": {"width": 8, "blocks": 2, "dropout": 0.0}, "d_steps": 2, "z_size": 16, "parents": parents}
    sgd = {key: getattr(wanted["wgan-gp"], key).model_dump() for key in ("optimizer_g", "optimizer_d")}
    wanted["mitlgan"] = gan_recipe("mitlgan", {**SMALL, **sgd, "precision": "fp32", **joins})
    jobs = {
        name: {"pack": str(packs.get(name, digits.path)), "recipe": recipe.model_dump(mode="json")}
        for name, recipe in wanted.items()
    }
    torch.save(norms(), folder / "norms.pt")
    (folder / "jobs.json").write_text(json.dumps(jobs))
    done = torchrun(Path(__file__).parent / "ranks_worker.py", folder / "jobs.json", folder)
    assert done.returncode == 0, done.stderr
    return folder


def weights(facts: Any, checkpoint: Path | None = None) -> Tensor:
    """Every weight and statistic of every network, end to end."""
    gan = new_gan(facts, kind=joined.KIND if facts.recipe.model == joined.JOINED else ONE_GAN)
    if checkpoint is not None:
        load_checkpoint(gan, checkpoint)
    nets = [gan.generator, gan.discriminator, *([gan.ema] if gan.ema else [])]
    tensors = (tensor for net in nets for tensor in net.state_dict().values() if tensor.is_floating_point())
    return torch.cat([tensor.detach().double().flatten() for tensor in tensors])


@pytest.mark.parametrize(
    "name",
    [
        "demo",
        "balanced",
        "per-class",
        "matching",
        "cdcgan",
        "dcgan",
        "dense",
        "semi-supervised",
        "ccgan",
        "virtual",
        "wgan-gp",
        "mitlgan",
    ],
)
def test_two_ranks_train_what_one_trains_with_the_same_batch(name: str, pair: Path, tmp_path: Path) -> None:
    two = open_run(pair / name)
    job = json.loads((pair / "jobs.json").read_text())[name]
    one = train(open_pack(job["pack"]), saved_recipe(job["recipe"], name), tmp_path / "one", seed=3, device="cpu")
    assert (one.facts.processes, two.facts.processes) == (1, 2)
    before, alone, shared = weights(one.facts), weights(one.facts, one.newest()), weights(one.facts, two.newest())
    assert (shared - alone).norm() < 1e-3 * (alone - before).norm()
    assert [list(line) for line in two.log()] == [list(line) for line in one.log()]
    for mine, theirs in zip(two.log(), one.log(), strict=True):
        assert list(mine.values()) == pytest.approx(list(theirs.values()), rel=1e-3, abs=1e-4)
    assert [path.name for path in two.samples()] == [path.name for path in one.samples()]


def test_the_world_had_two_ranks(pair: Path) -> None:
    assert [json.loads((pair / f"{rank}.json").read_text())["world"] for rank in range(2)] == [2, 2]


@pytest.mark.parametrize("name", list(norms()))
def test_the_normalisation_of_two_halves_is_that_of_the_whole_batch(name: str, pair: Path) -> None:
    case = norms()[name]
    net = norm(case["kind"])
    net.load_state_dict(case["state"])
    x = case["x"].clone().requires_grad_(True)
    net(x)
    out = net(x)
    (slope,) = torch.autograd.grad((out**3 * case["weight"]).sum(), x, create_graph=True)
    slope.square().sum().backward()
    made = [torch.load(pair / f"{name}-{rank}.pt") for rank in range(2)]

    def whole(key: str) -> Tensor:
        return torch.stack([each[key] for each in made], 1).flatten(0, 1)  # rows 0, 2, ... and 1, 3, ...

    assert x.grad is not None
    for key, wanted in (("out", out.detach()), ("slope", slope.detach()), ("x", x.grad)):
        assert (whole(key) - wanted).norm() < 1e-4 * wanted.norm(), key
    for each in made:
        for key, parameter in net.named_parameters():
            assert parameter.grad is not None
            assert (each["sums"][key] - parameter.grad).norm() < 1e-4 * parameter.grad.norm(), key
        for key, buffer in net.state_dict().items():
            assert torch.allclose(each["state"][key], buffer, rtol=1e-5), key


def test_a_pair_that_was_stopped_or_extended_ends_like_one_that_was_not(pair: Path) -> None:
    straight = contents(pair / "demo")
    assert contents(pair / "extended") == straight
    assert contents(pair / "stopped") == straight  # SIGTERM reached rank 1 alone


def test_what_goes_wrong_on_one_rank_ends_all_in_the_same_words(pair: Path) -> None:
    first, second = (json.loads((pair / f"{rank}.json").read_text()) for rank in range(2))
    assert first == second
    assert first["images"].startswith("RecipeError: a batch of 15 images on 2 processes; wanted numbers")
    assert first["exists"].startswith("RunError: a run is already at")
    assert first["stopped"] == "KeyboardInterrupt: "
    assert first["nan"].startswith("TrainingError: loss_g is nan at 48 images seen")
    assert first["full"].startswith("ImagemintError: the disk is full")


def test_a_run_of_two_processes_goes_on_with_one(pair: Path, digits: Pack, tiny: Recipe) -> None:
    recipe = load_recipe(recipes(tiny)["dense"], {"images": 144})
    assert train(digits, recipe, pair / "dense", seed=3, resume=True, device="cpu").images_seen == 144


def test_a_refusal_is_said_once(digits: Pack, tmp_path: Path) -> None:
    settings = ["--recipe", "demo", "--run", str(tmp_path / "run"), "--device", "cpu", "--set", "batch_size=5"]
    done = torchrun("-m", "imagemint", "--", "train", digits.path, *settings)
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("imagemint: ")]
    assert len(lines) == 1 and "a batch of 5 images on 2 processes" in lines[0]
    assert not (tmp_path / "run").exists()


def test_each_part_of_a_batch_is_divisible() -> None:
    Ranks(0, 4).check_shares([8, 4])
    Ranks(0, 1).check_shares([3])
    for counts in ([6, 2], [4], [9]):
        with pytest.raises(RecipeError, match="on 4 processes"):
            Ranks(0, 4).check_shares(counts)


def test_the_ranks_share_out_every_row_once() -> None:
    batch = torch.arange(12)
    parts = [Ranks(k, 3).mine(batch) for k in range(3)]
    assert sorted(torch.cat(parts).tolist()) == batch.tolist()
    assert [list(Ranks(k, 3).rows(4)) for k in range(3)] == [part.tolist() for part in parts]


def test_a_run_is_not_resumed_on_another_device(
    digits: Pack, tiny: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = train(digits, tiny, tmp_path / "run", images=32, device="cpu")
    with pytest.raises(RunError, match="device was cpu and is cuda"):
        refuse_changes(run, run.facts.model_copy(update={"device": "cuda"}))
