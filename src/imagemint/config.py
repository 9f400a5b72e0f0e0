"""Reading recipes: the strict, versioned configuration of one training.

A recipe holds choices only; size, channels and classes come from the pack. It is read from YAML, overridden by
`--set key=value`, checked once, and saved with the run. Each method (imagemint.methods) has its own type of recipe;
`model` says which.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from imagemint.errors import RecipeError
from imagemint.files import Damaged, read_text
from imagemint.methods import METHODS, method_of
from imagemint.recipe import AnyRecipe as AnyRecipe
from imagemint.runfolder import still_known
from imagemint.settings import Strict as Strict
from imagemint.settings import flat as flat
from imagemint.settings import in_words as in_words
from imagemint.training.recipe import Optimizer as Optimizer
from imagemint.training.recipe import Penalty as Penalty
from imagemint.training.recipe import Recipe as Recipe

_LARGEST = 1 << 20  # bytes of a recipe file


def recipe_names() -> list[str]:
    """The recipes that come with the package."""
    folder = resources.files("imagemint") / "recipes"
    return sorted(file.name.removesuffix(".yaml") for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path | AnyRecipe, overrides: dict[str, Any] | None = None) -> AnyRecipe:
    """A recipe by name or from a YAML file; `overrides` maps dotted keys ("optimizer_g.lr") to values.

    Raises RecipeError for unknown recipes, models and keys, and for values out of range.

    >>> load_recipe("demo", {"optimizer_g.lr": 1e-4}).name
    'demo'
    """
    if isinstance(name_or_path, AnyRecipe):
        tree, where = name_or_path.model_dump(exclude_unset=True), f"recipe {name_or_path.name}"
    else:
        tree, where = _read(name_or_path)
    for key, value in (overrides or {}).items():
        _override(tree, key, value, where)
    return _recipe(tree, where)


def saved_recipe(tree: dict[str, Any], where: str) -> AnyRecipe:
    """A recipe as a run or a study has saved it, by this version or an earlier one; `where` is for its errors.

    Raises RecipeError.
    """
    kind = _kind(tree)
    return _recipe(still_known(tree, kind), where)


def _recipe(tree: dict[str, Any], where: str) -> AnyRecipe:
    kind = _kind(tree)
    for key in ("epochs", "images"):
        if key in tree and not kind.has_length:
            remedy = f"leave {key} out"
            raise RecipeError(f"{key} = {tree[key]} in {where}", "no duration: it sees every image once", remedy)
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        raise in_words(error, where, kind) from None


def _kind(tree: dict[str, Any]) -> type[AnyRecipe]:
    return (method_of(tree["model"]) if "model" in tree else METHODS["gan"]).recipe


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` of the command line; the value is read as YAML (numbers, true, null, lists).

    >>> parse_setting("options.width=64")
    ('options.width', 64)
    """
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise RecipeError(f"--set {text}", "--set key=value", "write for example --set optimizer_g.lr=0.0001")
    try:
        return key, _yaml(value)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise RecipeError(f"--set {text}", "a value that is YAML", "put quotes around it") from None


def _read(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    text, path = str(name_or_path), Path(name_or_path)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        return read_settings(path, "recipe file")
    if text in recipe_names():
        content = (resources.files("imagemint") / "recipes" / f"{text}.yaml").read_text(encoding="utf-8")
        where = f"recipe {text}"
    else:
        known = ", ".join(recipe_names())
        raise RecipeError(f"no recipe {text!r}", f"one of {known}, or a YAML file", "see imagemint recipes")
    return _tree(content, where), where


def read_settings(path: Path, what: str) -> tuple[dict[str, Any], str]:
    """The settings in a YAML file, and the words that name it in errors; `what` it is. Raises RecipeError."""
    where = f"{what} {path}"
    return _tree(_content(path, what), where), where


def _tree(content: str, where: str) -> dict[str, Any]:
    try:
        tree = _yaml(content)
    except _Alias as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise RecipeError(f"{where} has an alias (line {line})", "values written out", "write them out") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", -1) + 1
        raise RecipeError(f"{where} is not YAML (line {line})", "key: value lines", "mend the file") from None
    if not isinstance(tree, dict) or not all(isinstance(key, str) for key in tree):
        raise RecipeError(f"{where} holds no settings", "key: value lines", "start from one of imagemint recipes")
    return tree


def _content(path: Path, what: str) -> str:
    try:
        return read_text(path, limit=_LARGEST)
    except FileNotFoundError:
        raise RecipeError(f"no {what} {path}", "a YAML file", "check the path") from None
    except Damaged as error:
        raise RecipeError(f"{what} {path} {error}", "YAML in UTF-8", "save it as UTF-8 text") from None


class _Alias(yaml.MarkedYAMLError):
    """An alias in a recipe."""


class _Loader(yaml.SafeLoader):
    """Without aliases: a kilobyte of them can stand for billions of values, and no recipe needs one."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise _Alias(problem="an alias", problem_mark=self.peek_event().start_mark)  # type: ignore[no-untyped-call]
        return super().compose_node(parent, index)


def _yaml(text: str) -> Any:
    return yaml.load(text, _Loader)


def _override(tree: dict[str, Any], key: str, value: Any, where: str) -> None:
    if key in ("epochs", "images") and value is not None:  # the one duration replaces the other
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
