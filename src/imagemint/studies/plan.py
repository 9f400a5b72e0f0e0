"""What a study is to compute: strict, checked once, saved in the study's folder, and the source of every default.

The options of `imagemint study`, the defaults of `imagemint.study` and the command that the report prints are made
from the fields of `StudyPlan`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field, SerializeAsAny, ValidationError, field_validator

from imagemint import seeds
from imagemint.classifiers.plan import ClassifierPlan, Decay
from imagemint.errors import RecipeError, StudyError
from imagemint.recipe import AnyRecipe
from imagemint.settings import Strict, in_words
from imagemint.studies.arms import ARMS, FAMILIES, USUAL, find_arm, in_order, known
from imagemint.words import split_list

ALL = "all"  # the budget that takes every labelled image
MOST_REPEATS = 1000
MOST_IMAGES = 10**9


class Extent(Strict):
    """How far a study goes. It may be widened later: what is there is kept, what is missing is computed."""

    budgets: tuple[str, ...] = Field(
        ("10", "50", ALL),
        description="Real images per class, with commas; all: every labelled image.",
        json_schema_extra={"metavar": "N,N,..."},
    )
    repeats: int = Field(3, ge=1, le=MOST_REPEATS, description="Draws of the real images; 3 is little, 5 is good.")
    arms: tuple[str, ...] = Field(
        USUAL,
        description=f"What classifiers learn from: {', '.join(ARMS)}, or pack:PATH (real images and those of any "
        "pack together).",
        json_schema_extra={"metavar": "A,B,..."},
    )

    @field_validator("budgets", mode="before")
    @classmethod
    def _names_from_small_to_large(cls, given: Any) -> tuple[str, ...]:
        names = [str(each).strip() for each in _several(given)]
        for name in names:
            if name != ALL and not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) > 0):
                raise ValueError(f"images per class or all, with commas, such as 10,50,all; not {name[:40]!r}")
        if not names:
            raise ValueError("at least one budget, such as 10,50,all")
        numbers = sorted({int(name) for name in names if name != ALL})
        return (*map(str, numbers), *([ALL] if ALL in names else []))

    @field_validator("arms", mode="before")
    @classmethod
    def _known_arms(cls, given: Any) -> tuple[str, ...]:
        names = [str(each).strip() for each in _several(given)]
        wanted = f"some of {', '.join([*ARMS, *(f'{family}:PATH' for family in FAMILIES)])}"
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
        "epoch) or constant.",
    )
    classifier_batch_size: int = Field(64, ge=1, le=65_536, description="Images per step of a classifier.")
    minted_per_class: int | None = Field(
        None, ge=1, le=MOST_IMAGES, description="Images to mint per class; default: as many as there are real ones."
    )
    real_share: float = Field(
        0.5, gt=0, lt=1, description="Share of real images in what an arm sees that mixes them with others, 0 to 1."
    )
    seed: int = Field(0, ge=0, lt=2**63, description="Seed of everything random.")

    @property
    def duration(self) -> dict[str, float]:
        """`epochs` or `images`, where one of them replaces the recipe's."""
        given = {"epochs": self.epochs, "images": self.images}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def classifier_plan(self) -> ClassifierPlan:
        """How every classifier of the study is trained."""
        return ClassifierPlan(
            classifier=self.classifier,
            learning_rate=self.classifier_learning_rate,
            decay=self.classifier_decay,
            batch_size=self.classifier_batch_size,
            epochs=self.classifier_epochs,
            at_least=self.classifier_images,
        )

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


def make_plan(recipe: str | Path | AnyRecipe | None, **options: Any) -> StudyPlan:
    """A plan from a recipe and whatever differs from the defaults. Raises StudyError or RecipeError.

    >>> make_plan(None, arms=["classic", "real"], budgets="20,5").budgets
    ('5', '20')
    """
    from imagemint.config import load_recipe

    given = {name: value.item() if isinstance(value, np.generic) else value for name, value in options.items()}
    try:
        plan = StudyPlan(recipe=None if recipe is None else load_recipe(recipe), **given)
    except ValidationError as error:
        words = in_words(error, "the study", StudyPlan)
        raise StudyError(words.found, words.wanted, words.remedy) from None
    if plan.epochs is not None and plan.images is not None:
        raise StudyError(f"epochs {plan.epochs:g} and images {plan.images}", "one of the two", "leave one out")
    minting = [name for name in plan.arms if find_arm(name).minted]
    if minting and plan.recipe is None:
        raise StudyError(
            f"arm {minting[0]} and no recipe",
            "a recipe to mint with",
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
    return "all real images" if budget == ALL else f"{budget} real images per class"


def _several(given: Any) -> Sequence[Any]:
    if isinstance(given, str):
        return split_list(given)
    if isinstance(given, Iterable):
        return list(given)
    raise ValueError("a list")
