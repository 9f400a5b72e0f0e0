"""What a method is: whatever a recipe can train, and images can be minted from."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel
from torch import nn

import imagemint
from imagemint.data.pack import Pack
from imagemint.errors import PackError
from imagemint.minter import Minter
from imagemint.models import ImageShape
from imagemint.recipe import AnyRecipe
from imagemint.runfolder import Commit, Facts, PackFacts, Run, RunFacts
from imagemint.training.ranks import Ranks


class Asked(NamedTuple):
    """What a training is asked for beside pack and recipe."""

    seed: int = 0
    device: str | None = None
    continued: RunFacts | None = None  # of the run that is continued


class Sketch(NamedTuple):
    """The networks of a recipe without their weights, for the catalogue."""

    generator: nn.Module
    discriminator: nn.Module | None  # None: the method has none
    z_size: int


class Method(NamedTuple):
    """What a recipe can train and what can be minted from.

    `recipe` and `facts` are the types of what a person chooses and of run.json. `settle` checks pack and recipe and
    gives the facts of a run before any file is written. `prepare(pack, facts, ranks, begins)` refuses whatever else
    does not fit, and gives back the function that fits or trains into the run folder: from the start where the run
    `begins`, else from its newest checkpoint. `load` gives the minter of a checkpoint on a device ("cpu").
    `sees_labels`: whether the label changes what is minted. `sketch`: its networks, for the catalogue.
    """

    models: Collection[str]  # what a recipe says under `model`
    about: str
    recipe: type[AnyRecipe]
    settle: Callable[[Pack, Any, Asked], RunFacts]
    prepare: Callable[[Pack, Any, Ranks, bool], Callable[[Run], None]]
    load: Callable[[Run, Path, str], Minter]
    sees_labels: Callable[[Any], bool]
    facts: type[RunFacts] = RunFacts
    sketch: Callable[[Any, ImageShape, int], Sketch] | None = None
    options: type[BaseModel] | None = None  # the choices under `options`, where imagemint.models has them not


def settled(
    kind: type[Facts],
    pack: Pack,
    recipe: AnyRecipe,
    images: int,
    asked: Asked,
    *,
    device: str,
    precision: str,
    **own: Any,
) -> Facts:
    """The facts of a run that learns from so many images of a pack; `own` are those of its method."""
    facts = PackFacts(
        fingerprint=pack.fingerprint,
        images=images,
        classes=pack.classes,
        channels=pack.channels,
        size=pack.size,
        path=str(pack.place),
    )
    return kind(
        imagemint=imagemint.__version__,
        git=working_commit(),
        recipe=recipe,
        seed=asked.seed,
        precision=precision,
        device=device,
        pack=facts,
        **own,
    )


def members(pack: Pack) -> list[np.ndarray]:
    """Indices of the labelled images of each class, int64. Raises PackError where there is none of a class.

    A class that nothing is known of must neither be trained nor minted.
    """
    labels = np.asarray(pack.labels)
    found = [np.flatnonzero(labels == label) for label in range(len(pack.classes))]
    if not any(map(len, found)):
        raise PackError(f"no image of {pack.path} has a label", "labelled images", "pack a folder with classes")
    empty = next((name for name, rows in zip(pack.classes, found, strict=True) if not len(rows)), None)
    if empty is not None:
        raise PackError(
            f"class {empty!r} of {pack.path} has no image",
            "at least one image of every class",
            f'leave it out: imagemint edit drop {pack.path} DEST --classes "{empty}"',
        )
    return found


def working_commit() -> Commit | None:
    """The commit of the git working folder, and whether tracked files differ from it; None where there is none."""
    commit, changes = _git("rev-parse", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    return Commit(commit=commit.strip(), dirty=bool(changes.strip())) if commit and changes is not None else None


def _git(*words: str) -> str | None:
    """What git prints; None where git, or a repository, is missing or does not answer."""
    command = ["git", "-c", "core.fsmonitor=false", *words]  # a monitor would be a command of the folder's choosing
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=10, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout if done.returncode == 0 else None
