"""Fields of a strict model as fields of a form: a new field of a recipe or a study appears on the page by itself."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel

from imagemint.models import family
from imagemint.recipe import DESCRIBES, AnyRecipe
from imagemint.settings import OneOf
from imagemint.studies.plan import StudyPlan

_NOT_CHOSEN = DESCRIBES | {"version", "name", "model", "smallest", "largest"}  # what a recipe is, rather than says


@dataclass(frozen=True)
class Field:
    """One field of a form. `value` and `choices` are texts; an empty text is no value."""

    key: str  # dotted, as `--set` names it
    help: str
    value: str
    choices: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """As people read it."""
        return self.key.replace("_", " ").replace(".", ": ")


def recipe_fields(recipe: AnyRecipe) -> list[Field]:
    """Every choice of a recipe, with the value that the recipe makes.

    >>> from imagemint.config import load_recipe
    >>> next(each for each in recipe_fields(load_recipe("demo")) if each.key == "batch_size").value
    '64'
    """
    values = recipe.model_dump(mode="json")
    found = [each for each in _fields(type(recipe), values) if each.key not in _NOT_CHOSEN]
    if "options" in type(recipe).model_fields:
        found += _fields(family(recipe.model).options, values["options"], "options.")
    return found


def study_fields() -> list[Field]:
    """Every choice of a study beside its recipe, with the default."""
    plan = StudyPlan.model_fields
    values = {name: each.get_default(call_default_factory=True) for name, each in plan.items() if name != "recipe"}
    return [each for each in _fields(StudyPlan, values) if each.key != "recipe"]


def changed(fields: Sequence[Field], given: Mapping[str, Any]) -> dict[str, str]:
    """Of what a person filled in, what differs from the form's own values, by key."""
    own = {each.key: each.value for each in fields}
    texts = {key: "" if value is None else str(value).strip() for key, value in given.items()}
    return {key: text for key, text in texts.items() if text != own.get(key)}


def _fields(model: type[BaseModel], values: Mapping[str, Any], prefix: str = "") -> Iterator[Field]:
    for name, field in model.model_fields.items():
        types = [field.annotation, *get_args(field.annotation)]
        inner = [each for each in types if inspect.isclass(each) and issubclass(each, BaseModel)]
        value = values.get(name, field.default)
        if inner:
            yield from _fields(inner[0], value if isinstance(value, dict) else {}, f"{prefix}{name}.")
            continue
        if name == "options":  # its fields depend on the family of networks
            continue
        yield Field(prefix + name, field.description or "", _text(value), tuple(_choices(types, field.metadata)))


def _choices(types: Sequence[Any], metadata: Sequence[Any]) -> list[str]:
    for each in metadata:
        if isinstance(each, OneOf):
            return list(each.table)
    none = [""] if NoneType in types else []
    if bool in types:
        return [*none, "true", "false"]
    for each in types:
        if get_origin(each) is Literal:
            return [*none, *(_text(value) for value in get_args(each))]
    literal = [each for each in types if isinstance(each, str)]  # of Literal itself get_args gives the values
    return literal if literal and len(literal) == len(types) - 1 else []


def _text(value: Any) -> str:
    """A value as one writes it after `--set key=`."""
    if value is None or not isinstance(value, (str, int, float, bool, list, tuple, dict)):
        return ""
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    if isinstance(value, str):
        return value
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return yaml.safe_dump(value, default_flow_style=True, width=10**6).removesuffix("\n").removesuffix("\n...")
