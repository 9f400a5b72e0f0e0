"""A sweep: plan -> trials -> rows -> winner. Stopped and started again, it computes what is missing.

Nothing of a test pack is looked at. Whatever can be refused is refused before the first file is written.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import yaml

from imagemint import __version__, files
from imagemint.arguments import number
from imagemint.config import load_recipe, saved_recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.data.remote import on_this_machine
from imagemint.data.split import split
from imagemint.errors import ImagemintError, PackError, SweepError
from imagemint.fitting import check_fits, only_one, train
from imagemint.jobs import FanOut, Task, one_thread, places, side_by_side
from imagemint.methods import method_of, settle
from imagemint.metrics.measures import Measures, measure
from imagemint.minting import mint
from imagemint.progress import say
from imagemint.recipe import DESCRIBES, AnyRecipe
from imagemint.runfolder import Run
from imagemint.settings import flat
from imagemint.sweeps.plan import (
    Cell,
    SweepPlan,
    Trial,
    base_cells,
    count_trials,
    make_sweep,
    pack_name,
    read_sweep,
    resolved,
    trials_of,
)
from imagemint.sweeps.results import Facts, Row, Sweep, in_order, open_sweep
from imagemint.sweeps.search import Searcher
from imagemint.words import counted, shown

_LEAST_SCALE = 1e-9


def sweep(
    plan: SweepPlan | Path | str,
    out: Path | str,
    *,
    jobs: int | None = 1,
    scale: float = 1.0,
    fan_out: FanOut = side_by_side,
) -> Sweep:
    """Train every trial of a plan, measure each on images held out of its training pack, and say which is best.

    Each pack is split once, by the plan's seed: what is held out has no copy among what is trained on. A trial trains
    on the rest, mints and is measured against the held-out images. Trials are computed `jobs` at a time (None: one
    per GPU or processor) by `fan_out`, each with one thread; the rows are the same for every number. `scale`
    multiplies the images that each training and each judge sees; a training sees one batch at least.

    `out` may hold the same sweep, stopped: what is there is not computed again, trainings go on from their
    checkpoints, and trials that failed are tried again. A trial that fails in every try is said in the table.

    Raises SweepError, RecipeError, PackError before the first file is written: for another sweep in the folder,
    unknown keys or values, packs that are too small or do not fit.
    """
    plan = plan if isinstance(plan, SweepPlan) else read_sweep(plan)
    out = on_this_machine(out, "a sweep")
    plan, scale = make_sweep(plan.model_dump(mode="json")), number(scale, "--scale", _LEAST_SCALE)
    packs = {pack_name(path): open_pack(path) for path in plan.packs}
    for cell in _distinct(plan):
        _check(plan, packs[cell.pack], cell)
    jobs = places(jobs, max(4 * int(pack.pixels.nbytes) for pack in packs.values()), fan_out)
    facts = Facts(
        scale=scale,
        packs={name: pack.fingerprint for name, pack in packs.items()},
        recipes={name: load_recipe(name).model_dump(mode="json") for name in plan.recipes},
        imagemint=__version__,
    )
    _known_rows(out, plan, facts)
    out.mkdir(parents=True, exist_ok=True)
    with only_one(out, "sweeping", "--out"):
        rows = _known_rows(out, plan, facts)  # once more: another sweep may have ended since
        _write_head(out, plan, facts, rows)
        parts = {name: _parts(pack, out / "packs" / name, plan) for name, pack in packs.items()}
        say(f"sweep: {counted(count_trials(plan), 'trial')}, {len(rows):,} of them done")
        for trials in _rounds(plan, rows):
            missing = [trial for trial in trials if trial.number not in rows]
            for row in _computed(missing, out, plan, parts, scale, jobs, fan_out):
                files.append_line(out / "trials.jsonl", row.model_dump(mode="json"))
                rows[row.trial] = row
        made = Sweep(out, plan, facts, in_order(rows.values()))
        made.write()
    if not made.done:
        raise SweepError(
            f"no trial of {out} has ended well; the first: {made.failed[0].why}",
            "one at least",
            f"mend it and give the same command again; {out / 'table.md'} says why each failed",
        )
    return made


# --- the trials ---------------------------------------------------------------------------------------------------


def _rounds(plan: SweepPlan, rows: dict[int, Row]) -> Iterator[list[Trial]]:
    """Trials that can be computed side by side: all of a grid; of a search as many as are proposed at a time.

    `rows` grows between one round and the next. Proposals depend on the plan and on earlier rows, never on how many
    jobs there are; those of a sweep that goes on are therefore the same again.
    """
    if plan.search is None:
        yield trials_of(plan)
        return
    searchers = [Searcher(plan, base) for base in base_cells(plan)]
    asked = 0
    for start in range(0, plan.search.trials, plan.search.together):
        count = min(plan.search.together, plan.search.trials - start)
        cells = [cell for searcher in searchers for cell in searcher.ask(count)]
        trials = trials_of(plan, cells, asked + 1)
        asked += len(trials)
        yield trials
        values = iter([rows[trial.number].measures.get(plan.measure) for trial in trials])
        for searcher in searchers:
            searcher.tell([[next(values) for _ in plan.seeds] for _ in range(count)])


def _computed(
    trials: Sequence[Trial],
    out: Path,
    plan: SweepPlan,
    parts: dict[str, tuple[Pack, Pack]],
    scale: float,
    jobs: int,
    fan_out: FanOut,
) -> Iterator[Row]:
    """The rows of trials, as they come."""
    tasks, by_task = [], {}
    for trial in trials:
        where = [(pack.place, pack.fingerprint) for pack in parts[trial.cell.pack]]
        task = Task(trial.name, compute, (out.absolute(), trial, plan, scale, where))
        tasks.append(task)
        by_task[task.name] = trial
    with closing(fan_out(tasks, jobs, "sweep", go_on=True)) as found:
        for task, value in found:
            yield _failed(by_task[task.name], value) if isinstance(value, Exception) else value


def compute(
    out: Path, trial: Trial, plan: SweepPlan, scale: float, where: Sequence[tuple[Path, str]]
) -> Iterator[Row]:
    """Train, mint and measure one trial: its row. Started again, it goes on from what it wrote."""
    started = time.monotonic()
    learned, held_out = (_pack_here(path, fingerprint) for path, fingerprint in where)
    with one_thread():
        recipe = scaled(trial.recipe, learned, trial.seed, scale)
        run = train(learned, recipe, out / "runs" / trial.name, seed=trial.seed, resume=True)
        found = measure(
            _minted(run, out / "minted" / trial.name, plan, trial.seed),
            held_out,
            features=plan.features,
            seed=plan.seed,
            at_least=max(round(plan.judge_images * scale), 1),
        )
    yield Row(
        **_head(trial),
        state="done",
        why="",
        images_seen=run.images_seen,
        checkpoint=run.checkpoint_hash,
        measures=_chosen(found, plan).values,
        seconds=round(time.monotonic() - started, 2),
    )


def scaled(recipe: AnyRecipe, pack: Pack, seed: int, scale: float) -> AnyRecipe:
    """The recipe with `scale` times the images seen on this pack, one batch at least; a baseline as it is."""
    if scale == 1 or not recipe.has_length:
        return recipe
    facts = settle(pack, recipe, seed=seed)
    images = max(round(recipe.target(facts.pack.images) * scale), recipe.batch(len(pack.classes)))
    return load_recipe(recipe, {"images": images})


def _minted(run: Run, dest: Path, plan: SweepPlan, seed: int) -> Pack:
    if dest.exists():
        return open_pack(dest)
    classes = run.facts.pack.classes
    if method_of(run.recipe.model).sees_labels(run.facts) or len(classes) == 1:
        return mint(run, dest, per_class=plan.mint, seed=seed)
    return mint(run, dest, unlabelled=plan.mint * max(len(classes), 1), seed=seed)


def _chosen(found: Measures, plan: SweepPlan) -> Measures:
    """The measures, if the one that chooses is among them. Raises SweepError."""
    if plan.measure not in found.values:
        raise SweepError(
            f"{plan.measure} could not be computed",
            f"{plan.metric.least} minted and held-out images each, and a finite number",
            "raise mint or held_out, or choose another measure, in a new folder",
        )
    return found


def _pack_here(path: Path, fingerprint: str) -> Pack:
    """A part of a pack on the machine that computes. Raises PackError where it is missing, or another."""
    node = platform.node()
    remedy = "put the sweep's folder on a disk that every machine sees"
    if not path.exists():
        raise PackError(f"machine {node} has no pack at {path}", "the sweep's folder", remedy)
    pack = open_pack(path)
    if pack.fingerprint != fingerprint:
        raise PackError(f"{path} on machine {node} is another pack", f"fingerprint {fingerprint[:12]}", remedy)
    return pack


def _failed(trial: Trial, error: Exception) -> Row:
    words = str(error) if isinstance(error, (ImagemintError, OSError)) else str(error).strip().splitlines()[-1]
    return Row(
        **_head(trial), state="failed", why=shown(words), images_seen=0, checkpoint="", measures={}, seconds=0.0
    )


def _head(trial: Trial) -> dict[str, Any]:
    """What a row says whatever came of its trial."""
    return {
        "trial": trial.number,
        "name": trial.name,
        "pack": trial.cell.pack,
        "recipe": trial.cell.recipe,
        "variant": trial.cell.variant,
        "settings": trial.cell.settings,
        "seed": trial.seed,
        "run": f"runs/{trial.name}",
    }


# --- refusals, before anything is written -------------------------------------------------------------------------


def _distinct(plan: SweepPlan) -> list[Cell]:
    """One cell for each pack, recipe and variant: what decides whether a pack fits."""
    first: dict[tuple[str, str, str], Cell] = {}
    cells = base_cells(plan) if plan.search else [trial.cell for trial in trials_of(plan)]
    for cell in cells:
        first.setdefault((cell.pack, cell.recipe, cell.variant), cell)
    return list(first.values())


def _check(plan: SweepPlan, pack: Pack, cell: Cell) -> None:
    """Raise what a trial would raise, hours from now."""
    made_by = pack.manifest.history[-1] if pack.manifest.history else None
    if made_by is not None and made_by.parameters.get("side") == "test":
        raise SweepError(
            f"{pack.path} is the test side of a split", "packs to learn from", "name the side called train"
        )
    recipe = resolved(plan, cell)
    facts = check_fits(pack, recipe, seed=plan.seeds[0])
    metric = plan.metric
    if metric.labels and not method_of(recipe.model).sees_labels(facts) and len(pack.classes) > 1:
        raise SweepError(
            f"choose {plan.choose} and recipe {cell.recipe}, whose networks do not see labels",
            "a measure that needs no labels, such as fd",
            "choose another measure, or leave the recipe out",
        )
    labelled = len(pack) - pack.unlabelled()
    measured = int(labelled * plan.held_out / 2)  # of what is held out, `measure` gives half to its judge
    if measured < metric.least:
        raise SweepError(
            f"{plan.held_out:.0%} of the {counted(labelled, 'labelled image')} of {pack.path} leave "
            f"{measured:,} to measure {plan.choose} on",
            f"at least {metric.least}",
            "raise held_out, or take a larger pack",
        )
    if plan.mint * max(len(pack.classes), 1) < metric.least:
        wanted = f"at least {metric.least} in all to measure {plan.choose}"
        raise SweepError(
            f"mint {plan.mint} per class of {counted(len(pack.classes), 'class', 'classes')}", wanted, "raise mint"
        )


def _known_rows(out: Path, plan: SweepPlan, facts: Facts) -> dict[int, Row]:
    """The rows of trials that are done already, by number. Raises SweepError for another sweep in the folder."""
    if not (out / "facts.json").exists():
        left = [each.name for each in out.iterdir() if each.name != "lock"] if out.is_dir() else []
        if left or (out.exists() and not out.is_dir()):
            raise SweepError(f"{out} is already there and is no sweep", "a new folder", "choose another --out")
        return {}
    before = open_sweep(out)
    old, new = (_decisive(made, each) for made, each in ((before.plan, before.facts), (plan, facts)))
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key):
            raise SweepError(
                f"{out} holds a sweep with {key} = {old.get(key)}, not {new.get(key)}",
                "the plan that it was started with",
                "use the same plan, or another --out",
            )
    return {row.trial: row for row in before.done}


def _decisive(plan: SweepPlan, facts: Facts) -> dict[str, Any]:
    """What must not change while a sweep goes on, by dotted keys, though an earlier version may have written it."""
    told = {key.partition(".")[0] for key in DESCRIBES}
    recipes = {
        name: saved_recipe(tree, f"recipe {name}").model_dump(mode="json", exclude=told)
        for name, tree in facts.recipes.items()
    }
    settings = plan.model_dump(mode="json", exclude={"about", "cpus", "gpus"})
    return flat({**settings, **facts.model_dump(mode="json", exclude={"imagemint"}), "recipes": recipes})


def _write_head(out: Path, plan: SweepPlan, facts: Facts, rows: dict[int, Row]) -> None:
    """Everything that stands in the folder before the first trial; rows of failed trials go: they are tried again."""
    settings = plan.model_dump(mode="json", exclude_none=True)
    files.write_text(out / "plan.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    files.keep_lines(out / "trials.jsonl", [row.model_dump(mode="json") for row in in_order(rows.values())])
    files.write_json(out / "facts.json", facts.model_dump(mode="json"))
    for name in ("runs", "minted"):
        (out / name).mkdir(exist_ok=True)


def _parts(pack: Pack, dest: Path, plan: SweepPlan) -> tuple[Pack, Pack]:
    """What is trained on and what is held out, split once."""
    if not dest.exists():
        split(pack, dest, validation=plan.held_out, test=0, seed=plan.seed)
    return open_pack(dest / "train"), open_pack(dest / "validation")
