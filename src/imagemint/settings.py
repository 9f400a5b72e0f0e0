"""Strict settings: unknown keys are refused, a default and its help stand in one place, errors come in words."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError, ValidationInfo, field_validator
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from imagemint.errors import RecipeError


class Strict(BaseModel):
    """Settings: unknown keys are refused, and so is whatever is not a finite number where one is wanted."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _true_is_no_number(cls, value: Any, about: ValidationInfo) -> Any:
        """Python takes true for 1; who writes `batch_size: true` means something else."""
        annotation = cls.model_fields[str(about.field_name)].annotation
        if isinstance(value, bool) and bool not in (annotation, *get_args(annotation)):
            raise PydanticCustomError("bool", "neither true nor false")
        return value


@dataclass(frozen=True)
class OneOf:
    """The text of a field is the name of a row of a table: `Annotated[str, OneOf(LOSSES)]`."""

    table: Mapping[str, Any]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """The field's own check, then this one."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, name: str) -> str:
        if name not in self.table:
            raise PydanticCustomError("one_of", "one of {names}", {"names": ", ".join(self.table)})
        return name


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings inside settings by their dotted keys, as `--set` names them: to say in what two of them differ."""
    found: dict[str, Any] = {}
    for key, value in tree.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


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
