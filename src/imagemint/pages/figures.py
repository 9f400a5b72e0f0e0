"""Figures of a study, drawn by matplotlib as SVG inside the page. The same numbers give the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from imagemint.pages.answer import budget_in_short
from imagemint.pages.html import Html, data_uri, element, join
from imagemint.studies.arms import find_arm
from imagemint.studies.folder import Look, Mark
from imagemint.studies.plan import budget_in_words
from imagemint.studies.statistics import SCORES
from imagemint.studies.verdict import Difference, Interval, points
from imagemint.words import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CROWDED = 25  # classes beyond which figures drop numbers and names
_NAME = 16  # letters of a name beside an axis
# Okabe & Ito's palette, which most colour-blind readers can tell apart
_COLOURS = {
    "floor": "#999999",
    "real": "#1a1a1a",
    "minted": "#cc79a7",
    "mix": "#e69f00",
    "classic": "#0072b2",
    "minted+classic": "#009e73",
    "mix+classic": "#d55e00",
    "strong": "#56b4e9",
    "mix+strong": "#b8a000",  # Okabe & Ito's yellow, darker, since it is drawn on white
}
_MORE_COLOURS = ("#7a5195", "#009e73", "#cc79a7", "#0072b2", "#d55e00", "#56b4e9", "#e69f00", "#1a1a1a")  # of others
_MARKERS = "osD^vPX*<>hpd8H+x1234"
_DECIMALS = 12  # classes beyond which a confusion matrix has no room for decimals
_LEGEND_INSIDE = 5  # lines beyond which the legend stands beneath the axes
FORETOLD = 4  # times the largest number of real images: how far a fitted curve is drawn
_WORD_COLOURS = {"helps": "#0b7a55", "hurts": "#b3361f"}
_WORD_MARKERS = {"helps": "^", "hurts": "v"}
_LOSSES = {"loss_d": ("#0072b2", "-", "discriminator"), "loss_g": ("#d55e00", "--", "generator")}


class Style(NamedTuple):
    """How the line of an arm is drawn, as matplotlib calls it. No two arms of a study differ by colour alone."""

    color: str
    marker: str
    linestyle: str


_SIDES = {
    "training": Style("#0072b2", "o", "-"),
    "validation": Style("#e69f00", "s", "--"),
    "test": Style("#1a1a1a", "^", ":"),
}
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#888888",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "legend.frameon": False,
    "legend.fontsize": 8,
    "text.parse_math": False,  # class names are names, whatever is in them
    "svg.hashsalt": "imagemint",
    "svg.fonttype": "none",  # the browser has letters of more languages than matplotlib's font
}


def figure(draw: Callable[[Axes], None], width: float, height: float, alt: str) -> Html:
    """What `draw` draws, as SVG inside the page; sizes in inches."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    with rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # matters to its own font only
        canvas = Figure(figsize=(width, height), layout="constrained")
        draw(canvas.subplots())
        canvas.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    source, largest = data_uri(buffer.getvalue(), "image/svg+xml"), round(width * 120)
    return element("img", class_="figure", style=f"max-width:{largest}px", alt=alt, src=source)


def figures(pictures: Sequence[Html]) -> Html:
    """Figures side by side where there is room, one under the other on a phone."""
    return element("div", *pictures, class_="figures")


def learning_curves(
    title: str,
    rows: Sequence[tuple[str, Sequence[Interval | None]]],
    *,
    at: Mapping[str, float],
    styles: Mapping[str, Style],
    score: str,
) -> Html:
    """A score of arms against real images per class; `at`: where each budget stands, by the name of its tick."""

    def draw(axes: Axes) -> None:
        for place, (arm, row) in enumerate(rows):
            aside = 1.02 ** (place - (len(rows) - 1) / 2)  # side by side, so that intervals do not hide each other
            known = [(x * aside, each) for x, each in zip(at.values(), row, strict=True) if each]
            x, y = [x for x, _ in known], [each.mean for _, each in known]
            style = styles[arm]
            axes.plot(x, y, **style._asdict(), markersize=4.5, linewidth=1.5, label=shortened(arm, 34))
            _intervals(axes, known, style.color, score)
        _sizes(axes, at)
        axes.set_title(title)
        _score_axis(axes, score)
        columns = 2 if len(rows) > _LEGEND_INSIDE else 1
        if columns > 1:  # beneath the axes, where it hides no line
            axes.legend(loc="upper left", bbox_to_anchor=(-0.12, -0.17), ncols=2, columnspacing=1, fontsize=7.5)
        else:
            axes.legend(loc="best")

    beneath = 0.17 * -(-len(rows) // 2) if len(rows) > _LEGEND_INSIDE else 0
    return figure(draw, 5.2, 3.9 + beneath, f"{_label(score)} against the number of real images: {title}")


def fitted_curve(
    arm: str, known: Sequence[tuple[float, Interval]], curve: Callable[[float], float], score: str
) -> Html:
    """The score of an arm by real images per class, and the curve that was fitted to it, drawn further."""

    def draw(axes: Axes) -> None:
        sizes = [size for size, _ in known]
        foretold = np.geomspace(sizes[0], FORETOLD * sizes[-1], 200)
        values = np.array([curve(size) for size in foretold])
        inside = foretold <= sizes[-1]
        axes.plot(foretold[inside], values[inside], "-", color=_COLOURS["classic"], label="fitted")
        axes.plot(foretold[~inside], values[~inside], ":", color=_COLOURS["classic"], label="foretold")
        axes.plot(sizes, [each.mean for _, each in known], "o", color=_COLOURS["real"], label="measured")
        _intervals(axes, known, _COLOURS["real"], score)
        _sizes(axes, {f"{size:,.0f}": size for size in (*sizes, FORETOLD * sizes[-1])})
        axes.set_title(f"Fitted curve: {shortened(arm, 30)}")
        _score_axis(axes, score)
        axes.legend(loc="lower right")

    return figure(draw, 5.2, 3.9, f"The learning curve that was fitted to {arm}, and what it foretells")


def _intervals(axes: Axes, known: Sequence[tuple[float, Interval]], colour: str, score: str) -> None:
    least, most = (0.0, 1.0) if _is_share(score) else (-np.inf, np.inf)
    for x, each in known:
        if each.low is not None and each.high is not None:
            axes.vlines(x, max(each.low, least), min(each.high, most), color=colour, linewidth=1.1, alpha=0.75)


def _sizes(axes: Axes, at: Mapping[str, float]) -> None:
    """Numbers of real images per class on a logarithmic axis."""
    axes.set_xscale("log")
    axes.set_xticks(list(at.values()), list(at), rotation=30 if len(at) > 5 else 0)
    axes.set_xticks([], minor=True)
    axes.margins(x=0.08)
    axes.set_xlabel("real images per class")


def _score_axis(axes: Axes, score: str) -> None:
    if _is_share(score):
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
    axes.set_ylabel(_label(score))


def _is_share(score: str) -> bool:
    return SCORES[score].scale == 100


def _label(score: str) -> str:
    label = SCORES[score].label.partition(" (")[0]
    return label if _is_share(score) else f"{label}, {SCORES[score].unit}"


def styles_of(arms: Sequence[str]) -> dict[str, Style]:
    """A style for each arm, the same in every figure: dashed with minted images, dotted with those of a pack."""
    others = [arm for arm in arms if arm not in _COLOURS]
    colours = _COLOURS | {arm: _MORE_COLOURS[k % len(_MORE_COLOURS)] for k, arm in enumerate(others)}
    markers = {line: cycle(_MARKERS) for line in ("-", "--", ":")}
    return {arm: Style(colours[arm], next(markers[_line(arm)]), _line(arm)) for arm in arms}


def _line(arm: str) -> str:
    kind = find_arm(arm)
    return "--" if kind.minted else ":" if kind.added or kind.images is None else "-"


def class_differences(each: Difference, names: Mapping[int, str], reach: float) -> Html:
    """The difference on the test images of some classes, with intervals; `reach`: the end of the scale."""

    def draw(axes: Axes) -> None:
        axes.axvline(0, color="#bbbbbb", linewidth=1)
        for y, k in enumerate(names):
            i = each.per_class[k]
            if i.images:
                colour = _WORD_COLOURS.get(i.word, "#5f6b73")
                axes.hlines(y, *span(i), color=colour, linewidth=2, alpha=0.6)
                axes.plot([i.mean], [y], _WORD_MARKERS.get(i.word, "o"), color=colour, markersize=5.5)
        axes.set_yticks(range(len(names)), [shortened(name, _NAME + 4) for name in names.values()])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-1.08 * reach, 1.08 * reach)
        axes.xaxis.set_major_formatter(lambda value, _: points(value))
        axes.set_xlabel("points")
        axes.locator_params(axis="x", nbins=5)
        axes.set_title(budget_in_short(each.budget))
        axes.spines.left.set_visible(False)
        axes.tick_params(axis="y", length=0)

    width = 3.4 + 0.06 * max(len(shortened(name, _NAME + 4)) for name in names.values())
    return figure(draw, width, 0.9 + 0.27 * len(names), f"Difference for each class, {budget_in_words(each.budget)}")


def span(i: Interval) -> tuple[float, float]:
    """The ends of the interval of a difference, within what a difference can be; its mean twice where it has none."""
    return (i.mean if i.low is None else max(i.low, -1)), (i.mean if i.high is None else min(i.high, 1))


def confusion(arm: str, share: np.ndarray, classes: Sequence[str], worst: float) -> Html:
    """Float `[k, k]`, share of each true class (row) by answer (column); mistakes coloured up to `worst`."""
    off_diagonal = ~np.eye(len(classes), dtype=bool)
    names = [shortened(name, _NAME + 4) for name in classes]
    least = 0.005 if len(names) > _DECIMALS else 0  # of the shares that are written, then in whole per cent

    def draw(axes: Axes) -> None:
        axes.imshow(np.where(off_diagonal & (share > 0), share, np.nan), cmap="OrRd", vmin=0, vmax=worst)
        if len(names) <= CROWDED:
            turned: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", "fontsize": 7.5}
            axes.set_xticks(range(len(names)), names, **turned)
            axes.set_yticks(range(len(names)), names, fontsize=7.5)
            for (row, column), value in np.ndenumerate(share):
                if value > 0 and value >= least:
                    colour = "w" if row != column and value > 0.6 * worst else "#333333"
                    text = f"{100 * value:.0f}" if value >= 0.0995 or least else f"{100 * value:.1f}"
                    axes.text(column, row, text, ha="center", va="center", size=7, color=colour)
        else:
            axes.set_xticks([])
            axes.set_yticks([])
        axes.set_title(shortened(arm, 40))
        axes.set_xlabel("answer")
        axes.set_ylabel("true class")
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set(visible=True, edgecolor="#dddddd")

    side = 5 + (0.05 * max(map(len, names)) if len(names) <= CROWDED else 0)  # names take room from the squares
    return figure(draw, side, side, f"Confusion matrix of {arm}")


def trained(histories: Mapping[str, Sequence[Sequence[Look]]]) -> Html:
    """Accuracy and loss of the classifiers of each arm over the images seen, means over the repeats.

    The same scale for every arm, so that one can be held against another.
    """
    means = {arm: {side: _mean_over(found, side) for side in _SIDES} for arm, found in histories.items()}
    rows = []
    for of, label in (("accuracy", "accuracy"), ("loss", "loss, nats")):
        values = [getattr(mark, of) for sides in means.values() for line in sides.values() for _, mark in line]
        low, high = min(values), max(values)
        room, panels = 0.05 * (high - low or 1), []
        for arm, sides in means.items():

            def draw(
                axes: Axes,
                arm: str = arm,
                sides: Mapping[str, Sequence[tuple[int, Mark]]] = sides,
                of: str = of,
                label: str = label,
                limits: tuple[float, float] = (low - room, high + room),
            ) -> None:
                for side, line in sides.items():
                    if line:
                        seen, reached = [x for x, _ in line], [getattr(mark, of) for _, mark in line]
                        axes.plot(seen, reached, **_SIDES[side]._asdict(), markersize=4, linewidth=1.4, label=side)
                axes.set_ylim(*limits)
                axes.set_title(shortened(arm, 34))
                axes.set_ylabel(label)
                axes.set_xlabel("images seen")
                axes.xaxis.set_major_formatter(_thousands)
                if of == "accuracy":
                    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
                axes.legend(loc="best")

            panels.append(figure(draw, 4, 2.8, f"{label} of the classifiers of {arm} over the images seen"))
        rows.append(figures(panels))
    return join(rows)


def _mean_over(histories: Sequence[Sequence[Look]], side: str) -> list[tuple[int, Mark]]:
    """(images seen, mean of the repeats that have looked then), in order."""
    found: dict[int, list[Mark]] = {}
    for history in histories:
        for look in history:
            mark = getattr(look, side)
            if mark is not None:
                found.setdefault(look.images_seen, []).append(mark)
    return [
        (
            seen,
            Mark(
                loss=float(np.mean([each.loss for each in marks])),
                accuracy=float(np.mean([each.accuracy for each in marks])),
            ),
        )
        for seen, marks in sorted(found.items())
    ]


def _thousands(value: float, _: float) -> str:
    return f"{value / 1000:g}k" if value else "0"


def losses(logs: Mapping[str, Sequence[Sequence[Mapping[str, Any]]]]) -> Html:
    """Losses of the trainings of every budget, one pair of lines per repeat, all on the same scale."""
    values = [
        line[name] for found in logs.values() for log in found for line in log for name in _LOSSES if name in line
    ]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    room = 0.05 * (high - low or 1)

    def panel(budget: str, found: Sequence[Sequence[Mapping[str, Any]]]) -> Html:
        def draw(axes: Axes) -> None:
            for k, log in enumerate(found):
                for name, (colour, line_style, label) in _LOSSES.items():
                    x, y = [line["images_seen"] for line in log], [line.get(name, np.nan) for line in log]
                    named = None if k else label
                    axes.plot(x, y, line_style, color=colour, linewidth=1, alpha=0.8, label=named)
            axes.set_ylim(low - room, high + room)
            axes.set_title(budget_in_words(budget))
            axes.set_xlabel("images seen")
            axes.xaxis.set_major_formatter(_thousands)
            axes.legend()

        return figure(draw, 4, 2.8, f"Losses of generator and discriminator, {budget_in_words(budget)}")

    return figures([panel(budget, found) for budget, found in logs.items()])
