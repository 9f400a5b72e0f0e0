"""A study: arms x budgets x repeats -> rows. Interrupted and started again, it computes what is missing.

    OUT/
      study.json                settings and fingerprints, written first; another study may not use the folder
      subsets/10-0/             pack: the real images of budget 10, repeat 0
      runs/10-0/                the GAN that was trained on that subset and on nothing else
      minted/10-0/              pack: what it minted
      rows.jsonl                one line for every (budget, repeat, arm)
      predictions/10-0-mix.npy  what the classifier of that row says about each test image
      report.html

Test images are used for one thing: to ask finished classifiers. Images of the training pack that are exact copies of
a test image are left out before anything else happens.
"""

from __future__ import annotations

import io
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import __version__, files, seeds
from imagemint.augment import classic
from imagemint.classifiers import AT_LEAST, Evaluation, evaluate, judged, train_classifier
from imagemint.config import Baseline, Recipe, flat, load_recipe
from imagemint.data.duplicates import digests
from imagemint.data.pack import Pack, open_pack
from imagemint.data.rewriting import rewrite
from imagemint.errors import StudyError
from imagemint.files import append_line, keep_lines, read_lines
from imagemint.minting import mint
from imagemint.progress import Advance, progress, say
from imagemint.studies.arms import ALL, ARMS, in_words
from imagemint.studies.report import report
from imagemint.studies.results import Study as Study
from imagemint.studies.results import cell, open_study
from imagemint.studies.verdict import ENOUGH_REPEATS
from imagemint.training.loop import train

MOST_LEAKED = 0.01  # share of the training pack that may be copies of test images; more is no accident


@dataclass(frozen=True)
class _Plan:
    """What decides the rows of a study, beside the packs."""

    recipe: Recipe | Baseline
    epochs: float | None
    images: int | None
    classifier_epochs: int
    classifier_images: int
    minted_per_class: int | None
    real_share: float
    seed: int

    def seed_for(self, purpose: str, budget: str, repeat: int) -> int:
        """Short enough to be typed again: 31 bits."""
        return seeds.derive(self.seed, f"study {purpose} {budget}", repeat) >> 32


def study(
    pack: Pack | Path | str,
    test: Pack | Path | str,
    recipe: str | Path | Recipe | Baseline,
    out: Path | str,
    *,
    budgets: Sequence[int | str] = (10, 50, ALL),
    repeats: int = 3,
    arms: Sequence[str] | None = None,
    epochs: float | None = None,
    images: int | None = None,
    classifier_epochs: int = 20,
    classifier_images: int = AT_LEAST,
    minted_per_class: int | None = None,
    real_share: float = 0.5,
    seed: int = 0,
) -> Study:
    """Find out whether minted images help a classifier that has few real ones.

    For every budget (labelled real images a class) and repeat: draw a subset of `pack`, train `recipe` on it alone
    for `epochs` or `images`, mint as many images as the subset has (or `minted_per_class`), train a LeNet for every
    arm and test it on `test`. Within a repeat the subsets are nested (the 50 of a class contain the 10), so that
    budgets differ by what was added. All arms of a subset start from the same weights and see the same number of
    images: `classifier_epochs` times the real ones, at least `classifier_images`. Where an arm has both kinds, about
    `real_share` of what it sees is real, however many were minted: the rarer kind is seen more often.

    `out` may hold the same study: what is there is not computed again, and budgets, repeats and arms may be added.
    Raises StudyError where the packs do not fit each other or the study that the folder holds.
    """
    pack, test, out = open_pack(pack), open_pack(test), Path(out)
    if not 0 < real_share < 1:
        raise StudyError(f"a real share of {real_share}", "a share between 0 and 1", "write for example 0.5")
    classifier = (classifier_epochs, classifier_images)
    plan = _Plan(load_recipe(recipe), epochs, images, *classifier, minted_per_class, real_share, seed)
    duration = {key: value for key, value in {"epochs": epochs, "images": images}.items() if value is not None}
    load_recipe(plan.recipe, duration)  # refused now, not when the first GAN is trained
    names, chosen = _budgets(budgets), _arms(arms)
    for what, count in {
        "repeats": repeats,
        "classifier epochs": classifier_epochs,
        "classifier images": classifier_images,
    }.items():
        if count < 1:
            raise StudyError(
                f"{count} {what}", "at least 1", f"{ENOUGH_REPEATS} repeats or more give a useful interval"
            )
    exam = _exam(pack, test)
    pool, leaked = _pool(pack, test)
    _check_budgets(names, pool, pack.classes)
    _settle(out, plan, pack, test, {"budgets": names, "repeats": repeats, "arms": chosen}, leaked)
    _save(out / "predictions" / "labels.npy", exam.labels)

    done = {(row["budget"], row["repeat"], row["arm"]) for row in read_lines(out / "rows.jsonl")}
    cells = {(b, r): [arm for arm in chosen if (b, r, arm) not in done] for b in names for r in range(repeats)}
    cells = {cell: missing for cell, missing in cells.items() if missing}
    started = time.monotonic()
    for number, ((budget, repeat), missing) in enumerate(cells.items()):
        left = (time.monotonic() - started) / max(number, 1) * (len(cells) - number) / 60
        about = f", about {left:.0f} min left" if number else ""
        say(f"study {number + 1}/{len(cells)}: {in_words(budget)}, repeat {repeat + 1} of {repeats}{about}")
        subset = _subset(out, plan, pack, pool, budget, repeat)
        minted = _minted(out, plan, subset, budget, repeat) if any(ARMS[arm].minted for arm in missing) else None
        _classify(out, plan, subset, minted, exam, budget, repeat, missing)
    found = open_study(out)
    report(found)
    return found


# --- what is asked for -------------------------------------------------------------------------------------------


def _arms(arms: Sequence[str] | None) -> list[str]:
    chosen = list(ARMS) if arms is None else [arm.strip() for arm in arms]
    unknown = [arm for arm in chosen if arm not in ARMS]
    if unknown or not chosen:
        found = f"no arm {unknown[0]!r}" if unknown else "no arm"
        raise StudyError(found, f"some of {', '.join(ARMS)}", "check the spelling")
    return [arm for arm in ARMS if arm in chosen]


def _budgets(budgets: Sequence[int | str]) -> list[str]:
    names = [str(budget).strip() for budget in budgets]
    for name in names:
        if name != ALL and not (name.isascii() and name.isdigit() and int(name) > 0):
            raise StudyError(f"budget {name!r}", "labelled images a class, or all", "write for example 10,50,all")
    if not names:
        raise StudyError("no budget", "at least one", "write for example 10,50,all")
    return _in_order(names)


def _in_order(names: Sequence[str]) -> list[str]:
    """Budgets from small to large, each once."""
    numbers = sorted({int(name) for name in names if name != ALL})
    return [*map(str, numbers), *([ALL] if ALL in names else [])]


def _check_budgets(names: list[str], pool: list[np.ndarray], classes: list[str]) -> None:
    """Raise StudyError unless every class can fill every budget."""
    largest = max((int(name) for name in names if name != ALL), default=1)
    short = {name: len(members) for name, members in zip(classes, pool, strict=True) if len(members) < largest}
    if short:
        counts = ", ".join(f"{name} {count}" for name, count in short.items())
        raise StudyError(
            f"too few images for a budget of {largest} a class: {counts}",
            f"at least {largest} of every class",
            "ask for smaller budgets, or leave the class out of both packs",
        )


# --- the test images, and what may be learned from --------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Exam:
    """The labelled test images, with labels as indices into the training pack's classes."""

    pixels: np.ndarray  # uint8 [n, c, h, w]
    labels: np.ndarray  # int64 [n]
    fingerprint: str


def _exam(pack: Pack, test: Pack) -> _Exam:
    if pack.pixels.shape[1:] != test.pixels.shape[1:]:
        found = f"training images are {list(pack.pixels.shape[1:])} and test images {list(test.pixels.shape[1:])}"
        raise StudyError(found, "the same channels, height and width", "pack one of them again at the other's size")
    if set(pack.classes) != set(test.classes):
        apart = sorted(set(pack.classes) ^ set(test.classes))
        raise StudyError(f"class {apart[0]!r} is in one pack only", "classes of the same names", "rename or drop it")
    index = np.array([pack.classes.index(name) for name in test.classes])
    rows = np.flatnonzero(np.asarray(test.labels) >= 0)
    if not len(rows):
        raise StudyError("the test pack has no labelled image", "labelled test images", "label the test pack")
    return _Exam(test.pixels[rows], index[test.labels[rows]], test.fingerprint)


def _pool(pack: Pack, test: Pack) -> tuple[list[np.ndarray], int]:
    """Indices of the labelled images that may be learned from, class by class, and how many copies were left out."""
    labels = np.asarray(pack.labels)
    copies = np.isin(digests(pack), digests(test)) & (labels >= 0)
    leaked, labelled = int(copies.sum()), int((labels >= 0).sum())
    if pack.fingerprint == test.fingerprint or leaked > MOST_LEAKED * labelled:
        raise StudyError(
            f"{leaked} of {labelled} training images are exact copies of test images",
            "test images that nothing has learned from",
            "split the images into a training and a test pack first (imagemint.split)",
        )
    return [np.flatnonzero((labels == k) & ~copies) for k in range(len(pack.classes))], leaked


# --- the folder ---------------------------------------------------------------------------------------------------


def _settle(out: Path, plan: _Plan, pack: Pack, test: Pack, extent: dict[str, Any], leaked: int) -> None:
    """Write study.json, or check that it holds the same study and widen its extent."""
    settings = {
        **asdict(plan),
        "recipe": plan.recipe.model_dump(mode="json"),
        "pack": pack.fingerprint,
        "test": test.fingerprint,
    }
    settings = json.loads(json.dumps(settings))
    about: dict[str, Any] = {
        "pack": {"path": str(pack.path), "images": len(pack), "counts": pack.counts()},
        "test": {"path": str(test.path), "images": len(test), "counts": test.counts()},
        "classes": pack.classes,
        "leaked": leaked,
        "versions": _versions(),
    }
    if (out / "study.json").exists():
        before = open_study(out)
        _check_same(before.facts["settings"], settings, out)
        old = before.facts["extent"]
        extent = {
            "budgets": _in_order([*old["budgets"], *extent["budgets"]]),
            "repeats": max(old["repeats"], extent["repeats"]),
            "arms": [arm for arm in ARMS if arm in {*old["arms"], *extent["arms"]}],
        }
        about = before.facts["about"]
        keep_lines(out / "rows.jsonl", before.rows)  # drops a last line that a kill cut short
    elif out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise StudyError(f"{out} is already there and is no study", "a new folder", "choose another name")
    (out / "predictions").mkdir(parents=True, exist_ok=True)
    files.write_json(out / "study.json", {"settings": settings, "extent": extent, "about": about})


def _check_same(before: dict[str, Any], now: dict[str, Any], out: Path) -> None:
    old, new = flat(before), flat(now)
    for key in [*old, *(key for key in new if key not in old)]:
        if old.get(key) != new.get(key):
            raise StudyError(
                f"{out} holds a study with {key} = {old.get(key)}, not {new.get(key)}",
                "the settings that it was started with",
                "use the same settings, or another folder",
            )


def _versions() -> dict[str, str]:
    packages = ("torch", "numpy", "kornia", "scikit-learn")
    return {
        "imagemint": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def _save(path: Path, values: np.ndarray) -> None:
    """Class indices as a small .npy, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, values.astype(np.int16 if values.max(initial=0) < 2**15 else np.int32), allow_pickle=False)
    files.write_bytes(path, buffer.getvalue())


# --- one budget, one repeat ---------------------------------------------------------------------------------------


def _subset(out: Path, plan: _Plan, pack: Pack, pool: list[np.ndarray], budget: str, repeat: int) -> Pack:
    """The pack of real images that this budget and repeat may learn from; the images of smaller budgets are in it."""
    dest = out / "subsets" / cell(budget, repeat)
    if dest.exists():
        return open_pack(dest)
    count = None if budget == ALL else int(budget)
    order = [
        seeds.rng(plan.seed, f"study subset {k}", repeat).permutation(each)[:count] for k, each in enumerate(pool)
    ]
    rows = np.sort(np.concatenate(order))
    return rewrite(pack, dest, "study subset", {"budget": budget, "repeat": repeat, "seed": plan.seed}, order=rows)


def _minted(out: Path, plan: _Plan, subset: Pack, budget: str, repeat: int) -> Pack:
    """The GAN sees the subset and nothing else; it mints as many images of each class as the subset has."""
    dest = out / "minted" / cell(budget, repeat)
    if dest.exists():
        return open_pack(dest)
    run = train(
        subset,
        plan.recipe,
        out / "runs" / cell(budget, repeat),
        seed=plan.seed_for("gan", budget, repeat),
        epochs=plan.epochs,
        images=plan.images,
        resume=True,
    )
    counts = dict.fromkeys(subset.classes, plan.minted_per_class) if plan.minted_per_class else subset.counts()
    return mint(run, dest, counts=counts, seed=plan.seed_for("mint", budget, repeat))


def _classify(
    out: Path, plan: _Plan, subset: Pack, minted: Pack | None, exam: _Exam, budget: str, repeat: int, arms: list[str]
) -> None:
    """One classifier and one row for each arm: same weights to start from, same number of images seen."""
    images_seen = max(plan.classifier_epochs * len(subset), plan.classifier_images)
    seed = plan.seed_for("classifier", budget, repeat)
    taught = sum(1 for arm in arms if ARMS[arm].real or ARMS[arm].minted)
    with progress(taught * images_seen, "classify") as advance:
        for name in arms:
            started = time.monotonic()
            evaluation = _evaluate_arm(name, plan, subset, minted, exam, images_seen, seed, advance)
            arm = ARMS[name]
            _save(out / "predictions" / f"{cell(budget, repeat)}-{name}.npy", evaluation.predictions)
            right, asked = np.diag(evaluation.confusion), evaluation.confusion.sum(1)
            row = {
                "budget": budget,
                "repeat": repeat,
                "arm": name,
                "accuracy": evaluation.accuracy,
                "loss": evaluation.loss,
                "per_class": [float(r / n) if n else None for r, n in zip(right, asked, strict=True)],
                "n_real": len(subset) if arm.real else 0,
                "n_minted": len(minted) if arm.minted and minted else 0,
                "n_test": len(exam.labels),
                "images_seen": images_seen if arm.real or arm.minted else 0,
                "seed": seed,
                "subset": subset.fingerprint,
                "minted": minted.fingerprint if arm.minted and minted else None,
                "test": exam.fingerprint,
                "seconds": round(time.monotonic() - started, 2),
            }
            append_line(out / "rows.jsonl", row)


def _evaluate_arm(
    name: str,
    plan: _Plan,
    subset: Pack,
    minted: Pack | None,
    exam: _Exam,
    images_seen: int,
    seed: int,
    advance: Advance,
) -> Evaluation:
    arm, classes = ARMS[name], len(subset.classes)
    sources = [each for each, wanted in ((subset, arm.real), (minted, arm.minted)) if wanted and each]
    if not sources:
        return _majority(subset, exam)
    pixels = np.concatenate([source.pixels for source in sources])
    labels = np.concatenate([source.labels for source in sources])
    if len(sources) == 2:
        pixels, labels = (
            np.repeat(each, times_seen(len(subset), len(sources[1]), plan.real_share), 0) for each in (pixels, labels)
        )
    augment = partial(classic, flips=plan.recipe.flips) if arm.classic else None
    net = train_classifier(
        pixels,
        labels,
        classes,
        images_seen=images_seen,
        seed=seed,
        augment=augment,
        advance=partial(advance, note=name),
    )
    return evaluate(net, exam.pixels, exam.labels)


def times_seen(real: int, minted: int, share: float) -> np.ndarray:
    """How often each image counts, int64 `[real + minted]`, so that about `share` of all is real; one kind once."""
    wanted = share / (1 - share) * minted / real  # copies of a real image for each minted one
    return np.repeat([max(round(wanted), 1), max(round(1 / wanted), 1)], [real, minted])


def _majority(subset: Pack, exam: _Exam) -> Evaluation:
    """Always the most frequent class; its loss is that of stating the class frequencies."""
    counts = np.array(list(subset.counts().values()))
    loss = float(-np.log(counts / counts.sum())[exam.labels].mean())
    return judged(np.full(len(exam.labels), counts.argmax()), exam.labels, len(counts), loss)
