"""What a study may go on with: the rows of its own folder, and GANs that another study trained."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from imagemint import files
from imagemint.config import flat
from imagemint.errors import StudyError
from imagemint.recipe import DESCRIBES
from imagemint.studies.arms import find_arm
from imagemint.studies.folder import FIRST_SCORE, About, Cell, Fixed, StudyFacts, read_facts

# What decides how a GAN of a study is trained, beside budget and repeat.
DECIDE_GANS = ("pack", "test", "recipe", "epochs", "images", "seed")


def same_settings(before: Fixed, now: Fixed, out: Path, channels: int) -> Fixed:
    """The settings of a study that goes on; a recipe may be given first, or left out, when minted arms come or go.

    Raises StudyError where the folder was started with other ones.
    """
    if before.recipe is None or now.recipe is None:
        recipe = before.recipe or now.recipe
        before, now = (each.model_copy(update={"recipe": recipe}) for each in (before, now))
    before = before.model_copy(update={"score": before.score or FIRST_SCORE})
    for key, old, new in _differences(before, now, channels, Fixed.model_fields):
        raise StudyError(
            f"{out} holds a study with {key} = {old}, not {new}",
            "the settings that it was started with",
            "use the same settings, or another folder",
        )
    return now


def check_same_packs(before: StudyFacts, about: About, out: Path) -> None:
    """Raise StudyError where an arm of a study that goes on names a pack that has changed."""
    for arm, note in about.added.items():
        old = before.about.added.get(arm)
        if old is not None and old.fingerprint != note.fingerprint:
            raise StudyError(
                f"the images of arm {arm} are others than when {out} was started",
                "the same images",
                "give the new ones another name, or use another folder",
            )


def gans_to_take(other: Path, facts: StudyFacts, cells: Iterable[Cell], channels: int) -> dict[Path, Path]:
    """Folders of GANs to copy, from -> to: what the study `other` trained as the one of `facts` would train it.

    Cells that have a GAN keep it. Raises StudyError where one of the two studies draws other images or trains on them
    otherwise, and where the other one has no GAN that is wanted.
    """
    theirs = read_facts(other)
    for key, old, new in _differences(theirs.settings, facts.settings, channels, DECIDE_GANS):
        raise StudyError(
            f"the GANs of {other} are of a study with {key} = {old}, not {new}",
            "GANs that this study would train itself",
            f"use the same {key.partition('.')[0]}, or leave out --gans-from",
        )
    if (theirs.about.near is None) != (facts.about.near is None):
        raise StudyError(
            f"the GANs of {other} may have seen near copies of test images",
            "GANs of a study that looked for them, as this version does",
            "leave out --gans-from",
        )
    recipes = {minting.recipe for arm in facts.extent.arms if (minting := find_arm(arm).minting)}
    recipes |= {"" for arm in facts.extent.arms if find_arm(arm).discriminator}
    wanted = {
        Cell(other, cell.budget, cell.repeat).run_of(recipe): cell.run_of(recipe)
        for cell in cells
        for recipe in sorted(recipes)
    }
    found = {source: dest for source, dest in wanted.items() if source.is_dir()}
    if not found:
        raise StudyError(
            f"{other} has no GAN for the budgets, repeats and arms of this study",
            "a study that trained one of them",
            "check the path, or leave out --gans-from",
        )
    return {source: dest for source, dest in found.items() if not dest.exists()}


def take_gans(folders: dict[Path, Path]) -> None:
    """Copy the folders of GANs, each whole or not at all; what takes them checks that they fit."""
    for source, dest in folders.items():
        with files.whole_folder(dest) as aside:
            shutil.copytree(source, aside, dirs_exist_ok=True)


def _differences(before: Fixed, now: Fixed, channels: int, names: Collection[str]) -> Iterator[tuple[str, Any, Any]]:
    """Which of the named settings differ, with both values; texts that only describe a recipe do not count."""
    old, new = (
        flat(
            each.model_dump(mode="json", include=set(names))
            | {"recipe": each.recipe.decided(channels) if each.recipe else None}
        )
        for each in (before, now)
    )
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key) and key.removeprefix("recipe.") not in DESCRIBES:
            yield key, old.get(key), new.get(key)
