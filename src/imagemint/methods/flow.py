"""Flow matching: a network learns the velocity of straight ways from noise to images (Lipman et al. 2023).

There is no discriminator and no game, so nothing of `training.watch` applies: its rules are about D and about what a
game does to samples. What stops a training is a loss that is not finite. The rest is as for GANs: noise, order and
augmentation are addressed by images seen, so that killed and resumed is never stopped, bit for bit on the CPU.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from imagemint import images, seeds
from imagemint.augment import CLASSIC, affine
from imagemint.checkpoints import (
    load_weights,
    read_state,
    read_tensors,
)
from imagemint.data.batches import Batches
from imagemint.data.pack import Pack
from imagemint.devices import native_precision, set_tf32, usable_device
from imagemint.errors import TrainingError
from imagemint.files import append_line
from imagemint.methods.base import Asked, Method, Sketch, members, settled
from imagemint.minter import Minter, NetworkMinter
from imagemint.models import ImageShape, checked, flow
from imagemint.progress import progress, say
from imagemint.recipe import TrainedRecipe
from imagemint.runfolder import Run, RunFacts
from imagemint.samples import draw_samples
from imagemint.training.diary import flush_logs, go_back, passed
from imagemint.training.loop import stop_softly
from imagemint.training.optimisers import Optimizer, make_optimizer, update
from imagemint.training.ranks import Ranks
from imagemint.training.state import load_optimizer, write_checkpoint
from imagemint.training.step import move_average

MODEL = "flow"
OPTIMIZER = "generator"  # its name in a checkpoint, as of GANs


class FlowRecipe(TrainedRecipe):
    """Everything that a person chooses about flow matching."""

    model: Literal["flow"]
    options: dict[str, Any] = Field({}, description="the network's own choices")
    augment: Literal["none", "affine"] = Field(
        "none", description="half of the training images moved and turned, which the network is told; minted ones not"
    )
    label_dropout: float = Field(0.1, ge=0, lt=1, description="share of images whose label the network is not told")
    guidance: float = Field(
        1.0, ge=0, le=20, description="times that a label counts when images are drawn; 1: as learned, more: purer"
    )
    steps: int = Field(12, ge=1, le=1000, description="steps from noise to image")
    solver: flow.Solver = Field("heun", description="rule of a step; euler: one look at the network, heun: two")
    optimizer: Optimizer
    ema_images: int = Field(20_000, ge=1, description="half-life of the averaged weights, in images seen")
    batch_size: int = Field(64, ge=1, le=65536, description="images in one step")

    @model_validator(mode="after")
    def _known_choices(self) -> FlowRecipe:
        self.choices()
        return self

    def choices(self) -> flow.Options:
        """The choices under `options`. Raises RecipeError for unknown ones."""
        return checked(flow.Options, self.options, self.model)

    def decided(self, channels: int) -> dict[str, Any]:
        """As of any recipe; the options of the network too."""
        return {**super().decided(channels), "options": self.choices().model_dump(mode="json")}

    def batch(self, classes: int) -> int:
        """Images in one step on a pack of so many classes."""
        return self.batch_size


def matching(velocity: flow.Velocity, image: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Squared error of the velocity on the straight way from noise to image, the mean over pixels: float `[n]`.

    Lipman et al. 2023, eq. 23, with sigma_min 0: at time t the point is (1 - t) noise + t image, and its velocity is
    image - noise. Images and noise float `[n, c, h, w]`, t `[n]` in [0, 1].

    >>> image, noise = torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)
    >>> matching(lambda points, times: points / times.view(-1, 1, 1, 1), image, noise, torch.tensor([0.5])).item()
    0.0
    """
    share = t.view(-1, 1, 1, 1)
    found = velocity((1 - share) * noise + share * image, t)
    return (found - (image - noise)).square().flatten(1).mean(1)


@dataclass
class Flow:
    """The network, its average, its optimiser, and how far they have come."""

    recipe: FlowRecipe
    seed: int
    device: torch.device
    bf16: bool
    generator: flow.FlowGenerator
    ema: flow.FlowGenerator
    optimizer: torch.optim.Optimizer
    images_seen: int = 0
    iterations: int = 0
    pending: dict[str, tuple[float, int]] = field(default_factory=dict)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint holds, by name."""
        return {"generator": self.generator, "ema": self.ema}


def _built(recipe: FlowRecipe, shape: ImageShape, classes: int) -> flow.FlowGenerator:
    drawn = {"steps": recipe.steps, "solver": recipe.solver, "guidance": recipe.guidance}
    return flow.build(recipe.choices(), shape, classes, **drawn)  # type: ignore[arg-type]


def new_flow(facts: RunFacts) -> Flow:
    """A freshly initialised network for a run; the same facts give the same weights."""
    recipe = facts.recipe
    assert isinstance(recipe, FlowRecipe)
    seeds.seed_layers(facts.seed, "initial weights")
    generator = _built(recipe, _shape(facts), len(facts.pack.classes)).to(facts.device)
    return Flow(
        recipe=recipe,
        seed=facts.seed,
        device=torch.device(facts.device),
        bf16=facts.precision == "bf16",
        generator=generator,
        ema=copy.deepcopy(generator).requires_grad_(False).eval(),
        optimizer=make_optimizer(recipe.optimizer, generator),
    )


def iterate(state: Flow, pixels: Tensor, labels: Tensor) -> float:
    """One step on pixels uint8 `[n, c, h, w]` and labels int64 `[n]`; gives the mean loss.

    Raises TrainingError where it is not finite.
    """
    recipe, first, n = state.recipe, state.images_seen, len(labels)
    image, labels = images.to_images(pixels.to(state.device)), labels.to(state.device)
    draws = torch.rand(3, n, generator=seeds.generator(state.seed, "times, labels, movements", first))
    t, dropped, moves = draws.to(state.device)
    moved = (moves < 0.5) & (recipe.augment == "affine")
    if recipe.augment == "affine":
        there = affine(image, seeds.generator(state.seed, "augment", first), CLASSIC, flips=recipe.flips)
        image = torch.where(moved[:, None, None, None], there, image)
    labels = torch.where(dropped < recipe.label_dropout, state.generator.no_label, labels)
    noise = torch.randn(image.shape, generator=seeds.generator(state.seed, "noise", first)).to(state.device)

    def velocity(points: Tensor, times: Tensor) -> Tensor:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=state.bf16):
            found: Tensor = state.generator.velocity(points, times, labels, moved)
        return found

    loss = matching(velocity, image, noise, t).mean()
    if not torch.isfinite(loss):
        raise TrainingError(
            f"loss is {loss.item()} at {first} images seen (iteration {state.iterations})",
            "finite numbers",
            "lower the learning rate (--set optimizer.lr=...) in a new run; the last checkpoint is from before",
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    update(state.optimizer, recipe.optimizer, state.iterations)
    state.images_seen += n
    state.iterations += 1
    move_average(state.ema, state.generator, recipe.ema_images, state.images_seen, n)
    return loss.detach().item()


def settle(pack: Pack, wanted: FlowRecipe, asked: Asked) -> RunFacts:
    """The facts of a run before it begins. Raises RecipeError or PackError where something does not fit."""
    wanted.check_fits(pack.channels, pack.size)
    labelled = sum(map(len, members(pack)))
    device = usable_device(asked.device)
    precision = native_precision(device) if wanted.precision == "auto" else wanted.precision
    return settled(RunFacts, pack, wanted, labelled, asked, device=device, precision=precision)


def prepare(pack: Pack, facts: RunFacts, ranks: Ranks, begins: bool) -> Callable[[Run], None]:
    """The function that trains into a run folder. Raises RunError for several processes."""
    ranks.check_alone(f"recipe {facts.recipe.name}")
    state = new_flow(facts)
    set_tf32(state.recipe.tf32)
    return lambda run: train_flow(state, pack, run)


def load(run: Run, checkpoint: Path, device: str) -> Minter:
    """What is minted from: the averaged weights of a checkpoint."""
    recipe = run.recipe
    assert isinstance(recipe, FlowRecipe)
    generator = _built(recipe, _shape(run.facts), len(run.facts.pack.classes))
    load_weights(generator, "ema", read_tensors(checkpoint, "weights", run.state(checkpoint).weights), checkpoint)
    generator.to(torch.device(device)).requires_grad_(False).eval()
    return _minter(generator, device)


def _minter(generator: flow.FlowGenerator, device: torch.device | str) -> NetworkMinter:
    return NetworkMinter(generator, math.prod(generator.shape), "normal", device)


def _shape(facts: RunFacts) -> ImageShape:
    return ImageShape(facts.pack.channels, *facts.pack.size)


def train_flow(state: Flow, pack: Pack, run: Run) -> None:
    """Go on from the newest checkpoint to the end. Ctrl-C and SIGTERM write a checkpoint first.

    Raises TrainingError where the loss is not finite.
    """
    go_back(run, state, state.recipe.keep, lambda checkpoint: _load(state, checkpoint))
    recipe, target, minter = state.recipe, run.target, _minter(state.ema, state.device)
    usable = np.flatnonzero(np.asarray(pack.labels) >= 0)
    order, began, began_at = Batches(len(usable), state.seed), time.monotonic(), state.images_seen
    if state.images_seen == 0 and target > 0:
        draw_samples(minter, run, 0)
    with progress(target, "train", done=state.images_seen) as advance, stop_softly() as stopping:
        while state.images_seen < target:
            before = state.images_seen
            picks = usable[order.take(before, recipe.batch_size)]
            pixels, labels = torch.from_numpy(pack.pixels[picks]), torch.from_numpy(np.asarray(pack.labels)[picks])
            loss = iterate(state, pixels, labels)
            total, count = state.pending.get("loss", (0.0, 0))
            state.pending["loss"] = (total + loss, count + 1)
            last, stop = state.images_seen >= target, bool(stopping)
            note = ""
            if last or passed(before, state.images_seen, recipe.log_every):
                mean = round((total + loss) / (count + 1), 6)
                append_line(run.path / "log.jsonl", {"images_seen": state.images_seen, "loss": mean})
                state.pending, note = {}, f"loss {mean:.3f}"
            if last or passed(before, state.images_seen, recipe.picture_every):
                draw_samples(minter, run, state.images_seen)
            if last or stop or passed(before, state.images_seen, recipe.checkpoint_every):
                flush_logs(run)
                write_checkpoint(run, state, state.modules, {OPTIMIZER: state.optimizer}, recipe.keep)
                clock = {"from": began_at, "to": state.images_seen, "seconds": round(time.monotonic() - began, 3)}
                append_line(run.path / "clock.jsonl", clock)
            advance(min(state.images_seen, target) - min(before, target), note=note)
            if stop:
                say(f"saved at {state.images_seen} of {target} images seen")
                raise KeyboardInterrupt


def _load(state: Flow, checkpoint: Path) -> None:
    """Bring `state` to that of a checkpoint. Raises RunError where the checkpoint is damaged."""
    saved = read_state(checkpoint)
    weights = read_tensors(checkpoint, "weights", saved.weights)
    for name, module in state.modules.items():
        load_weights(module, name, weights, checkpoint)
    tensors = read_tensors(checkpoint, "optimizers", saved.optimizers)
    load_optimizer(state.optimizer, state.recipe.optimizer, OPTIMIZER, tensors, checkpoint)
    state.images_seen, state.iterations, state.pending = saved.images_seen, saved.iterations, dict(saved.pending)


def _sketch(recipe: FlowRecipe, shape: ImageShape, classes: int) -> Sketch:
    return Sketch(_built(recipe, shape, classes), None, math.prod(shape))


METHOD = Method(
    models=(MODEL,),
    about=flow.ABOUT,
    recipe=FlowRecipe,
    settle=settle,
    prepare=prepare,
    load=load,
    sees_labels=lambda facts: True,
    sketch=_sketch,
    options=flow.Options,
)
