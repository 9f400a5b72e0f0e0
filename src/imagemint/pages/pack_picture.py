"""A pack before training, as one picture: what there is to know, and a row of images for each class, with captions.

The letters are those of the DejaVu fonts that matplotlib brings along; a letter that they lack (Chinese, say) is a
box here. The page of `pack_page` leaves fonts to the browser.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from imagemint import images
from imagemint.data.inspection import SHOWN_IMAGES, ClassSummary, Inspection
from imagemint.data.pack import Pack
from imagemint.pages.pack_page import enlargement, headline, left_out_of, size_of, thumbnail
from imagemint.words import shortened

_WIDTH, _MARGIN, _GAP = 1400, 40, 8
_SIDE = 96  # pixels: smaller images are enlarged up to it
_INK, _SOFT, _WARNING = "#1d2327", "#5f6b73", "#8f5400"


def picture(found: Inspection) -> bytes:
    """The whole picture as PNG."""
    bands = [_text(shortened(found.pack.path.name), 40, _INK), _text(headline(found), 20, _SOFT)]
    bands += [_text(f"{what}: {advice}.", 18, _WARNING) for what, advice in found.warnings]
    if words := left_out_of(found):
        bands.append(_text(words, 18, _SOFT))
    for each in found.shown_classes()[0]:
        bands.append(_text(f"{shortened(each.name)}   {size_of(each)}", 18, _INK))
        if each.images:
            bands.append(_row(found.pack, each))
    return images.png(np.asarray(_stacked(bands)).transpose(2, 0, 1))


def _row(pack: Pack, each: ClassSummary) -> Image.Image:
    """Images of a class side by side, enlarged or reduced."""
    scale = enlargement(pack, _SIDE)
    tiles = [np.asarray(thumbnail(pack, int(index)).convert("RGB")).transpose(2, 0, 1) for index in each.shown]
    large = np.stack(tiles).repeat(scale, axis=2).repeat(scale, axis=3)
    columns = max(1, min(SHOWN_IMAGES, (_WIDTH - 2 * _MARGIN + _GAP) // (large.shape[3] + _GAP)))
    return images.to_pil(images.grid(large, columns, gap=_GAP))


def _text(text: str, size: int, colour: str) -> Image.Image:
    """A paragraph over the whole width."""
    lines = textwrap.wrap(text, int((_WIDTH - 2 * _MARGIN) / (0.6 * size)))
    band = Image.new("RGB", (_WIDTH - 2 * _MARGIN, round(1.4 * size) * len(lines) + size // 3), "white")
    draw = ImageDraw.Draw(band)
    for k, line in enumerate(lines):
        draw.text((0, round(1.4 * size) * k), line, colour, _font(size))
    return band


def _stacked(bands: Iterable[Image.Image]) -> Image.Image:
    """Bands one under the other on white."""
    bands = list(bands)
    height = sum(band.height + _GAP for band in bands) + 2 * _MARGIN
    width = max(_WIDTH, *(band.width + 2 * _MARGIN for band in bands))
    whole, y = Image.new("RGB", (width, height), "white"), _MARGIN
    for band in bands:
        whole.paste(band, (_MARGIN, y))
        y += band.height + _GAP
    return whole


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)
