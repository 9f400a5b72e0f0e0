"""The look at a pack as one HTML page: no scripts, nothing fetched, light and dark, readable on a phone."""

from __future__ import annotations

import base64
import html
import io
import re

import numpy as np
from PIL import Image

import imagemint
from imagemint.data import show
from imagemint.data.pack import UNLABELLED
from imagemint.data.show import ClassFacts, Facts, counted, plain

_SIDE = 64  # pixels: smaller images are enlarged up to it
_LOSSLESS = 64  # pixels: thumbnails with a longer side are JPEG, so that a page of 480 photos stays at a few MB


def page(facts: Facts) -> str:
    """The whole page."""
    sections = [_tiles, _contact_sheet, _counts, _sizes, _brightness, _duplicates, _unreadable, _story]
    return _PAGE.format(
        name=html.escape(plain(facts.pack.path.name)),
        style=_STYLE,
        headline=html.escape(show.headline(facts)),
        warnings=_warnings(facts),
        sections="\n".join(section(facts) for section in sections),
        version=html.escape(imagemint.__version__),
        shown=show.SHOWN_IMAGES,
        large=show.THUMBNAIL,
        small=_SIDE // 2,
        lossless=_LOSSLESS,
    )


def _warnings(facts: Facts) -> str:
    if not facts.warnings:
        return '<section class="note good"><h2>Nothing stands out</h2><p>No warning for this pack.</p></section>'
    title = f"{counted(len(facts.warnings), 'thing')} to know before training"
    items = (f"<li><strong>{html.escape(what)}</strong>: {_code(advice)}.</li>" for what, advice in facts.warnings)
    return f'<section class="note"><h2>{title}</h2><ul>{"".join(items)}</ul></section>'


def _tiles(facts: Facts) -> str:
    cells = (
        f"<div><dt>{html.escape(what)}</dt><dd>{html.escape(value)}</dd></div>" for what, value in show.tiles(facts)
    )
    return f'<section class="numbers"><dl>{"".join(cells)}</dl></section>'


def _contact_sheet(facts: Facts) -> str:
    rows = []
    for each in facts.shown_classes()[0]:
        pictures = "".join(_image(facts, int(index)) for index in each.shown) or '<span class="none">no image</span>'
        head = f"<h3>{_name(each)}<small>{show.size_of(each)}</small></h3>"
        rows.append(f'<div class="row">{head}<div class="pictures">{pictures}</div></div>')
    return f"<section><h2>The images</h2>{_left_out(facts)}{''.join(rows)}</section>"


def _counts(facts: Facts) -> str:
    shown, left_out = facts.shown_classes()
    most = max(each.images for each in facts.classes)
    rows = [
        '<div class="count head"><span class="name">class</span><span class="track"></span><span>images</span>'
        '<span class="soft">share</span><span class="soft">brightness</span></div>'
    ]
    for each in shown:
        few = " few" if each.images < show.FEW_IMAGES and each.label != UNLABELLED else ""
        light = "–"
        if each.images:
            gray = round(each.brightness)
            light = f'<i style="background:rgb({gray},{gray},{gray})"></i>{gray}'
        rows.append(
            f'<div class="count{few}"><span class="name">{_name(each)}</span>'
            f'<span class="track"><span style="width:{100 * each.images / most:.2f}%"></span></span>'
            f"<span>{each.images:,}</span>"
            f'<span class="soft">{each.images / len(facts.pack):.1%}</span><span class="soft">{light}</span></div>'
        )
    profile = _profile(facts) if left_out else ""
    return f"<section><h2>How many of each</h2>{profile}{_left_out(facts)}{''.join(rows)}</section>"


def _left_out(facts: Facts) -> str:
    words = show.left_out_of(facts)
    return f"<p>{words}</p>" if words else ""


def _profile(facts: Facts) -> str:
    """One thin bar per class, from the largest to the smallest."""
    counts = np.sort([float(each.images) for each in facts.classes])[::-1]
    what = f"Images of each of the {len(counts):,} classes, from {counts[0]:,.0f} down to {counts[-1]:,.0f}"
    bars = _bars(counts, gap=0.25 if len(counts) < 300 else 0)
    picture = f'<svg viewBox="0 0 960 120" role="img" aria-label="{what}">{bars}</svg>'
    return f"<figure>{picture}<figcaption>{what}.</figcaption></figure>"


def _brightness(facts: Facts) -> str:
    median = float(np.median(facts.brightness))
    at = 960 * median / 255
    anchor = "start" if at < 60 else "end" if at > 900 else "middle"
    ends = (("0", "start", 0), ("255", "end", 960))
    numbers = [f'<text x="{x}" y="160" text-anchor="{end}">{n}</text>' for n, end, x in ends if abs(x - at) > 100]
    return f"""<section><h2>Brightness</h2><p>{html.escape(show.light_of(facts))}</p><figure>
<svg viewBox="0 0 960 168" role="img" aria-label="Histogram of brightness, median {median:.0f}">
<defs><linearGradient id="gray"><stop offset="0"/><stop offset="1" stop-color="#fff"/></linearGradient></defs>
{_bars(facts.histogram(), gap=0.12)}<path class="median" d="M{at:.1f} 0V122"/>
<rect class="ramp" x="0.5" y="126" width="959" height="12" rx="3" fill="url(#gray)"/>
<g class="axis">{"".join(numbers)}<text x="{at:.1f}" y="160" text-anchor="{anchor}">median {median:.0f}</text></g>
</svg></figure></section>"""


def _sizes(facts: Facts) -> str:
    sides = facts.pack.manifest.source_sides
    if not sides:
        return ""
    head = f"<h2>Sizes at the source</h2><p>{html.escape(show.sizes_of(facts))}</p>"
    if len(sides) == 1:
        return f"<section>{head}</section>"
    low, high = sides[0][0], sides[-1][1]
    ends = f'<text x="0" y="146">{low} px</text><text x="960" y="146" text-anchor="end">{high} px</text>'
    bars = _bars(np.array([float(count) for _, _, count in sides]), gap=0.12)
    return f"""<section>{head}<figure>
<svg viewBox="0 0 960 154" role="img" aria-label="Histogram of the shorter sides of the source images">{bars}
<g class="axis">{ends}</g></svg></figure></section>"""


def _bars(values: np.ndarray, gap: float) -> str:
    """Bars over a width of 960 and a height of 120, the tallest full; `gap` is the share of a bar that is free."""
    step, wide = 960 / len(values), 960 / len(values) * (1 - gap)
    return "".join(
        f'<rect x="{(k + gap / 2) * step:.2f}" y="{120 - tall:.2f}" width="{wide:.2f}" height="{tall:.2f}"/>'
        for k, tall in enumerate(120 * values / values.max())
        if tall
    )


def _duplicates(facts: Facts) -> str:
    groups = []
    for group in facts.duplicates[: show.SHOWN_GROUPS]:
        pictures = "".join(_image(facts, index) for index in group[:4])
        more = f" and {len(group) - 4:,} more" if len(group) > 4 else ""
        names = dict.fromkeys(facts.name_of(index) for index in group)
        classes = ", ".join(f"<bdi>{html.escape(plain(name))}</bdi>" for name in names)
        caption = f"<figcaption>images {', '.join(map(str, group[:4]))}{more}<br>{classes}</figcaption>"
        groups.append(f'<figure class="group"><div class="pictures">{pictures}</div>{caption}</figure>')
    words = html.escape(show.repeats(facts))
    return f'<section><h2>Duplicates</h2><p>{words}</p><div class="groups">{"".join(groups)}</div></section>'


def _unreadable(facts: Facts) -> str:
    unreadable = facts.pack.manifest.unreadable
    if not unreadable:
        return ""
    rows = [
        f"<li><code>{html.escape(plain(each.name, 120))}</code> {html.escape(plain(each.problem, 200))}</li>"
        for each in unreadable[: show.SHOWN_LINES]
    ]
    more = len(unreadable) - len(rows)
    rows += [f"<li>and {more:,} more</li>"] if more else []
    return f'<section><h2>Unreadable files</h2><ul class="files">{"".join(rows)}</ul></section>'


def _story(facts: Facts) -> str:
    history = "".join(f"<li>{_step(*step)}</li>" for step in show.steps(facts)) or "<li>nothing is recorded</li>"
    minted = "".join(f"<li>{html.escape(line)}</li>" for line in show.mintings(facts))
    minted = f"<h3>Minted by</h3><ul>{minted}</ul>" if minted else ""
    manifest = facts.pack.manifest
    print_ = (
        f'<p class="print">origin {manifest.origin}, fingerprint <code>{html.escape(manifest.fingerprint)}</code></p>'
    )
    return f'<section class="story"><h2>Where it comes from</h2><ol>{history}</ol>{minted}{print_}</section>'


def _step(command: str, values: list[tuple[str, str]], parents: list[str]) -> str:
    facts = " ".join(f"<span><i>{html.escape(key)}</i> {html.escape(value)}</span>" for key, value in values)
    made_from = f"<small>from <code>{html.escape(', '.join(parents))}</code></small>" if parents else ""
    return f"<strong>{html.escape(command)}</strong> {facts}{made_from}"


def _name(each: ClassFacts) -> str:
    """A class name, isolated so that its writing direction does not disturb what stands beside it."""
    kind = ' class="none"' if each.label == UNLABELLED else ""
    return f"<bdi{kind}>{html.escape(plain(each.name))}</bdi>"


def _image(facts: Facts, index: int) -> str:
    """One thumbnail in its own pixels; the browser enlarges it."""
    picture, scale = show.thumbnail(facts.pack, index), show.enlargement(facts.pack, _SIDE)
    what = html.escape(f"image {index}, {plain(facts.name_of(index))}")
    size = f'width="{picture.width * scale}" height="{picture.height * scale}"'
    kind = ' class="pixels"' if scale > 1 else ""
    return f'<img{kind} src="{_data(picture)}" {size} alt="{what}" title="{what}">'


def _data(picture: Image.Image) -> str:
    buffer = io.BytesIO()
    kind = "png" if max(picture.size) <= _LOSSLESS else "jpeg"
    if kind == "png":
        picture.save(buffer, "PNG")
    else:
        picture.save(buffer, "JPEG", quality=90, subsampling=0)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _code(text: str) -> str:
    """Escaped text, with our commands set as code."""
    return re.sub(r"imagemint edit [a-z]+( --[a-z]+)?", r"<code>\g<0></code>", html.escape(text))


_STYLE = """
:root { --paper: #fbfaf7; --card: #fff; --ink: #1b2430; --soft: #69727f; --line: #e7e3da; --track: #f0eee8;
  --mint: #2f8f76; --amber: #a35f00; --amber-soft: #fdf4e2; --amber-line: #f0d9ab; --good-soft: #eaf5f0;
  --good-line: #c5e2d7; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --card: #1b2027; --ink: #e8eaed; --soft: #98a2af;
  --line: #2c333c; --track: #20262d; --mint: #5dbb9f; --amber: #f0b455; --amber-soft: #2a2418; --amber-line: #4a3b1d;
  --good-soft: #17251f; --good-line: #27453a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); overflow-wrap: anywhere;
  -webkit-text-size-adjust: 100%; font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue",
  "Noto Sans", "DejaVu Sans", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 56px 32px 40px; }
header p { margin: 0; max-width: none; color: var(--soft); }
.eyebrow { font-size: 13px; letter-spacing: .09em; text-transform: uppercase; }
h1 { font-size: 44px; line-height: 1.15; letter-spacing: -.02em; font-weight: 650; margin: 6px 0 8px; }
header .lead { font-size: 18px; }
section { margin-top: 56px; }
h2 { font-size: 22px; line-height: 1.3; font-weight: 620; letter-spacing: -.01em; margin: 0 0 14px; }
h3 { font-size: 15px; font-weight: 600; margin: 0; }
p { margin: 0 0 16px; max-width: 52em; }
section > p { color: var(--soft); }
code { font: .88em/1.4 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.none { color: var(--soft); font-style: italic; }
.note { margin-top: 32px; padding: 20px 24px; border: 1px solid var(--amber-line); border-radius: 12px;
  background: var(--amber-soft); }
.note h2 { font-size: 17px; color: var(--amber); margin-bottom: 8px; }
.note ul { margin: 0; padding-left: 1.15em; }
.note li + li { margin-top: 6px; }
.note.good { background: var(--good-soft); border-color: var(--good-line); }
.note.good h2 { color: var(--mint); margin-bottom: 2px; }
.note.good p { margin: 0; }
.numbers { margin-top: 28px; }
.numbers dl { display: flex; flex-wrap: wrap; gap: 1px; margin: 0;
  overflow: hidden; background: var(--line); border: 1px solid var(--line); border-radius: 12px; }
.numbers div { flex: 1 0 auto; background: var(--card); padding: 14px 18px 12px; }
.numbers dt { color: var(--soft); font-size: 13px; }
.numbers dd { margin: 0; font-size: 21px; font-weight: 600; letter-spacing: -.01em;
  font-variant-numeric: tabular-nums; white-space: nowrap; }
.row { display: grid; grid-template-columns: 168px 1fr; gap: 8px 20px; padding: 14px 0;
  border-top: 1px solid var(--line); }
.row small { display: block; color: var(--soft); font-size: 13px; font-weight: 400;
  font-variant-numeric: tabular-nums; }
.pictures { display: flex; flex-wrap: wrap; gap: 6px; align-items: flex-start; }
.pictures img { display: block; border-radius: 3px; max-width: 100%; }
img.pixels { image-rendering: pixelated; border-radius: 2px; }
.count { display: grid; grid-template-columns: 200px 1fr 5.5em 4em 6.5em; gap: 16px; align-items: center;
  padding: 5px 0; font-variant-numeric: tabular-nums; text-align: right; }
.count .name { line-height: 1.3; text-align: left; }
.count .soft, .head { color: var(--soft); }
.head { font-size: 13px; }
.track { height: 14px; border-radius: 3px; background: var(--track); overflow: hidden; }
.head .track { background: none; }
.track span { display: block; height: 100%; background: var(--mint); border-radius: 3px; }
.few .track span { background: var(--amber); }
.few .track + span { color: var(--amber); font-weight: 600; }
.count i { display: inline-block; width: 14px; height: 14px; border-radius: 50%; border: 1px solid var(--line);
  vertical-align: -2px; margin-right: 8px; }
figure { margin: 0 0 20px; }
figcaption { color: var(--soft); font-size: 13px; margin-top: 6px; }
svg { display: block; width: 100%; height: auto; fill: var(--mint); }
.median { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 4 4; }
.ramp { stroke: var(--line); }
.axis { fill: var(--soft); font-size: 14px; }
.groups { display: flex; flex-wrap: wrap; gap: 16px; }
.group { margin: 0; padding: 14px; background: var(--card); border: 1px solid var(--line); border-radius: 12px;
  max-width: 100%; }
.files { list-style: none; padding: 0; margin: 0; }
.files li { padding: 7px 0; border-top: 1px solid var(--line); color: var(--soft); }
.files code { color: var(--ink); margin-right: 10px; }
.story ol, .story ul { padding-left: 1.4em; margin: 0 0 18px; }
.story li { padding: 3px 0; }
.story li span { margin-left: 10px; }
.story li i { color: var(--soft); font-style: normal; }
.story li small { display: block; color: var(--soft); }
.print { font-size: 13px; }
footer { margin-top: 56px; padding-top: 16px; border-top: 1px solid var(--line); color: var(--soft);
  font-size: 13px; }
@media (max-width: 720px) {
  main { padding: 28px 18px; }
  h1 { font-size: 32px; }
  section { margin-top: 40px; }
  .note { padding: 16px 18px; }
  .numbers div { flex-basis: 40%; }
  .row { grid-template-columns: 1fr; }
  .row h3 { display: flex; gap: 12px; align-items: baseline; justify-content: space-between; }
  .row small { white-space: nowrap; }
  .count { grid-template-columns: 1fr 4.5em 4em 5em; gap: 2px 8px; padding: 7px 0; }
  .count .name { grid-column: 1 / -1; }
  .head { display: none; }
}
@media print { body { background: #fff; } .row, figure { break-inside: avoid; } }
"""

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{name} · imagemint</title>
<style>{style}</style>
</head>
<body>
<main>
<header>
<p class="eyebrow">A look before training</p>
<h1><bdi>{name}</bdi></h1>
<p class="lead">{headline}</p>
</header>
{warnings}
{sections}
<footer>imagemint {version}. Up to {shown} images of each class, spread over all of it by a seeded draw. Images over
{large} pixels are reduced, images of at most {small} are enlarged pixel by pixel; those over {lossless} are JPEG on
this page, never in the pack.</footer>
</main>
</body>
</html>
"""
