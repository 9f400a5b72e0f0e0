"""Everything that a training is at one moment, and its way to the disk and back.

Random state is not among it: noise, order, augmentation and dropout are addressed by images seen (imagemint.seeds).
"""

from __future__ import annotations

import copy
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from imagemint import baselines, files, seeds
from imagemint.config import Baseline, Optimizer, Recipe
from imagemint.errors import RecipeError, RunError
from imagemint.losses import LOSSES
from imagemint.models import JOINED, MODELS, ImageShape, build, join
from imagemint.models.mitlgan import Parent
from imagemint.runs import PackFacts, ParentFacts, Run, RunFacts, checkpoint_state
from imagemint.training.ranks import Ranks, normalise_globally


class Chosen(TypedDict):
    """The best weights so far: when they were taken, and their measure."""

    images_seen: int
    fd_lenet: float


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
    best: nn.Module | None = None  # a copy of the generator that training.choice fills
    chosen: dict[str, Chosen] = field(default_factory=dict)  # by class for a bank, else of "all"; empty: not yet
    ranks: Ranks = field(default_factory=Ranks)
    images_seen: int = 0
    iterations: int = 0
    pending: dict[str, float] = field(default_factory=dict)  # sums since the last line of the log
    slowed: bool = False  # rolled back after a number that was not finite, with lower rates since

    @contextmanager
    def autocast(self) -> Iterator[None]:
        """bf16 where the run says so; parameters and optimiser stay fp32."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16):
            yield

    @property
    def minting_generator(self) -> nn.Module:
        """The weights that are shown and minted from: the best where they are wanted and known, else the last."""
        return self.best if self.best is not None and self.chosen else self.last_generator

    @property
    def last_generator(self) -> nn.Module:
        """The newest weights: the average where there is one."""
        return self.ema if self.ema is not None else self.generator


def check_parts(recipe: Recipe) -> None:
    """Raise RecipeError unless the recipe's model and loss are known and go together."""
    models = [*MODELS, JOINED]
    for what, name, table in (("model", recipe.model, models), ("loss", recipe.loss, list(LOSSES))):
        if name not in table:
            raise RecipeError(f"{what} {name!r}", f"one of {', '.join(table)}", f"change {what} in the recipe")
    outputs, wanted = recipe.options.get("outputs", 1), LOSSES[recipe.loss].outputs
    if outputs != wanted:
        raise RecipeError(
            f"loss {recipe.loss} with options.outputs {outputs}",
            f"a discriminator of {wanted} outputs",
            "k+1 outputs go with loss semi-supervised, 1 with every other loss",
        )
    bank = recipe.model != JOINED and MODELS[recipe.model].bank
    if bank and not recipe.balanced:
        raise RecipeError(
            f"model {recipe.model} with balanced false",
            "balanced: true, so that the network of every class gets full batches",
            "add --set balanced=true; batch_size then counts the images of one class",
        )
    if bank and recipe.loss_g == "feature-matching":
        raise RecipeError(
            f"model {recipe.model} with loss_g feature-matching",
            "loss_g adversarial: features are matched by one discriminator, and here each class has its own",
            "leave loss_g out",
        )


def new_gan(facts: RunFacts, ranks: Ranks | None = None) -> Gan:
    """Freshly initialised networks for a run; the same facts give the same weights.

    Parents too are fresh: training.parents.load_parents or a checkpoint brings their weights.
    """
    recipe, ranks = facts.recipe, ranks or Ranks()
    assert isinstance(recipe, Recipe), recipe.model
    seeds.seed_layers(facts.seed, "initial weights")
    generator, discriminator = networks(recipe, facts.pack, facts.parents)
    device = torch.device(facts.device)
    generator, discriminator = generator.to(device), discriminator.to(device)
    ema = copy.deepcopy(generator).requires_grad_(False).eval() if recipe.ema_images else None
    best = copy.deepcopy(generator).requires_grad_(False).eval() if recipe.weights == "best" else None
    for network in (generator, discriminator):
        normalise_globally(network, ranks)
    return Gan(
        recipe=recipe,
        seed=facts.seed,
        device=device,
        bf16=facts.precision == "bf16",
        batch=recipe.batch(len(facts.pack.classes)),
        sees_labels=sees_labels(recipe, facts.parents),
        generator=generator,
        discriminator=discriminator,
        ema=ema,
        best=best,
        optimizer_g=_optimizer(recipe.optimizer_g, generator),
        optimizer_d=_optimizer(recipe.optimizer_d, discriminator),
        ranks=ranks,
    )


def networks(recipe: Recipe, pack: PackFacts, parents: Sequence[ParentFacts]) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator that fit a run, initialised from torch's global generator."""
    shape = ImageShape(pack.channels, *pack.size)
    if recipe.model != JOINED:
        return build(recipe.model, recipe.options, shape, len(pack.classes), recipe.z_size)
    joined = [
        Parent(networks(each.recipe, each.pack, each.parents)[0], each.recipe.z_size, each.recipe.noise)
        for each in parents
    ]
    return join(recipe.options, shape, joined)


def sees_labels(recipe: Recipe | Baseline, parents: Sequence[ParentFacts]) -> bool:
    """Whether the label changes what the generator makes; in a joined one it does where it does in a parent."""
    if isinstance(recipe, Baseline):
        return True
    if recipe.model == JOINED:
        return any(sees_labels(parent.recipe, parent.parents) for parent in parents)
    return MODELS[recipe.model].conditional


def _optimizer(choice: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if choice.name == "adam":
        betas = (choice.beta1, choice.beta2)
        return torch.optim.Adam(parameters, lr=choice.lr, betas=betas, eps=choice.eps, fused=True)
    if choice.name == "rmsprop":
        return torch.optim.RMSprop(parameters, lr=choice.lr, alpha=choice.beta2, eps=choice.eps)
    return torch.optim.SGD(parameters, lr=choice.lr)


def save_checkpoint(gan: Gan, run: Run) -> Path:
    """Write a checkpoint aside, rename it, then drop the oldest beyond `keep`."""
    dest = run.path / "checkpoints" / f"{gan.images_seen:012d}"
    if (dest / "state.json").is_file():
        return dest
    with files.whole_folder(dest) as folder:
        state = {
            "images_seen": gan.images_seen,
            "iterations": gan.iterations,
            "pending": gan.pending,
            **({"chosen": gan.chosen} if gan.chosen else {}),
            "weights": _write(folder / "weights.safetensors", _tensors(_modules(gan))),
            "optimizers": _write(folder / "optimizers.safetensors", _optimizer_tensors(gan)),
        }
        files.write_json(folder / "state.json", state)
    drop_old(run)
    return dest


def drop_old(run: Run) -> None:
    """Remove all checkpoints but the newest `recipe.keep`, and what is left of one whose removal was cut short."""
    assert isinstance(run.recipe, Recipe)
    kept = run.checkpoints()[-run.recipe.keep :]
    for folder in (run.path / "checkpoints").glob("[0-9]*"):
        if folder not in kept:
            shutil.rmtree(folder)


def save_fitted(generator: nn.Module, run: Run) -> Path:
    """Write the one checkpoint of a baseline."""
    dest = run.path / "checkpoints" / f"{run.target:012d}"
    with files.whole_folder(dest) as folder:
        weights = _write(folder / "weights.safetensors", _tensors({"generator": generator}))
        files.write_json(folder / "state.json", {"images_seen": run.target, "weights": weights})
    return dest


def load_checkpoint(gan: Gan, checkpoint: Path) -> None:
    """Bring `gan` to the state of a checkpoint. Raises RunError where the checkpoint is damaged."""
    state = checkpoint_state(checkpoint)
    weights = _read(checkpoint, "weights", state)
    gan.chosen = dict(state.get("chosen", {}))
    for name, module in _modules(gan).items():
        _load_module(module, name, weights, checkpoint)
    tensors = _read(checkpoint, "optimizers", state)
    _load_optimizer(gan.optimizer_g, gan.recipe.optimizer_g, "generator", tensors, checkpoint)
    _load_optimizer(gan.optimizer_d, gan.recipe.optimizer_d, "discriminator", tensors, checkpoint)
    gan.images_seen, gan.iterations = int(state["images_seen"]), int(state["iterations"])
    gan.pending = dict(state["pending"])


def load_generator(run: Run, checkpoint: Path, device: torch.device) -> nn.Module:
    """The generator to mint from, in evaluation mode: the best or averaged weights where the run keeps them."""
    recipe, pack, state = run.recipe, run.facts.pack, checkpoint_state(checkpoint)
    generator: nn.Module
    name = "generator"
    if isinstance(recipe, Baseline):
        shape = ImageShape(pack.channels, *pack.size)
        generator = baselines.unfitted(recipe, shape, len(pack.classes), pack.images)
    else:
        generator, _ = networks(recipe, pack, run.facts.parents)
        last = "ema" if recipe.ema_images else "generator"
        name = "best" if state.get("chosen") else last
    _load_module(generator, name, _read(checkpoint, "weights", state), checkpoint)
    return generator.to(device).requires_grad_(False).eval()


def _modules(gan: Gan) -> dict[str, nn.Module]:
    modules = {"generator": gan.generator, "discriminator": gan.discriminator}
    modules |= {} if gan.ema is None else {"ema": gan.ema}
    return modules | ({} if gan.best is None or not gan.chosen else {"best": gan.best})


def _tensors(modules: dict[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def _load_module(module: nn.Module, name: str, weights: dict[str, Tensor], checkpoint: Path) -> None:
    prefix = f"{name}."
    own = {key.removeprefix(prefix): tensor for key, tensor in weights.items() if key.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError:
        remedy = f"remove {checkpoint} or train into a new folder"
        raise RunError(f"{checkpoint} belongs to another network", "weights of this run's recipe", remedy) from None
    bad = next((key for key, tensor in own.items() if not torch.isfinite(tensor).all()), None)
    if bad is not None:
        remedy = f"remove {checkpoint}: the one before it is used then"
        raise RunError(f"{checkpoint} holds numbers that are not finite ({prefix}{bad})", "finite weights", remedy)


def _optimizer_tensors(gan: Gan) -> dict[str, Tensor]:
    """`generator.3.exp_avg` is what the optimiser remembers of the generator's parameter 3."""
    return {
        f"{name}.{index}.{key}": value.detach().cpu().contiguous()
        for name, optimizer in (("generator", gan.optimizer_g), ("discriminator", gan.optimizer_d))
        for index, memory in optimizer.state_dict()["state"].items()
        for key, value in memory.items()
        if isinstance(value, Tensor)
    }


# What each optimiser remembers of a parameter.
_REMEMBERED = {"adam": {"step", "exp_avg", "exp_avg_sq"}, "rmsprop": {"step", "square_avg"}, "sgd": set[str]()}


def _load_optimizer(
    optimizer: torch.optim.Optimizer, choice: Optimizer, name: str, tensors: dict[str, Tensor], checkpoint: Path
) -> None:
    memory: dict[int, dict[str, Any]] = {}
    for key, tensor in tensors.items():
        whose, index, what = key.split(".", 2)
        if whose == name:
            memory.setdefault(int(index), {})[what] = tensor
    if any(remembered.keys() != _REMEMBERED[choice.name] for remembered in memory.values()):
        remedy = f"remove {checkpoint} or train into a new folder"
        raise RunError(f"{checkpoint} belongs to another optimiser", f"one that {choice.name} wrote", remedy)
    optimizer.load_state_dict({"state": memory, "param_groups": optimizer.state_dict()["param_groups"]})


def _read(checkpoint: Path, name: str, state: dict[str, Any]) -> dict[str, Tensor]:
    file = checkpoint / f"{name}.safetensors"
    try:
        data = file.read_bytes()
        if hashlib.sha256(data).hexdigest() != state[name]:
            raise SafetensorError("its hash is not the one in state.json")
        return load(data)
    except (SafetensorError, FileNotFoundError, KeyError) as error:
        remedy = f"remove {checkpoint}: the one before it is used then"
        raise RunError(f"{file} is damaged ({error})", "a whole checkpoint", remedy) from None


def _write(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors and return their file's sha256. Through Python's own files: a full disk is an OSError there."""
    data = save(tensors)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
