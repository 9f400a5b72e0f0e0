"""Recipes: the strict, versioned configuration of one training, of a GAN or of a baseline.

A recipe holds choices only; size, channels and classes come from the pack. It is read from YAML, overridden by
`--set key=value`, checked once, and saved with the run. Durations are resolved here into images seen and nowhere
else.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from imagemint.errors import RecipeError


class Strict(BaseModel):
    """Unknown keys are refused, and so is what is not a finite number where one is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, about: ValidationInfo) -> Any:
        """Python takes true for 1; who writes `batch_size: true` means something else."""
        annotation = cls.model_fields[str(about.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("bool", "neither true nor false")
        return value


class Optimizer(Strict):
    """How one of the two networks is updated."""

    name: Literal["adam", "rmsprop", "sgd"] = Field(
        "adam", description="adam: Kingma & Ba 2015; rmsprop: Tieleman & Hinton 2012; sgd: no momentum"
    )
    lr: float = Field(gt=0, le=10, description="learning rate")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam only")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam; for RMSProp the smoothing constant")
    eps: float = Field(1e-8, gt=0, description="Adam and RMSProp: keeps the division finite")


class Penalty(Strict):
    """A gradient penalty on the discriminator."""

    name: Literal["r1r2", "gradient"] = Field(
        description="r1r2: |gradient|^2 / 2 at real and fake images (Huang et al. 2024); "
        "gradient: (|gradient| - 1)^2 between them (Gulrajani et al. 2017)"
    )
    weight: float = Field(gt=0, description="factor before it is added to D's loss")
    every: int = Field(1, ge=1, description="computed at every n-th D step, n times as strong")


class Shown(Strict):
    """Images that a recipe is typically trained on."""

    size: int = Field(ge=1, description="height and width in pixels")
    channels: Literal[1, 3] = Field(description="1 gray, 3 colour")
    classes: int = Field(ge=1)


class _Named(Strict):
    """What every recipe says of itself, of a GAN or of a baseline."""

    version: Literal[1] = 1
    name: str
    about: str = Field(description="one line for the list of recipes")
    source: str = Field(description="the paper or document that the choices come from")
    shown_at: Shown = Field(
        Shown(size=28, channels=1, classes=10), description="images that the list of recipes counts parameters for"
    )
    smallest: int = Field(8, ge=1, description="shortest side of images that the recipe is meant for")
    largest: int = Field(128, ge=1, description="longest side of images that the recipe is meant for")
    flips: bool = Field(False, description="a mirrored image keeps its class, so classic augmentation may flip")

    @model_validator(mode="after")
    def _smallest_first(self) -> _Named:
        if self.smallest > self.largest:
            raise ValueError(f"smallest {self.smallest} is larger than largest {self.largest}")
        return self

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


class Recipe(_Named):
    """Everything that a person chooses about the training of one GAN. Unknown keys are refused."""

    model: str = Field(description="a family of networks (imagemint.models.MODELS)")
    options: dict[str, Any] = Field({}, description="the family's own choices")
    parents: list[str] = Field([], description="mitlgan: run folders whose trained generators are joined, frozen")
    z_size: int = Field(100, ge=1, le=65536, description="numbers in z; mitlgan: the parents' sizes added up")
    noise: Literal["normal", "uniform"] = Field("normal", description="of z; normal: N(0, 1); uniform: U(-1, 1)")

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
    augment: Literal["none", "affine"] = Field(
        "none", description="the same random maps for real and fake images (Zhao et al. 2020)"
    )
    ema_images: int | None = Field(None, ge=1, description="half-life of the averaged generator, in images seen")

    batch_size: int = Field(64, ge=2, le=65536, description="images in one step")
    balanced: bool = Field(False, description="batch_size images of every class in each batch, class by class")
    labelled_share: float = Field(
        0.5, gt=0, lt=1, description="semi-supervised: share of a batch with labels, if the pack has images without"
    )
    epochs: float | None = Field(None, gt=0, description="passes over the pack; or say `images`")
    images: int | None = Field(None, gt=0, description="images seen; or say `epochs`")
    weights: Literal["last", "best"] = Field(
        "last", description="what is minted from; best: by a measure against images held out of the training pack"
    )
    held_out: float = Field(0.2, gt=0, le=0.5, description="share of each class that is held out for the choice")
    choose_every: int = Field(25_000, ge=1, description="images seen between looks at what the best weights are")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the hardware has it")
    tf32: bool = Field(True, description="CUDA: fp32 products with 10 bits of mantissa, several times faster")

    log_every: int = Field(1000, ge=1, description="images seen between lines of log.jsonl")
    watch_every: int = Field(5000, ge=1, description="images seen between looks at what goes wrong (watch.jsonl)")
    rollback: bool = Field(
        False, description="at the first NaN or infinity: back to the last checkpoint, a tenth of both learning rates"
    )
    picture_every: int = Field(25_000, ge=1, description="images seen between sample grids")
    checkpoint_every: int = Field(25_000, ge=1, description="images seen between checkpoints")
    keep: int = Field(2, ge=1, description="checkpoints that are kept")

    @model_validator(mode="after")
    def _one_duration(self) -> Recipe:
        if (self.epochs is None) == (self.images is None):
            raise ValueError("say either epochs or images, not both or neither")
        if self.label_smoothing and self.loss not in ("minimax", "non-saturating"):
            raise ValueError(f"label_smoothing goes with minimax and non-saturating, not with {self.loss}")
        return self

    def batch(self, classes: int) -> int:
        """Images in one discriminator step on a pack of so many classes."""
        return self.batch_size * (classes if self.balanced else 1)

    def target(self, pack_images: int) -> int:
        """Images seen at which the training ends."""
        return self.images if self.images is not None else math.ceil((self.epochs or 0) * pack_images)


class Baseline(_Named):
    """Everything that a person chooses about a baseline (imagemint.baselines). It is fitted, not trained."""

    model: Literal["pca", "ppca"] = Field(description="pca: reconstructs training images; ppca: samples new ones")
    components: int = Field(64, ge=1, le=65536, description="directions of each class; fewer where it has few images")
    pixel_noise: bool = Field(False, description="ppca: samples hold the variance that the components do not explain")
    smallest: int = Field(1, ge=1, description="shortest side of images that the recipe is meant for")

    @model_validator(mode="after")
    def _noise_only_where_it_is_part_of_the_model(self) -> Baseline:
        if self.model == "pca" and self.pixel_noise:
            raise ValueError("pixel_noise goes with ppca, not with pca")
        return self

    @property
    def noise(self) -> Literal["normal", "uniform"]:
        """How z is distributed. Uniform: it points at one of the training images."""
        return "uniform" if self.model == "pca" else "normal"

    def numbers(self, values: int) -> int:
        """Random numbers that an image of so many values is made from: the size of z."""
        return 1 if self.model == "pca" else self.components + (values if self.pixel_noise else 0)

    def target(self, pack_images: int) -> int:
        """Images seen at which the fit ends: each once."""
        return pack_images

    def check_fits(self, channels: int, size: tuple[int, int]) -> None:
        """Raise RecipeError unless the images have the right size and at least as many values as components."""
        super().check_fits(channels, size)
        values = channels * size[0] * size[1]
        if self.components > values:
            raise RecipeError(
                f"{self.components} components for images of {values} values",
                f"1 to {values} components",
                f"say --set components={values}, or fewer",
            )


BASELINES = ("pca", "ppca")


def _kind(tree: Any) -> str:
    model = tree.get("model") if isinstance(tree, dict) else getattr(tree, "model", None)
    return "baseline" if model in BASELINES else "gan"


# For fields that hold either: `model` says which, so that an error is about the right one.
AnyRecipe = Annotated[Annotated[Recipe, Tag("gan")] | Annotated[Baseline, Tag("baseline")], Discriminator(_kind)]


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("imagemint") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(
    name_or_path: str | Path | Recipe | Baseline, overrides: dict[str, Any] | None = None
) -> Recipe | Baseline:
    """A recipe by name or from a YAML file; `overrides` maps dotted keys ("optimizer_g.lr") to values.

    Raises RecipeError for unknown recipes, unknown keys and values out of range.
    """
    if isinstance(name_or_path, (Recipe, Baseline)):
        tree, where = name_or_path.model_dump(exclude_unset=True), f"recipe {name_or_path.name}"
    else:
        tree, where = _read(name_or_path)
    for key, value in (overrides or {}).items():
        _override(tree, key, value, where)
    kind = Baseline if _kind(tree) == "baseline" else Recipe
    for key in ("epochs", "images"):
        if kind is Baseline and key in tree:
            remedy = f"leave {key} out"
            raise RecipeError(f"{key} = {tree[key]} in {where}", "no duration: it sees every image once", remedy)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise in_words(error, where, kind) from None


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


def in_words(error: ValidationError, where: str, kind: type[BaseModel], prefix: str = "") -> RecipeError:
    """The first of pydantic's complaints in our words; `prefix` stands before the keys."""
    first = error.errors(include_url=False)[0]
    loc = first["loc"]
    key = prefix + ".".join(map(str, loc)) if loc else "the recipe"
    if first["type"] == "extra_forbidden":
        *parents, _ = loc
        inner = _settings_at(kind, parents) or kind
        known = f"one of {', '.join(inner.model_fields)}" if inner.model_fields else "no such setting"
        return RecipeError(f"unknown key {key} in {where}", known, "check the spelling")
    if first["type"] == "missing":
        return RecipeError(f"{where} does not say {key}", f"a value for {key}", "add it")
    problem = first["msg"].removeprefix("Value error, ")
    wanted = _accepted(kind, loc) or problem[0].lower() + problem[1:]
    return RecipeError(f"{key} = {_short(first['input'])} in {where}", wanted, f"change {key}")


def _accepted(kind: type[BaseModel], loc: Sequence[int | str]) -> str | None:
    """The values of a field that is a number, or settings inside settings; None for any other field."""
    *parents, last = loc or [""]
    inner = _settings_at(kind, parents)
    field = inner.model_fields.get(str(last)) if inner else None
    if field is None:
        return None
    if settings := _settings_at(kind, loc):
        return f"settings {', '.join(settings.model_fields)}"
    types = (field.annotation, *get_args(field.annotation))
    if int not in types and float not in types:
        return None
    words = ["a whole number" if int in types else "a number"]
    for bound in field.metadata:
        words += [f"{said} {getattr(bound, name):g}" for name, said in _BOUNDS.items() if hasattr(bound, name)]
    return ", ".join(words) + (" (or null)" if type(None) in types else "")


_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _settings_at(kind: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """The model that holds the settings at this place, or None where there are none."""
    for key in loc:
        field = kind.model_fields.get(str(key))
        types = (field.annotation, *get_args(field.annotation)) if field else ()
        models = [each for each in types if inspect.isclass(each) and issubclass(each, BaseModel)]
        if not models:
            return None
        kind = models[0]
    return kind


def _short(value: Any) -> str:
    text = str(value) if not isinstance(value, dict) else "{...}"
    return text if len(text) < 60 else text[:57] + "..."
