"""How packs, runs, measures and studies show themselves in a notebook; attached by the package, not by the core."""

from __future__ import annotations

from typing import Any

import numpy as np

from imagemint import images, progress
from imagemint.data.pack import Pack
from imagemint.metrics.measures import Measures
from imagemint.pages.html import Html, data_uri, element, items, join, name
from imagemint.runs import Run
from imagemint.studies.results import Study
from imagemint.words import counted

_SHOWN, _PER_CLASS = 10, 8  # classes, and images of each, that a pack shows


def attach() -> None:
    """Give the four types a `_repr_html_`, and show progress as one bar."""
    for kind, draw in ((Pack, _pack), (Run, _run), (Measures, _measures), (Study, _study)):
        setattr(kind, "_repr_html_", draw)  # noqa: B010 (the core knows nothing of notebooks)
    progress.turn_on()


def _pack(pack: Pack) -> str:
    labels = np.asarray(pack.labels)
    rows = [np.flatnonzero(labels == k)[:_PER_CLASS] for k in range(min(len(pack.classes), _SHOWN))]
    scale = max(1, 48 // max(pack.size))  # small images are enlarged to about 48 pixels
    lines = []
    for k, index in enumerate(rows):
        picture: Any = "no image"
        if len(index):
            data = images.png(images.grid(pack.read(index), _PER_CLASS), scale=scale)
            picture = element("img", src=data_uri(data, "image/png"), alt=f"images of {pack.classes[k]}")
        count = f"{pack.counts()[pack.classes[k]]:,}"
        lines.append(
            element("tr", element("th", name(pack.classes[k])), element("td", count), element("td", picture))
        )
    left = len(pack.classes) - len(rows)
    more = [element("p", counted(left, "more class", "more classes"))] if left else []
    unlabelled = f", {pack.unlabelled():,} of them unlabelled" if pack.unlabelled() else ""
    head = f"{counted(len(pack), 'image')}{unlabelled}, {pack.size[0]}x{pack.size[1]}, {pack.manifest.origin}"
    return join([element("p", element("b", name(pack.path.name)), f": {head}"), element("table", *lines), *more])


def _run(run: Run) -> str:
    found = [str(each) for each in run.findings()] or ["nothing was found to be wrong"]
    head = f": recipe {run.recipe.name}, {run.images_seen:,} of {counted(run.target, 'image')} seen"
    parts: list[Html] = [element("p", element("b", name(run.path.name)), head), items(found)]
    if run.samples():
        uri = data_uri(run.samples()[-1].read_bytes(), "image/png")
        parts.append(element("img", src=uri, alt="newest samples", style="max-width:100%"))
    return join(parts)


def _measures(measures: Measures) -> str:
    return element("pre", measures.table())


def _study(study: Study) -> str:
    done, of = study.progress
    head = element("p", element("b", name(study.path.name)), f": {done} of {of} rows")
    return join([head, element("pre", study.summary(), style="white-space: pre-wrap")])
