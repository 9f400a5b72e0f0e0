"""A study: arms x budgets x repeats -> rows. Interrupted and started again, it computes what is missing.

Test images are used for one thing: to ask classifiers, while they learn (for curves that nothing is chosen by) and at
their end. Whatever can be refused is refused before the first file is written.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import __version__, files
from imagemint.classifiers.training import check_classifier
from imagemint.config import AnyRecipe
from imagemint.data.pack import Pack, open_pack
from imagemint.data.remote import on_this_machine
from imagemint.devices import native_precision
from imagemint.errors import StudyError
from imagemint.fitting import check_fits
from imagemint.jobs import FanOut, Task, one_thread, places, side_by_side
from imagemint.labelling import RATIO_LOSSES, tells_density_ratio
from imagemint.methods import method_of
from imagemint.progress import say
from imagemint.studies.arms import OTHERS, RARE, USUALLY, find_arm, rare_classes, unequal
from imagemint.studies.continuing import check_same_packs, gans_to_take, same_settings, take_gans
from imagemint.studies.discriminators import check_discriminator
from imagemint.studies.folder import (
    FIRST_SCORE,
    About,
    Cell,
    Fixed,
    Row,
    StudyFacts,
    labels_file,
    read_facts,
    read_rows,
    save_classes,
    write_recipe,
)
from imagemint.studies.material import Copies, Material, find_material, note_of
from imagemint.studies.plan import Extent, Settings, StudyPlan, budget_in_words, make_plan
from imagemint.studies.results import Study, open_study
from imagemint.studies.rows import HELD_OUT, compute_rows, recipe_of, subset_rows
from imagemint.studies.statistics import SCORES
from imagemint.words import counted, listed, shown


def study(
    pack: Pack | Path | str,
    test: Pack | Path | str,
    recipe: str | Path | AnyRecipe | None,
    out: Path | str,
    *,
    jobs: int | None = 1,
    fan_out: FanOut = side_by_side,
    gans_from: Path | str | None = None,
    **options: Any,
) -> Study:
    """Find out whether minted images, or those of another pack, help a classifier that has few real ones.

    For every budget (labelled real images per class) and repeat: draw a subset of `pack`, train `recipe` on it alone,
    mint from it, train a classifier for every arm and test it on `test`. Within a repeat the subsets are nested (the
    50 per class contain the 10), so that budgets differ by what was added. All arms of a subset start from the same
    weights and see the same number of images. Where an arm has real images and others, about `real_share` of what it
    sees is real, however many others there are: the rarer kind is seen more often.

    `jobs` cells (a budget in one repeat) are computed side by side, each in a process of its own with one thread;
    None stands for one per GPU, or one per processor where there is none. The rows are the same for every number, and
    stand in the order of the plan. Other processes know the models and arms of the package only: a study of your own
    ones needs `jobs=1`, which computes in this process. `fan_out` computes them elsewhere (imagemint.cluster).

    `gans_from` is the folder of another study that differs in arms or classifiers alone: the GANs that it trained are
    copied, and not trained again.

    `options` are the fields of `StudyPlan`. `recipe` may be None where no arm learns from minted images. `out` may
    hold the same study: what is there is not computed again, and budgets, repeats and arms may be added.

    Raises StudyError where the packs do not fit each other, the plan, the study that the folder holds or the GANs of
    the other one; what `train` raises where the recipe does not fit; and ArgumentError for more jobs than memory
    holds. Nothing is written then.
    """
    pack, test, out = open_pack(pack), open_pack(test), on_this_machine(out, "a study")
    plan = make_plan(recipe, **options)
    material = find_material(pack, test, plan.arms, near=_near_copies_are_left_out(out))
    plan = _decided(plan, material, out)
    _check_classes(plan, material)
    check_classifier(plan.classifier, pack.channels, pack.size, (pack.pixels, material.test.pixels))
    _check_budgets(plan, material)
    _check_recipe(plan, material)
    jobs = places(jobs, _memory(material), fan_out)
    facts, rows = _settled(out, plan, material, test)
    cells = [Cell(out, budget, repeat) for budget in plan.budgets for repeat in range(plan.repeats)]
    taken: dict[Path, Path] = {}
    if gans_from is not None:
        taken = gans_to_take(on_this_machine(gans_from, "a study"), facts, cells, pack.channels)
        if taken:
            facts = facts.remarked(f"{counted(len(taken), 'GAN')} of {gans_from} copied, not trained again")
    for remark in [*material.remarks(), *facts.about.remarks]:
        say(remark)
    _write_head(out, facts, rows, material)
    take_gans(taken)

    done = {row.key for row in rows}
    missing = {cell: [arm for arm in plan.arms if (cell.budget, cell.repeat, arm) not in done] for cell in cells}
    missing = {cell: arms for cell, arms in missing.items() if arms}
    with closing(_computed(missing, plan, material, test, jobs, fan_out)) as computed:
        for row in computed:
            files.append_line(out / "rows.jsonl", row.model_dump(mode="json"))
    _put_in_order(out, facts.extent)
    return open_study(out)


# --- the cells ----------------------------------------------------------------------------------------------------


def _computed(
    missing: Mapping[Cell, Sequence[str]],
    plan: StudyPlan,
    material: Material,
    test: Pack,
    jobs: int,
    fan_out: FanOut,
) -> Generator[Row]:
    """The rows of all cells, as soon as each is known: here one cell after the other, or side by side."""
    names = [f"{budget_in_words(cell.budget)}, repeat {cell.repeat + 1} of {plan.repeats}" for cell in missing]
    if fan_out is not side_by_side or min(jobs, len(missing)) > 1:
        where = (material.pack.place, test.place)
        cells = zip(names, missing.items(), strict=True)
        tasks = [
            Task(
                name,
                _rows_of_cell,
                (*where, material.near is not None, material.copies, plan, _anywhere(cell), arms),
                results=len(arms),
            )
            for name, (cell, arms) in cells
        ]
        with closing(fan_out(tasks, jobs, "study")) as found:
            for _, row in found:
                yield row
        return
    started = time.monotonic()
    for number, (name, (cell, arms)) in enumerate(zip(names, missing.items(), strict=True)):
        left = (time.monotonic() - started) / max(number, 1) * (len(missing) - number) / 60
        say(f"study {number + 1}/{len(missing)}: {name}{f', about {left:.0f} min left' if number else ''}")
        with one_thread():  # as in a process of its own, so that the rows are the same
            yield from compute_rows(cell, plan, material, arms)


def _anywhere(cell: Cell) -> Cell:
    """The cell by a path that holds whatever folder a process starts in."""
    return replace(cell, study=cell.study.absolute())


def _rows_of_cell(
    pack: Path, test: Path, near: bool, copies: tuple[Copies, ...], plan: StudyPlan, cell: Cell, arms: Sequence[str]
) -> Iterator[Row]:
    """What a process of its own does for a cell."""
    return compute_rows(cell, plan, _material(pack, test, plan.arms, near, copies), arms)


@lru_cache(maxsize=1)  # one process computes many cells
def _material(pack: Path, test: Path, arms: tuple[str, ...], near: bool, copies: tuple[Copies, ...]) -> Material:
    return find_material(open_pack(pack), open_pack(test), arms, near=near, known=copies)


def _memory(material: Material) -> int:
    """Bytes that a cell needs, about: its images, and those that a step or an arm makes of them."""
    added = sum(images.pixels.nbytes for images, _ in material.added.values())
    return int(4 * (material.pack.pixels.nbytes + material.test.pixels.nbytes + added))


def _put_in_order(out: Path, extent: Extent) -> None:
    """Rows stand in the order of the plan, whatever was computed first."""
    rows = read_rows(out)
    places = {name: place for place, name in enumerate([*extent.budgets, *extent.arms])}
    ordered = sorted(rows, key=lambda row: (places[row.budget], row.repeat, places[row.arm]))
    if ordered != rows:
        files.keep_lines(out / "rows.jsonl", [row.model_dump(mode="json", exclude_unset=True) for row in ordered])


# --- refusals, before anything is written ------------------------------------------------------------------------


def _near_copies_are_left_out(out: Path) -> bool:
    """Not in studies of earlier versions: what they go on with has to be drawn from the same images."""
    return not (out / "study.json").exists() or read_facts(out).about.near is not None


def _decided(plan: StudyPlan, material: Material, out: Path) -> StudyPlan:
    """The plan with its score and precision: what was asked for, what the folder holds, or what suits this study.

    The score suits the classes, and the precision the processor.
    """
    before = read_facts(out).settings if (out / "study.json").exists() else None
    score, precision = plan.score, plan.classifier_precision
    if score is None and before is not None:
        score = before.score or FIRST_SCORE
    elif score is None:
        score = "balanced-accuracy" if unequal_classes(material) else FIRST_SCORE
    if precision == "auto":
        precision = native_precision("cpu") if before is None else before.classifier_precision
    return plan.model_copy(update={"score": score, "classifier_precision": precision})


def unequal_classes(material: Material) -> bool:
    """Whether a class has twice as many images as another, to learn from or to be tested on."""
    tested = np.bincount(material.test.labels, minlength=len(material.classes)).tolist()
    return unequal([len(each) for each in material.pool]) or unequal(tested)


def _check_budgets(plan: StudyPlan, material: Material) -> None:
    """Raise StudyError where a class has no image left, or no class has enough for a budget."""
    sizes = {name: len(each) for name, each in zip(material.classes, material.pool, strict=True)}
    empty = [name for name, size in sizes.items() if not size]
    if empty:
        raise StudyError(
            f"no training image of {counted(len(empty), 'class', 'classes')} to learn from: {listed(empty)}",
            "training images of every class, other than copies of test images",
            "add some, or drop the class from both packs (imagemint edit drop)",
        )
    largest = max((int(name) for name in plan.budgets if name.isdigit()), default=1)
    if largest > max(sizes.values()):
        raise StudyError(
            f"no class has {counted(largest, 'image')} for a budget of {largest} per class; the largest has "
            f"{max(sizes.values()):,}",
            "budgets that a class can fill",
            "ask for smaller budgets; all stands for every image",
        )


def _check_classes(plan: StudyPlan, material: Material) -> None:
    """Raise StudyError for a single class, and for names that are no class of the study."""
    if len(material.classes) < 2:
        raise StudyError(
            f"one class, {shown(material.classes[0])}",
            "two classes or more, with training and test images",
            "add images of another class to both packs (imagemint edit merge)",
        )
    sizes = {name: len(each) for name, each in zip(material.classes, material.pool, strict=True)}
    if "minted-rare" in plan.arms and not plan.rare and not rare_classes(sizes):
        raise StudyError(
            f"arm minted-rare and no class with fewer than {RARE:.0%} of the images of the largest",
            "rare classes",
            "name them with --rare NAME,..., or leave the arm out",
        )
    named = {"rare": plan.rare, "class_shares": [name for name in plan.shares if name != OTHERS]}
    for option, names in named.items():
        unknown = [name for name in names if name not in material.classes]
        if unknown:
            raise StudyError(
                f"{option} names {shown(unknown[0])!r}", f"one of {listed(material.classes)}", "check it"
            )


def _remarks(plan: StudyPlan, material: Material) -> list[str]:
    """What a person should know of how the study was set up, one line each."""
    lines = []
    sizes = {name: len(each) for name, each in zip(material.classes, material.pool, strict=True)}
    for budget in plan.budgets:
        short = [f"{name} {size:,}" for name, size in sizes.items() if budget.isdigit() and size < int(budget)]
        if short:
            lines.append(f"{budget_in_words(budget)}: classes with fewer use all that they have: {listed(short)}")
    if plan.classifier_choose:
        lines.append(
            f"{listed(plan.classifier_choose)} of the classifier: chosen for every arm alike, on {HELD_OUT:.0%} of "
            "the real images of its training subset (which the GAN has seen, too)"
        )
    if unequal_classes(material):
        lines.append(
            f"classes are unequal ({min(sizes.values()):,} to {max(sizes.values()):,} training images); "
            f"the verdict is given for {SCORES[plan.score or FIRST_SCORE].label}"
        )
    return lines


def _check_recipe(plan: StudyPlan, material: Material) -> None:
    """Raise what `train` or `mint` would raise for the smallest budget, hours from now."""
    mintings = {minting.recipe: minting for arm in plan.arms if (minting := find_arm(arm).minting)}
    judges = {arm: use for arm in plan.arms if (use := find_arm(arm).discriminator)}
    if not mintings and not judges:
        return
    classes, pack = material.classes, material.pack
    rows = subset_rows(plan.budgets[0], 0, plan.seed, material.pool)
    manifest = pack.manifest.model_copy(update={"images": len(rows), "classes": classes})
    smallest = Pack(pack.path, pack.read(rows), material.labels[rows], {}, manifest)
    for minting in mintings.values():
        recipe = recipe_of(plan, minting)
        facts = check_fits(smallest, recipe, seed=plan.seed)
        if not method_of(recipe.model).sees_labels(facts):
            raise StudyError(
                f"the networks of recipe {recipe.name} (model {recipe.model}) do not see labels",
                f"networks that can mint each of the {len(classes)} classes",
                "choose a class-conditional recipe (imagemint recipes), or arms without minted images",
            )
    for arm in plan.arms:
        minting = find_arm(arm).minting
        if minting is None or minting.density_ratio is None:
            continue
        recipe = recipe_of(plan, minting)
        if not tells_density_ratio(check_fits(smallest, recipe, seed=plan.seed)):
            raise StudyError(
                f"arm {arm} and recipe {recipe.name}, whose discriminator tells no density ratio",
                f"a recipe of one GAN with loss {listed(RATIO_LOSSES)}, such as fewshot",
                "choose such a recipe, or leave the arm out",
            )
    for arm, use in judges.items():
        check_discriminator(check_fits(smallest, recipe_of(plan, USUALLY), seed=plan.seed), arm, use)


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
        near=material.near,
        twins=material.twins,
        versions=_versions(),
        without_test=material.without_test,
        added={arm: note for arm, (_, note) in material.added.items()},
        remarks=tuple(_remarks(plan, material)),
    )
    extent = Extent(budgets=plan.budgets, repeats=plan.repeats, arms=plan.arms)
    facts = StudyFacts(settings=settings, extent=extent, about=about)
    if not (out / "study.json").exists():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StudyError(f"{out} is already there and is no study", "a new folder", "choose another name")
        return facts, []
    before = open_study(out)
    settings = same_settings(before.facts.settings, settings, out, material.pack.channels)
    check_same_packs(before.facts, about, out)
    added = {**before.facts.about.added, **about.added}
    kept = before.facts.about.model_copy(update={"added": added})
    facts = StudyFacts(settings=settings, extent=before.facts.extent.widened(extent), about=kept)
    return facts.remarked(*about.remarks), before.rows


# --- the folder ---------------------------------------------------------------------------------------------------


def _write_head(out: Path, facts: StudyFacts, rows: list[Row], material: Material) -> None:
    """Everything that stands in the folder before the first classifier is trained."""
    labels_file(out).parent.mkdir(parents=True, exist_ok=True)
    if (out / "rows.jsonl").exists():  # drops a last line that a kill cut short
        files.keep_lines(out / "rows.jsonl", [row.model_dump(mode="json", exclude_unset=True) for row in rows])
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
