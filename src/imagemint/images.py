"""THE contract between stored and computed images, in one file.

`pixels` are uint8 `[n, c, h, w]` in 0..255, as packs store them. `images` are float32 `[n, c, h, w]` in [-1, 1], as
networks see them. The two maps below are the only ones in the package.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, PngImagePlugin

from imagemint import files

if TYPE_CHECKING:  # pictures are made without torch too
    import torch


def to_images(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> float32 [-1, 1]: p / 127.5 - 1."""
    assert not pixels.is_floating_point(), pixels.dtype
    return pixels.float().div_(127.5).sub_(1.0)


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """Float [-1, 1] -> uint8 0..255: the nearest level; what lies outside is clipped. Inverse of `to_images`."""
    assert images.is_floating_point(), images.dtype
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).byte()


def grid(pixels: np.ndarray, columns: int, *, gap: int = 2, background: int = 255) -> np.ndarray:
    """Tile `[n, c, h, w]` uint8 row by row into one picture `[c, H, W]`, `gap` pixels apart; missing tiles blank."""
    n, c, h, w = pixels.shape
    rows = -(-n // columns)
    canvas = np.full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), background, np.uint8)
    for k, tile in enumerate(pixels):
        top, left = (k // columns) * (h + gap), (k % columns) * (w + gap)
        canvas[:, top : top + h, left : left + w] = tile
    return canvas


def to_pil(picture: np.ndarray) -> Image.Image:
    """uint8 `[1 | 3, h, w]` -> a Pillow image, mode L or RGB."""
    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[0] in (1, 3), picture.shape
    return Image.fromarray(np.ascontiguousarray(picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)))


def png(picture: np.ndarray, *, text: dict[str, str] | None = None, scale: int = 1) -> bytes:
    """uint8 `[1 | 3, h, w]` -> a lossless PNG; `text` goes into its text chunks, `scale` repeats pixels."""
    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    to_pil(picture.repeat(scale, axis=1).repeat(scale, axis=2)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def save_png(picture: np.ndarray, path: Path, *, text: dict[str, str] | None = None, scale: int = 1) -> None:
    """`png` into a file, whole or not at all."""
    files.write_bytes(path, png(picture, text=text, scale=scale))
