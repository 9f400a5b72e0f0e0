"""A study as one HTML file that needs nothing else: the answer first, then everything that it rests on.

Works for a study that is only partly done: what is not there yet is left out, and the page says so.
"""

from __future__ import annotations

import csv
import io
import json
import shlex
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import files, images
from imagemint.classifiers import CLASSIFIERS
from imagemint.config import AnyRecipe, Recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ImagemintError, StudyError
from imagemint.jobs import FanOut, side_by_side
from imagemint.metrics.copies import Nearness
from imagemint.metrics.measures import Measures, metric_named
from imagemint.pages import answer, beside, figures
from imagemint.pages.answer import arm_name, headline, question
from imagemint.pages.figures import CROWDED, span
from imagemint.pages.html import Cell, Html, cell, data_uri, element, items, join, name, note, page, table
from imagemint.pages.study_copies import Pair, copies
from imagemint.runs import Run
from imagemint.studies import study as studies
from imagemint.studies.advice import advice, not_tried, yardstick
from imagemint.studies.arms import FREE, find_arm
from imagemint.studies.folder import write_recipe
from imagemint.studies.plan import Settings, budget_in_words
from imagemint.studies.results import Study as Study
from imagemint.studies.results import open_study
from imagemint.studies.statistics import SCORES
from imagemint.studies.verdict import Difference, Interval, amount, points
from imagemint.tracking.follow import following
from imagemint.words import counted, listed, shortened

MAIN_ARMS = ("real", "classic")  # in the enlarged figure, with those that are compared with classic
SHOWN_CLASSES, SHOWN_IMAGES, SHOWN_PAIRS = 20, 8, 12  # nobody looks at a grid of more


def study(
    pack: Pack | Path | str,
    test: Pack | Path | str,
    recipe: str | Path | AnyRecipe | None,
    out: Path | str,
    *,
    jobs: int | None = 1,
    fan_out: FanOut = side_by_side,
    gans_from: Path | str | None = None,
    track: str | Sequence[str] = (),
    **options: Any,
) -> Study:
    """`imagemint.studies.study.study`, and then its report: `out`/report.html."""
    with following(Path(out), track):
        made = studies.study(pack, test, recipe, out, jobs=jobs, fan_out=fan_out, gans_from=gans_from, **options)
        report(made)
    return made


study.__doc__ = f"""{studies.study.__doc__}
    The report is written into `out` when all rows are there. `track`: where rows and report are posted meanwhile, as
    `train` has it.
    """


def report(study: Study | Path | str, *, measures: Measures | None = None) -> Path:
    """Write `report.html`, `report.md` and `rows.csv` into the study's folder; return the path of the first.

    `measures` (of a minted pack against the real one) are kept beside it as measures.json and shown from then on.
    """
    study = study if isinstance(study, Study) else open_study(study)
    if measures is not None:
        files.write_json(study.measures, measures.model_dump(mode="json"))
    write_recipe(study.path, study.facts.settings.recipe)  # studies of earlier versions have none
    sections = [
        _answer(study),
        _next(study),
        _tables(study),
        _curves(study),
        _by_class(study),
        _confusions(study),
        _classifiers(study),
        _pictures(study),
        _copies(study),
        _trainings(study),
        _measures(study),
        _left_out(study),
        _method(study),
        _again(study),
    ]
    shown = [each for each in sections if each]
    files.write_text(study.report, page(answer.title(study), answer.subtitle(study), shown, about="imagemint study"))
    beside.write_rows(study)
    beside.write_markdown(study, again=shlex.join(command_again(study)), longer=longer(study))
    return study.report


# --- the answer ---------------------------------------------------------------------------------------------------


def _answer(study: Study) -> Html:
    word, text = headline(study)
    parts = [element("p", text, class_="headline")]
    if lines := [line for line in (answer.certainty(study), *answer.in_real_images(study)) if line]:
        parts.append(element("p", " ".join(lines), class_="sure"))
    asked = None if answer.asks_for_saturation(study) else question(study)
    if asked:
        arm, baseline = asked
        parts += [
            element("div", *map(_card, answer.answers(study)), class_="cards"),
            note(
                *(element("b", name(arm)), f" ({shortened(find_arm(arm).about, 200)}) against "),
                *(element("b", name(baseline)), f" ({find_arm(baseline).about}): difference of "),
                f"{answer.score_name(study)} on the test images, in {answer.unit(study)}",
                " (hundredths)" if answer.unit(study) == "points" else "",
                ". 95 of 100 such intervals hold the true difference.",
            ),
        ]
    done, wanted = study.progress
    if done < wanted:
        parts.append(note(element("b", "Unfinished:"), f" {done} of {wanted} classifiers are trained."))
    return element("div", *parts, class_=f"answer {word}")


def _card(each: Difference) -> Html:
    i = each.interval
    if i.low is None or i.high is None or i.detectable is None:
        detail = "one repeat: no interval"
    else:
        detail = f"95 % interval {each.amount(i.low)} to {each.amount(i.high)}"
        if each.word != i.word and each.p is not None:
            detail += f"; as one of {each.comparisons} comparisons p is {each.p:.3f}, which is no clear effect"
        elif each.word == "no measurable effect":
            detail += f"; this study could have seen {each.amount(i.detectable).lstrip('+')}"
    return element(
        "div",
        element("div", budget_in_words(each.budget), class_="where"),
        element("div", each.amount(i.mean), element("small", f" {SCORES[each.score].unit}"), class_="number"),
        element("div", each.word, class_="word"),
        element("div", detail, class_="detail"),
        element("div", "against ", name(each.baseline), class_="detail") if each.chosen else None,
        class_=f"card {_css(each.word)}",
    )


def _css(word: str) -> str:
    return {"helps": "helps", "hurts": "hurts", "no measurable effect": "nothing"}.get(word, "unknown")


def _next(study: Study) -> Html | None:
    """What would help this classifier most, whoever wins."""
    found, base = advice(study), yardstick(study)
    if not found or base is None:
        return None
    rows = [
        [
            cell(f"{rank}. {shortened(each.what, 160)}"),
            cell(
                element("b", amount(each.gain.value, study.score)),
                _between(study, each.gain.low, each.gain.high),
                element("em", word),
                kind={"a sure gain": "helps", "a loss": "hurts"}.get(word),
            ),
            cell(
                answer.minutes(each.minutes).replace(" ", "\u00a0"),
                element("small", each.cost) if each.cost else None,
            ),
        ]
        for rank, (each, word) in enumerate(zip(found, map(answer.sureness, found), strict=True), 1)
    ]
    others = not_tried(study)
    return join(
        [
            element("h2", "What to do next"),
            element(
                "p",
                f"What would raise {answer.score_name(study)} most with ",
                f"{budget_in_words(answer.largest(study, base))}, compared with ",
                *(element("b", base), ": the surest gain first, which is the one with the highest low end of its "),
                "interval.",
                None if any(each.sure for each in found) else " Nothing here is sure to help.",
            ),
            table(["", f"gain, {answer.unit(study)}", "cost"], rows),
            note(
                f"Gains of arms are measured, that of labelling is read off the learning curve of {base}. Minutes of "
                "arms are those of one repeat on this machine beyond the yardstick's. What is called sure "
                "is corrected for the number of comparisons, as the verdict is; intervals are not."
            ),
            note(f"Not tried: {', '.join(others)}.") if others else None,
            *([note(text[0]), element("pre", text[1])] if (text := longer(study)) else []),
        ]
    )


def _between(study: Study, low: float | None, high: float | None) -> Html | None:
    if low is None or high is None:
        return None
    return element("small", f"{amount(low, study.score)} to {amount(high, study.score)}")


# --- tables -------------------------------------------------------------------------------------------------------


def _tables(study: Study) -> Html:
    heads = ["", *map(answer.budget_in_short, study.budgets)]
    score, unit = answer.score_name(study), answer.unit(study)
    parts = []
    if differences := answer.difference_table(study):
        rows = [
            [
                cell(name(arm), " ", element("i", "against"), " ", name(base), kind="arm"),
                *(_difference_cell(study, each) for each in row),
            ]
            for arm, base, row in differences
        ]
        asked = [k for k, (arm, base, _) in enumerate(differences) if (arm, base) == question(study)]
        parts += [
            element("h2", "Differences"),
            element(
                "p",
                f"{unit[0].upper()}{unit[1:]} of {score} on the test images, each arm against its baseline on the "
                "same images, paired repeat by repeat. Columns: real images per class.",
            ),
            table(heads, rows, marked=asked[0] if asked else None),
            note(
                "Beside each difference its 95 % interval. It counts two kinds of chance: other repeats (draws of "
                "real images, GANs, classifiers) and other test images. Each interval stands for itself: of twenty "
                "comparisons without any effect, about one leaves out 0. The verdicts in words take the number of "
                "comparisons into account (Holm 1979)."
            ),
        ]
    if levels := answer.level_table(study):
        rows = [
            [
                cell(name(arm), element("small", shortened(find_arm(arm).about, 200)), kind="arm"),
                *(_level_cell(study, each) for each in row),
            ]
            for arm, row in levels
        ]
        label = SCORES[study.score].label
        measured = "Per cent" if unit == "points" else unit[0].upper() + unit[1:]
        parts += [
            element("h3", f"{label[0].upper()}{label[1:]} of every arm"),
            table(heads, rows),
            note(
                f"{measured}, with 95 % intervals. Two of these may overlap although the difference is clear: arms "
                "are compared on the same images."
            ),
        ]
    return join(parts)


_ABSENT = cell("not there", kind="none")


def _difference_cell(study: Study, each: Difference | None) -> Cell:
    if each is None:
        return _ABSENT
    i = each.interval
    parts = element("b", each.amount(i.mean)), _between(study, i.low, i.high), element("em", each.word)
    return cell(*parts, kind=_css(each.word))


def _level_cell(study: Study, each: Interval | None) -> Cell:
    if each is None:
        return _ABSENT
    between = None
    if each.low is not None and each.high is not None:
        between = element("small", f"{answer.level(study, each.low)} to {answer.level(study, each.high)}")
    return cell(element("b", answer.level(study, each.mean)), between)


# --- figures ------------------------------------------------------------------------------------------------------


def _curves(study: Study) -> Html | None:
    everything = answer.level_table(study)
    if not everything:
        return None
    counts = study.facts.about.pack.counts
    largest = float(np.mean([counts[each] for each in study.classes]))
    at = {b: _per_class(b, largest) for b in study.budgets}
    ticks = {b if b.isdigit() else f"{b} ({size:.0f})": size for b, size in at.items()}
    score = answer.score_name(study)
    styles = figures.styles_of(study.arms)
    draw = partial(figures.learning_curves, at=ticks, styles=styles, score=study.score)
    panels = [draw(f"{score[0].upper()}{score[1:]}, all arms", everything)]
    compared = {arm for arm, base in study.comparisons if base in ("classic", FREE)}
    main = [(arm, row) for arm, row in everything if arm in compared or arm in MAIN_ARMS]
    if 0 < len(main) < len(everything):
        panels.append(draw("The same, enlarged", main))
    if fitted := _fitted(study, everything):
        panels.append(fitted)
    worth = [line for each in answer.answers(study) if (line := answer.worth_of(study, each))]
    return join(
        [
            element("h2", "Learning curves"),
            figures.figures(panels),
            note(
                "Bars are 95 % intervals. Dashed lines: with minted images; dotted: with those of another pack; "
                "solid: the real images alone."
            ),
            _saturation(study),
            join([element("h3", "Worth in real images"), items(worth)]) if worth else None,
        ]
    )


def _per_class(budget: str, largest: float) -> float:
    """Real images per class of a budget, where all of them are `largest`."""
    if budget.isdigit():
        return float(budget)
    return largest * float(budget.rstrip("%")) / 100 if "%" in budget else largest


def _fitted(study: Study, levels: list[tuple[str, list[Interval | None]]]) -> Html | None:
    """The learning curve that is fitted to the yardstick, and what it foretells."""
    found = study.learning
    if found is None:
        return None
    row = next(row for arm, row in levels if arm == found.arm)
    known = list(zip(found.images, [each for each in row if each], strict=True))
    best = SCORES[study.score].best
    return figures.fitted_curve(found.arm, known, lambda n: best - found.curve.error(n), study.score)


def _saturation(study: Study) -> Html | None:
    """Whether more examples still help: by the fitted curve, or where there is none by the two largest budgets."""
    if study.learning:
        return element("p", element("b", "Saturation check."), f" {study.learning.sentence()}")
    each = study.saturation()
    if each is None:
        return None
    small, large = study.budgets[-2:]
    i = each.interval
    score = SCORES[each.score].label.partition(" (")[0]
    found = (
        f" From {budget_in_words(small)} to {budget_in_words(large)}, {score} without minted images changed by "
        f"{each.amount(i.mean)} {SCORES[each.score].unit}"
    )
    if i.low is None or i.high is None:
        found += "; one repeat says nothing about chance."
    else:
        verdict = (
            f"{score} still depends on the number of examples"
            if i.low > 0
            else f"{score} no longer depends on the number of examples; minting cannot be expected to help there"
        )
        found += f" (95 % interval {each.amount(i.low)} to {each.amount(i.high)}): {verdict}."
    return element("p", element("b", "Saturation check."), found)


def _by_class(study: Study) -> Html | None:
    """Who gains, who loses, who is worst off."""
    found, focus = answer.answers(study), answer.focus(study)
    if focus is None:
        return None
    total = len(study.classes)
    shown = answer.most_moved(found, CROWDED)
    names = {k: study.classes[k] for k in shown}
    fewer = f" The {len(shown)} of {total} classes that moved most." if len(shown) < total else ""
    rows = [
        [
            cell(name(study.classes[row.label])),
            cell(f"{row.images:,}"),
            cell(f"{100 * row.before:.1f}"),
            cell(f"{100 * row.after:.1f}"),
            _class_cell(row.difference),
        ]
        for row in answer.class_table(study, focus)
        if row.label in names
    ]
    heads = ["", "test images", shortened(focus.baseline, 30), shortened(focus.arm, 30), "difference"]
    parts = [
        element("h2", "Class by class"),
        element("p", " ".join(answer.gains_and_losses(study, focus))),
        table(heads, rows, "numbers"),
        note(
            f"Recall: per cent of the test images of each class that were recognised, with "
            f"{budget_in_words(focus.budget)}; differences in points.{fewer} A sign and colour mark an interval "
            "that leaves out 0; with so many classes some do so by chance: take it as a hint where to look."
        ),
    ]
    if any(each.interval.low is not None for each in found):
        reach = max(abs(v) for each in found for k in shown for v in span(each.per_class[k])) or 0.01
        parts += [
            figures.figures([figures.class_differences(each, names, reach) for each in found]),
            note(
                "Right of 0: gains. Lines are 95 % intervals. A triangle that points up: the interval lies above 0; "
                "down: below; a dot: it holds 0."
            ),
        ]
    return join(parts)


def _class_cell(i: Interval) -> Cell:
    if i.low is None or i.high is None:
        return cell(element("b", points(i.mean)))
    word = i.word
    sign = {"helps": "▲ gains", "hurts": "▼ loses"}.get(word)
    parts = element("b", points(i.mean)), element("small", f"{points(i.low)} to {points(i.high)}")
    return cell(*parts, element("em", sign) if sign else None, kind=_css(word))


def _confusions(study: Study) -> Html | None:
    """Both compared arms where the answer is looked at closely, all repeats together; `real` alone without one."""
    each = answer.focus(study)
    if each is not None:
        budget, arms = each.budget, [each.baseline, each.arm]
    else:
        there = [budget for budget in study.budgets if study.repeats(budget, "real")]
        if not there:
            return None
        budget, arms = there[-1], ["real"]
    shares = {arm: study.confusion(budget, arm) for arm in arms}
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


def _classifiers(study: Study) -> Html | None:
    """How the classifiers of both compared arms learned, where the answer is looked at closely."""
    each = answer.focus(study)
    budget = each.budget if each else study.budgets[-1]
    arms = dict.fromkeys(["real", *([each.baseline, each.arm] if each else [])])
    histories = {
        arm: [row.history for row in study.rows if (row.budget, row.arm) == (budget, arm) and row.history]
        for arm in arms
    }
    histories = {arm: found for arm, found in histories.items() if found}
    if not histories:
        return None
    return join(
        [
            element("h2", "How the classifiers learned"),
            element(
                "p",
                f"With {budget_in_words(budget)}: means over the repeats, on some of the images that a classifier "
                "learns from (training, without augmentation) and on some of the test images. Validation: its twin "
                "that learns from a part of the training images, on the other part.",
            ),
            figures.trained(histories),
            note(
                "Where the line of the test images turns back while that of the training images goes on, a "
                "classifier learns its images by heart. Nothing was chosen by the test images."
            ),
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
            [
                cell(budget_in_words(budget), element("small", f"repeat {repeat + 1}")),
                cell(element("div", element("b", each.name), f" since {each.began:,} images: {each.evidence}")),
                cell(element("div", each.remedy)),
            ]
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


def pair_pictures(pairs: Sequence[tuple[np.ndarray, np.ndarray, str]]) -> Html:
    """Images uint8 `[c, h, w]` two by two, each pair with its caption."""
    made = []
    for left, right, caption in pairs:
        both = np.stack([left, right])
        scale = max(1, 72 // max(left.shape[1:]))
        picture = images.png(images.grid(both, 2, gap=max(1, left.shape[2] // 12)), scale=scale)
        shown = element("img", alt=caption, src=data_uri(picture, "image/png"))
        made.append(element("figure", shown, element("figcaption", caption)))
    return element("div", *made, class_="pairs")


# --- how it was found ---------------------------------------------------------------------------------------------


def _measures(study: Study) -> Html | None:
    try:
        found = files.read_json(study.measures)
        measured = found.get("values") or {  # as earlier versions wrote it, among the other keys
            key: each for key, each in found.items() if isinstance(each, dict) and "floor" in each
        }
        rows = [_measure(key, each) for key, each in measured.items()]
        prints = [element("code", str(found[key])[:12]) for key in ("minted", "against", "judge")]
        by_class = _copies_by_class(found.get("copies", {}))
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
            by_class,
        ]
    )


def _copies_by_class(found: dict[str, Any]) -> Html | None:
    """What `measure` says of copies, in words and for every class that has images enough; None: nothing."""
    if "verdict" not in found:
        return None
    near = {key: Nearness(**each) for key, each in found["per_class"].items()}
    rows = [[cell(name(key)), f"{each.n_minted:,}", *_nearness(each)] for key, each in near.items()]
    words = str(found["verdict"])
    parts = [element("h3", "Copies in this pack"), element("p", f"{words[:1].upper()}{words[1:]}.")]
    return join([*parts, table(["", *_COPY_HEADS], rows, "numbers") if rows else None])


def _measure(key: str, each: dict[str, Any]) -> list[Cell | str]:
    """One row; the interval is missing in measures of earlier versions."""
    metric = metric_named(key)
    between = f"{each['low']:.4g} to {each['high']:.4g}" if "low" in each else None
    return [
        cell(f"{metric.label} ", element("small", f"{key}; {metric.direction} is better")),
        cell(element("b", f"{each['value']:.4g}"), between and element("small", between)),
        cell(f"{each['floor']:.4g}"),
        cell(f"{each['n_minted']:,}"),
        cell(f"{each['n_real']:,}"),
    ]


def _left_out(study: Study) -> Html | None:
    lines, pictures = answer.left_out(study), _twins(study)
    if not lines and pictures is None:
        return None
    return join([element("h2", "What was left out, and what to keep in mind"), items(lines), pictures])


def _copies(study: Study) -> Html | None:
    """Whether minted images are copies, and the closest pairs of the budget where they come nearest."""
    found = copies(study)
    if not found:
        return None
    rows = [
        [
            answer.budget_in_short(each.budget),
            f"{each.looked_at:,}",
            *_nearness(each.near),
            cell(element("div", f"{each.words[0].upper()}{each.words[1:]}.")),
        ]
        for each in found
    ]
    worst = min(found, key=lambda each: (each.near.p_value if each.near else 1.0, each.pairs[0].distance))
    pairs = [(each.minted, each.real, _pair_in_words(study, each)) for each in worst.pairs]
    return join(
        [
            element("h2", "Are minted images copies?"),
            table(["", *_COPY_HEADS, ""], rows),
            note(
                "From the first repeat, by the mean absolute difference of pixels. Nearer than real ones: of all "
                "pairs of a minted image and a real one that the generator has not seen, the share in which the "
                "minted one is nearer to what the generator learned from; 50 % where both keep the same distance. "
                "Very near: minted images nearer than 99 % of those real ones, and how many there would be by chance."
            ),
            element(
                "p",
                f"The closest pairs with {budget_in_words(worst.budget)}, a minted image on the left and the nearest "
                "training image on the right:",
            ),
            pair_pictures(pairs),
        ]
    )


_COPY_HEADS = ("minted images", "nearer than real ones", "very near")


def _nearness(near: Nearness | None) -> list[Cell | str]:
    if near is None:
        return ["unknown", "unknown"]
    between = element("small", f"{100 * near.low:.0f} to {100 * near.high:.0f} %")
    return [
        cell(element("b", f"{100 * near.share:.0f} %"), between),
        cell(element("b", f"{near.close:,}"), element("small", f"{near.close_expected:.1f} expected")),
    ]


def _pair_in_words(study: Study, pair: Pair) -> str:
    minted, real = (shortened(study.classes[k], 24) if k >= 0 else "no label" for k in (pair.label, pair.of))
    return f"{minted if minted == real else f'{minted} | {real}'}: {pair.distance:.1f} of 255"


def _twins(study: Study) -> Html | None:
    """Training images beside the test images that they are copies of, where both packs are still there."""
    about, fixed = study.facts.about, study.facts.settings
    pairs = about.twins[:SHOWN_PAIRS]
    if not pairs:
        return None
    sides = []
    for where, fingerprint in ((about.pack.path, fixed.pack), (about.test.path, fixed.test)):
        try:
            pack = open_pack(where)
        except ImagemintError:
            return note("The copies are not shown: the packs that the study was made from have been moved.")
        if pack.fingerprint != fingerprint:
            return note("The copies are not shown: the packs that the study was made from have changed.")
        sides.append(pack)
    training, test = sides
    shown = [
        (training.pixels[row], test.pixels[other], f"training image {row:,}, test image {other:,}")
        for row, other in pairs
    ]
    return join(
        [element("p", "Training images (left) that are copies of test images (right):"), pair_pictures(shown)]
    )


def _method(study: Study) -> Html:
    about, settings, extent = study.facts.about, study.facts.settings, study.facts.extent
    arms = [find_arm(each) for each in extent.arms]
    kinds = "an exact copy" if about.near is None else "an exact or near copy"
    leak = f"No training image is {kinds} of a test image."
    if about.leaked or about.near:
        leak = "Copies of test images were left out of the training pack."
    said = {
        "Leakage guard": f"{leak} Test images were shown to classifiers alone, to draw curves and to test them; "
        "nothing was chosen by them.",
        "Other packs": _other_packs(study),
        "Data": f"{counted(about.pack.images, 'training image')}, {counted(about.test.images, 'test image')}. Every "
        "repeat draws its own subsets; the smaller ones are part of the larger. With all images, repeats differ by "
        "training only.",
        "Minting": _minting(study) if any(arm.minted for arm in arms) else "",
        "Classifier": f"{_classifier(settings)}. All arms of a subset start from the same weights and see the same "
        f"number of images: {settings.classifier_epochs} times the real ones, at least "
        f"{settings.classifier_images:,}. {_shares(settings)}. Augmentation: {_augmentation(settings.recipe)}.",
        "Intervals": f"{counted(extent.repeats, 'repeat')} crossed with the test images: two-way random effects, t "
        "quantiles. “Could have seen” means: in four of five such studies.",
        "What this does not say": "Another classifier, another recipe or a longer training may give another answer.",
    }
    lines = [join([element("b", f"{what}."), f" {text}"]) for what, text in said.items() if text]
    return join([element("h2", "How this was found"), items(lines)])


def _shares(settings: Settings) -> str:
    """How much of what a classifier sees is real, where it sees other images too."""
    own = [each.split("=") for each in settings.real_share_by_budget]
    shares = [f"{float(share):.0%} with {budget_in_words(budget)}" for budget, share in own]
    share = f"about {settings.real_share:.0%}" + (f" ({listed(shares)})" if shares else "")
    if settings.real_schedule == "rising":
        return f"With real images and others, {share} of what it sees at the start is real, and all of it at the end"
    return f"With real images and others, {share} of what it sees is real"


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
    own += ["trained in bf16"] if settings.classifier_precision == "bf16" else []
    return ", ".join([kind.label if kind else shortened(settings.classifier, 100), *own])


def _augmentation(recipe: AnyRecipe | None) -> str:
    flips = ", mirror images" if recipe is not None and recipe.flips else ""
    return f"shift, rotation, shear, zoom, brightness{flips}"


def _again(study: Study) -> Html:
    facts = study.facts
    known = {
        "training pack": facts.settings.pack,
        "test pack": facts.settings.test,
        **{arm_name(arm): each.fingerprint for arm, each in facts.about.added.items()},
        "versions": ", ".join(f"{package} {version}" for package, version in facts.about.versions.items()),
    }
    rows = [[cell(key), cell(element("code", value))] for key, value in known.items()]
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


def command_again(study: Study, out: str = "study-again", **changes: Any) -> list[str]:
    """The words of the command that repeats the study in a new folder, with other options where they are given."""
    facts, plan = study.facts, study.facts.plan
    moved = {arm: f"{arm.partition(':')[0]}:{each.path}" for arm, each in facts.about.added.items()}
    options: dict[str, Any] = {**plan.options(), "arms": [moved.get(arm, arm) for arm in plan.arms], **changes}
    words = ["imagemint", "study", facts.about.pack.path, "--test", facts.about.test.path]
    if plan.recipe is not None:
        words += ["--recipe", str((study.path / "recipe.yaml").absolute())]
    for key, value in options.items():
        text = _with_commas(value) if isinstance(value, (list, tuple)) else str(value)
        words += [f"--{key.replace('_', '-')}", text]
    return [*words, "--out", out]


def longer(study: Study) -> tuple[str, str] | None:
    """What to try before a gain of minted images is believed, in words and as a command; None where there is none.

    In experiments/minted-on-strong a training twice as long was worth more than the minted images were.
    """
    settings = study.facts.settings
    found = [] if answer.asks_for_saturation(study) else answer.answers(study)
    gains = [each for each in found if each.word == "helps" and find_arm(each.arm).minted]
    if not gains or settings.classifier not in CLASSIFIERS or "length" in settings.classifier_choose:
        return None
    # a classifier sees whichever of the two is more
    twice = {name: 2 * getattr(settings, name) for name in ("classifier_epochs", "classifier_images")}
    text = (
        "Before you believe a gain, train the classifiers for twice as long: that alone can be worth more than "
        "minted images are. No GAN is trained again."
    )
    return text, shlex.join(command_again(study, "study-longer", **twice, gans_from=study.path.absolute()))


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

    rows = [[shown(getattr(row, key)) for key in keys] for row in study.rows]
    return table(keys, rows, "rows")
