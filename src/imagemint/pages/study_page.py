"""A study as one HTML file that needs nothing else: the answer first, then everything that it rests on.

Works for a study that is only partly done: what is not there yet is left out, and the page says so.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import files, images
from imagemint.classifiers import CLASSIFIERS
from imagemint.config import AnyRecipe, Recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import StudyError
from imagemint.jobs import FanOut, side_by_side
from imagemint.metrics.measures import Measures, metric_named
from imagemint.pages import figures
from imagemint.pages.figures import CROWDED, span
from imagemint.pages.html import Html, data_uri, element, items, join, name, note, page, table
from imagemint.runs import Run
from imagemint.studies import study as studies
from imagemint.studies.arms import find_arm
from imagemint.studies.folder import write_recipe
from imagemint.studies.plan import Settings, budget_in_words
from imagemint.studies.results import Study as Study
from imagemint.studies.results import open_study
from imagemint.studies.verdict import ENOUGH_REPEATS, Difference, Interval, points
from imagemint.words import counted, listed, shortened

MAIN_ARMS = ("real", "classic")  # in the enlarged figure, with those that are compared with classic
SHOWN_CLASSES, SHOWN_IMAGES = 20, 8  # nobody looks at a grid of more


def study(
    pack: Pack | Path | str,
    test: Pack | Path | str,
    recipe: str | Path | AnyRecipe | None,
    out: Path | str,
    *,
    jobs: int | None = 1,
    fan_out: FanOut = side_by_side,
    **options: Any,
) -> Study:
    """`imagemint.studies.study.study`, and then its report: `out`/report.html."""
    made = studies.study(pack, test, recipe, out, jobs=jobs, fan_out=fan_out, **options)
    report(made)
    return made


study.__doc__ = f"{studies.study.__doc__}\n    The report is written into `out` when all rows are there.\n    "


def report(study: Study | Path | str, *, measures: Measures | None = None) -> Path:
    """Write `report.html` into the study's folder and return its path.

    `measures` (of a minted pack against the real one) are kept beside it as measures.json and shown from then on.
    """
    study = study if isinstance(study, Study) else open_study(study)
    if measures is not None:
        files.write_json(study.measures, measures.model_dump(mode="json"))
    write_recipe(study.path, study.facts.settings.recipe)  # studies of earlier versions have none
    sections = [
        _answer(study),
        _tables(study),
        _curves(study),
        _pictures(study),
        _by_class(study),
        _confusions(study),
        _trainings(study),
        _measures(study),
        _method(study),
        _again(study),
    ]
    facts = study.facts
    subtitle = [
        shortened(Path(facts.about.pack.path).name),
        counted(len(study.classes), "class", "classes"),
        *([f"recipe {facts.settings.recipe.name}"] if facts.settings.recipe else []),
        counted(facts.extent.repeats, "repeat"),
        counted(facts.about.test.images, "test image"),
    ]
    asked = question(study)
    title = "Do minted images help?" if not asked or find_arm(asked[0]).minted else "Do more images help?"
    text = page(title, " · ".join(subtitle), [each for each in sections if each], about="imagemint study")
    files.write_text(study.report, text)
    return study.report


# --- the answer ---------------------------------------------------------------------------------------------------


def question(study: Study) -> tuple[str, str] | None:
    """The comparison that the headline is about: the first of which any budget has rows."""
    asked = (each for each in study.comparisons if any(study.repeats(budget, *each) for budget in study.budgets))
    return next(asked, None)


def headline(study: Study) -> tuple[str, str]:
    """(helps, hurts, mixed, nothing or unknown; the answer in plain sentences)."""
    asked = question(study)
    if asked is None:
        return "unknown", "No two arms can be compared yet."
    found = [each for budget in study.budgets if (each := study.difference(budget, *asked))]
    arm = find_arm(asked[0])
    subject = arm.subject if arm.subject and asked[1] == arm.against[0] else f"Compared with {asked[1]}, {asked[0]}"
    if any(each.word == "too few repeats" for each in found):
        helping = "minted images help" if arm.minted else f"{_arm_name(asked[0])} helps"
        few = f"This study cannot say yet whether {helping}: one repeat says nothing about chance."
        return "unknown", f"{few} Run {ENOUGH_REPEATS}."
    helps, hurts, nothing = (
        [each for each in found if each.word == word] for word in ("helps", "hurts", "no measurable effect")
    )
    if not helps and not hurts:
        where = f"with {_at(nothing)}" if len(nothing) < 2 else f"at {len(nothing)} sizes of training set"
        smallest = 100 * max(each.interval.detectable or 0 for each in nothing)
        return "nothing", (
            f"No measurable effect: {subject[0].lower()}{subject[1:]} made no measurable difference to accuracy "
            f"{where}. This study could have seen a difference of {smallest:.1f} points, but hardly a smaller one."
        )
    sentences = ["It depends." if helps and hurts else "Yes." if helps else "No."]
    if helps:
        sentences.append(f"{subject} raised accuracy with {_at(helps, numbers=True)}.")
    if hurts:
        sentences.append(f"{'They' if helps else subject} lowered accuracy with {_at(hurts, numbers=True)}.")
    if nothing:
        sentences.append(f"No measurable effect with {_at(nothing)}.")
    return "mixed" if helps and hurts else "helps" if helps else "hurts", " ".join(sentences)


def _at(group: list[Difference], *, numbers: bool = False) -> str:
    """'10 real images per class (+1.2 points) and all real images (+0.3 points)'."""
    parts = [budget_in_words(each.budget) + f" ({points(each.interval.mean)} points)" * numbers for each in group]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _answer(study: Study) -> Html:
    word, text = headline(study)
    parts = [element("p", text, class_="headline")]
    if asked := question(study):
        cards = [_card(each) for budget in study.budgets if (each := study.difference(budget, *asked))]
        arm, baseline = asked
        parts += [
            element("div", *cards, class_="cards"),
            note(
                *(element("b", name(arm)), f" ({find_arm(arm).about}) against "),
                *(element("b", name(baseline)), f" ({find_arm(baseline).about}): difference of test accuracy in "),
                "points (hundredths). 95 of 100 such intervals hold the true difference.",
            ),
        ]
    done, wanted = study.progress
    if done < wanted:
        parts.append(note(element("b", "Unfinished:"), f" {done} of {wanted} classifiers are trained."))
    parts += [note(line) for line in _left_out(study)]
    return element("div", *parts, class_=f"answer {word}")


def _left_out(study: Study) -> list[str]:
    """What the answer does not rest on, and why."""
    about, lines = study.facts.about, []
    if about.without_test:
        lines.append(f"Left out of both packs, since no test image is of them: {_counts(about.without_test)}.")
    for arm, added in about.added.items():
        lines += [f"{_arm_name(arm)}: {line}." for line in added.left_out()]
    return lines


def _counts(counts: dict[str, int]) -> str:
    return listed([f"{shortened(each)} ({counted(count, 'training image')})" for each, count in counts.items()])


def _arm_name(arm: str) -> str:
    return f"arm {shortened(arm)}"


def _card(each: Difference) -> Html:
    i = each.interval
    if i.low is None or i.high is None or i.detectable is None:
        detail = "one repeat: no interval"
    else:
        detail = f"95 % interval {points(i.low)} to {points(i.high)}"
        if each.word == "no measurable effect":
            detail += f"; this study could have seen {100 * i.detectable:.1f}"
    return element(
        "div",
        element("div", budget_in_words(each.budget), class_="where"),
        element("div", points(i.mean), element("small", " points"), class_="number"),
        element("div", each.word, class_="word"),
        element("div", detail, class_="detail"),
        class_=f"card {_css(each.word)}",
    )


def _css(word: str) -> str:
    return {"helps": "helps", "hurts": "hurts", "no measurable effect": "nothing"}.get(word, "unknown")


# --- tables -------------------------------------------------------------------------------------------------------


def difference_table(study: Study) -> list[tuple[str, str, list[Difference | None]]]:
    """(arm, baseline, one difference per budget) for every comparison that has rows."""
    rows = [(arm, base, [study.difference(b, arm, base) for b in study.budgets]) for arm, base in study.comparisons]
    return [(arm, base, row) for arm, base, row in rows if any(row)]


def accuracy_table(study: Study) -> list[tuple[str, list[Interval | None]]]:
    """(arm, its accuracy at every budget)."""
    rows = [(arm, [study.accuracy(budget, arm) for budget in study.budgets]) for arm in study.arms]
    return [(arm, row) for arm, row in rows if any(row)]


def _tables(study: Study) -> Html:
    heads = ["", *map(budget_in_words, study.budgets)]
    parts = []
    if differences := difference_table(study):
        rows = [
            element(
                "tr",
                element("th", name(arm), " ", element("i", "against"), f" {base}"),
                *map(_difference_cell, row),
                class_="key" if (arm, base) == study.comparisons[0] else None,
            )
            for arm, base, row in differences
        ]
        parts += [
            element("h2", "Differences"),
            element(
                "p",
                "Points of test accuracy, each arm against its baseline on the same test images, paired repeat by "
                "repeat.",
            ),
            table(heads, rows),
            note(
                "Under each difference its 95 % interval. It counts two kinds of chance: other repeats (draws of "
                "real images, GANs, classifiers) and other test images. Each interval stands for itself: of twenty "
                "comparisons without any effect, about one leaves out 0. The verdicts in words take the number of "
                "comparisons into account (Holm 1979)."
            ),
        ]
    if accuracies := accuracy_table(study):
        rows = [
            element("tr", element("th", name(arm), element("small", find_arm(arm).about)), *map(_accuracy_cell, row))
            for arm, row in accuracies
        ]
        parts += [
            element("h3", "Accuracies"),
            table(heads, rows),
            note(
                "Per cent of test images, with 95 % intervals. Two of these may overlap although the difference is "
                "clear: arms are compared on the same images."
            ),
        ]
    return join(parts)


_ABSENT = element("td", "not there", class_="none")


def _difference_cell(each: Difference | None) -> Html:
    if each is None:
        return _ABSENT
    i = each.interval
    between = None if i.low is None or i.high is None else element("small", f"{points(i.low)} to {points(i.high)}")
    return element("td", element("b", points(i.mean)), between, element("em", each.word), class_=_css(each.word))


def _accuracy_cell(each: Interval | None) -> Html:
    if each is None:
        return _ABSENT
    between = None
    if each.low is not None and each.high is not None:
        between = element("small", f"{100 * max(each.low, 0):.1f} to {100 * min(each.high, 1):.1f}")
    return element("td", element("b", f"{100 * each.mean:.1f}"), between)


# --- figures ------------------------------------------------------------------------------------------------------


def _curves(study: Study) -> Html | None:
    everything = accuracy_table(study)
    if not everything:
        return None
    counts = study.facts.about.pack.counts
    largest = float(np.mean([counts[each] for each in study.classes]))
    at = {b if b.isdigit() else f"all ({largest:.0f})": float(b) if b.isdigit() else largest for b in study.budgets}
    colours = figures.colours_of(study.arms)
    panels = [figures.learning_curves("Test accuracy, all arms", everything, at, colours)]
    against_classic = [arm for arm, base in study.comparisons if base == "classic"]
    if main := [(arm, row) for arm, row in everything if arm in (*MAIN_ARMS, *against_classic)]:
        panels.append(figures.learning_curves("The same, enlarged", main, at, colours))
    return join(
        [
            element("h2", "Learning curves"),
            figures.figures(panels),
            note("Bars are 95 % intervals."),
            _saturation(study),
        ]
    )


def _saturation(study: Study) -> Html | None:
    each = study.saturation()
    if each is None:
        return None
    small, large = study.budgets[-2:]
    i = each.interval
    found = (
        f" From {budget_in_words(small)} to {budget_in_words(large)}, accuracy without minted images changed by "
        f"{points(i.mean)} points"
    )
    if i.low is None or i.high is None:
        found += "; one repeat says nothing about chance."
    else:
        verdict = (
            "accuracy still depends on the number of examples"
            if i.low > 0
            else "accuracy no longer depends on the number of examples; minting cannot be expected to help there"
        )
        found += f" (95 % interval {points(i.low)} to {points(i.high)}): {verdict}."
    return element("p", element("b", "Saturation check."), found)


def _by_class(study: Study) -> Html | None:
    asked = question(study)
    found = [each for budget in study.budgets if asked and (each := study.difference(budget, *asked))]
    if not asked or not any(each.interval.low is not None for each in found):
        return None
    shown = _most_moved(found, CROWDED)
    names = {k: study.classes[k] for k in shown}
    reach = max(abs(v) for each in found for k in shown for v in span(each.per_class[k])) or 0.01
    fewer = (
        f" The {len(shown)} of {len(study.classes)} classes that moved most."
        if len(shown) < len(study.classes)
        else ""
    )
    return join(
        [
            element("h2", "Class by class"),
            element("p", name(asked[0]), f" against {asked[1]} on the test images of each class.{fewer}"),
            figures.figures([figures.class_differences(each, names, reach) for each in found]),
            note(
                "Lines are 95 % intervals; coloured where they leave out 0. With so many classes some is chance: "
                "take it as a hint where to look."
            ),
        ]
    )


def _most_moved(found: list[Difference], count: int) -> list[int]:
    """Up to `count` classes with the largest differences at any budget, in label order."""
    moved = np.max([[abs(i.mean) for i in each.per_class] for each in found], axis=0)
    return sorted(np.argsort(-moved, kind="stable")[:count].tolist())


def _confusions(study: Study) -> Html | None:
    """`real` and the arm that the answer is about, at the largest budget that has both, all repeats together."""
    asked = question(study)
    arms = list(dict.fromkeys(["real", asked[0] if asked else "mix+classic"]))
    there = {b: [arm for arm in arms if study.repeats(b, arm)] for b in study.budgets}
    if not any(there.values()):
        return None
    budget = max(study.budgets, key=lambda b: (len(there[b]), study.budgets.index(b)))
    shares = {arm: study.confusion(budget, arm) for arm in there[budget]}
    off_diagonal = ~np.eye(len(study.classes), dtype=bool)
    worst = max(0.02, *(float(share[off_diagonal].max(initial=0)) for share in shares.values()))
    return join(
        [
            element("h2", "Which classes are confused"),
            element(
                "p",
                f"With {budget_in_words(budget)}: per cent of the test images of each true class (row) that got each "
                "answer (column), all repeats together. Mistakes are coloured, on the same scale in each picture.",
            ),
            figures.figures([figures.confusion(arm, share, study.classes, worst) for arm, share in shares.items()]),
        ]
    )


def _trainings(study: Study) -> Html | None:
    """What the trainings said of themselves: findings in words, then their losses."""
    runs = {(budget, repeat): run for budget in study.budgets for repeat, run in study.trainings(budget).items()}
    gans = {place: run for place, run in runs.items() if isinstance(run.recipe, Recipe)}
    if not gans:
        return None
    found = [(place, each) for place, run in gans.items() for each in run.findings()]
    if found:
        wrong = len({place for place, _ in found})
        rows = [
            element(
                "tr",
                element("th", budget_in_words(budget), element("small", f"repeat {repeat + 1}")),
                element("td", element("b", each.name), f" since {each.began:,} images: {each.evidence}"),
                element("td", each.remedy),
            )
            for (budget, repeat), each in found
        ]
        words = join(
            [
                element(
                    "p",
                    element("b", f"Something was found to be wrong with {wrong} of {counted(len(gans), 'training')}"),
                    ", which may be why minted images do not help more. What to do stands beside it.",
                ),
                table(["", "found", "what to do"], rows),
            ]
        )
    else:
        words = element(
            "p", "Nothing was found to be wrong with any training; those under 20,000 images are too short to judge."
        )
    return join([element("h2", "How the GANs trained"), words, _losses(gans)])


def _losses(gans: dict[tuple[str, int], Run]) -> Html:
    logs: dict[str, list[list[dict[str, Any]]]] = {}
    for (budget, _), run in gans.items():
        logs.setdefault(budget, []).append(run.log())
    words = "Losses: one pair of lines for each repeat; the same scale in each picture."
    return join([figures.losses(logs), note(words)])


# --- images -------------------------------------------------------------------------------------------------------


def _pictures(study: Study) -> Html | None:
    blocks = [
        _strips(study, budget, open_pack(cell.subset), open_pack(cell.minted))
        for budget in study.budgets
        if (cell := study.cell(budget, 0)).minted.is_dir()
    ]
    if not blocks:
        return None
    total = len(study.classes)
    fewer = f" {SHOWN_CLASSES} of {total} classes." if total > SHOWN_CLASSES else ""
    words = f"The first {SHOWN_IMAGES} images of each class, not the best ones, from the first repeat.{fewer}"
    return join([element("h2", "Real beside minted"), element("p", words), *blocks])


def _strips(study: Study, budget: str, real: Pack, minted: Pack) -> Html:
    rows = [
        element(
            "tr",
            element("th", name(each)),
            *(element("td", _strip(pack, k, f"{kind} images of {each}")) for kind, pack in _sides(real, minted)),
        )
        for k, each in enumerate(study.classes[:SHOWN_CLASSES])
    ]
    heads = element("tr", element("th"), element("td", "real"), element("td", "minted"))
    return element(
        "table",
        element("caption", budget_in_words(budget)),
        element("thead", heads),
        element("tbody", *rows),
        class_="strips",
    )


def _sides(real: Pack, minted: Pack) -> tuple[tuple[str, Pack], tuple[str, Pack]]:
    return ("real", real), ("minted", minted)


def _strip(pack: Pack, label: int, alt: str) -> Html:
    rows = np.flatnonzero(np.asarray(pack.labels) == label)[:SHOWN_IMAGES]
    # every strip is SHOWN_IMAGES tiles wide, so that tiles are equally large everywhere
    blank = np.full((SHOWN_IMAGES - len(rows), *pack.pixels.shape[1:]), 255, np.uint8)
    tiles = np.concatenate([pack.pixels[rows], blank])
    scale = max(1, 48 // max(pack.size))  # browsers blur what they enlarge; whole factors keep pixels square
    picture = images.png(images.grid(tiles, SHOWN_IMAGES, gap=max(1, pack.size[1] // 12)), scale=scale)
    return element("img", class_="strip", alt=shortened(alt, 100), src=data_uri(picture, "image/png"))


# --- how it was found ---------------------------------------------------------------------------------------------


def _measures(study: Study) -> Html | None:
    try:
        found = files.read_json(study.measures)
        measured = found.get("values") or {  # as earlier versions wrote it, among the other keys
            key: each for key, each in found.items() if isinstance(each, dict) and "floor" in each
        }
        rows = [_measure(key, each) for key, each in measured.items()]
        prints = [element("code", str(found[key])[:12]) for key in ("minted", "against", "judge")]
    except FileNotFoundError:
        return None
    except (files.Damaged, AttributeError, KeyError, TypeError, ValueError):
        raise StudyError(
            f"{study.measures} is damaged", "measures as imagemint wrote them", "remove the file and measure again"
        ) from None
    minted, against, judge = prints
    return join(
        [
            element("h2", "Measures of a minted pack"),
            table(["", "minted", "real floor", "minted images", "real images"], rows),
            note(
                "The floor is what held-out real images get by the same rule, in the same number; under each value "
                "its 95 % interval. The Fréchet distance has nothing to do with FID's numbers. ",
                *("Minted pack ", minted, " against ", against, ", judge ", judge, "."),
            ),
        ]
    )


def _measure(key: str, each: dict[str, Any]) -> Html:
    """One row; the interval is missing in measures of earlier versions."""
    metric = metric_named(key)
    between = f"{each['low']:.4g} to {each['high']:.4g}" if "low" in each else None
    return element(
        "tr",
        element("th", f"{metric.label} ", element("small", f"{key}; {metric.direction} is better")),
        element("td", element("b", f"{each['value']:.4g}"), between and element("small", between)),
        element("td", f"{each['floor']:.4g}"),
        element("td", f"{each['n_minted']:,}"),
        element("td", f"{each['n_real']:,}"),
    )


def _method(study: Study) -> Html:
    about, settings, extent = study.facts.about, study.facts.settings, study.facts.extent
    arms = [find_arm(each) for each in extent.arms]
    leak = "No training image is an exact copy of a test image."
    if about.leaked:
        leak = f"{counted(about.leaked, 'exact copy', 'exact copies')} of test images left out of the training pack."
    said = {
        "Leakage guard": f"{leak} Test images were shown to finished classifiers and to nothing else.",
        "Other packs": _other_packs(study),
        "Data": f"{counted(about.pack.images, 'training image')}, {counted(about.test.images, 'test image')}. Every "
        "repeat draws its own subsets; the smaller ones are part of the larger. With all images, repeats differ by "
        "training only.",
        "GAN": _minting(study) if any(arm.minted for arm in arms) else "",
        "Classifier": f"{_classifier(settings)}. All arms of a subset start from the same weights and see the same "
        f"number of images: {settings.classifier_epochs} times the real ones, at least "
        f"{settings.classifier_images:,}. With real images and others, about {settings.real_share:.0%} of what it "
        f"sees is real. Augmentation: {_augmentation(settings.recipe)}.",
        "Intervals": f"{counted(extent.repeats, 'repeat')} crossed with the test images: two-way random effects, t "
        "quantiles. “Could have seen” means: in four of five such studies.",
        "What this does not say": "Another classifier, another recipe or a longer training may give another answer.",
    }
    lines = [join([element("b", f"{what}."), f" {text}"]) for what, text in said.items() if text]
    return join([element("h2", "How this was found"), items(lines)])


def _other_packs(study: Study) -> str:
    """What is known of the packs that arms name, and what cannot be."""
    added = study.facts.about.added
    if not added:
        return ""
    used = [f"{shortened(each.path, 100)} ({counted(each.images, 'image')})" for each in added.values()]
    return (
        f"{listed(used)}. Exact copies of test images were left out of them; leaks cannot be excluded: if test "
        "images, or near copies of them, were used to make these images, the answer is too favourable."
    )


def _minting(study: Study) -> str:
    settings = study.facts.settings
    assert settings.recipe is not None
    minted = "as many images of each class as the subset has"
    if settings.minted_per_class:
        minted = f"{counted(settings.minted_per_class, 'image')} per class"
    return f"Recipe {settings.recipe.name}, trained anew on every subset and on nothing else; minted: {minted}."


def _classifier(settings: Settings) -> str:
    """The classifier, and what its training differs in from the usual."""
    kind = CLASSIFIERS.get(settings.classifier)
    rate = settings.classifier_learning_rate
    own = [f"learning rate {rate:g}"] if rate is not None else []
    for key, text in {"classifier_decay": "its decay {}", "classifier_batch_size": "batches of {}"}.items():
        value = getattr(settings, key)
        if value != Settings.model_fields[key].default:
            own.append(text.format(value))
    return ", ".join([kind.label if kind else shortened(settings.classifier, 100), *own])


def _augmentation(recipe: AnyRecipe | None) -> str:
    flips = ", mirror images" if recipe is not None and recipe.flips else ""
    return f"shift, rotation, shear, zoom, brightness{flips}"


def _again(study: Study) -> Html:
    facts = study.facts
    known = {
        "training pack": facts.settings.pack,
        "test pack": facts.settings.test,
        **{_arm_name(arm): each.fingerprint for arm, each in facts.about.added.items()},
        "versions": ", ".join(f"{package} {version}" for package, version in facts.about.versions.items()),
    }
    rows = [element("tr", element("th", key), element("td", element("code", value))) for key, value in known.items()]
    recipe = facts.settings.recipe
    resolved = json.dumps(recipe.model_dump(mode="json"), indent=1, ensure_ascii=False) if recipe else None
    parts = [
        element("h2", "To do it again"),
        element("pre", shlex.join(command_again(study))),
        table([], rows, "plain"),
        _folded("The recipe as resolved", element("pre", resolved)) if resolved else None,
        _folded(f"Every row ({len(study.rows)})", _rows(study)),
    ]
    return join(parts)


def command_again(study: Study) -> list[str]:
    """The words of the command that repeats the study in a new folder."""
    facts, plan = study.facts, study.facts.plan
    moved = {arm: f"{arm.partition(':')[0]}:{each.path}" for arm, each in facts.about.added.items()}
    options: dict[str, Any] = {**plan.options(), "arms": [moved.get(arm, arm) for arm in plan.arms]}
    words = ["imagemint", "study", facts.about.pack.path, "--test", facts.about.test.path]
    if plan.recipe is not None:
        words += ["--recipe", str((study.path / "recipe.yaml").absolute())]
    for key, value in options.items():
        text = _with_commas(value) if isinstance(value, (list, tuple)) else str(value)
        words += [f"--{key.replace('_', '-')}", text]
    return [*words, "--out", "study-again"]


def _with_commas(parts: Iterable[str]) -> str:
    """The inverse of `words.split_list`."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(parts)
    return text.getvalue()


def _folded(summary: str, inside: Html) -> Html:
    return element("details", element("summary", summary), inside)


def _rows(study: Study) -> Html:
    keys = ["budget", "repeat", "arm", "accuracy", "loss", "n_real", "n_minted", "images_seen", "seed"]

    def shown(value: Any) -> str:
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    rows = [element("tr", *(element("td", shown(getattr(row, key))) for key in keys)) for row in study.rows]
    return table(keys, rows, "rows")
