"""A study as one HTML file that needs nothing else: the answer first, then everything that it rests on.

Works for a study that is only partly done: what is not there yet is left out, and the page says so.
"""

from __future__ import annotations

import json
import shlex
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from imagemint import files, images
from imagemint.classifiers import AT_LEAST
from imagemint.config import Recipe
from imagemint.data.pack import Pack, open_pack
from imagemint.runs import Run
from imagemint.studies.arms import ARMS, COMPARISONS, in_words
from imagemint.studies.page import data_uri, figure, figures, page, table
from imagemint.studies.results import Study, cell, open_study
from imagemint.studies.verdict import ENOUGH_REPEATS, Difference, Interval, points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from imagemint.metrics.measures import Measures

COLOURS = {  # Okabe & Ito's palette, which most colour-blind readers can tell apart
    "floor": "#999999",
    "real": "#1a1a1a",
    "minted": "#cc79a7",
    "mix": "#e69f00",
    "classic": "#0072b2",
    "minted+classic": "#009e73",
    "mix+classic": "#d55e00",
}
MAIN_ARMS = ("real", "classic", "mix+classic")
SHOWN_CLASSES, SHOWN_IMAGES = 20, 8  # nobody looks at a grid of more
_CROWDED = 25  # classes beyond which figures drop numbers and names
_LABELS = {
    "fd_lenet": "Fréchet distance on LeNet features; smaller is better",
    "classifier_score": "classifier score: share recognised as the class asked for",
}


def report(study: Study | Path | str, *, measures: Measures | None = None) -> Path:
    """Write `report.html` into the study's folder and return its path.

    `measures` (of a minted pack against the real one) are kept beside it as measures.json and shown from then on.
    """
    study = study if isinstance(study, Study) else open_study(study)
    if measures is not None:
        files.write_json(study.path / "measures.json", measures.model_dump(mode="json"))
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
    subtitle = " · ".join(
        [
            Path(facts["about"]["pack"]["path"]).name,
            f"{len(study.classes)} classes",
            f"recipe {facts['settings']['recipe']['name']}",
            _count(facts["extent"]["repeats"], "repeat"),
            _count(facts["about"]["test"]["images"], "test image"),
        ]
    )
    files.write_text(study.report, page("Do minted images help?", subtitle, sections))
    return study.report


# --- the answer ---------------------------------------------------------------------------------------------------


def question(study: Study) -> tuple[str, str] | None:
    """The comparison that the headline is about: the first of COMPARISONS of which any budget has rows."""
    asked = (each for each in COMPARISONS if any(study.repeats(budget, *each) for budget in study.budgets))
    return next(asked, None)


def headline(study: Study) -> tuple[str, str]:
    """(helps, hurts, mixed, nothing or unknown; the answer in plain sentences)."""
    asked = question(study)
    if asked is None:
        return "unknown", "No two arms can be compared yet."
    found = [each for budget in study.budgets if (each := study.difference(budget, *asked))]
    subject = _SUBJECTS.get(asked, f"Compared with {asked[1]}, {asked[0]}")
    if any(each.word == "too few repeats" for each in found):
        few = "This study cannot say yet whether minted images help: one repeat says nothing about chance."
        return "unknown", f"{few} Run {ENOUGH_REPEATS}."
    helps, hurts, nothing = (
        [each for each in found if each.word == word] for word in ("helps", "hurts", "no measurable effect")
    )
    if not helps and not hurts:
        where = f"with {_listed(nothing)}" if len(nothing) < 2 else f"at {len(nothing)} sizes of training set"
        smallest = 100 * max(each.interval.detectable or 0 for each in nothing)
        return "nothing", (
            f"No measurable effect: {subject[0].lower()}{subject[1:]} made no measurable difference to accuracy "
            f"{where}. This study could have seen a difference of {smallest:.1f} points, but hardly a smaller one."
        )
    sentences = ["It depends." if helps and hurts else "Yes." if helps else "No."]
    if helps:
        sentences.append(f"{subject} raised accuracy with {_listed(helps, numbers=True)}.")
    if hurts:
        sentences.append(f"{'They' if helps else subject} lowered accuracy with {_listed(hurts, numbers=True)}.")
    if nothing:
        sentences.append(f"No measurable effect with {_listed(nothing)}.")
    return "mixed" if helps and hurts else "helps" if helps else "hurts", " ".join(sentences)


_SUBJECTS = {
    ("mix+classic", "classic"): "On top of ordinary augmentation, minted images",
    ("mix", "real"): "Added to the real images, minted images",
    ("minted", "real"): "In place of the real images, minted images",
}


def _listed(group: list[Difference], *, numbers: bool = False) -> str:
    """'10 real images a class (+1.2 points) and all real images (+0.3 points)'."""
    parts = [in_words(each.budget) + f" ({points(each.interval.mean)} points)" * numbers for each in group]
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _answer(study: Study) -> str:
    word, text = headline(study)
    parts = [f'<p class="headline">{escape(text)}</p>']
    if asked := question(study):
        cards = [_card(each) for budget in study.budgets if (each := study.difference(budget, *asked))]
        arm, baseline = asked
        parts.append(
            f'<div class="cards">{"".join(cards)}</div><p class="note"><b>{escape(arm)}</b> ({ARMS[arm].about}) '
            f"against <b>{escape(baseline)}</b> ({ARMS[baseline].about}): difference of test accuracy in points "
            "(hundredths). 95 of 100 such intervals hold the true difference.</p>"
        )
    done = len({(row["budget"], row["repeat"], row["arm"]) for row in study.rows})
    wanted = len(study.budgets) * len(study.arms) * study.facts["extent"]["repeats"]
    if done < wanted:
        parts.append(f'<p class="note"><b>Unfinished:</b> {done} of {wanted} classifiers are trained.</p>')
    return f'<div class="answer {word}">{"".join(parts)}</div>'


def _card(each: Difference) -> str:
    i = each.interval
    if i.low is None or i.high is None or i.detectable is None:
        detail = "one repeat: no interval"
    else:
        detail = f"95 % interval {points(i.low)} to {points(i.high)}"
        if each.word == "no measurable effect":
            detail += f"; this study could have seen {100 * i.detectable:.1f}"
    return (
        f'<div class="card {_css(each.word)}"><div class="where">{escape(in_words(each.budget))}</div>'
        f'<div class="number">{points(i.mean)}<small> points</small></div>'
        f'<div class="word">{each.word}</div><div class="detail">{detail}</div></div>'
    )


def _css(word: str) -> str:
    return {"helps": "helps", "hurts": "hurts", "no measurable effect": "nothing"}.get(word, "unknown")


# --- tables -------------------------------------------------------------------------------------------------------


def difference_table(study: Study) -> list[tuple[str, str, list[Difference | None]]]:
    """(arm, baseline, one difference a budget) for every comparison that has rows."""
    rows = [(arm, base, [study.difference(b, arm, base) for b in study.budgets]) for arm, base in COMPARISONS]
    return [(arm, base, row) for arm, base, row in rows if any(row)]


def accuracy_table(study: Study) -> list[tuple[str, list[Interval | None]]]:
    """(arm, its accuracy at every budget)."""
    rows = [(arm, [study.accuracy(budget, arm) for budget in study.budgets]) for arm in study.arms]
    return [(arm, row) for arm, row in rows if any(row)]


def _tables(study: Study) -> str:
    heads = ["", *map(in_words, study.budgets)]
    parts = []
    if differences := difference_table(study):
        rows = []
        for arm, base, row in differences:
            kind = "key" if (arm, base) == COMPARISONS[0] else ""
            name = f"<th>{escape(arm)} <i>against</i> {escape(base)}</th>"
            rows.append(f'<tr class="{kind}">{name}{"".join(map(_difference_cell, row))}</tr>')
        parts.append(
            "<h2>Differences</h2><p>Points of test accuracy, each arm against its baseline on the same test images, "
            f"paired repeat by repeat.</p>{table(heads, rows)}"
            '<p class="note">Under each difference its 95 % interval. It counts two kinds of chance: other repeats '
            "(draws of real images, GANs, classifiers) and other test images. Each interval stands for itself: of "
            "twenty comparisons without any effect, about one looks like an effect.</p>"
        )
    if accuracies := accuracy_table(study):
        rows = [
            f"<tr><th>{escape(arm)}<small>{escape(ARMS[arm].about)}</small></th>"
            f"{''.join(map(_accuracy_cell, row))}</tr>"
            for arm, row in accuracies
        ]
        parts.append(
            f"<h3>Accuracies</h3>{table(heads, rows)}<p class='note'>Per cent of test images, with 95 % intervals. "
            "Two of these may overlap although the difference is clear: arms are compared on the same images.</p>"
        )
    return "".join(parts)


def _difference_cell(each: Difference | None) -> str:
    if each is None:
        return '<td class="none">not there</td>'
    i = each.interval
    span = "" if i.low is None or i.high is None else f"<small>{points(i.low)} to {points(i.high)}</small>"
    return f'<td class="{_css(each.word)}"><b>{points(i.mean)}</b>{span}<em>{each.word}</em></td>'


def _accuracy_cell(each: Interval | None) -> str:
    if each is None:
        return '<td class="none">not there</td>'
    span = ""
    if each.low is not None and each.high is not None:
        span = f"<small>{100 * max(each.low, 0):.1f} to {100 * min(each.high, 1):.1f}</small>"
    return f"<td><b>{100 * each.mean:.1f}</b>{span}</td>"


# --- figures ------------------------------------------------------------------------------------------------------


def _curves(study: Study) -> str:
    everything = accuracy_table(study)
    if not everything:
        return ""
    counts = study.facts["about"]["pack"]["counts"].values()
    at = [float(b) if b.isdigit() else float(np.mean(list(counts))) for b in study.budgets]
    names = [budget if budget.isdigit() else f"all ({x:.0f})" for budget, x in zip(study.budgets, at, strict=True)]

    def panel(title: str, rows: list[tuple[str, list[Interval | None]]]) -> str:
        def draw(axes: Axes) -> None:
            for place, (arm, row) in enumerate(rows):
                known = [
                    # side by side, so that intervals do not hide each other
                    (x * 1.02 ** (place - (len(rows) - 1) / 2), each)
                    for x, each in zip(at, row, strict=True)
                    if each
                ]
                x, y, colour = [x for x, _ in known], [each.mean for _, each in known], COLOURS.get(arm, "#555555")
                axes.plot(
                    x, y, ":o" if arm == "floor" else "-o", markersize=4, linewidth=1.6, color=colour, label=arm
                )
                for x_, each in known:
                    if each.low is not None and each.high is not None:
                        axes.vlines(x_, max(each.low, 0), min(each.high, 1), color=colour, linewidth=1.1, alpha=0.75)
            axes.set_xscale("log")
            axes.set_xticks(at, names)
            axes.set_xticks([], minor=True)
            axes.margins(x=0.08)
            axes.set_xlabel("real images a class")
            axes.set_title(title)
            axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
            axes.legend(loc="best")

        return figure(draw, 5.2, 3.9, f"Test accuracy against the number of real images: {title}")

    panels = [panel("Test accuracy, all arms", everything)]
    if main := [(arm, row) for arm, row in everything if arm in MAIN_ARMS]:
        panels.append(panel("The same, enlarged", main))
    note = '<p class="note">Bars are 95 % intervals.</p>'
    return f"<h2>Learning curves</h2>{figures(panels)}{note}{_saturation(study)}"


def _saturation(study: Study) -> str:
    each = study.saturation()
    if each is None:
        return ""
    small, large = study.budgets[-2:]
    i = each.interval
    start = (
        f"<p><b>Saturation check.</b> From {in_words(small)} to {in_words(large)}, accuracy without minted images "
        f"changed by {points(i.mean)} points"
    )
    if i.low is None or i.high is None:
        return f"{start}; one repeat says nothing about chance.</p>"
    verdict = (
        "accuracy still depends on the number of examples"
        if i.low > 0
        else "accuracy no longer depends on the number of examples; minting cannot be expected to help there"
    )
    return f"{start} (95 % interval {points(i.low)} to {points(i.high)}): {verdict}.</p>"


def _by_class(study: Study) -> str:
    asked = question(study)
    found = [each for budget in study.budgets if asked and (each := study.difference(budget, *asked))]
    if not asked or not any(each.interval.low is not None for each in found):
        return ""
    shown = _most_moved(found, _CROWDED)
    names = [_shortened(study.classes[k]) for k in shown]
    reach = max(abs(v) for each in found for k in shown for v in _span(each.per_class[k]))

    def panel(each: Difference) -> str:
        def draw(axes: Axes) -> None:
            axes.axvline(0, color="#bbbbbb", linewidth=1)
            for y, k in enumerate(shown):
                i = each.per_class[k]
                if i.images:
                    colour = {"helps": "#0b7a55", "hurts": "#b3361f"}.get(i.word, "#5f6b73")
                    axes.hlines(y, *_span(i), color=colour, linewidth=2, alpha=0.6)
                    axes.plot([i.mean], [y], "o", color=colour, markersize=5)
            axes.set_yticks(range(len(shown)), names)
            axes.set_ylim(len(shown) - 0.5, -0.5)
            axes.set_xlim(-1.08 * reach, 1.08 * reach)
            axes.xaxis.set_major_formatter(lambda value, _: points(value))
            axes.set_xlabel("points: left hurts, right helps")
            axes.set_title(in_words(each.budget))
            axes.spines.left.set_visible(False)
            axes.tick_params(axis="y", length=0)

        return figure(draw, 4, 0.9 + 0.27 * len(shown), f"Difference for each class, {in_words(each.budget)}")

    fewer = (
        f" The {len(shown)} of {len(study.classes)} classes that moved most."
        if len(shown) < len(study.classes)
        else ""
    )
    return (
        f"<h2>Class by class</h2><p>{escape(asked[0])} against {escape(asked[1])} on the test images of each class."
        f"{fewer}</p>{figures([panel(each) for each in found])}"
        '<p class="note">Lines are 95 % intervals; coloured where they leave out 0. With so many classes some is '
        "chance: take it as a hint where to look.</p>"
    )


def _most_moved(found: list[Difference], count: int) -> list[int]:
    """Up to `count` classes with the largest differences at any budget, in label order."""
    moved = np.max([[abs(i.mean) for i in each.per_class] for each in found], axis=0)
    return sorted(np.argsort(-moved, kind="stable")[:count].tolist())


def _span(i: Interval) -> tuple[float, float]:
    return (i.mean if i.low is None else i.low), (i.mean if i.high is None else i.high)


def _confusions(study: Study) -> str:
    """`real` and `mix+classic` at the largest budget that has most of them, all repeats added up."""
    there = {b: [arm for arm in ("real", "mix+classic") if study.repeats(b, arm)] for b in study.budgets}
    if not any(there.values()):
        return ""
    budget = max(study.budgets, key=lambda b: (len(there[b]), study.budgets.index(b)))
    shares = {arm: _confusion(study, budget, arm) for arm in there[budget]}
    off_diagonal = ~np.eye(len(study.classes), dtype=bool)
    worst = max(0.02, *(float(share[off_diagonal].max(initial=0)) for share in shares.values()))
    names = [_shortened(name) for name in study.classes]

    def panel(arm: str, share: np.ndarray) -> str:
        def draw(axes: Axes) -> None:
            axes.imshow(np.where(off_diagonal & (share > 0), share, np.nan), cmap="OrRd", vmin=0, vmax=worst)
            if len(names) <= _CROWDED:
                axes.set_xticks(
                    range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=7.5
                )
                axes.set_yticks(range(len(names)), names, fontsize=7.5)
                for (row, column), value in np.ndenumerate(share):
                    if value > 0:
                        white = row != column and value > 0.6 * worst
                        text = f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"
                        axes.text(
                            column, row, text, ha="center", va="center", size=7, color="w" if white else "#333333"
                        )
            else:
                axes.set_xticks([])
                axes.set_yticks([])
            axes.set_title(arm)
            axes.set_xlabel("answer")
            axes.set_ylabel("true class")
            axes.tick_params(length=0)
            for spine in axes.spines.values():
                spine.set(visible=True, edgecolor="#dddddd")

        return figure(draw, 5, 5, f"Confusion matrix of {arm}")

    return (
        f"<h2>Which classes are confused</h2><p>With {escape(in_words(budget))}: per cent of the test images of each "
        "true class (row) that got each answer (column), all repeats together. Mistakes are coloured, on the same "
        f"scale in each picture.</p>{figures([panel(arm, share) for arm, share in shares.items()])}"
    )


def _confusion(study: Study, budget: str, arm: str) -> np.ndarray:
    """float `[k, k]`: share of the test images of class `row` that were called `column`, over all repeats."""
    counts = np.zeros((len(study.classes), len(study.classes)))
    for repeat in study.repeats(budget, arm):
        np.add.at(counts, (study.test_labels, study.predictions(budget, repeat, arm)), 1)
    shares: np.ndarray = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    return shares


def _trainings(study: Study) -> str:
    """What the trainings said of themselves: findings in words, then their losses."""
    runs = {(budget, repeat): run for budget in study.budgets for repeat, run in study.trainings(budget).items()}
    gans = {place: run for place, run in runs.items() if isinstance(run.recipe, Recipe)}
    if not gans:
        return ""
    found = [(place, each) for place, run in gans.items() for each in run.findings()]
    words = (
        "<p>Nothing was found to be wrong with any training; those under 20,000 images are too short to judge.</p>"
    )
    if found:
        wrong = len({place for place, _ in found})
        rows = [
            f"<tr><th>{escape(in_words(budget))}<small>repeat {repeat + 1}</small></th>"
            f"<td><b>{escape(each.name)}</b> since {each.began:,} images: {escape(each.evidence)}</td>"
            f"<td>{escape(each.remedy)}</td></tr>"
            for (budget, repeat), each in found
        ]
        words = (
            f"<p><b>Something was found to be wrong with {wrong} of {_count(len(gans), 'training')}</b>, which may "
            "be why minted images do not help more. What to do stands beside it.</p>"
            f"{table(['', 'found', 'what to do'], rows)}"
        )
    return f"<h2>How the GANs trained</h2>{words}{_losses(gans)}"


def _losses(gans: dict[tuple[str, int], Run]) -> str:
    parts = {"loss_d": ("#0072b2", "discriminator"), "loss_g": ("#d55e00", "generator")}
    logs: dict[str, list[list[dict[str, Any]]]] = {}
    for (budget, _), run in gans.items():
        logs.setdefault(budget, []).append(run.log())
    values = [
        line[name] for found in logs.values() for log in found for line in log for name in parts if name in line
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * (high - low or 1)

    def panel(budget: str, found: list[list[dict[str, Any]]]) -> str:
        def draw(axes: Axes) -> None:
            for k, log in enumerate(found):
                for name, (colour, label) in parts.items():
                    x, y = [line["images_seen"] for line in log], [line.get(name, np.nan) for line in log]
                    axes.plot(x, y, color=colour, linewidth=1, alpha=0.8, label=None if k else label)
            axes.set_ylim(low - room, high + room)
            axes.set_title(in_words(budget))
            axes.set_xlabel("images seen")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
            axes.legend()

        return figure(draw, 4, 2.8, f"Losses of generator and discriminator, {in_words(budget)}")

    panels = [panel(budget, found) for budget, found in logs.items()]
    note = '<p class="note">Losses: one pair of lines for each repeat; the same scale in each picture.</p>'
    return f"{figures(panels)}{note}"


def _shortened(name: str) -> str:
    return name if len(name) <= 16 else name[:15] + "…"


# --- images -------------------------------------------------------------------------------------------------------


def _pictures(study: Study) -> str:
    blocks = [
        _strips(study, budget, open_pack(study.path / "subsets" / cell(budget, 0)), open_pack(minted))
        for budget in study.budgets
        if (minted := study.path / "minted" / cell(budget, 0)).is_dir()
    ]
    if not blocks:
        return ""
    total = len(study.classes)
    fewer = f" {SHOWN_CLASSES} of {total} classes." if total > SHOWN_CLASSES else ""
    return (
        f"<h2>Real beside minted</h2><p>The first {SHOWN_IMAGES} images of each class, not the best ones, from the "
        f"first repeat.{fewer}</p>{''.join(blocks)}"
    )


def _strips(study: Study, budget: str, real: Pack, minted: Pack) -> str:
    rows = ""
    for label, name in enumerate(study.classes[:SHOWN_CLASSES]):
        sides = [
            _strip(pack, label, f"{kind} images of {name}") for kind, pack in (("real", real), ("minted", minted))
        ]
        rows += f"<tr><th>{escape(name)}</th>{''.join(f'<td>{side}</td>' for side in sides)}</tr>"
    return (
        f'<table class="strips"><caption>{escape(in_words(budget))}</caption>'
        f"<thead><tr><th></th><td>real</td><td>minted</td></tr></thead><tbody>{rows}</tbody></table>"
    )


def _strip(pack: Pack, label: int, alt: str) -> str:
    rows = np.flatnonzero(np.asarray(pack.labels) == label)[:SHOWN_IMAGES]
    # every strip is SHOWN_IMAGES tiles wide, so that tiles are equally large everywhere
    blank = np.full((SHOWN_IMAGES - len(rows), *pack.pixels.shape[1:]), 255, np.uint8)
    tiles = np.concatenate([pack.pixels[rows], blank])
    scale = max(1, 48 // max(pack.size))  # browsers blur what they enlarge; whole factors keep pixels square
    picture = images.png(images.grid(tiles, SHOWN_IMAGES, gap=max(1, pack.size[1] // 12)), scale=scale)
    return f'<img class="strip" alt="{escape(alt)}" src="{data_uri(picture, "image/png")}">'


# --- how it was found ---------------------------------------------------------------------------------------------


def _measures(study: Study) -> str:
    file = study.path / "measures.json"
    if not file.is_file():
        return ""
    found = json.loads(file.read_text(encoding="utf-8"))
    measured = found.get("values") or {k: v for k, v in found.items() if isinstance(v, dict) and "floor" in v}
    rows = [
        f"<tr><th>{escape(_LABELS.get(name, name))}</th><td><b>{each['value']:.4g}</b></td>"
        f"<td>{each['floor']:.4g}</td><td>{each['n_minted']:,}</td><td>{each['n_real']:,}</td></tr>"
        for name, each in measured.items()
    ]
    return (
        "<h2>Measures of a minted pack</h2>"
        f"{table(['', 'minted', 'real floor', 'minted images', 'real images'], rows)}"
        '<p class="note">The floor is what held-out real images get by the same rule, in the same number. The '
        "Fréchet distance has nothing to do with FID's numbers. "
        f"Minted pack <code>{found['minted'][:12]}</code> against <code>{found['against'][:12]}</code>, "
        f"judge <code>{found['judge'][:12]}</code>.</p>"
    )


def _method(study: Study) -> str:
    about, settings, extent = study.facts["about"], study.facts["settings"], study.facts["extent"]
    leak = "No training image is an exact copy of a test image."
    if about["leaked"]:
        leak = (
            f"{_count(about['leaked'], 'exact copy', 'exact copies')} of test images left out of the training pack."
        )
    minted = "as many images of each class as the subset has"
    if settings["minted_per_class"]:
        minted = _count(settings["minted_per_class"], "image") + " of each class"
    flips = ", mirror images" if settings["recipe"].get("flips") else ""
    points_made = {
        "Leakage guard": f"{leak} Test images were shown to finished classifiers and to nothing else.",
        "Data": f"{_count(about['pack']['images'], 'training image')}, "
        f"{_count(about['test']['images'], 'test image')}. Every repeat draws its own subsets; the smaller ones are "
        "part of the larger. With all images, repeats differ by training only.",
        "GAN": f"Recipe {settings['recipe']['name']}, trained anew on every subset and on nothing else; minted: "
        f"{minted}.",
        "Classifier": "LeNet. All arms of a subset start from the same weights and see the same number of images: "
        f"{settings['classifier_epochs']} times the real ones, at least {settings['classifier_images']:,}. "
        f"With both kinds of images, about {settings['real_share']:.0%} of what it sees is real. "
        f"Augmentation: shift, rotation, shear, zoom, brightness{flips}.",
        "Intervals": f"{_count(extent['repeats'], 'repeat')} crossed with the test images: two-way random effects, t "
        "quantiles. “Could have seen” means: in four of five such studies.",
        "What this does not say": "Another classifier, another recipe or a longer training may give another answer.",
    }
    items = "".join(f"<li><b>{name}.</b> {escape(text)}</li>" for name, text in points_made.items())
    return f"<h2>How this was found</h2><ul>{items}</ul>"


def _again(study: Study) -> str:
    about, settings, extent = study.facts["about"], study.facts["settings"], study.facts["extent"]
    options: dict[str, Any] = {
        "test": about["test"]["path"],
        "recipe": settings["recipe"]["name"],
        "out": "study-again",
        "budgets": ",".join(extent["budgets"]),
        "repeats": extent["repeats"],
        "arms": ",".join(extent["arms"]),
        "epochs": settings["epochs"],
        "images": settings["images"],
        "classifier-epochs": settings["classifier_epochs"],
        "classifier-images": None if settings["classifier_images"] == AT_LEAST else settings["classifier_images"],
        "minted-per-class": settings["minted_per_class"],
        "real-share": None if settings["real_share"] == 0.5 else settings["real_share"],
        "seed": settings["seed"],
    }
    given = [part for name, value in options.items() if value is not None for part in (f"--{name}", str(value))]
    command = shlex.join(["imagemint", "study", about["pack"]["path"], *given])
    facts = {
        "training pack": settings["pack"],
        "test pack": settings["test"],
        "versions": ", ".join(f"{name} {version}" for name, version in about["versions"].items()),
    }
    rows = [f"<tr><th>{name}</th><td><code>{escape(value)}</code></td></tr>" for name, value in facts.items()]
    recipe = escape(json.dumps(settings["recipe"], indent=1, ensure_ascii=False))
    return (
        f"<h2>To do it again</h2><pre>{escape(command)}</pre>{table([], rows, 'plain')}"
        f"<details><summary>The recipe as resolved</summary><pre>{recipe}</pre></details>"
        f"<details><summary>Every row ({len(study.rows)})</summary>{_rows(study)}</details>"
    )


def _rows(study: Study) -> str:
    keys = ["budget", "repeat", "arm", "accuracy", "loss", "n_real", "n_minted", "images_seen", "seed"]

    def shown(value: Any) -> str:
        return f"{value:.4f}" if isinstance(value, float) else escape(str(value))

    rows = ["<tr>" + "".join(f"<td>{shown(row[key])}</td>" for key in keys) + "</tr>" for row in study.rows]
    return table(keys, rows, "rows")


def _count(number: int, one: str, many: str | None = None) -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"
