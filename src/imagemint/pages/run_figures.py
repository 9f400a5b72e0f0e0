"""Figures of a training: curves over images seen, and D's logits over time. Drawn by matplotlib as SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from imagemint.pages.figures import figure, figures
from imagemint.pages.html import Html
from imagemint.training.watch.measure import LOGIT_EDGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Panels of curves: title -> names of values; those that a run does not log are left out.
LOGGED = {
    "losses": ("loss_d", "loss_g", "loss"),
    "mean logits": ("logit_real", "logit_fake"),
    "share that D tells right": ("accuracy_real", "accuracy_fake", "accuracy"),
    "gradient penalty": ("penalty",),
}
WATCHED = {
    "distance of samples to real images": ("distance",),
    "variety of samples (real: 1)": ("diversity", "within", "classes"),
    "norms of gradients": ("grad_d", "grad_g"),
}
# Okabe & Ito's palette with a line style each, so that no line is known by its colour alone
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#1a1a1a")
_STYLES = ("-", "--", "-.", ":")  # four beside five colours: twenty lines before two look alike
SIDES = ("real", "fake")  # of a look: whose logits
Lines = Sequence[Mapping[str, Any]]


def curves(runs: Mapping[str, tuple[Lines, Lines]]) -> Html:
    """A panel for each group of values; of each run, by its label, the lines of log.jsonl and of watch.jsonl."""
    panels = []
    for which, groups in enumerate((LOGGED, WATCHED)):
        for title, names in groups.items():
            known = {
                (label, name): _series(lines[which], name)
                for label, lines in runs.items()
                for name in names
                if any(line.get(name) is not None for line in lines[which])
            }
            if known:
                panels.append(_panel(title, known, several=len(runs) > 1))
    return figures(panels)


def _series(lines: Lines, name: str) -> tuple[list[int], list[float]]:
    found = [(int(line["images_seen"]), float(line[name])) for line in lines if line.get(name) is not None]
    return [seen for seen, _ in found], [value for _, value in found]


def _panel(title: str, known: Mapping[tuple[str, str], tuple[list[int], list[float]]], *, several: bool) -> Html:
    def draw(axes: Axes) -> None:
        for k, ((label, name), (seen, values)) in enumerate(known.items()):
            colour, style = _COLOURS[k % len(_COLOURS)], _STYLES[k % len(_STYLES)]
            text = f"{label}: {name}" if several else name
            marker = "o" if len(seen) < 3 else None
            axes.plot(seen, values, linestyle=style, marker=marker, color=colour, linewidth=1.2, label=text)
        axes.set_title(title)
        axes.set_xlabel("images seen")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.tick_params("x", rotation=30)
        axes.legend()

    return figure(draw, 4, 3 + 0.15 * max(len(known) - 3, 0), f"{title} over images seen")


def logits(looks: Lines) -> Html | None:
    """How D's logits of real and of fake images were spread at each look; None where there is none."""
    if not any(look.get(side) for look in looks for side in SIDES):
        return None
    return figures(
        [
            figure(
                partial(draw_logits, looks=looks, side=side), 4, 3, f"Spread of D's logits of {side} images over time"
            )
            for side in SIDES
        ]
    )


def layers(looks: Lines) -> Html | None:
    """How the outputs of layers of G and D, before their activation, were spread at each look; None without any."""
    names = list(dict.fromkeys(name for look in looks for name in look.get("layers", {})))
    if not names:
        return None
    about = "Spread of the outputs of {} over time"
    return figures([figure(partial(draw_layer, looks=looks, name=name), 4, 3, about.format(name)) for name in names])


def draw_layer(axes: Axes, looks: Lines, name: str) -> None:
    """As `draw_logits`, for the outputs of one layer."""
    axes.set_title(name)
    _draw_counts(
        axes, [(look["images_seen"], look["layers"][name]) for look in looks if name in look.get("layers", {})]
    )


def draw_logits(axes: Axes, looks: Lines, side: str) -> None:
    """A column per look, darker where more logits of a side ("real" or "fake") fall into a bin of LOGIT_EDGES."""
    axes.set_title(f"logits of {side} images")
    _draw_counts(axes, [(look["images_seen"], look[side][4]) for look in looks if look.get(side)])


def _draw_counts(axes: Axes, known: Sequence[tuple[int, list[int]]]) -> None:
    """A column for each (images seen, counts in the bins of LOGIT_EDGES)."""
    axes.set_xlabel("images seen")
    if not known:
        return
    counts = np.array([each for _, each in known], np.float64)
    used = np.flatnonzero(counts.any(0))
    low, high = max(int(used[0]) - 1, 0), min(int(used[-1]) + 2, counts.shape[1])
    axes.imshow(counts[:, low:high].T, aspect="auto", origin="lower", cmap="Greys", interpolation="nearest")
    ticks = range(0, len(known), max(len(known) // 4, 1))
    axes.set_xticks(list(ticks), [f"{known[k][0]:,}" for k in ticks], rotation=30)
    places = [k for k in range(low, min(high, len(LOGIT_EDGES))) if (k - low) % 2 == 0]
    axes.set_yticks([k - low + 0.5 for k in places], [f"{LOGIT_EDGES[k]:g}" for k in places])
