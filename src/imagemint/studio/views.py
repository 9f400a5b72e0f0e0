"""What the studio shows: each a whole page of imagemint.pages in a frame, with the look that it has elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from imagemint import files, images
from imagemint.data.inspection import inspect
from imagemint.data.pack import Pack, open_pack
from imagemint.demo import real_beside_minted
from imagemint.pages.answer import headline
from imagemint.pages.html import Html, cell, data_uri, element, items, name, note, page, table
from imagemint.pages.pack_page import pack_page
from imagemint.pages.run_page import run_page
from imagemint.pages.study_page import report
from imagemint.runs import open_run
from imagemint.studies.plan import budget_in_words
from imagemint.studies.results import open_study
from imagemint.studio.jobs import Job, Seen
from imagemint.words import counted

_SHOWN_CLASSES = 10  # in the picture of real beside minted images
_SHOWN_ROWS = 12  # the newest rows of a study that is under way


def framed(text: str, title: str) -> str:
    """A page inside the page: it brings its own style, and nothing in it can run."""
    return element("iframe", srcdoc=text, title=title, sandbox="", class_="im-frame")


def pack_view(path: Path) -> str:
    """Contact sheet, counts and warnings of a pack."""
    return framed(pack_page(inspect(open_pack(path))), f"The pack {path.name}")


def run_view(path: Path) -> str:
    """The page of `imagemint show RUN`: how far it is, what is wrong, samples over time, curves, logits, measures."""
    return framed(run_page(open_run(path)), f"Run {path.name}")


def walk_view(path: Path) -> str:
    """A walk through what a run can draw."""
    said = "From frame to frame the noise moves from one random point to the next, the same in every class."
    return element("figure", element("img", src=data_uri(files.read_bytes(path), "image/gif"),
                                     alt=f"A walk through what {path.stem} can draw", class_="im-walk"),
                   element("figcaption", said))  # fmt: skip


def minted_view(path: Path, real: Pack | None) -> str:
    """Minted images beside real ones, and their counts by class."""
    minted = open_pack(path)
    sections = []
    if real is not None and real.classes == minted.classes:
        picture = images.png(real_beside_minted(real, minted))
        sections.append(_heading("Real left, minted right, one class per row", _image(picture, "Real | minted")))
    else:
        shown = np.linspace(0, len(minted) - 1, min(len(minted), 100)).astype(int)
        sections.append(
            _heading("Images", _image(images.png(images.grid(minted.read(shown), 10), scale=2), "Images"))
        )
    rows = [[name(each), f"{n:,}"] for each, n in minted.counts().items()]
    sections.append(_heading("Images per class", table(["class", "images"], rows)))
    history = minted.manifest.history  # empty of a pack that a program has written
    if history and (screen := history[-1].parameters.get("screen")):
        drawn, copies = (sum(screen[what].values()) for what in ("drawn", "copies"))
        line = f"Kept {len(minted):,} of {counted(drawn, 'drawn image')}; {copies:,} left out as copies."
        sections.append(_heading("Screening", note(line)))
    about = "A minted pack" if minted.manifest.origin == "minted" else "A pack"
    return framed(page(path.name, counted(len(minted), "image"), sections, about=about), f"The pack {path.name}")


def measures_view(found: dict[str, Any], minted: Pack | None, real: Pack | None) -> str:
    """Measures with their intervals and floors, and the closest pairs side by side."""
    rows = [
        [
            key,
            cell(f"{each['value']:.4g}", element("small", f"{each['low']:.4g} to {each['high']:.4g}")),
            f"{each['floor']:.4g}",
            f"{each['direction']} is better",
        ]
        for key, each in found["values"].items()
    ]
    copies = found["copies"]
    sections = [
        _heading("Measures", table(["measure", "minted, 95 % interval", "real images instead", ""], rows)),
        _heading("Copies", element("p", copies["verdict"]), _pairs(copies["closest"], minted, real)),
    ]
    if found["remarks"]:
        sections.append(_heading("Remarks", items(found["remarks"])))
    return framed(
        page("Measures", "Minted images against real ones", sections, about="imagemint measure"), "Measures"
    )


def study_view(path: Path, job: Seen | None) -> str:
    """A study: its report where all rows are there; its newest rows and what they say so far before that."""
    study = open_study(path)
    done, planned = study.progress
    if done == planned and (job is None or job.state == "done"):
        text = files.read_text(study.report if study.report.is_file() else report(study))
        return framed(text, f"The report of study {path.name}")
    rows = [
        [name(each.arm), budget_in_words(each.budget), f"{each.repeat + 1}", f"{100 * each.accuracy:.1f} %"]
        for each in reversed(study.rows[-_SHOWN_ROWS:])
    ]
    sections = [
        _heading("So far", element("p", headline(study)[1], class_="headline")),
        _heading("Newest rows", table(["arm", "real images", "repeat", "accuracy"], rows)),
    ]
    text = page(path.name, f"{done} of {counted(planned, 'row')}", sections, about="A study under way")
    return framed(text, f"The study {path.name}")


def verdict(path: Path, job: Seen | None) -> str:
    """One sentence: the answer of a study, or how far it is."""
    study = open_study(path)
    done, planned = study.progress
    if done < planned:
        where = f"{done} of {counted(planned, 'row')}"
        return element("p", f"The study {path.name} is at {where}.", element("span", _state(job), class_="im-soft"))
    return element("p", element("strong", headline(study)[1]), class_="im-verdict")


def jobs_now(jobs: Sequence[Seen]) -> str:
    """What runs and waits, in a line each; the newest job where nothing does."""
    busy = [each for each in jobs if each.state in ("running", "stopping", "waiting")] or list(jobs[:1])
    lines = [element("p", element("strong", f"Job {each.number}, {each.asked.verb}: {each.state}. "), each.sentence)
             for each in reversed(busy)]  # fmt: skip
    return element("div", *lines or [element("p", "No job yet.")], class_="im-now", role="status")


def jobs_table(jobs: Sequence[Seen]) -> str:
    """Every job with its state and the command that does the same."""
    rows = [[str(each.number), each.state, element("code", each.asked.command), each.sentence] for each in jobs]
    return element("div", table(["job", "state", "command", "last line"], rows), class_="im-jobs", tabindex="0",
                   role="region", aria_label="Jobs")  # fmt: skip


def recipes_table(about: dict[str, str]) -> str:
    """What each recipe is, folded away."""
    return element("details", element("summary", "What the recipes are"), table([], list(about.items())))


def started(job: Job) -> str:
    """What a page says when a job was put in line."""
    seen, text = job.seen(), element("code", job.asked.command)
    return element(
        "p",
        f"Job {seen.number} ({seen.asked.verb}): how it goes stands above. The command line that does the same: ",
        text,
        role="status",
    )


def _state(job: Seen | None) -> str:
    return f" Job {job.number} is {job.state}. {job.sentence}" if job else ""


def _pairs(closest: Sequence[dict[str, Any]], minted: Pack | None, real: Pack | None) -> Html | None:
    if minted is None or real is None or not closest or minted.channels != real.channels:
        return None
    sides = [
        minted.read(np.array([each["minted"] for each in closest])),
        real.read(np.array([each["real"] for each in closest])),
    ]
    picture = images.grid(np.concatenate(sides), len(closest))
    said = "Closest pairs: minted above, nearest real image below"
    return element("figure", _image(images.png(picture, scale=max(1, 48 // minted.size[0])), said),
                   element("figcaption", said))  # fmt: skip


def _heading(text: str, *inside: Html | None) -> Html:
    return element("div", element("h2", text), *inside)


def _image(data: bytes, alt: str) -> Html:
    return element("img", src=data_uri(data, "image/png"), alt=alt, style="max-width:100%;image-rendering:pixelated")
