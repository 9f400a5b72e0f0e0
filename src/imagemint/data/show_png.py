"""The look at a pack as one picture, drawn with Pillow and the DejaVu fonts that matplotlib brings along.

A letter that DejaVu lacks (Chinese, say) is a box here; the page of `show_html` leaves fonts to the browser.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

import imagemint
from imagemint import images
from imagemint.data import show
from imagemint.data.pack import UNLABELLED
from imagemint.data.show import ClassFacts, Facts, counted, plain

_WIDTH, _MARGIN = 1600, 72
_INNER = _WIDTH - 2 * _MARGIN
_NAMES = 200  # width of the column of class names, at least
_SIDE = 96  # pixels: smaller images are enlarged up to it; twelve of them fill a row
_GAP = 8

_PAPER, _CARD, _INK, _SOFT, _LINE = "#fbfaf7", "#ffffff", "#1b2430", "#69727f", "#e7e3da"
_MINT, _AMBER, _TRACK = "#2f8f76", "#a35f00", "#f0eee8"
_AMBER_PANEL, _GOOD_PANEL = ("#fdf4e2", "#f0d9ab"), ("#eaf5f0", "#c5e2d7")

Piece = tuple[str, bool, str]  # text, bold?, colour


def sheet(facts: Facts) -> bytes:
    """The whole picture as PNG."""
    paper = _Paper()
    _head(paper, facts)
    _contact_sheet(paper, facts)
    _counts(paper, facts)
    _sizes(paper, facts)
    _brightness(paper, facts)
    _duplicates(paper, facts)
    _unreadable(paper, facts)
    _story(paper, facts)
    paper.gap(24)
    paper.write(f"imagemint {imagemint.__version__}", 18, colour=_SOFT)
    return images.png(np.asarray(paper.finished()).transpose(2, 0, 1))


class _Paper:
    """A picture that grows downwards; `y` is where the next thing goes."""

    def __init__(self) -> None:
        self.y = _MARGIN
        self._image = Image.new("RGB", (_WIDTH, 2048), _PAPER)

    def draw(self, height: int) -> ImageDraw.ImageDraw:
        """To draw on, with room for `height` below `y`."""
        if self.y + height + _MARGIN > self._image.height:
            taller = Image.new("RGB", (_WIDTH, 2 * (self._image.height + height)), _PAPER)
            taller.paste(self._image)
            self._image = taller
        return ImageDraw.Draw(self._image)

    def gap(self, height: int) -> None:
        self.y += height

    def write(self, text: str, size: int, *, bold: bool = False, colour: str = _INK) -> None:
        """A paragraph over the whole width."""
        self.flow([(text, bold, colour)], size, _MARGIN, _INNER)

    def flow(self, pieces: Iterable[Piece], size: int, x: int, width: int) -> None:
        """Pieces of text one after the other, broken into lines."""
        lines = list(_lines(pieces, size, width))
        draw = self.draw(len(lines) * _leading(size))
        for line in lines:
            at = float(x)
            for word, bold, colour in line:
                draw.text((at, self.y + _leading(size) * 0.8), word, colour, _font(size, bold), anchor="ls")
                at += _font(size, bold).getlength(word)
            self.y += _leading(size)

    def heading(self, text: str) -> None:
        self.gap(56)
        self.write(text, 30, bold=True)
        self.gap(8)

    def pictures(self, facts: Facts, indices: Iterable[int], x: int, width: int) -> None:
        """Images side by side, in as many rows as they need."""
        scale, left, lowest = show.enlargement(facts.pack, _SIDE), x, self.y
        for index in indices:
            picture = show.thumbnail(facts.pack, int(index)).convert("RGB")
            picture = picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST)
            if left + picture.width > x + width and left > x:
                left, self.y = x, lowest + _GAP
            self.draw(picture.height)
            self._image.paste(picture, (left, self.y))
            left, lowest = left + picture.width + _GAP, max(lowest, self.y + picture.height)
        self.y = lowest

    def finished(self) -> Image.Image:
        return self._image.crop((0, 0, _WIDTH, self.y + _MARGIN))


def _head(paper: _Paper, facts: Facts) -> None:
    paper.write("A LOOK BEFORE TRAINING", 18, colour=_SOFT)
    paper.write(plain(facts.pack.path.name), 60, bold=True)
    paper.write(show.headline(facts), 25, colour=_SOFT)
    paper.gap(32)
    if facts.warnings:
        title = f"{counted(len(facts.warnings), 'thing')} to know before training"
        items = [[(what, True, _INK), (f": {advice}.", False, _INK)] for what, advice in facts.warnings]
        _panel(paper, [[(title, True, _AMBER)], *items], _AMBER_PANEL)
    else:
        line = [("Nothing stands out.  ", True, _MINT), ("No warning for this pack.", False, _INK)]
        _panel(paper, [line], _GOOD_PANEL)
    paper.gap(28)
    cells = show.tiles(facts)
    draw, step = paper.draw(108), _INNER / len(cells)
    draw.rounded_rectangle((_MARGIN, paper.y, _WIDTH - _MARGIN, paper.y + 108), 16, _CARD, _LINE)
    for k, (what, value) in enumerate(cells):
        left = _MARGIN + k * step
        if k:
            draw.line((left, paper.y, left, paper.y + 108), _LINE)
        draw.text((left + 22, paper.y + 42), what, _SOFT, _font(18), anchor="ls")
        draw.text((left + 22, paper.y + 82), value, _INK, _fitting(value, 29, step - 36), anchor="ls")
    paper.gap(108)


def _panel(paper: _Paper, paragraphs: list[list[Piece]], colours: tuple[str, str]) -> None:
    """Paragraphs on a coloured panel: a title, then points."""
    left, inside, size, pad = _MARGIN + 56, _INNER - 88, 22, 24
    height = sum(len(list(_lines(each, size, inside))) * _leading(size) + 8 for each in paragraphs) + 2 * pad - 8
    box = (_MARGIN, paper.y, _WIDTH - _MARGIN, paper.y + height)
    paper.draw(height).rounded_rectangle(box, 16, colours[0], colours[1])
    paper.gap(pad)
    for k, each in enumerate(paragraphs):
        if k:
            paper.draw(0).ellipse((left - 21, paper.y + 14, left - 15, paper.y + 20), _AMBER)
        paper.flow(each, size, left if k else _MARGIN + 32, inside)
        paper.gap(8)
    paper.gap(pad - 8)


def _contact_sheet(paper: _Paper, facts: Facts) -> None:
    paper.heading("The images")
    names = min(2 * _NAMES, max(_NAMES, _INNER - 16 - show.SHOWN_IMAGES * _column(facts)))  # what the pictures leave
    if words := show.left_out_of(facts):
        paper.write(words, 22, colour=_SOFT)
        paper.gap(12)
    for each in facts.shown_classes()[0]:
        paper.draw(1).line((_MARGIN, paper.y, _WIDTH - _MARGIN, paper.y), _LINE)
        paper.gap(18)
        top = paper.y
        if each.images:
            paper.pictures(facts, each.shown, _MARGIN + names + 16, _INNER - names - 16)
        else:
            paper.flow([("no image", False, _SOFT)], 21, _MARGIN + names + 16, _INNER - names - 16)
        bottom, paper.y = paper.y, top
        paper.flow([(plain(each.name), True, _soft_if_unlabelled(each))], 21, _MARGIN, names)
        paper.flow([(show.size_of(each), False, _SOFT)], 17, _MARGIN, names)
        paper.y = max(paper.y, bottom) + 18


def _counts(paper: _Paper, facts: Facts) -> None:
    paper.heading("How many of each")
    shown, left_out = facts.shown_classes()
    if left_out:
        _bars(paper, np.sort([float(each.images) for each in facts.classes])[::-1], 150, gap=0.2)
        paper.gap(14)
        paper.write(show.left_out_of(facts), 22, colour=_SOFT)
        paper.gap(12)
    most = max(each.images for each in facts.classes)
    name_width, right = 300, _WIDTH - _MARGIN
    track = (_MARGIN + name_width + 20, right - 340)
    draw = paper.draw(40)
    for text, at in (("images", right - 230), ("share", right - 120), ("brightness", right)):
        draw.text((at, paper.y + 24), text, _SOFT, _font(17), anchor="rs")
    paper.gap(36)
    for each in shown:
        draw = paper.draw(40)
        few = each.images < show.FEW_IMAGES and each.label != UNLABELLED
        base = paper.y + 26
        name = _cut(plain(each.name), _font(21), name_width)
        draw.text((_MARGIN, base), name, _soft_if_unlabelled(each), _font(21), anchor="ls")
        draw.rounded_rectangle((track[0], base - 17, track[1], base + 3), 4, _TRACK)
        if each.images:
            end = track[0] + max(1, round((track[1] - track[0]) * each.images / most))
            draw.rounded_rectangle((track[0], base - 17, end, base + 3), 4, _AMBER if few else _MINT)
        draw.text((right - 230, base), f"{each.images:,}", _AMBER if few else _INK, _font(21, few), anchor="rs")
        draw.text((right - 120, base), f"{each.images / len(facts.pack):.1%}", _SOFT, _font(21), anchor="rs")
        light = f"{each.brightness:.0f}" if each.images else "–"
        draw.text((right, base), light, _SOFT, _font(21), anchor="rs")
        if each.images:
            gray = round(each.brightness)
            draw.ellipse((right - 78, base - 18, right - 58, base + 2), (gray, gray, gray), _LINE)
        paper.gap(38)


def _brightness(paper: _Paper, facts: Facts) -> None:
    paper.heading("Brightness")
    paper.write(show.light_of(facts), 22, colour=_SOFT)
    paper.gap(16)
    top = paper.y
    _bars(paper, facts.histogram(), 180, gap=0.12)
    paper.gap(8)
    draw, median = paper.draw(60), float(np.median(facts.brightness))
    for x in range(_INNER):
        gray = round(255 * x / (_INNER - 1))
        draw.line((_MARGIN + x, paper.y, _MARGIN + x, paper.y + 16), (gray, gray, gray))
    draw.rectangle((_MARGIN, paper.y, _WIDTH - _MARGIN, paper.y + 16), None, _LINE)
    at = _MARGIN + _INNER * median / 255
    for y in range(top, paper.y, 12):
        draw.line((at, y, at, y + 6), _INK, 2)
    draw.text((_MARGIN, paper.y + 44), "0", _SOFT, _font(18), anchor="ls")
    draw.text((_WIDTH - _MARGIN, paper.y + 44), "255", _SOFT, _font(18), anchor="rs")
    if 60 < at - _MARGIN < _INNER - 100:
        draw.text((at, paper.y + 44), f"median {median:.0f}", _SOFT, _font(18), anchor="ms")
    paper.gap(52)


def _sizes(paper: _Paper, facts: Facts) -> None:
    sides = facts.pack.manifest.source_sides
    if not sides:
        return
    paper.heading("Sizes at the source")
    paper.write(show.sizes_of(facts), 22, colour=_SOFT)
    if len(sides) == 1:
        return
    paper.gap(16)
    _bars(paper, np.array([float(count) for _, _, count in sides]), 140, gap=0.12)
    draw = paper.draw(40)
    draw.text((_MARGIN, paper.y + 24), f"{sides[0][0]} px", _SOFT, _font(18), anchor="ls")
    draw.text((_WIDTH - _MARGIN, paper.y + 24), f"{sides[-1][1]} px", _SOFT, _font(18), anchor="rs")
    paper.gap(32)


def _bars(paper: _Paper, values: np.ndarray, height: int, gap: float) -> None:
    """Bars over the whole width, the tallest `height` pixels; `gap` is the share of a bar that is free."""
    draw, step = paper.draw(height), _INNER / len(values)
    for k, value in enumerate(values):
        if value:
            left = _MARGIN + k * step
            top = paper.y + height * (1 - value / values.max())
            draw.rectangle((left, top, left + step * (1 - gap), paper.y + height), _MINT)
    paper.gap(height)


def _duplicates(paper: _Paper, facts: Facts) -> None:
    paper.heading("Duplicates")
    paper.write(show.repeats(facts), 22, colour=_SOFT)
    for group in facts.duplicates[: show.SHOWN_GROUPS]:
        paper.gap(14)
        top = paper.y
        paper.pictures(facts, group[:4], _MARGIN, _INNER)
        bottom, paper.y = paper.y, top
        more = f" and {len(group) - 4:,} more" if len(group) > 4 else ""
        names = ", ".join(dict.fromkeys(plain(facts.name_of(index)) for index in group))
        x = _MARGIN + 4 * _column(facts) + 16
        paper.flow([(f"images {', '.join(map(str, group[:4]))}{more}", False, _INK)], 20, x, _WIDTH - _MARGIN - x)
        paper.flow([(_cut(names, _font(20), 1500), False, _SOFT)], 20, x, _WIDTH - _MARGIN - x)
        paper.y = max(paper.y, bottom)


def _unreadable(paper: _Paper, facts: Facts) -> None:
    unreadable = facts.pack.manifest.unreadable
    if not unreadable:
        return
    paper.heading("Unreadable files")
    for each in unreadable[: show.SHOWN_LINES]:
        name, problem = plain(each.name, 120), plain(each.problem, 200)
        paper.flow([(f"{name}  ", True, _INK), (problem, False, _SOFT)], 20, _MARGIN, _INNER)
        paper.gap(6)
    if len(unreadable) > show.SHOWN_LINES:
        paper.write(f"and {len(unreadable) - show.SHOWN_LINES:,} more", 20, colour=_SOFT)


def _story(paper: _Paper, facts: Facts) -> None:
    paper.heading("Where it comes from")
    for number, (command, values, parents) in enumerate(show.steps(facts), 1):
        pieces = [(f"{number}.  ", False, _SOFT), (f"{command}  ", True, _INK)]
        for key, value in values:
            pieces += [(f"{key} ", False, _SOFT), (f"{value}   ", False, _INK)]
        if parents:
            pieces.append((f"from {', '.join(parents)}", False, _SOFT))
        paper.flow(pieces, 21, _MARGIN, _INNER)
        paper.gap(6)
    for line in show.mintings(facts):
        paper.flow([("minted  ", True, _INK), (line, False, _INK)], 21, _MARGIN, _INNER)
        paper.gap(6)
    paper.gap(10)
    paper.write(f"origin {facts.pack.manifest.origin}, fingerprint {facts.pack.fingerprint}", 18, colour=_SOFT)


# --- letters and lines ---


@cache
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    import matplotlib

    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name), size)


def _fitting(text: str, size: int, width: float) -> ImageFont.FreeTypeFont:
    """The bold font at `size`, or as much smaller as the text needs."""
    while size > 12 and _font(size, True).getlength(text) > width:
        size -= 1
    return _font(size, True)


def _leading(size: int) -> int:
    return round(size * 1.5)


def _cut(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """As much of a text as fits, and an ellipsis."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


def _lines(pieces: Iterable[Piece], size: int, width: float) -> Iterator[list[Piece]]:
    """Break pieces into lines at spaces; a word that is wider than a line is broken anywhere."""
    line: list[Piece] = []
    used = 0.0
    for text, bold, colour in pieces:
        font = _font(size, bold)
        for word in _words(text, font, width):
            if line and used + font.getlength(word.rstrip()) > width:
                yield line
                line, used = [], 0.0
            line.append((word, bold, colour))
            used += font.getlength(word)
    if line:
        yield line


def _words(text: str, font: ImageFont.FreeTypeFont, width: float) -> Iterator[str]:
    """Words with the spaces after them, cut where they are wider than a line."""
    for word in re.findall(r"\S+\s*|\s+", text):
        start = 0
        for end in range(2, len(word) + 1):
            if font.getlength(word[start:end].rstrip()) > width:
                yield word[start : end - 1]
                start = end - 1
        yield word[start:]


def _column(facts: Facts) -> int:
    """Width of a picture and the gap beside it."""
    return show.thumbnail(facts.pack, 0).width * show.enlargement(facts.pack, _SIDE) + _GAP


def _soft_if_unlabelled(each: ClassFacts) -> str:
    return _SOFT if each.label == UNLABELLED else _INK
