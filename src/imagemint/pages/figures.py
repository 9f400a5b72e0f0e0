"""Figures of a study, drawn by matplotlib as SVG inside the page. The same numbers give the same bytes."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from imagemint.pages.html import Html, data_uri, element
from imagemint.studies.plan import budget_in_words
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
}
_MORE_COLOURS = ("#56b4e9", "#b8a000", "#7a5195")  # of arms that are not in ARMS, in turn
_WORD_COLOURS = {"helps": "#0b7a55", "hurts": "#b3361f"}
_LOSSES = {"loss_d": ("#0072b2", "discriminator"), "loss_g": ("#d55e00", "generator")}
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
    at: Mapping[str, float],
    colours: Mapping[str, str],
) -> Html:
    """Accuracy of arms against real images per class; `at`: where each budget stands, by the name of its tick."""

    def draw(axes: Axes) -> None:
        for place, (arm, row) in enumerate(rows):
            aside = 1.02 ** (place - (len(rows) - 1) / 2)  # side by side, so that intervals do not hide each other
            known = [(x * aside, each) for x, each in zip(at.values(), row, strict=True) if each]
            x, y = [x for x, _ in known], [each.mean for _, each in known]
            line = ":o" if arm == "floor" else "-o"
            axes.plot(x, y, line, markersize=4, linewidth=1.6, color=colours[arm], label=shortened(arm, 34))
            for x_, each in known:
                if each.low is not None and each.high is not None:
                    low, high = max(each.low, 0), min(each.high, 1)
                    axes.vlines(x_, low, high, color=colours[arm], linewidth=1.1, alpha=0.75)
        axes.set_xscale("log")
        axes.set_xticks(list(at.values()), list(at))
        axes.set_xticks([], minor=True)
        axes.margins(x=0.08)
        axes.set_xlabel("real images per class")
        axes.set_title(title)
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")
        axes.legend(loc="best")

    return figure(draw, 5.2, 3.9, f"Test accuracy against the number of real images: {title}")


def colours_of(arms: Sequence[str]) -> dict[str, str]:
    """A colour for each arm, the same in every figure."""
    others = [arm for arm in arms if arm not in _COLOURS]
    more = {arm: _MORE_COLOURS[k % len(_MORE_COLOURS)] for k, arm in enumerate(others)}
    return {arm: _COLOURS.get(arm) or more[arm] for arm in arms}


def class_differences(each: Difference, names: Mapping[int, str], reach: float) -> Html:
    """The difference on the test images of some classes, with intervals; `reach`: the end of the scale."""

    def draw(axes: Axes) -> None:
        axes.axvline(0, color="#bbbbbb", linewidth=1)
        for y, k in enumerate(names):
            i = each.per_class[k]
            if i.images:
                colour = _WORD_COLOURS.get(i.word, "#5f6b73")
                axes.hlines(y, *span(i), color=colour, linewidth=2, alpha=0.6)
                axes.plot([i.mean], [y], "o", color=colour, markersize=5)
        axes.set_yticks(range(len(names)), [shortened(name, _NAME + 4) for name in names.values()])
        axes.set_ylim(len(names) - 0.5, -0.5)
        axes.set_xlim(-1.08 * reach, 1.08 * reach)
        axes.xaxis.set_major_formatter(lambda value, _: points(value))
        axes.set_xlabel("points: left hurts, right helps")
        axes.set_title(budget_in_words(each.budget))
        axes.spines.left.set_visible(False)
        axes.tick_params(axis="y", length=0)

    return figure(draw, 4, 0.9 + 0.27 * len(names), f"Difference for each class, {budget_in_words(each.budget)}")


def span(i: Interval) -> tuple[float, float]:
    """The ends of the interval of a difference, within what a difference can be; its mean twice where it has none."""
    return (i.mean if i.low is None else max(i.low, -1)), (i.mean if i.high is None else min(i.high, 1))


def confusion(arm: str, share: np.ndarray, classes: Sequence[str], worst: float) -> Html:
    """Float `[k, k]`, share of each true class (row) by answer (column); mistakes coloured up to `worst`."""
    off_diagonal = ~np.eye(len(classes), dtype=bool)
    names = [shortened(name, _NAME + 4) for name in classes]

    def draw(axes: Axes) -> None:
        axes.imshow(np.where(off_diagonal & (share > 0), share, np.nan), cmap="OrRd", vmin=0, vmax=worst)
        if len(names) <= CROWDED:
            turned: dict[str, Any] = {"rotation": 60, "ha": "right", "rotation_mode": "anchor", "fontsize": 7.5}
            axes.set_xticks(range(len(names)), names, **turned)
            axes.set_yticks(range(len(names)), names, fontsize=7.5)
            for (row, column), value in np.ndenumerate(share):
                if value > 0:
                    colour = "w" if row != column and value > 0.6 * worst else "#333333"
                    text = f"{100 * value:.0f}" if value >= 0.0995 else f"{100 * value:.1f}"
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

    return figure(draw, 5, 5, f"Confusion matrix of {arm}")


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
                for name, (colour, label) in _LOSSES.items():
                    x, y = [line["images_seen"] for line in log], [line.get(name, np.nan) for line in log]
                    axes.plot(x, y, color=colour, linewidth=1, alpha=0.8, label=None if k else label)
            axes.set_ylim(low - room, high + room)
            axes.set_title(budget_in_words(budget))
            axes.set_xlabel("images seen")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
            axes.legend()

        return figure(draw, 4, 2.8, f"Losses of generator and discriminator, {budget_in_words(budget)}")

    return figures([panel(budget, found) for budget, found in logs.items()])
