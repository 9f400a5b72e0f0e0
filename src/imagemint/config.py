"""Recipes: the strict, versioned configuration of one training.

A recipe holds choices only; size, channels and classes come from the pack. It is read from YAML, overridden by
`--set key=value`, checked once, and saved with the run. Durations are resolved here into images seen and nowhere
else.
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from imagemint.errors import RecipeError


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Optimizer(_Strict):
    """How one of the two networks is updated."""

    name: Literal["adam", "rmsprop", "sgd"] = "adam"
    lr: float = Field(gt=0, le=10)
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam only")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam; for RMSProp the smoothing constant")
    eps: float = Field(1e-8, gt=0)


class Penalty(_Strict):
    """A gradient penalty on the discriminator."""

    name: Literal["r1r2", "gradient"] = Field(
        description="r1r2: |gradient|^2 / 2 at real and fake images; gradient: (|gradient| - 1)^2 between (WGAN-GP)"
    )
    weight: float = Field(gt=0)
    every: int = Field(1, ge=1, description="computed at every n-th D step, n times as strong")


class Recipe(_Strict):
    """Everything that a person chooses about one training. Unknown keys are refused."""

    version: Literal[1] = 1
    name: str
    about: str = Field(description="one line for the list of recipes")
    source: str = Field(description="the paper or document that the choices come from")

    model: str = Field(description="a family of networks (imagemint.models.MODELS)")
    options: dict[str, Any] = Field({}, description="the family's own choices")
    smallest: int = Field(8, ge=1, description="shortest side of images that the recipe is meant for")
    largest: int = Field(128, ge=1, description="longest side of images that the recipe is meant for")
    z_size: int = Field(100, ge=1, le=65536)
    noise: Literal["normal", "uniform"] = "normal"

    loss: str = Field("non-saturating", description="an adversarial loss (imagemint.losses.LOSSES)")
    loss_g: Literal["adversarial", "feature-matching"] = Field(
        "adversarial", description="feature-matching: G matches D's mean features of real images instead"
    )
    penalty: Penalty | None = None
    clip: float | None = Field(None, gt=0, description="D's weights are cut to +- this after each step (WGAN)")
    label_smoothing: float = Field(0.0, ge=0, lt=0.5, description="one-sided: real images are asked for 1 - this")
    d_steps: int = Field(1, ge=1, le=100, description="discriminator steps in one iteration, each on new images")
    g_steps: int = Field(1, ge=1, le=100, description="generator steps in one iteration")
    pretrain_images: int = Field(0, ge=0, description="images that D alone learns from before G begins")
    optimizer_g: Optimizer
    optimizer_d: Optimizer
    augment: Literal["none", "affine"] = Field("none", description="the same random maps for real and fake images")
    ema_images: int | None = Field(None, ge=1, description="half-life of the averaged generator, in images seen")

    batch_size: int = Field(64, ge=2, le=65536)
    balanced: bool = Field(False, description="batch_size images of every class in each batch, class by class")
    labelled_share: float = Field(
        0.5, gt=0, lt=1, description="semi-supervised: share of a batch with labels, if the pack has images without"
    )
    epochs: float | None = Field(None, gt=0, description="passes over the pack; or say `images`")
    images: int | None = Field(None, gt=0, description="images seen; or say `epochs`")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the hardware has it")
    tf32: bool = Field(True, description="CUDA: fp32 products with 10 bits of mantissa, several times faster")

    flips: bool = Field(False, description="a mirrored image keeps its class, so classic augmentation may flip")
    log_every: int = Field(1000, ge=1, description="images seen between lines of log.jsonl")
    picture_every: int = Field(25_000, ge=1, description="images seen between sample grids")
    checkpoint_every: int = Field(25_000, ge=1, description="images seen between checkpoints")
    keep: int = Field(2, ge=1, description="checkpoints that are kept")

    @model_validator(mode="after")
    def _one_duration(self) -> Recipe:
        if (self.epochs is None) == (self.images is None):
            raise ValueError("say either epochs or images, not both or neither")
        if self.label_smoothing and self.loss not in ("minimax", "non-saturating"):
            raise ValueError(f"label_smoothing goes with minimax and non-saturating, not with {self.loss}")
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is larger than largest {self.largest}")
        return self

    def batch(self, classes: int) -> int:
        """Images in one discriminator step on a pack of so many classes."""
        return self.batch_size * (classes if self.balanced else 1)

    def target(self, pack_images: int) -> int:
        """Images seen at which the training ends."""
        return self.images if self.images is not None else math.ceil((self.epochs or 0) * pack_images)

    def check_fits(self, channels: int, size: tuple[int, int]) -> None:
        """Raise RecipeError unless images of this size are what the recipe is meant for."""
        h, w = size
        if min(h, w) < self.smallest or max(h, w) > self.largest:
            meant = f"{self.smallest} to {self.largest}"
            raise RecipeError(
                f"the pack holds {h}x{w} images and recipe {self.name} is for sides of {meant} pixels",
                f"a pack whose sides are {meant} pixels",
                f"pack the images again with --size {self.largest if max(h, w) > self.largest else self.smallest}, "
                "or choose another recipe (imagemint recipes)",
            )


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("imagemint") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path | Recipe, overrides: dict[str, Any] | None = None) -> Recipe:
    """A recipe by name or from a YAML file; `overrides` maps dotted keys ("optimizer_g.lr") to values.

    Raises RecipeError for unknown recipes, unknown keys and values out of range.
    """
    if isinstance(name_or_path, Recipe):
        tree, where = name_or_path.model_dump(), f"recipe {name_or_path.name}"
    else:
        tree, where = _read(name_or_path)
    for key, value in (overrides or {}).items():
        _override(tree, key, value, where)
    try:
        return Recipe.model_validate(tree)
    except ValidationError as error:
        raise _in_words(error, where) from None


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` of the command line; the value is read as YAML (numbers, true, null, lists)."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text}", "--set key=value", "write for example --set optimizer_g.lr=0.0001")
    try:
        return key, yaml.safe_load(value)
    except yaml.YAMLError:
        raise RecipeError(f"--set {text}", "a value that is YAML", "put quotes around it") from None


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings inside settings by their dotted keys, as `--set` names them: to say in what two of them differ."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def _read(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    text, path = str(name_or_path), Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if not path.is_file():
            raise RecipeError(f"no recipe file {path}", "a YAML file", "check the path")
        content, where = path.read_text(encoding="utf-8"), f"recipe file {path}"
    elif text in recipe_names():
        content = (resources.files("imagemint") / "recipes" / f"{text}.yaml").read_text(encoding="utf-8")
        where = f"recipe {text}"
    else:
        known = ", ".join(recipe_names())
        raise RecipeError(f"no recipe {text!r}", f"one of {known}, or a YAML file", "see imagemint recipes")
    try:
        tree = yaml.safe_load(content)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise RecipeError(f"{where} is not YAML (line {line})", "key: value lines", "mend the file") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{where} holds no settings", "key: value lines", "start from one of imagemint recipes")
    return tree, where


def _override(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    if key in ("epochs", "images"):  # the one duration replaces the other
        tree.pop("images" if key == "epochs" else "epochs", None)
    *parents, last = key.split(".")
    for parent in parents:
        inner = tree.get(parent)
        if inner is None:
            inner = tree[parent] = {}
        if not isinstance(inner, dict):
            raise RecipeError(f"{parent} of {where} has no parts", f"a key like {parent}", f"set {parent} itself")
        tree[parent] = tree = dict(inner)
    tree[last] = value


def _in_words(error: ValidationError, where: str) -> RecipeError:
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"])) or "the recipe"
    if first["type"] == "extra_forbidden":
        known = ", ".join(Recipe.model_fields)
        return RecipeError(f"unknown key {key} in {where}", f"one of {known}", "check the spelling")
    if first["type"] == "missing":
        return RecipeError(f"{where} does not say {key}", f"a value for {key}", "add it")
    problem = first["msg"].removeprefix("Value error, ")
    return RecipeError(
        f"{key} = {_short(first['input'])} in {where}", problem[0].lower() + problem[1:], f"change {key}"
    )


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, dict) else "{...}"
    return text if len(text) < 60 else text[:57] + "..."
