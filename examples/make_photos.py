"""Draw photos of small metal parts, so that every step of docs/your-images.md can be tried without any data.

    python examples/make_photos.py defects photos/      # 2,000 good washers and 40 with a crack or a chip
    python examples/make_photos.py kinds photos/        # four kinds of parts: 400, 200, 100 and 40 photos
    python examples/make_photos.py unlabelled photos/   # ten photos of each kind with a label, 2,000 without

They are drawings, with light, dirt, blur and noise: good enough to learn the commands, not to learn about your parts.
"""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIZE, FINE = 96, 3  # pixels of a photo, and how many times finer it is drawn
KINDS = ("washer", "hex-nut", "square-nut", "pinion")


def photo(kind: str, rng: np.random.Generator, *, defect: bool = False) -> Image.Image:
    """One photo, SIZE x SIZE, RGB: a part of that kind on a bench, anywhere near the middle, turned anyhow."""
    side = SIZE * FINE
    bench = rng.integers(70, 130) + rng.normal(0, 6, (1, 1, 3)) + rng.normal(0, 10, (side // 12, side // 12, 1))
    rough = Image.fromarray(np.clip(bench, 0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)
    middle = side / 2 + rng.uniform(-0.08, 0.08, 2) * side
    radius, turn = side * rng.uniform(0.30, 0.36), rng.uniform(0, 2 * math.pi)
    hole = radius * rng.uniform(0.42, 0.52)

    part = Image.new("L", (side, side), 0)  # where the metal is
    draw = ImageDraw.Draw(part)
    draw.polygon(outline(kind, middle, radius, turn), fill=255)
    draw.ellipse(box(middle, hole), fill=0)
    if defect and rng.random() < 0.5:  # a chip out of the rim
        angle = rng.uniform(0, 2 * math.pi)
        at = middle + radius * rng.uniform(0.9, 1.0) * np.array([math.cos(angle), math.sin(angle)])
        draw.ellipse(box(at, radius * rng.uniform(0.14, 0.24)), fill=0)
        defect = False

    ys, xs = np.mgrid[0:side, 0:side]
    light = rng.uniform(0, 2 * math.pi)
    slope = (np.cos(light) * (xs - middle[0]) + np.sin(light) * (ys - middle[1])) / radius
    metal = (
        rng.uniform(150, 190) + 28 * slope[:, :, None] + rng.normal(0, 4, (1, 1, 3)) + rng.normal(0, 8, (side, 1, 1))
    )
    surface = Image.fromarray(np.clip(metal, 0, 255).astype(np.uint8))
    draw = ImageDraw.Draw(surface)
    for _ in range(rng.integers(0, 3)):  # dirt, which is no defect
        draw.ellipse(
            box(middle + rng.uniform(-radius, radius, 2), side * rng.uniform(0.008, 0.02)), fill=(110, 100, 85)
        )
    if defect:  # a crack from the hole to the rim, in short strokes
        angle = rng.uniform(0, 2 * math.pi)
        way = [
            middle + r * np.array([math.cos(a), math.sin(a)])
            for r, a in zip(np.linspace(hole, radius, 5), angle + rng.normal(0, 0.09, 5), strict=True)
        ]
        draw.line([tuple(each) for each in way], fill=(60, 58, 56), width=int(side * rng.uniform(0.012, 0.024)))

    shadow = part.filter(ImageFilter.GaussianBlur(side * 0.02)).point(lambda value: value // 2)
    rough.paste((40, 40, 42), (round(side * 0.02 * math.cos(light)), round(side * 0.02 * math.sin(light))), shadow)
    rough.paste(surface, (0, 0), part)
    small = rough.resize((SIZE, SIZE), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(rng.uniform(0, 0.8)))
    noisy = np.asarray(small, np.float64) * rng.uniform(0.85, 1.15) + rng.normal(0, 5, (SIZE, SIZE, 3))
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def outline(kind: str, middle: np.ndarray, radius: float, turn: float) -> list[tuple[float, float]]:
    """The rim of a part as a polygon."""
    corners = {"washer": 72, "hex-nut": 6, "square-nut": 4, "pinion": 48}[kind]
    reach = [radius * (0.86 if kind == "pinion" and i // 2 % 2 else 1) for i in range(corners)]
    angles = [turn + 2 * math.pi * i / corners for i in range(corners)]
    return [(middle[0] + r * math.cos(a), middle[1] + r * math.sin(a)) for r, a in zip(reach, angles, strict=True)]


def box(middle: np.ndarray, radius: float) -> tuple[float, float, float, float]:
    """What PIL wants for a circle."""
    return (middle[0] - radius, middle[1] - radius, middle[0] + radius, middle[1] + radius)


def write(folder: Path, kind: str, count: int, rng: np.random.Generator, *, defect: bool = False) -> None:
    """Draw `count` photos into a folder, as JPEG."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        photo(kind, rng, defect=defect).save(folder / f"{kind}-{i:04d}.jpg", quality=92)


def main() -> None:
    """Draw one of the three sets."""
    options = argparse.ArgumentParser(description="Draw photos of small metal parts.")
    options.add_argument("which", choices=["defects", "kinds", "unlabelled"])
    options.add_argument("folder", type=Path)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--share", type=float, default=1.0, help="of these numbers of photos, for a quick look")
    chosen = options.parse_args()
    rng, folder = np.random.default_rng(chosen.seed), chosen.folder

    def draw(where: Path, kind: str, count: int, *, defect: bool = False) -> None:
        write(where, kind, max(1, round(count * chosen.share)), rng, defect=defect)

    if chosen.which == "defects":
        draw(folder / "good", "washer", 2000)
        draw(folder / "defect", "washer", 40, defect=True)
    elif chosen.which == "kinds":
        for kind, count in zip(KINDS, (400, 200, 100, 40), strict=True):
            draw(folder / kind, kind, count)
    else:
        for kind in KINDS:
            draw(folder / kind, kind, 10)
            draw(folder, kind, 500)


if __name__ == "__main__":
    main()
