"""What a study is to compute: strict, checked once, saved in the study's folder, and the source of every default.

The options of `imagemint study`, the defaults of `imagemint.study` and the command that the report prints are made
from the fields of `StudyPlan`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator

from imagemint import seeds
from imagemint.classifiers.plan import ClassifierPlan, Decay
from imagemint.errors import RecipeError, StudyError
from imagemint.recipe import AnyRecipe
from imagemint.settings import Strict, in_words
from imagemint.studies.arms import ARMS, FORMS, OTHERS, USUAL, VIEWS, find_arm, in_order, known, needs_recipe
from imagemint.studies.statistics import SCORES
from imagemint.words import counted, split_list

ALL = "all"  # the budget that takes every labelled image
_BUDGET = re.compile(r"[0-9]{1,9}|[0-9]{1,2}(\.[0-9]{1,3})?%|100%")
_SHARE = re.compile(r"0?\.[0-9]{1,6}")
MOST_REPEATS = 1000
# What may be chosen for a classifier: the values tried, as factors of what the plan says. Our choice.
CHOICES: dict[str, tuple[float, ...]] = {
    "learning-rate": (1.0, 1 / 3, 3.0),
    "length": (1.0, 0.5, 2.0),
    "augmentation": (1.0, 0.5, 1.6),
}
MOST_IMAGES = 10**9


class Extent(Strict):
    """How far a study goes. It may be widened later: what is there is kept, what is missing is computed."""

    budgets: tuple[str, ...] = Field(
        ("10", "50", ALL),
        description="Real images per class, with commas; 10%: a tenth of the images of each class; all: every "
        "labelled image.",
        json_schema_extra={"metavar": "N,N,..."},
    )
    repeats: int = Field(3, ge=1, le=MOST_REPEATS, description="Draws of the real images; 3 is little, 5 is good.")
    arms: tuple[str, ...] = Field(
        USUAL,
        description=f"What classifiers learn from: {', '.join([*ARMS, *FORMS.values()])}.",
        json_schema_extra={"metavar": "A,B,..."},
    )

    @field_validator("budgets", mode="before")
    @classmethod
    def _names_from_small_to_large(cls, given: Any) -> tuple[str, ...]:
        names = [str(each).strip() for each in _several(given)]
        for name in names:
            if name != ALL and not (_BUDGET.fullmatch(name) and float(name.rstrip("%")) > 0):
                raise ValueError(
                    f"images per class, shares or all, with commas, such as 10,50%,all; not {name[:40]!r}"
                )
        if not names:
            raise ValueError("at least one budget, such as 10,50,all")
        names = [ALL if name == "100%" else f"{float(name[:-1]):g}%" if "%" in name else name for name in names]
        shares = sorted({name for name in names if "%" in name}, key=lambda name: float(name[:-1]))
        numbers = sorted({int(name) for name in names if name != ALL and "%" not in name})
        return (*map(str, numbers), *shares, *([ALL] if ALL in names else []))

    @field_validator("arms", mode="before")
    @classmethod
    def _known_arms(cls, given: Any) -> tuple[str, ...]:
        names = [str(each).strip() for each in _several(given)]
        wanted = f"some of {', '.join([*ARMS, *FORMS.values()])}"
        for name in names:
            if not known(name):
                raise ValueError(f"{wanted}; not {name[:200]!r}")
        if not names:
            raise ValueError(wanted)
        return in_order(names)

    def widened(self, other: Extent) -> Extent:
        """Everything that either of the two asks for."""
        return Extent(
            budgets=(*self.budgets, *other.budgets),
            repeats=max(self.repeats, other.repeats),
            arms=(*self.arms, *other.arms),
        )


def _saved(recipe: Any) -> Any:
    """A recipe as study.json holds it, by this version or an earlier one."""
    if not isinstance(recipe, dict):
        return recipe
    from imagemint.config import saved_recipe  # reads the recipes of every method, and therefore loads torch

    try:
        return saved_recipe(recipe, "the study")
    except RecipeError as error:
        raise ValueError(f"{error.found}; wanted {error.wanted}") from None


class Settings(Strict):
    """What decides the rows of a study, beside its packs. All of it must be the same when a study goes on."""

    recipe: Annotated[SerializeAsAny[AnyRecipe] | None, BeforeValidator(_saved)] = Field(
        None, description="What mints; not needed where no arm learns from minted images."
    )
    epochs: float | None = Field(
        None, gt=0, description="Passes over the real images of a budget for each GAN, instead of the recipe's."
    )
    images: int | None = Field(None, gt=0, description="Images that each GAN sees, instead of the recipe's.")
    classifier_epochs: int = Field(
        20, ge=1, le=10**6, description="Passes over the real images for each classifier, at least."
    )
    classifier_images: int = Field(
        40_000, ge=1, le=MOST_IMAGES, description="Images that each classifier sees, at least."
    )
    classifier: str = Field("lenet", description=ClassifierPlan.model_fields["classifier"].description)
    classifier_learning_rate: float | None = Field(
        None, gt=0, le=10, description="Learning rate at the start; default: the classifier's own."
    )
    classifier_decay: Decay = Field(
        "even",
        description="How the learning rate falls: even (to a hundredth over the training), epoch (times 0.95 per "
        "epoch), constant, or cosine (half a cosine, to 0).",
    )
    classifier_batch_size: int = Field(64, ge=1, le=65_536, description="Images per step of a classifier.")
    classifier_precision: Literal["auto", "fp32", "bf16"] = Field(
        "auto",
        description="Arithmetic of their trainings: auto (bf16 where the processor multiplies it natively, fp32 "
        "elsewhere; a study that goes on keeps what it began with), fp32 or bf16.",
    )
    classifier_choose: tuple[str, ...] = Field(
        (),
        description=f"What is chosen for every arm on a quarter of the real images of its own training subset, with "
        f"commas: some of {', '.join(CHOICES)}. One after the other, three values each; default: nothing.",
        json_schema_extra={"metavar": "NAME,NAME,..."},
    )
    score: str | None = Field(
        None,
        description=f"What the verdict is given for: {', '.join(SCORES)}; default: accuracy, or balanced-accuracy "
        "where a class has at least twice as many images as another.",
    )
    rare: tuple[str, ...] = Field(
        (),
        description="Classes that arm minted-rare mints, with commas; default: those with fewer than half of the "
        "images of the largest.",
        json_schema_extra={"metavar": "NAME,NAME,..."},
    )
    class_shares: tuple[str, ...] = Field(
        (),
        description=f"Share of the real images of each class that arm class-shares keeps, in percent; {OTHERS} "
        "stands for every other class.",
        json_schema_extra={"metavar": "NAME=P,..."},
    )
    minted_per_class: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="Images to mint per class; default: as many as there are real ones."
    )
    real_share: float = Field(
        0.5, gt=0, lt=1, description="Share of real images in what an arm sees that mixes them with others, 0 to 1."
    )
    real_share_by_budget: tuple[str, ...] = Field(
        (),
        description="That share for some budgets, with commas; real-share holds for the others.",
        json_schema_extra={"metavar": "BUDGET=S,..."},
    )
    real_schedule: Literal["constant", "rising"] = Field(
        "constant",
        description="How that share goes over a training: constant, or rising in a straight line to 1, so that "
        "minted images come early and real ones late.",
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything random.")

    @field_validator("score")
    @classmethod
    def _known_score(cls, name: str | None) -> str | None:
        if name is not None and name not in SCORES:
            raise ValueError(f"one of {', '.join(SCORES)}")
        return name

    @field_validator("classifier_choose", mode="before")
    @classmethod
    def _known_choices(cls, given: Any) -> tuple[str, ...]:
        names = {str(each) for each in _several(given)}
        if unknown := sorted(names - set(CHOICES)):
            raise ValueError(f"some of {', '.join(CHOICES)}; not {unknown[0][:60]!r}")
        return tuple(name for name in CHOICES if name in names)

    @field_validator("rare", mode="before")
    @classmethod
    def _names(cls, given: Any) -> tuple[str, ...]:
        return tuple(dict.fromkeys(str(each) for each in _several(given)))

    @field_validator("class_shares", mode="before")
    @classmethod
    def _shares(cls, given: Any) -> tuple[str, ...]:
        found = {}
        for each in (
            [f"{name}={value}" for name, value in given.items()] if isinstance(given, dict) else _several(given)
        ):
            name, equals, share = str(each).rpartition("=")
            percent = re.fullmatch(r"([0-9]{1,3}(\.[0-9]{1,3})?)%?", share.strip())
            if not equals or not percent or not 0 < float(percent[1]) <= 100 or name.strip() in found:
                raise ValueError(f"NAME=P with P above 0 and at most 100, every name once; not {str(each)[:60]!r}")
            found[name.strip()] = float(percent[1])
        return tuple(f"{name}={share:g}" for name, share in found.items())

    @field_validator("real_share_by_budget", mode="before")
    @classmethod
    def _shares_by_budget(cls, given: Any) -> tuple[str, ...]:
        pairs = [f"{name}={value}" for name, value in given.items()] if isinstance(given, dict) else _several(given)
        found: dict[str, str] = {}
        for each in pairs:
            name, _, share = str(each).partition("=")
            name, share = name.strip(), share.strip()
            budget = name == ALL or _BUDGET.fullmatch(name)
            if not budget or not _SHARE.fullmatch(share) or not 0 < float(share) < 1 or name in found:
                raise ValueError(
                    "BUDGET=S with S above 0 and below 1, every budget once, such as 10=0.5,all=0.9; "
                    f"not {str(each)[:60]!r}"
                )
            found[name] = share
        return tuple(f"{name}={float(share):g}" for name, share in found.items())

    def real_share_at(self, budget: str) -> float:
        """The share of real images at a budget, 0 to 1."""
        own = dict(each.split("=") for each in self.real_share_by_budget)
        return float(own[budget]) if budget in own else self.real_share

    @property
    def shares(self) -> dict[str, float]:
        """`class_shares` by name, 0 to 1."""
        pairs = (each.rpartition("=") for each in self.class_shares)
        return {name: float(share) / 100 for name, _, share in pairs}

    @property
    def classifier_plan(self) -> ClassifierPlan:
        """How each classifier is trained."""
        return ClassifierPlan(
            classifier=self.classifier,
            learning_rate=self.classifier_learning_rate,
            decay=self.classifier_decay,
            batch_size=self.classifier_batch_size,
            precision="bf16" if self.classifier_precision == "bf16" else "fp32",
            epochs=self.classifier_epochs,
            at_least=self.classifier_images,
        )

    @property
    def duration(self) -> dict[str, float]:
        """`epochs` or `images`, where one of them replaces the recipe's."""
        given = {"epochs": self.epochs, "images": self.images}
        return {name: value for name, value in given.items() if value is not None}

    def seed_for(self, purpose: str, budget: str, repeat: int) -> int:
        """31 bits: short enough to be typed again."""
        return seeds.derive(self.seed, f"study {purpose} {budget}", repeat) >> 32


class StudyPlan(Settings, Extent):
    """Everything that a person chooses about a study, beside its packs and its folder."""

    def options(self) -> dict[str, Any]:
        """What differs from the defaults, by field; the recipe aside."""
        fields = type(self).model_fields
        values = {name: getattr(self, name) for name in fields if name != "recipe"}
        return {name: value for name, value in values.items() if value != fields[name].default}


SATURATION: dict[str, Any] = {"arms": ("real", "classic"), "budgets": ("10%", "20%", "50%", ALL)}
_PACKS = ("pack", "test", "recipe")  # what a plan file may say beside the fields of a plan


def read_plan(path: Path) -> dict[str, Any]:
    """What a YAML file says of a study: pack, test, recipe, saturation and fields of StudyPlan. Raises an error."""
    from imagemint.config import read_settings

    tree, where = read_settings(path, "plan")
    allowed = [*_PACKS, "saturation", *(name for name in StudyPlan.model_fields if name not in _PACKS)]
    unknown = [key for key in tree if key not in allowed]
    if unknown:
        raise StudyError(f"unknown key {unknown[0]} in {where}", f"one of {', '.join(allowed)}", "check the spelling")
    for key in ("pack", "test"):
        if not isinstance(tree.get(key), str):
            raise StudyError(f"{where} does not say {key}", f"{key}: the path of a pack", "add it")
    recipe = tree.get("recipe")
    if recipe is not None and not isinstance(recipe, str):
        raise StudyError(f"recipe = {str(recipe)[:60]} in {where}", "a name or the path of a YAML file", "change it")
    if not isinstance(tree.get("saturation", False), bool):
        raise StudyError(f"saturation = {str(tree['saturation'])[:60]} in {where}", "true or false", "change it")
    return tree


def make_plan(recipe: str | Path | AnyRecipe | None, *, saturation: bool = False, **options: Any) -> StudyPlan:
    """A plan from a recipe and whatever differs from the defaults. Raises StudyError or RecipeError.

    `saturation`: the question is whether more images of any kind could help; other defaults for arms and budgets.

    >>> make_plan(None, arms=["classic", "real"], budgets="20,5").budgets
    ('5', '20')
    """
    from imagemint.config import load_recipe

    options = {**SATURATION, **options} if saturation else options
    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    try:
        plan = StudyPlan(recipe=None if recipe is None else load_recipe(recipe), **given)
    except ValidationError as error:
        words = in_words(error, "the study", StudyPlan)
        raise StudyError(words.found, words.wanted, words.remedy) from None
    if plan.epochs is not None and plan.images is not None:
        raise StudyError(f"epochs {plan.epochs:g} and images {plan.images}", "one of the two", "leave one out")
    if "class-shares" in plan.arms and not plan.class_shares:
        raise StudyError("arm class-shares and no shares", "a share of each class", "say --class-shares NAME=P,...")
    if plan.classifier.startswith("linear:") and set(plan.classifier_choose) - {"augmentation"}:
        raise StudyError(
            f"classifier-choose {', '.join(plan.classifier_choose)} for a linear probe",
            "augmentation, which is all that a probe has to choose",
            "leave the others out",
        )
    unknown = [each for each in plan.real_share_by_budget if each.split("=")[0] not in plan.budgets]
    if unknown:
        raise StudyError(
            f"real-share-by-budget names budget {unknown[0].split('=')[0]}",
            f"one of {', '.join(plan.budgets)}",
            "check it, or add the budget",
        )
    views = [name for name in plan.arms if name in VIEWS]
    if plan.classifier.startswith("linear:") and (views or plan.real_schedule == "rising"):
        found = f"arm {views[0]}" if views else "real-schedule rising"
        raise StudyError(
            f"{found} for a linear probe, which sees all its images at once",
            "a network that learns in steps",
            "choose another classifier, or leave it out",
        )
    minting = [name for name in plan.arms if needs_recipe(find_arm(name))]
    if minting and plan.recipe is None:
        raise StudyError(
            f"arm {minting[0]} and no recipe",
            "a recipe to train a GAN with",
            "say --recipe NAME (see imagemint recipes), or leave out " + ", ".join(minting),
        )
    if plan.recipe is not None:
        load_recipe(plan.recipe, plan.duration)  # refused now, not when the first GAN is trained
    return plan


def budget_in_words(budget: str) -> str:
    """A budget as people say it.

    >>> budget_in_words("10"), budget_in_words("all")
    ('10 real images per class', 'all real images')
    """
    if "%" in budget:
        return f"{budget} of the real images of each class"
    return "all real images" if budget == ALL else f"{counted(int(budget), 'real image')} per class"


def images_of(budget: str, available: int) -> int:
    """How many of the images of a class a budget takes: all of them where it has too few, one at least.

    >>> images_of("10", 7), images_of("10%", 57), images_of("all", 57)
    (7, 6, 57)
    """
    if "%" in budget:
        return min(available, max(round(float(budget[:-1]) / 100 * available), 1))
    return available if budget == ALL else min(available, int(budget))


def _several(given: Any) -> Sequence[Any]:
    if isinstance(given, str):
        return split_list(given)
    if isinstance(given, Iterable):
        return list(given)
    raise ValueError("a list")
