"""Options of the command line that are the fields of a strict model: one name, one default and one help each."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import NoneType
from typing import Annotated, Any, get_args, get_type_hints

import typer
from pydantic import BaseModel
from pydantic.fields import FieldInfo


def options_of(model: type[BaseModel], *left_out: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Replace a command's `**options` by an option for each field of `model`.

    `some_field` becomes `--some-field`, with the field's default and description; a tuple becomes a list with commas,
    metavar by `json_schema_extra`. Bounds stay the model's, which refuses in its own words.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        hints = get_type_hints(command, include_extras=True)
        signature = inspect.signature(command)
        own = [p.replace(annotation=hints[p.name]) for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD]
        made = [_option(name, field) for name, field in model.model_fields.items() if name not in left_out]
        required = [p for p in own if p.default is p.empty]
        parameters = [*required, *(p for p in own if p.default is not p.empty), *made]
        changed: Any = command
        changed.__signature__ = signature.replace(parameters=parameters)
        changed.__annotations__ = {p.name: p.annotation for p in parameters}
        return command

    return decorate


def changed(model: type[BaseModel], values: dict[str, Any]) -> dict[str, Any]:
    """Of the values of such options those that are not the defaults."""
    defaults = {name: _default(field) for name, field in model.model_fields.items()}
    return {name: value for name, value in values.items() if value != defaults[name]}


def _default(field: FieldInfo) -> Any:
    return ",".join(field.default) if isinstance(field.default, tuple) else field.default


def _option(name: str, field: FieldInfo) -> inspect.Parameter:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    default, kinds = field.default, {each for each in get_args(field.annotation) if each is not NoneType}
    kind: Any = field.annotation
    if isinstance(default, tuple):
        default, kind = _default(field), str
    elif default is None:
        kind = next(iter(kinds)) | None
    metavar = str(extra["metavar"]) if "metavar" in extra else None
    option = typer.Option(f"--{name.replace('_', '-')}", metavar=metavar, help=field.description)
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )
