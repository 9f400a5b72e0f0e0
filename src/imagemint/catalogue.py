"""What there is to choose from: the recipes, the layers of their networks, and the parts that they are made of.

Everything is read off the recipes, the tables and the pydantic models themselves; no name stands here a second time.
Networks are built on torch's `meta` device, where parameters have shapes and no values: counting them takes no time.
After a change of a recipe or a network, `python -m imagemint.catalogue` writes the list of recipes anew.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, get_args, get_origin

import torch
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from rich.table import Table
from rich.text import Text
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from imagemint.losses import LOSSES
from imagemint.methods import METHODS, method_of
from imagemint.models import MODELS, ImageShape, parameter_count, total_count
from imagemint.recipe import AnyRecipe
from imagemint.recipe_list import Page, table_of, write_facts
from imagemint.settings import OneOf
from imagemint.training.recipe import Recipe
from imagemint.words import counted


class Layer(NamedTuple):
    """A row of a layer table."""

    name: str  # as in a checkpoint's weights
    kind: str
    shape: tuple[int, ...]  # of its output, without the batch; empty where it was not called
    trainable: int  # parameters
    total: int  # with frozen parameters and the statistics of normalisation


class Network(NamedTuple):
    """One of the two networks, and what its parameters add up to."""

    module: nn.Module  # on the meta device
    trainable: int
    total: int
    z_size: int | None = None  # numbers in a generator's input; None for a discriminator

    def counts(self) -> dict[str, int]:
        """For JSON."""
        return {"trainable": self.trainable, "total": self.total}


def networks(recipe: AnyRecipe, shape: ImageShape | None = None, classes: int | None = None) -> dict[str, Network]:
    """`generator` and `discriminator` for images of `shape`; both default to what the recipe is shown at.

    Empty for a method that has none, because it is fitted. Raises RecipeError where shape and recipe do not fit.
    """
    shape = shape or shown_shape(recipe)
    recipe.check_fits(shape.channels, (shape.height, shape.width))
    sketch = method_of(recipe.model).sketch
    if sketch is None:
        return {}
    with torch.device("meta"), _WithoutValues():
        drawn = sketch(recipe, shape, classes or recipe.shown_at.classes)
    pair = {"generator": (drawn.generator, drawn.z_size), "discriminator": (drawn.discriminator, None)}
    return {name: Network(net, parameter_count(net), total_count(net), z) for name, (net, z) in pair.items() if net}


def shown_shape(recipe: AnyRecipe) -> ImageShape:
    """The shape of the images that the recipe is shown at."""
    shown = recipe.shown_at
    return ImageShape(shown.channels, shown.size, shown.size)


class _WithoutValues(TorchFunctionMode):
    """Initialisers draw nothing: on the meta device a normal draw loads torch's compiler, which takes seconds."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (Tensor.normal_, nn.init.normal_):
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@torch.no_grad()
def layer_tables(shape: ImageShape, found: dict[str, Network]) -> dict[str, list[Layer]]:
    """The layers of networks, in the order of their calls for one image of `shape`.

    Parameters get memory here, but no values: only shapes are looked at.
    """
    labels = torch.zeros(1, dtype=torch.int64)
    return {
        name: _watched(
            network.module.to_empty(device="cpu").eval(),
            torch.zeros(1, *shape) if network.z_size is None else torch.zeros(1, network.z_size),
            labels,
        )
        for name, network in found.items()
    }


def _watched(network: nn.Module, *inputs: Tensor) -> list[Layer]:
    """The layers that own numbers, and those that change the shape."""
    layers: dict[str, Layer] = {}

    def note(name: str, layer: nn.Module, given: tuple[Any, ...], out: Any) -> None:
        shape = tuple(out.shape[1:])
        changes = bool(given) and tuple(given[0].shape[1:]) != shape
        if name not in layers and (_owned(layer) or changes):
            layers[name] = _layer(name, layer, shape)

    hooks = [
        layer.register_forward_hook(lambda layer, given, out, name=name: note(name, layer, given, out))
        for name, layer in network.named_modules()
        if _owned(layer) or not list(layer.children())
    ]
    network(*inputs)
    for hook in hooks:
        hook.remove()
    for name, layer in network.named_modules():  # numbers that are used without calling their layer
        if _owned(layer) and name not in layers:
            layers[name] = _layer(name, layer, ())
    return list(layers.values())


def _layer(name: str, layer: nn.Module, shape: tuple[int, ...]) -> Layer:
    kind = type(layer).__name__
    if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
        kind += f" {layer.kernel_size[0]}/{layer.stride[0]}"
    trainable = sum(p.numel() for p in _owned(layer) if p.requires_grad)
    statistics = sum(b.numel() for b in layer.buffers(recurse=False) if b.is_floating_point())
    return Layer(name or "(itself)", kind, shape, trainable, sum(p.numel() for p in _owned(layer)) + statistics)


def _owned(layer: nn.Module) -> list[nn.Parameter]:
    return list(layer.parameters(recurse=False))


class Part(NamedTuple):
    """Something that a recipe chooses by name."""

    key: str  # as --set says it
    names: tuple[str, ...]  # what can be chosen; empty for a number or a list
    about: str  # what it is, its source, its default


def parts() -> list[Part]:
    """Every choice: losses with their sources, the settings of a training, models with their options."""
    found = [Part("loss", (name,), loss.source) for name, loss in LOSSES.items()]
    found += [part for part in _settings(Recipe) if part.key.split(".")[0] not in _SAID_ELSEWHERE]
    said = {part.key for part in found} | _SAID_ELSEWHERE
    for method in METHODS.values():
        for part in _settings(method.recipe):
            if part.key not in said:
                said.add(part.key)
                found.append(part)
    for name, family in MODELS.items():
        found.append(Part("model", (name,), family.about))
        found += [Part(f"options.{key}", names, about) for key, names, about in _settings(family.options)]
    for method in METHODS.values():
        for name in (each for each in method.models if each not in MODELS):
            found.append(Part("model", (name,), method.about))
            if method.options:
                found += [Part(f"options.{key}", names, about) for key, names, about in _settings(method.options)]
    return found


# Lines of their own, and what a recipe says of itself.
_SAID_ELSEWHERE = {"loss", "options", *AnyRecipe.model_fields}


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[Part]:
    """The settings of a pydantic model; those inside others by their dotted keys."""
    for key, setting in model.model_fields.items():
        kinds = get_args(setting.annotation) if get_origin(setting.annotation) is not Literal else ()
        for kind in (setting.annotation, *kinds):
            if inspect.isclass(kind) and issubclass(kind, BaseModel):
                yield from _settings(kind, f"{prefix}{key}.")
                break
        else:
            yield Part(prefix + key, _names(setting), _about(setting))


def _names(setting: FieldInfo) -> tuple[str, ...]:
    """The rows of a table, or the values of a Literal where one of them is a name."""
    for each in setting.metadata:
        if isinstance(each, OneOf):
            return tuple(each.table)
    values = get_args(setting.annotation) if get_origin(setting.annotation) is Literal else ()
    return tuple(map(str, values)) if any(isinstance(value, str) for value in values) else ()


def _about(setting: FieldInfo) -> str:
    default = setting.get_default(call_default_factory=True)
    if default is PydanticUndefined:
        return setting.description or ""
    return "; ".join(filter(None, (setting.description, f"default {json.dumps(default)}")))


# --- pages: what `imagemint recipes` prints, as JSON and for people


_LISTED = {"name", "about", "source", "model", "smallest", "largest", "shown_at"}


def recipe_facts(recipes: list[AnyRecipe]) -> list[dict[str, Any]]:
    """What the list of recipes shows of each one, as JSON; `parameters` per network, for images of `shape`."""
    facts = []
    for recipe in recipes:
        row = recipe.model_dump(
            mode="json", include={"name", "about", "source", "model", "smallest", "largest", "shown_at"}
        )
        counts = {name: network.counts() for name, network in networks(recipe).items()}
        facts.append({**row, "shape": list(shown_shape(recipe)), "parameters": counts})
    return facts


def recipe_page(recipe: AnyRecipe, shape: ImageShape, classes: int) -> Page:
    """Every setting of a recipe, defaults included, and the layers of its networks for images of `shape`."""
    settings = recipe.model_dump(mode="json")
    said = {key: value for key, value in settings.items() if value is not None}
    text = yaml.safe_dump(said, sort_keys=False, allow_unicode=True, default_flow_style=None, width=90)
    found = networks(recipe, shape, classes)
    tables = layer_tables(shape, found)
    c, h, w = shape
    facts = {
        "recipe": settings,
        "images": {"height": h, "width": w, "channels": c, "classes": classes},
        "networks": {
            name: {**network.counts(), "layers": [layer._asdict() for layer in tables[name]]}
            for name, network in found.items()
        },
    }
    note = f"Networks for {h}x{w} images, {counted(c, 'channel')}, {counted(classes, 'class', 'classes')}:\n"
    shown = [_layer_table(name, network, tables[name]) for name, network in found.items()]
    return Page(facts, [Text(text), Text(note), *shown] if found else [Text(text)])


def part_list() -> Page:
    """Every part, by the key that --set names it with."""
    table = table_of("--set", "names", "what it is, source, default", numbers=0)
    for part in parts():
        if part.key == "model":
            table.add_section()
        table.add_row(Text(part.key), Text(", ".join(part.names)), Text(part.about))
    return Page({"parts": [part._asdict() for part in parts()]}, [table])


def _layer_table(name: str, network: Network, layers: list[Layer]) -> Table:
    """Output shape (channels x height x width), trainable parameters, and all numbers that minting needs."""
    table = table_of(name, "layer", "output", "trainable", "in all", numbers=3)
    for layer in layers:
        shape = "x".join(map(str, layer.shape))
        table.add_row(Text(layer.name), layer.kind, shape, f"{layer.trainable:,}", f"{layer.total:,}")
    table.add_section()
    table.add_row("total", "", "", f"{network.trainable:,}", f"{network.total:,}")
    return table


if __name__ == "__main__":
    from imagemint.config import load_recipe, recipe_names

    write_facts(recipe_facts([load_recipe(name) for name in recipe_names()]))
