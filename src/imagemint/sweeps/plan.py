"""What a sweep is to train: a strict plan, and every trial that follows from it, resolved before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from imagemint.config import load_recipe, read_settings
from imagemint.errors import SweepError
from imagemint.metrics.measures import METRICS, Metric
from imagemint.recipe import AnyRecipe
from imagemint.settings import Strict, in_words
from imagemint.words import counted

MOST_TRIALS = 100_000
_Name = Annotated[str, StringConstraints(min_length=1, max_length=1000)]
_Seed = Annotated[int, Field(ge=0, lt=2**63)]
Settings = dict[str, Any]  # dotted keys of a recipe -> values


class Between(Strict):
    """Numbers that a search may try; whole numbers where both ends are whole."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="try the logarithm evenly: for learning rates")

    @model_validator(mode="after")
    def _low_first(self) -> Between:
        if not self.low < self.high:
            raise ValueError(f"low below high; not low {self.low} and high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low above 0 where log is true; not {self.low}")
        return self


class Search(Strict):
    """A search in place of a grid: each combination of a pack, a recipe and a variant is searched on its own."""

    trials: int = Field(ge=1, le=MOST_TRIALS, description="settings to try, each with every seed")
    space: dict[_Name, Between | tuple[Any, ...]] = Field(
        min_length=1, description="dotted keys of the recipes -> low and high, or the values to choose from"
    )
    sampler: Literal["tpe", "random"] = Field("tpe", description="Optuna's sampler; tpe: Bergstra et al. 2011")
    together: int = Field(
        4, ge=1, le=1000, description="settings proposed at a time; the next ones know the results of these"
    )
    seed: _Seed = Field(0, description="seed of the proposals")


class SweepPlan(Strict):
    """Everything that a person chooses about a sweep, beside its folder."""

    about: str = Field("", description="what the plan is for")
    packs: tuple[_Name, ...] = Field(min_length=1, description="packs to learn from; never a test pack")
    recipes: tuple[_Name, ...] = Field(min_length=1, description="names from imagemint recipes, or YAML files")
    variants: dict[_Name, Settings] = Field({}, description="named settings that belong together, each one a trial")
    grid: dict[_Name, tuple[Any, ...]] = Field(
        {}, description="dotted keys of the recipes -> values; keys joined by commas get the same value"
    )
    search: Search | None = Field(None, description="a search in place of a grid (extra cluster)")
    seeds: tuple[_Seed, ...] = Field((0,), min_length=1, description="every trial is trained with each seed")
    images: int | None = Field(None, gt=0, description="images that each training sees, instead of the recipe's")
    epochs: float | None = Field(None, gt=0, description="passes over the pack, instead of the recipe's")
    choose: str = Field("fd", description=f"what the winner is chosen by: {', '.join(METRICS)}")
    features: Literal["lenet", "pixels"] = Field("lenet", description="what distances are measured in")
    mint: int = Field(100, ge=1, le=10**7, description="images to mint per class, to measure")
    held_out: float = Field(0.2, gt=0, le=0.5, description="share of each pack that is held out to measure against")
    judge_images: int = Field(40_000, ge=1, le=10**9, description="images that the judge sees, at least")
    seed: _Seed = Field(0, description="seed of what is held out, and of the judge")
    cpus: float = Field(1, gt=0, le=1024, description="processors per trial on a cluster")
    gpus: float = Field(0, ge=0, le=64, description="GPUs per trial on a cluster; 0.5: two trials share one")

    @field_validator("packs", "recipes", "seeds")
    @classmethod
    def _each_once(cls, given: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(set(given)) < len(given):
            raise ValueError("each one once")
        return given

    @field_validator("choose")
    @classmethod
    def _known_measure(cls, name: str) -> str:
        for short, metric in METRICS.items():
            if name == short or (metric.on_features and name in (f"{short}_lenet", f"{short}_pixels")):
                return name
        raise ValueError(f"one of {', '.join(METRICS)}")

    @field_validator("grid")
    @classmethod
    def _values_to_try(cls, grid: dict[str, tuple[Any, ...]]) -> dict[str, tuple[Any, ...]]:
        for key, values in grid.items():
            if not values:
                raise ValueError(f"at least one value of {key}")
        return grid

    @model_validator(mode="after")
    def _parts_go_together(self) -> SweepPlan:
        if self.search and self.grid:
            raise ValueError("either grid or search, not both")
        if self.images is not None and self.epochs is not None:
            raise ValueError("either images or epochs, not both")
        names = [pack_name(path) for path in self.packs]
        if len(set(names)) < len(names):
            raise ValueError("packs whose folders have different names")
        given = self.choose.rpartition("_")[2]
        if self.metric.on_features and self.choose not in METRICS and given != self.features:
            raise ValueError(f"choose {self.choose} goes with features: {given}")
        return self

    @property
    def metric(self) -> Metric:
        """The row of METRICS that chooses."""
        return METRICS[self.choose] if self.choose in METRICS else METRICS[self.choose.partition("_")[0]]

    @property
    def measure(self) -> str:
        """The name of the chosen measure among the results: "fd_lenet"."""
        short = next(name for name, metric in METRICS.items() if metric is self.metric)
        return f"{short}_{self.features}" if self.metric.on_features else short


@dataclass(frozen=True)
class Cell:
    """What trials share that differ in nothing but the seed."""

    pack: str  # the pack's name, of SweepPlan.packs
    recipe: str  # as SweepPlan.recipes names it
    variant: str  # of SweepPlan.variants; "" where there are none
    settings: Settings  # of the grid or search

    @property
    def words(self) -> str:
        """What differs, in a line: "mnist, cdcgan, batch_size 64"."""
        settings = [f"{key} {_plain(value)}" for key, value in self.settings.items()]
        return ", ".join([self.pack, Path(self.recipe).stem, *filter(None, [self.variant]), *settings])


@dataclass(frozen=True)
class Trial:
    """One training of a sweep."""

    number: int  # from 1, in the order of the plan
    cell: Cell
    seed: int
    recipe: AnyRecipe  # resolved; `--scale` is not in it

    @property
    def name(self) -> str:
        """The name of its folder in DIR/runs."""
        return f"{self.number:05d}-{Path(self.cell.recipe).stem[:60]}-seed{self.seed}"


def pack_name(path: str) -> str:
    """How a sweep calls a pack: its folder without the ending.

    >>> pack_name("data/mnist-10k.pack")
    'mnist-10k'
    """
    return Path(path).name.removesuffix(".pack") or "pack"


def read_sweep(path: Path | str) -> SweepPlan:
    """The plan in a YAML file. Raises SweepError; RecipeError for a recipe, key or value that is unknown."""
    tree, where = read_settings(Path(path), "plan")
    return make_sweep(tree, where)


def make_sweep(tree: Mapping[str, Any], where: str = "the plan") -> SweepPlan:
    """A plan of plain values, all its trials checked. Raises SweepError or RecipeError.

    >>> plan = make_sweep({"packs": ["digits.pack"], "recipes": ["ppca"], "grid": {"components": [2, 8]}})
    >>> [trial.cell.words for trial in trials_of(plan)]
    ['digits, ppca, components 2', 'digits, ppca, components 8']
    """
    try:
        plan = SweepPlan.model_validate(dict(tree))
    except ValidationError as error:
        words = in_words(error, where, SweepPlan)
        found = words.found.replace("the recipe = {...} in ", "", 1)
        raise SweepError(found, words.wanted, words.remedy) from None
    for cell in _corners(plan):
        resolved(plan, cell)
    return plan


def base_cells(plan: SweepPlan) -> list[Cell]:
    """Packs x recipes x variants."""
    combinations = itertools.product(plan.packs, plan.recipes, plan.variants or [""])
    return [Cell(pack_name(pack), recipe, variant, {}) for pack, recipe, variant in combinations]


def grid_cells(plan: SweepPlan) -> Iterator[Cell]:
    """The cells of a plan without a search, in the order of the plan: the last key of the grid turns fastest."""
    for base in base_cells(plan):
        for values in itertools.product(*plan.grid.values()):
            yield Cell(base.pack, base.recipe, base.variant, dict(zip(plan.grid, values, strict=True)))


def trials_of(plan: SweepPlan, cells: Iterator[Cell] | list[Cell] | None = None, first: int = 1) -> list[Trial]:
    """A trial for each cell (default: those of the grid) and seed, numbered from `first`."""
    found = grid_cells(plan) if cells is None else cells
    pairs = itertools.product(found, plan.seeds)
    return [Trial(n, cell, seed, resolved(plan, cell)) for n, (cell, seed) in enumerate(pairs, first)]


def count_trials(plan: SweepPlan) -> int:
    """Trials of a plan, without making them."""
    cells = len(plan.packs) * len(plan.recipes) * max(len(plan.variants), 1)
    for values in plan.grid.values():
        cells *= len(values)
    return cells * (plan.search.trials if plan.search else 1) * len(plan.seeds)


def resolved(plan: SweepPlan, cell: Cell) -> AnyRecipe:
    """The recipe of a cell. Raises RecipeError for a key or value that the recipe does not know."""
    return load_recipe(cell.recipe, _overrides(plan, cell))


def _overrides(plan: SweepPlan, cell: Cell) -> Settings:
    """Dotted keys -> values: the plan's duration, then those of the variant, then those of the grid or search."""
    fields = type(load_recipe(cell.recipe)).model_fields
    found: Settings = {
        key: value
        for key, value in (("images", plan.images), ("epochs", plan.epochs))
        if value is not None and key in fields  # a baseline sees every image once
    }
    for settings in (plan.variants.get(cell.variant, {}), cell.settings):
        for keys, value in settings.items():
            found |= dict.fromkeys((key.strip() for key in keys.split(",")), value)
    return found


def _corners(plan: SweepPlan) -> Iterator[Cell]:
    """Every cell of a grid; of a search those at the ends of its numbers, and each of its values."""
    count = count_trials(plan)
    if count > MOST_TRIALS:
        wanted = f"at most {MOST_TRIALS:,}"
        raise SweepError(
            f"a plan of {counted(count, 'trial')}", wanted, "leave out values, or search in place of a grid"
        )
    if plan.search is None:
        yield from grid_cells(plan)
        return
    choices = {
        key: (values.low, values.high) if isinstance(values, Between) else values
        for key, values in plan.search.space.items()
    }
    for key, values in choices.items():
        if not values:
            raise SweepError(f"no value of {key} in search.space", "low and high, or a list of values", "add one")
        for value in values:
            if value is not None and not isinstance(value, (bool, int, float, str)):
                remedy = "name settings under variants for more than that"
                raise SweepError(f"{key} = {value} in search.space", "numbers, texts, true, false or null", remedy)
    for base in base_cells(plan):
        for number in range(max(map(len, choices.values()))):
            settings = {key: values[min(number, len(values) - 1)] for key, values in choices.items()}
            yield Cell(base.pack, base.recipe, base.variant, settings)


def _plain(value: Any) -> str:
    return "[" + ", ".join(map(_plain, value)) + "]" if isinstance(value, (list, tuple)) else str(value)
