"""Everything that a training is at one moment, and its way to the disk and back.

Random state is not among it: noise, order, augmentation and dropout are addressed by images seen (imagemint.seeds).
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from imagemint import files, seeds
from imagemint.checkpoints import (
    Choice,
    State,
    damaged,
    load_weights,
    read_state,
    read_tensors,
    tensors_of,
    write_state,
    write_tensors,
)
from imagemint.errors import RecipeError
from imagemint.minter import NetworkMinter
from imagemint.models import MODELS, ImageShape, build
from imagemint.runfolder import Run, RunFacts
from imagemint.training.compiled import Network, compiled, start_compiler
from imagemint.training.optimisers import OPTIMIZERS, make_optimizer
from imagemint.training.ranks import Ranks, normalise_globally
from imagemint.training.recipe import Optimizer, Recipe


class Part(NamedTuple):
    """A part of a generator whose best weights are chosen on their own."""

    name: str
    label: int | None  # of the class that it draws; None: it draws all of them
    network: nn.Module


@dataclass
class Gan:
    """Both networks, their optimisers, the averaged and the best generator, and how far they have come."""

    recipe: Recipe
    seed: int
    device: torch.device
    bf16: bool
    batch: int  # images in one discriminator step
    sees_labels: bool  # the generator does; otherwise images without a label are as good as any
    generator: nn.Module
    discriminator: nn.Module
    ema: nn.Module | None
    optimizer_g: torch.optim.Optimizer
    optimizer_d: torch.optim.Optimizer
    parts: Callable[[nn.Module], list[Part]]  # of its generator, or of a copy
    ema_d: nn.Module | None = None  # the averaged discriminator
    best: nn.Module | None = None  # a copy of the generator that training.choice fills
    chosen: dict[str, Choice] = field(default_factory=dict)  # by the names of `parts`; empty: not yet
    ranks: Ranks = field(default_factory=Ranks)
    images_seen: int = 0
    iterations: int = 0
    pending: dict[str, tuple[float, int]] = field(
        default_factory=dict
    )  # sum and count since the last line of the log
    balance: float = 0.0  # weight of samples in D's loss, where the loss moves one (BEGAN)
    unread: list[tuple[int, int, dict[str, Tensor]]] = field(
        default_factory=list
    )  # images seen, iterations, and the values of steps that are not among `pending` yet; none in a checkpoint
    slowed: bool = False  # rolled back after a number that was not finite, with lower rates since
    draw: Network = field(init=False)  # the generator, and the discriminator, as steps call them: compiled or not
    judge: Network = field(init=False)

    def __post_init__(self) -> None:
        self.draw, self.judge = self.generator, self.discriminator
        if self.recipe.compile:
            self.draw, self.judge = compiled(self.generator, "G"), compiled(self.discriminator, "D")

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """bf16 where the run says so; parameters and optimiser stay fp32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            yield

    def z(self, image_seeds: Sequence[int]) -> Tensor:
        """The noise of each image, float32 `[n, z_size]`, from its own seed."""
        return self.minter(self.generator).z(image_seeds)

    def minter(self, generator: nn.Module | None = None) -> NetworkMinter:
        """What is minted from: by default the best weights where they are wanted and known, else the last."""
        if generator is None:
            generator = self.best if self.best is not None and self.chosen else self.last_generator
        return NetworkMinter(generator, self.recipe.z_size, self.recipe.noise, self.device)

    @property
    def last_generator(self) -> nn.Module:
        """The newest weights: the average where there is one."""
        return self.ema if self.ema is not None else self.generator


@dataclass(frozen=True)
class Kind:
    """In what one method of training GANs differs from another."""

    networks: Callable[[RunFacts], tuple[nn.Module, nn.Module]]  # fresh generator and discriminator
    sees_labels: Callable[[RunFacts], bool]  # whether the label changes what the generator makes
    parts: Callable[[nn.Module, Sequence[str]], list[Part]]  # of a generator, with the names of the classes
    begin: Callable[[Gan, RunFacts], None]  # brings weights that a new run starts with


def _networks(facts: RunFacts) -> tuple[nn.Module, nn.Module]:
    recipe, pack = gan_recipe(facts), facts.pack
    return build(recipe.model, recipe.options, image_shape(facts), len(pack.classes), recipe.z_size)


ONE_GAN = Kind(
    networks=_networks,
    sees_labels=lambda facts: MODELS[facts.recipe.model].conditional,
    parts=lambda generator, classes: [Part("all", None, generator)],
    begin=lambda gan, facts: None,
)


def image_shape(facts: RunFacts) -> ImageShape:
    """The shape of the images that a run was trained on."""
    return ImageShape(facts.pack.channels, *facts.pack.size)


def gan_recipe(facts: RunFacts) -> Recipe:
    """The recipe of a run of GANs."""
    assert isinstance(facts.recipe, Recipe), facts.recipe.model
    return facts.recipe


def new_gan(facts: RunFacts, ranks: Ranks | None = None, kind: Kind = ONE_GAN) -> Gan:
    """Freshly initialised networks for a run; the same facts give the same weights.

    Weights that a run starts with (`Kind.begin`), or a checkpoint, come later.
    """
    recipe, ranks = gan_recipe(facts), ranks or Ranks()
    seeds.seed_layers(facts.seed, "initial weights")
    generator, discriminator = kind.networks(facts)
    if recipe.loss_g == "feature-matching" and not hasattr(discriminator, "features"):
        raise RecipeError(
            f"model {recipe.model} with loss_g feature-matching",
            "a model with one discriminator that gives its features",
            "leave loss_g out",
        )
    if recipe.consistency and ranks.world > 1:
        found = f"consistency in a training of {ranks.world} processes"
        raise RecipeError(found, "one process: views are drawn for a whole batch", "start it without torchrun")
    device = torch.device(facts.device)
    if recipe.compile:
        ranks.check_alone("compile: true")
        start_compiler(device)
    generator, discriminator = generator.to(device), discriminator.to(device)
    ema = _still(generator) if recipe.ema_images else None
    ema_d = _still(discriminator) if recipe.ema_d else None
    best = _still(generator) if recipe.weights == "best" else None
    for network in (generator, discriminator):
        normalise_globally(network, ranks)
    return Gan(
        recipe=recipe,
        seed=facts.seed,
        device=device,
        bf16=facts.precision == "bf16",
        batch=recipe.batch(len(facts.pack.classes)),
        sees_labels=kind.sees_labels(facts),
        generator=generator,
        discriminator=discriminator,
        ema=ema,
        ema_d=ema_d,
        best=best,
        optimizer_g=make_optimizer(recipe.optimizer_g, generator),
        optimizer_d=make_optimizer(recipe.optimizer_d, discriminator),
        parts=lambda network: kind.parts(network, facts.pack.classes),
        ranks=ranks,
    )


def _still(network: nn.Module) -> nn.Module:
    """A copy that is not trained."""
    return copy.deepcopy(network).requires_grad_(False).eval()


def save_checkpoint(gan: Gan, run: Run) -> Path:
    """Write a checkpoint aside, rename it, then drop the oldest beyond `keep`."""
    extra = {name: value for name, value in (("chosen", gan.chosen), ("balance", gan.balance)) if value}
    optimizers = {"generator": gan.optimizer_g, "discriminator": gan.optimizer_d}
    return write_checkpoint(run, gan, _modules(gan), optimizers, gan.recipe.keep, extra)


class Progressed(Protocol):
    """A training of any kind: how far it has come."""

    images_seen: int
    iterations: int
    pending: dict[str, tuple[float, int]]


def write_checkpoint(
    run: Run,
    at: Progressed,
    modules: Mapping[str, nn.Module],
    optimizers: Mapping[str, torch.optim.Optimizer],
    keep: int,
    extra: Mapping[str, object] | None = None,
) -> Path:
    """The checkpoint of a training: modules and what optimisers remember, by name, and `extra` fields of the state.

    Written aside and renamed; then all but the newest `keep` go. Nothing is written where there is one already.
    """
    dest = run.path / "checkpoints" / f"{at.images_seen:012d}"
    if (dest / "state.json").is_file():
        return dest
    with files.whole_folder(dest) as folder:
        state = State(
            images_seen=at.images_seen,
            iterations=at.iterations,
            pending=at.pending,
            weights=write_tensors(folder / "weights.safetensors", tensors_of(dict(modules))),
            optimizers=write_tensors(folder / "optimizers.safetensors", _optimizer_tensors(optimizers)),
        )
        write_state(folder, state.model_copy(update=dict(extra or {})))
    drop_old(run, keep)
    return dest


def drop_old(run: Run, keep: int) -> None:
    """Remove all checkpoints but the newest `keep`, and what is left of one whose removal was cut short."""
    kept = run.checkpoints()[-keep:]
    for folder in (run.path / "checkpoints").glob("[0-9]*"):
        if folder not in kept:
            shutil.rmtree(folder)


def load_checkpoint(gan: Gan, checkpoint: Path) -> None:
    """Bring `gan` to the state of a checkpoint. Raises RunError where the checkpoint is damaged."""
    state = read_state(checkpoint)
    missing = {"iterations", "pending", "optimizers"} - state.model_fields_set
    if missing:
        raise damaged(checkpoint, f"{checkpoint / 'state.json'} does not say {', '.join(sorted(missing))}")
    weights = read_tensors(checkpoint, "weights", state.weights)
    gan.chosen = dict(state.chosen)
    for name, module in _modules(gan).items():
        load_weights(module, name, weights, checkpoint)
    tensors = read_tensors(checkpoint, "optimizers", state.optimizers)
    load_optimizer(gan.optimizer_g, gan.recipe.optimizer_g, "generator", tensors, checkpoint)
    load_optimizer(gan.optimizer_d, gan.recipe.optimizer_d, "discriminator", tensors, checkpoint)
    gan.images_seen, gan.iterations = state.images_seen, state.iterations
    gan.pending, gan.balance = dict(state.pending), state.balance


def saved_generator(run: Run, state: State) -> str:
    """The name, in a checkpoint, of the weights to mint from: the best or averaged ones where the run keeps them."""
    last = "ema" if gan_recipe(run.facts).ema_images else "generator"
    return "best" if state.chosen else last


def saved_discriminator(run: Run) -> str:
    """The name, in a checkpoint, of the discriminator to ask: the averaged one where the run keeps it."""
    return "ema_d" if gan_recipe(run.facts).ema_d else "discriminator"


def _modules(gan: Gan) -> dict[str, nn.Module]:
    modules = {"generator": gan.generator, "discriminator": gan.discriminator}
    modules |= {} if gan.ema is None else {"ema": gan.ema}
    modules |= {} if gan.ema_d is None else {"ema_d": gan.ema_d}
    return modules | ({} if gan.best is None or not gan.chosen else {"best": gan.best})


def _optimizer_tensors(optimizers: Mapping[str, torch.optim.Optimizer]) -> dict[str, Tensor]:
    """`generator.3.exp_avg` is what the optimiser remembers of the generator's parameter 3."""
    return {
        f"{name}.{index}.{key}": value.detach().cpu().contiguous()
        for name, optimizer in optimizers.items()
        for index, memory in optimizer.state_dict()["state"].items()
        for key, value in memory.items()
        if isinstance(value, Tensor)
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, choice: Optimizer, name: str, tensors: dict[str, Tensor], checkpoint: Path
) -> None:
    """Bring back what an optimiser remembers. Raises RunError unless the tensors are those of its parameters."""
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    memory: dict[int, dict[str, Tensor]] = {}
    remembers = OPTIMIZERS[choice.name].remembers
    for key, tensor in tensors.items():
        whose, _, rest = key.partition(".")
        index, _, what = rest.partition(".")
        if whose not in ("generator", "discriminator") or not index.isdigit():
            raise damaged(checkpoint, f"{checkpoint / 'optimizers.safetensors'} holds a tensor {key!r}")
        if whose == name:
            memory.setdefault(int(index), {})[what] = tensor
    for place, remembered in memory.items():
        fits = place < len(parameters) and remembered.keys() == remembers
        if not fits or any(t.dim() and t.shape != parameters[place].shape for t in remembered.values()):
            raise damaged(checkpoint, f"{checkpoint} belongs to another optimiser than {choice.name} of this network")
    optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})
