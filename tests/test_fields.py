"""Every field of every recipe, and every option of every model, with values that it must refuse."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import pytest
from pydantic import BaseModel

from imagemint.config import load_recipe
from imagemint.errors import RecipeError
from imagemint.methods.joined import JOINED
from imagemint.models import MODELS, checked, mitlgan
from imagemint.settings import OneOf

BOUNDS = {"ge": ("at least", -1), "gt": ("above", 0), "le": ("at most", 1), "lt": ("below", 0)}


class Case(NamedTuple):
    """A field, a value that it must refuse, and words that its refusal must hold."""

    key: str
    value: Any
    words: tuple[str, ...]


def cases(kind: type[BaseModel], prefix: str = "") -> Iterator[Case]:
    """Every field with values just out of range, of a wrong type, or that are not among its choices."""
    for name, field in kind.model_fields.items():
        key, parts = prefix + name, [field.annotation]
        if get_origin(field.annotation) is types.UnionType:
            parts = list(get_args(field.annotation))
        for part in parts:
            if inspect.isclass(part) and issubclass(part, BaseModel):
                yield from cases(part, f"{key}.")
                yield Case(key, 3, tuple(part.model_fields))
            elif get_origin(part) is Literal and name not in ("version", "model"):
                yield Case(key, "nonsense", tuple(map(str, get_args(part))))
            elif any(isinstance(each, OneOf) for each in field.metadata):
                (table,) = (each.table for each in field.metadata if isinstance(each, OneOf))
                yield Case(key, "nonsense", tuple(table))
            elif part is bool:
                yield Case(key, "perhaps", ("boolean",))
            elif part in (int, float):
                yield from _numbers(key, part, field.metadata)


def _numbers(key: str, part: Any, metadata: list[Any]) -> Iterator[Case]:
    words = ["a whole number" if part is int else "a number"]
    outside: list[Any] = ["many", [1], True]
    step = 1 if part is int else 1e-6
    for bound in metadata:
        for name, said, over in (
            ("ge", "at least", -step),
            ("gt", "above", 0),
            ("le", "at most", step),
            ("lt", "below", 0),
        ):
            if hasattr(bound, name):
                edge = getattr(bound, name)
                words.append(f"{said} {edge:g}")
                outside.append(edge + over)
    assert len(words) > 1, f"{key} takes any number"
    outside += [0.5] if part is int else [float("nan"), float("inf")]
    for value in outside:
        yield Case(key, value, tuple(words))


SHOWN = {"size": 8, "channels": 1, "classes": 2}
FIELDS = {kind: list(cases(type(load_recipe(kind)))) for kind in ("demo", "ppca")}


@pytest.mark.parametrize("recipe", FIELDS)
def test_every_field_of_a_recipe_out_of_range_is_named_with_its_range(recipe: str) -> None:
    for case in FIELDS[recipe]:
        with pytest.raises(RecipeError) as refused:
            load_recipe(recipe, {"shown_at": SHOWN, case.key: case.value})
        line = str(refused.value)
        assert case.key in line and len(line.splitlines()) == 1, line
        for word in case.words:
            assert word in line.split("; wanted ")[1], (case, line)


OPTIONS = {model: family.options for model, family in MODELS.items()} | {JOINED: mitlgan.Options}


@pytest.mark.parametrize("model", OPTIONS)
def test_every_option_of_a_model_out_of_range_is_named_with_its_range(model: str) -> None:
    for case in [*cases(OPTIONS[model]), Case("nonsense", 1, ())]:
        with pytest.raises(RecipeError) as refused:
            checked(OPTIONS[model], {case.key: case.value}, model)
        line = str(refused.value)
        assert f"options.{case.key}" in line, line
        for word in case.words:
            assert word in line.split("; wanted ")[1], (case, line)
