"""A study: arms x budgets x repeats -> rows. Interrupted and started again, it computes what is missing.

Test images are used for one thing: to ask finished classifiers. Whatever can be refused is refused before the first
file is written.
"""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

from imagemint import __version__, files
from imagemint.classifiers.training import check_classifier
from imagemint.config import AnyRecipe, flat, load_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import StudyError
from imagemint.fitting import check_fits
from imagemint.methods import method_of
from imagemint.progress import say
from imagemint.recipe import DESCRIBES
from imagemint.studies.arms import find_arm
from imagemint.studies.folder import (
    About,
    Cell,
    Fixed,
    Row,
    StudyFacts,
    labels_file,
    save_classes,
    write_recipe,
)
from imagemint.studies.material import Material, find_material, note_of
from imagemint.studies.plan import ALL, Extent, Settings, StudyPlan, budget_in_words, make_plan
from imagemint.studies.results import Study, open_study
from imagemint.studies.rows import compute_rows, subset_rows
from imagemint.words import listed


def study(
    pack: Pack | Path | str,
    test: Pack | Path | str,
    recipe: str | Path | AnyRecipe | None,
    out: Path | str,
    **options: Any,
) -> Study:
    """Find out whether minted images, or those of another pack, help a classifier that has few real ones.

    For every budget (labelled real images per class) and repeat: draw a subset of `pack`, train `recipe` on it alone,
    mint from it, train a classifier for every arm and test it on `test`. Within a repeat the subsets are nested (the
    50 per class contain the 10), so that budgets differ by what was added. All arms of a subset start from the same
    weights and see the same number of images. Where an arm has real images and others, about `real_share` of what it
    sees is real, however many others there are: the rarer kind is seen more often.

    `options` are the fields of `StudyPlan`: budgets, repeats, arms, epochs or images, classifier_epochs,
    classifier_images, minted_per_class, real_share, seed. `recipe` may be None where no arm learns from minted
    images. `out` may hold the same study: what is there is not computed again, and budgets, repeats and arms may be
    added.

    Raises StudyError where the packs do not fit each other, the plan, or the study that the folder holds; and what
    `train` raises where the recipe does not fit. Nothing is written then.
    """
    pack, test, out = open_pack(pack), open_pack(test), Path(out)
    plan = make_plan(recipe, **options)
    material = find_material(pack, test, plan.arms)
    _check_budgets(plan, material)
    check_classifier(plan.classifier, pack.channels, pack.size)
    _check_recipe(plan, material)
    facts, rows = _settled(out, plan, material, test)
    for remark in material.remarks():
        say(remark)
    _write_head(out, facts, rows, material)

    done = {row.key for row in rows}
    cells = [Cell(out, budget, repeat) for budget in plan.budgets for repeat in range(plan.repeats)]
    missing = {cell: [arm for arm in plan.arms if (cell.budget, cell.repeat, arm) not in done] for cell in cells}
    missing = {cell: arms for cell, arms in missing.items() if arms}
    started = time.monotonic()
    for number, (cell, arms) in enumerate(missing.items()):
        left = (time.monotonic() - started) / max(number, 1) * (len(missing) - number) / 60
        about = f", about {left:.0f} min left" if number else ""
        where = f"{budget_in_words(cell.budget)}, repeat {cell.repeat + 1} of {plan.repeats}"
        say(f"study {number + 1}/{len(missing)}: {where}{about}")
        for row in compute_rows(cell, plan, material, arms):
            files.append_line(out / "rows.jsonl", row.model_dump(mode="json"))
    return open_study(out)


# --- refusals, before anything is written ------------------------------------------------------------------------


def _check_budgets(plan: StudyPlan, material: Material) -> None:
    """Raise StudyError unless every class can fill every budget."""
    largest = max((int(name) for name in plan.budgets if name != ALL), default=1)
    sizes = zip(material.classes, map(len, material.pool), strict=True)
    short = [f"{name} {count}" for name, count in sizes if count < largest]
    if short:
        raise StudyError(
            f"too few images for a budget of {largest} per class: {listed(short)}",
            f"at least {largest} of every class",
            "ask for smaller budgets, or drop the class from both packs (imagemint edit drop)",
        )


def _check_recipe(plan: StudyPlan, material: Material) -> None:
    """Raise what `train` or `mint` would raise for the smallest budget, hours from now."""
    if plan.recipe is None or not any(find_arm(arm).minted for arm in plan.arms):
        return
    recipe, classes = load_recipe(plan.recipe, plan.duration), material.classes
    rows = subset_rows(plan.budgets[0], 0, plan.seed, material.pool)
    pack = material.pack
    manifest = pack.manifest.model_copy(update={"images": len(rows), "classes": classes})
    smallest = Pack(pack.path, pack.read(rows), material.labels[rows], {}, manifest)
    facts = check_fits(smallest, recipe, seed=plan.seed)
    if len(classes) > 1 and not method_of(recipe.model).sees_labels(facts):
        raise StudyError(
            f"the networks of recipe {recipe.name} (model {recipe.model}) do not see labels",
            f"networks that can mint each of the {len(classes)} classes",
            "choose a class-conditional recipe (imagemint recipes), or arms without minted images",
        )


def _settled(out: Path, plan: StudyPlan, material: Material, test: Pack) -> tuple[StudyFacts, list[Row]]:
    """What study.json is to say, and the rows that are there. Raises StudyError unless the folder can be used."""
    settings = Fixed(
        **{name: getattr(plan, name) for name in Settings.model_fields},
        pack=material.pack.fingerprint,
        test=test.fingerprint,
    )
    about = About(
        pack=note_of(material.pack),
        test=note_of(test),
        classes=material.classes,
        leaked=material.leaked,
        versions=_versions(),
        without_test=material.without_test,
        added={arm: note for arm, (_, note) in material.added.items()},
    )
    extent = Extent(budgets=plan.budgets, repeats=plan.repeats, arms=plan.arms)
    facts = StudyFacts(settings=settings, extent=extent, about=about)
    if not (out / "study.json").exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StudyError(f"{out} is already there and is no study", "a new folder", "choose another name")
        return facts, []
    before = open_study(out)
    settings = _same_settings(before.facts.settings, settings, out)
    _check_same_packs(before.facts, about, out)
    about = before.facts.about.model_copy(update={"added": {**before.facts.about.added, **about.added}})
    facts = StudyFacts(settings=settings, extent=before.facts.extent.widened(extent), about=about)
    return facts, before.rows


def _same_settings(before: Fixed, now: Fixed, out: Path) -> Fixed:
    """The settings of a study that goes on; a recipe may be given first, or left out, when minted arms come or go."""
    if before.recipe is None or now.recipe is None:
        recipe = before.recipe or now.recipe
        before, now = (each.model_copy(update={"recipe": recipe}) for each in (before, now))
    old, new = (flat(each.model_dump(mode="json")) for each in (before, now))
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key) and key.removeprefix("recipe.") not in DESCRIBES:
            raise StudyError(
                f"{out} holds a study with {key} = {old.get(key)}, not {new.get(key)}",
                "the settings that it was started with",
                "use the same settings, or another folder",
            )
    return now


def _check_same_packs(before: StudyFacts, about: About, out: Path) -> None:
    for arm, note in about.added.items():
        old = before.about.added.get(arm)
        if old is not None and old.fingerprint != note.fingerprint:
            raise StudyError(
                f"the images of arm {arm} are others than when {out} was started",
                "the same images",
                "give the new ones another name, or use another folder",
            )


# --- the folder ---------------------------------------------------------------------------------------------------


def _write_head(out: Path, facts: StudyFacts, rows: list[Row], material: Material) -> None:
    """Everything that stands in the folder before the first classifier is trained."""
    labels_file(out).parent.mkdir(parents=True, exist_ok=True)
    if (out / "rows.jsonl").exists():  # drops a last line that a kill cut short
        files.keep_lines(out / "rows.jsonl", [row.model_dump(mode="json") for row in rows])
    files.write_json(out / "study.json", facts.model_dump(mode="json"))
    write_recipe(out, facts.settings.recipe)
    save_classes(labels_file(out), material.test.labels)


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "kornia", "scikit-learn")
    return {
        "imagemint": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }
