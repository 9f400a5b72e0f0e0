"""THE contract between stored and computed images, in one file.

`pixels` are uint8 `[n, c, h, w]` in 0..255, as packs store them. `images` are float32 `[n, c, h, w]` in [-1, 1], as
networks see them. The maps between the two, to gray, and from other ranges of numbers stand here and nowhere else.

Loading this file loads neither numpy nor torch: the workers that decode images start faster without them.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    import torch

# Gray = 0.2989 red + 0.5870 green + 0.1140 blue: the luma of ITU-R BT.601 with the four digits that MATLAB's rgb2gray
# made common.
GRAY_WEIGHTS = (0.2989, 0.5870, 0.1140)


def to_images(pixels: torch.Tensor) -> torch.Tensor:
    """uint8 0..255 -> float32 [-1, 1]: p / 127.5 - 1.

    >>> import torch
    >>> to_images(torch.tensor([0, 255], dtype=torch.uint8)).tolist()
    [-1.0, 1.0]
    """
    assert not pixels.is_floating_point(), pixels.dtype
    return pixels.float().div_(127.5).sub_(1.0)


def to_pixels(images: torch.Tensor) -> torch.Tensor:
    """Float [-1, 1] -> uint8 0..255: the nearest level; what lies outside is clipped. Inverse of `to_images`.

    >>> import torch
    >>> to_pixels(torch.tensor([-1.0, 0.0, 1.0, 7.0])).tolist()
    [0, 128, 255, 255]
    """
    assert images.is_floating_point(), images.dtype
    return images.float().add(1.0).mul_(127.5).round_().clamp_(0, 255).byte()


def to_levels(values: np.ndarray, low: float = 0.0, high: float = 255.0) -> np.ndarray:
    """Numbers of any type -> uint8: `low` becomes 0, `high` 255, what lies between the nearest level.

    What lies outside is clipped; NaN has no level and must not come in.

    >>> import numpy as np
    >>> to_levels(np.array([0, 2048, 4095, 5000]), 0, 4095)
    array([  0, 128, 255, 255], dtype=uint8)
    """
    import numpy as np

    scaled = (np.asarray(values, np.float64) - low) * (255.0 / (high - low))
    return np.clip(np.floor(scaled + 0.5), 0, 255).astype(np.uint8)


def gray(pixels: np.ndarray) -> np.ndarray:
    """uint8 `[n, c, h, w]` -> `[n, 1, h, w]`: `GRAY_WEIGHTS`, to the nearest level; gray pixels stay as they are.

    Computed in whole numbers, so that it rounds alike on every machine.

    >>> import numpy as np
    >>> gray(np.array([255, 0, 0], np.uint8).reshape(1, 3, 1, 1)).item()
    76
    """
    import numpy as np

    if pixels.shape[1] == 1:
        return pixels
    total = np.full(pixels[:, 0].shape, 5_000, np.uint32)  # one half
    for channel, weight in enumerate(GRAY_WEIGHTS):
        total += pixels[:, channel] * np.uint32(round(10_000 * weight))
    return (total // 10_000).astype(np.uint8)[:, None]


def gray_pil(image: Image.Image) -> Image.Image:
    """`gray` of a Pillow image, mode RGB -> L; the same levels for each of the 2^24 colours."""
    # Pillow sums in single precision. Sums are multiples of 0.0001: half of that added keeps each on its side of .5.
    return image.convert("L", (*GRAY_WEIGHTS, 0.00005))


def grid(pixels: np.ndarray, columns: int, *, gap: int = 2, background: int = 255) -> np.ndarray:
    """Tile `[n, c, h, w]` uint8 row by row into one picture `[c, H, W]`, `gap` pixels apart; missing tiles blank."""
    import numpy as np

    n, c, h, w = pixels.shape
    rows = -(-n // columns)
    canvas = np.full((c, rows * (h + gap) - gap, columns * (w + gap) - gap), background, np.uint8)
    for k, tile in enumerate(pixels):
        top, left = (k // columns) * (h + gap), (k % columns) * (w + gap)
        canvas[:, top : top + h, left : left + w] = tile
    return canvas


def to_pil(picture: np.ndarray) -> Image.Image:
    """uint8 `[1 | 3, h, w]` -> a Pillow image, mode L or RGB."""
    import numpy as np

    assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[0] in (1, 3), picture.shape
    return Image.fromarray(np.ascontiguousarray(picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)))


def png(picture: np.ndarray, *, text: dict[str, str] | None = None, scale: int = 1) -> bytes:
    """uint8 `[1 | 3, h, w]` -> a lossless PNG; `text` goes into its text chunks, `scale` repeats pixels."""
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    for key, value in (text or {}).items():
        info.add_itxt(key, value)
    buffer = io.BytesIO()
    to_pil(picture.repeat(scale, axis=1).repeat(scale, axis=2)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def save_png(picture: np.ndarray, path: Path, *, text: dict[str, str] | None = None, scale: int = 1) -> None:
    """`png` into a file, whole or not at all."""
    from imagemint import files

    files.write_bytes(path, png(picture, text=text, scale=scale))
