"""A pack before training, as one page: no scripts, nothing fetched, light and dark, readable on a phone."""

from __future__ import annotations

import io
import json
import re
from typing import Any

import numpy as np
from PIL import Image

from imagemint import images
from imagemint.data.inspection import FEW_IMAGES, SHOWN_CLASSES, SHOWN_IMAGES, ClassSummary, Inspection
from imagemint.data.pack import UNLABELLED, Pack
from imagemint.pages.html import BAR_WIDTH, Html, bars, data_uri, element, items, join, name, page
from imagemint.words import counted, listed, shortened, shown

SHOWN_GROUPS = 6  # of duplicates
SHOWN_LINES = 20  # of unreadable files and remarks
THUMBNAIL = 128  # pixels: larger images are reduced to it
_SIDE = 64  # pixels: smaller images are enlarged up to it
_LOSSLESS = 64  # pixels: thumbnails with a longer side are JPEG, so that a page of 480 photos stays at a few MB
_NAME = 120  # letters of a file name or a parameter


def pack_page(found: Inspection) -> str:
    """The whole page."""
    sections = [_warnings(found), _tiles(found), _contact_sheet(found), _counts(found), _sizes(found)]
    sections += [_brightness(found), _duplicates(found), _unreadable(found), _story(found)]
    return page(
        found.pack.path.name,
        headline(found),
        [each for each in sections if each],
        about="A look before training",
        footer=f"Up to {SHOWN_IMAGES} images of each class, spread over all of it by a seeded draw. Images over "
        f"{THUMBNAIL} pixels are reduced, images of at most {_SIDE // 2} are enlarged pixel by pixel; those over "
        f"{_LOSSLESS} are JPEG on this page, never in the pack.",
    )


def headline(found: Inspection) -> str:
    """The pack in one line."""
    pack = found.pack
    height, width = pack.size
    colour = "gray" if pack.channels == 1 else "in colour"
    classes = f"of {counted(len(pack.classes), 'class', 'classes')}" if pack.classes else "without classes"
    what = f"{counted(len(pack), 'image')} {classes}, {height} × {width} pixels, {colour}"
    return f"{what}; origin: {pack.manifest.origin}."


def left_out_of(found: Inspection) -> str:
    """Which classes are drawn, where not all are."""
    _, left_out = found.shown_classes()
    if not left_out:
        return ""
    half, low, high = SHOWN_CLASSES // 2, left_out[-1].images, left_out[0].images
    each = f"{low:,} to {high:,} images each" if low < high else f"{counted(low, 'image')} each"
    return f"The {half} largest and the {half} smallest classes, and {len(left_out):,} more between them ({each})."


def size_of(each: ClassSummary) -> str:
    """`label 3 · 178 images`."""
    label = "" if each.label == UNLABELLED else f"label {each.label} · "
    return label + counted(each.images, "image")


# --- sections ---


def _warnings(found: Inspection) -> Html:
    if not found.warnings:
        text = [element("h2", "Nothing stands out"), element("p", "No warning for this pack.")]
        return element("div", *text, class_="answer well")
    title = f"{counted(len(found.warnings), 'thing')} to know before training"
    lines = [join([element("strong", what), ": ", _code(advice), "."]) for what, advice in found.warnings]
    return element("div", element("h2", title), items(lines), class_="answer beware")


def _code(text: str) -> Html:
    """Text with our commands set as code."""
    parts = re.split(r"(imagemint (?:edit )?[a-z]+(?: --[a-z]+)?)", text)
    return join(element("code", part) if k % 2 else part for k, part in enumerate(parts))


def _size(of: int) -> str:
    """Bytes in the unit that suits them.

    >>> _size(38_400), _size(47_040_000), _size(614_000_000)
    ('38 kB', '47.0 MB', '0.6 GB')
    """
    if of < 1e6:
        return f"{of / 1e3:,.0f} kB"
    return f"{of / 1e6:,.1f} MB" if of < 1e8 else f"{of / 1e9:,.1f} GB"


def _tiles(found: Inspection) -> Html:
    pack = found.pack
    height, width = pack.size
    sizes = list(pack.counts().values()) or [0]
    values = {
        "images": f"{len(pack):,}",
        "classes": f"{len(pack.classes):,}",
        "gray pixels" if pack.channels == 1 else "RGB pixels": f"{height} × {width}",
        "largest class": f"{max(sizes):,}",
        "smallest class": f"{min(sizes):,}",
        "unlabelled": f"{pack.unlabelled():,}",
        "repeated": f"{found.duplicates.repeated:,}",
        "on disk": _size(pack.pixels.nbytes),
    }
    cards = (
        element("div", element("div", what, class_="where"), element("div", value, class_="number"), class_="card")
        for what, value in values.items()
    )
    return element("div", *cards, class_="cards small")


def _contact_sheet(found: Inspection) -> Html:
    rows = []
    for each in found.shown_classes()[0]:
        pictures = [_image(found, int(index)) for index in each.shown] or [element("span", "no image", class_="none")]
        head = element("h3", _name(each), element("small", size_of(each)))
        rows.append(element("div", head, element("div", *pictures, class_="pictures"), class_="row"))
    return join([element("h2", "The images"), _left_out(found), *rows])


def _left_out(found: Inspection) -> Html | None:
    words = left_out_of(found)
    return element("p", words) if words else None


def _counts(found: Inspection) -> Html:
    drawn, left_out = found.shown_classes()
    most = max(each.images for each in found.classes)
    rows = [
        element(
            "div",
            element("span", "class", class_="name"),
            element("span", class_="track"),
            element("span", "images"),
            element("span", "share", class_="soft"),
            element("span", "brightness", class_="soft"),
            class_="count head",
        )
    ]
    for each in drawn:
        few = each.images < FEW_IMAGES and each.label != UNLABELLED
        gray = round(each.brightness) if each.images else 0
        light = join([element("i", style=f"background:rgb({gray},{gray},{gray})"), str(gray)])
        rows.append(
            element(
                "div",
                element("span", _name(each), class_="name"),
                element("span", element("span", style=f"width:{100 * each.images / most:.2f}%"), class_="track"),
                element("span", f"{each.images:,}"),
                element("span", f"{each.images / len(found.pack):.1%}", class_="soft"),
                element("span", light if each.images else "–", class_="soft"),
                class_="count few" if few else "count",
            )
        )
    profile = _profile(found) if left_out else None
    return join([element("h2", "How many of each"), profile, _left_out(found), *rows])


def _profile(found: Inspection) -> Html:
    """One thin bar per class, from the largest to the smallest."""
    counts = sorted((float(each.images) for each in found.classes), reverse=True)
    what = f"Images of each of the {len(counts):,} classes, from {counts[0]:,.0f} down to {counts[-1]:,.0f}"
    drawn = bars(counts, gap=0.25 if len(counts) < 300 else 0)
    picture = element("svg", drawn, viewBox=f"0 0 {BAR_WIDTH} 120", role="img", aria_label=what)
    return element("figure", picture, element("figcaption", f"{what}."))


def _brightness(found: Inspection) -> Html:
    median = float(np.median(found.brightness))
    words = (
        f"Mean brightness of each image, from 0 (black) to 255 (white); half of the images are below {median:.0f}."
    )
    present = sorted((each for each in found.classes if each.images), key=lambda each: each.brightness)
    if len(present) > 1:
        dark, light = (f"{shortened(each.name)} ({each.brightness:.0f})" for each in (present[0], present[-1]))
        words += f" The darkest class on average is {dark}, the lightest {light}."
    at = BAR_WIDTH * median / 255
    anchor = "start" if at < 60 else "end" if at > 900 else "middle"
    ends = [("0", "start", 0), ("255", "end", BAR_WIDTH)]
    stops = element("stop", offset=0), element("stop", offset=1, stop_color="#fff")
    picture = element(
        "svg",
        element("defs", element("linearGradient", *stops, id="gray")),
        bars(found.histogram().tolist(), gap=0.12),
        element("path", class_="median", d=f"M{at:.1f} 0V122"),
        element("rect", class_="ramp", x=0.5, y=126, width=BAR_WIDTH - 1, height=12, rx=3, fill="url(#gray)"),
        element(
            "g",
            *(_tick(text, x, end, 160) for text, end, x in ends if abs(x - at) > 100),
            _tick(f"median {median:.0f}", round(at, 1), anchor, 160),
            class_="axis",
        ),
        viewBox=f"0 0 {BAR_WIDTH} 168",
        role="img",
        aria_label=f"Histogram of brightness, median {median:.0f}",
    )
    return join([element("h2", "Brightness"), element("p", words), element("figure", picture)])


def _tick(text: str, x: float, anchor: str, y: int) -> Html:
    return element("text", text, x=x, y=y, text_anchor=anchor)


def _sizes(found: Inspection) -> Html | None:
    sides, (h, w) = found.pack.manifest.source_sides, found.pack.size
    if not sides:
        return None
    total, low, high = sum(count for _, _, count in sides), sides[0][0], sides[-1][1]
    head = element("h2", "Sizes at the source")
    if len(sides) == 1 and low == high:
        words = f"The shorter side of all {total:,} images was {low} pixels before they became {h} × {w}."
        return join([head, element("p", words)])
    words = f"Shorter sides of the {total:,} images, {low} to {high} pixels, before they became {h} × {w}."
    if len(sides) == 1:
        return join([head, element("p", words)])
    ends = _tick(f"{low} px", 0, "start", 146), _tick(f"{high} px", BAR_WIDTH, "end", 146)
    picture = element(
        "svg",
        bars([float(count) for _, _, count in sides], gap=0.12),
        element("g", *ends, class_="axis"),
        viewBox=f"0 0 {BAR_WIDTH} 154",
        role="img",
        aria_label="Histogram of the shorter sides of the source images",
    )
    return join([head, element("p", words), element("figure", picture)])


def _duplicates(found: Inspection) -> Html:
    duplicates = found.duplicates
    words = "No image nearly repeats another."
    if duplicates.groups:
        what = counted(duplicates.repeated, "image nearly repeats another", "images nearly repeat another")
        left = len(duplicates.groups) - SHOWN_GROUPS
        more = f": {SHOWN_GROUPS} here, and {left:,} more" if left > 0 else ""
        groups = counted(len(duplicates.groups), "group")
        words = f"{what} ({duplicates.exact:,} of them with the same pixels), in {groups}{more}."
    if duplicates.compared < len(found.pack):
        words += (
            f" Images with the same pixels were looked for in the whole pack, near duplicates among "
            f"{duplicates.compared:,} images drawn at random, so that there may be more of them."
        )
    groups_shown = [_group(found, group) for group in duplicates.groups[:SHOWN_GROUPS]]
    return join([element("h2", "Duplicates"), element("p", words), element("div", *groups_shown, class_="groups")])


def _group(found: Inspection, group: list[int]) -> Html:
    pictures = element("div", *(_image(found, index) for index in group[:4]), class_="pictures")
    names = dict.fromkeys(found.name_of(index) for index in group)
    classes = join([name(each) for each in names], ", ")
    indices = element("figcaption", f"images {listed([str(index) for index in group], 4)}", element("br"), classes)
    return element("figure", pictures, indices, class_="group")


def _unreadable(found: Inspection) -> Html | None:
    unreadable = found.pack.manifest.unreadable
    if not unreadable:
        return None
    lines = [
        join([element("code", shortened(each.name, _NAME)), " ", shortened(each.problem, 200)])
        for each in unreadable[:SHOWN_LINES]
    ]
    return join([element("h2", "Unreadable files"), items([*lines, *_more(len(unreadable))])])


def _more(count: int) -> list[Html]:
    return [join([f"and {count - SHOWN_LINES:,} more"])] if count > SHOWN_LINES else []


def _story(found: Inspection) -> Html:
    manifest = found.pack.manifest
    steps: list[str] = [_step(each.command, each.parameters, each.parents) for each in manifest.history]
    minted = [
        f"recipe {shortened(each.recipe)}, seed {each.seed}, after {each.images_seen:,} images, run "
        f"{shortened(each.run, _NAME)}, weights {shown(each.checkpoint[:12])}"
        for each in manifest.mintings
    ]
    remarks = [shortened(each, 300) for each in manifest.remarks]
    parts = [
        element("h2", "Where it comes from"),
        element("ol", *(element("li", each) for each in steps or ["nothing is recorded"]), class_="story"),
        *((element("h3", "What was said when it was packed"), items(remarks[:SHOWN_LINES])) if remarks else ()),
        *_more(len(remarks)),
        *((element("h3", "Minted by"), items(minted)) if minted else ()),
        element("p", f"origin {manifest.origin}, fingerprint ", element("code", manifest.fingerprint), class_="note"),
    ]
    return join(parts)


def _step(command: str, parameters: dict[str, Any], parents: list[str]) -> Html:
    given = [
        element("span", element("i", shortened(key)), f" {shortened(_value(value), _NAME)}")
        for key, value in parameters.items()
        if value is not None
    ]
    made_from = (
        element("small", "from ", element("code", listed([each[:12] for each in parents]))) if parents else None
    )
    return join([element("strong", shortened(command)), *(join([" ", each]) for each in given), made_from])


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- pictures ---


def thumbnail(pack: Pack, index: int) -> Image.Image:
    """One image, reduced when its longer side is over THUMBNAIL."""
    picture = images.to_pil(pack.pixels[index])
    if max(picture.size) > THUMBNAIL:
        picture.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    return picture


def enlargement(pack: Pack, side: int) -> int:
    """How many times an image goes into `side` pixels, at least once: a digit of 8 x 8 must be seen."""
    return max(1, side // max(pack.size))


def _name(each: ClassSummary) -> Html:
    kind = "none" if each.label == UNLABELLED else None
    return element("span", name(each.name), class_=kind)


def _image(found: Inspection, index: int) -> Html:
    """One thumbnail in its own pixels; the browser enlarges it."""
    picture, scale = thumbnail(found.pack, index), enlargement(found.pack, _SIDE)
    what = f"image {index}, {shortened(found.name_of(index))}"
    return element(
        "img",
        class_="pixels" if scale > 1 else None,
        src=_data(picture),
        width=picture.width * scale,
        height=picture.height * scale,
        alt=what,
        title=what,
    )


def _data(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    if max(picture.size) <= _LOSSLESS:
        picture.save(buffer, "PNG")
        return data_uri(buffer.getvalue(), "image/png")
    picture.save(buffer, "JPEG", quality=90, subsampling=0)
    return data_uri(buffer.getvalue(), "image/jpeg")
