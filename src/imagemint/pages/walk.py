"""A walk through what a run can draw: the same path through the noise in every class, as a GIF or MP4."""

from __future__ import annotations

import io
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from imagemint import arguments, images, seeds
from imagemint.errors import ImagemintError, RunError
from imagemint.methods import load_minter
from imagemint.minter import NetworkMinter
from imagemint.pages.out import check_out, write_out
from imagemint.runs import Run, open_run
from imagemint.words import listed

FRAMES, POINTS = 24, 4  # frames from one point of noise to the next; points, of which the last leads to the first
MOST_FRAMES = 2000
_PER_SECOND = 12
_SIDE = 64  # pixels that a small image is enlarged to, about
_COLUMNS = 5


def walk(
    run: Run | Path | str,
    out: Path | str,
    *,
    classes: Sequence[str] | None = None,
    points: int = POINTS,
    frames: int = FRAMES,
    seed: int = 0,
) -> Path:
    """Draw a walk into `out`, .gif or .mp4 (which needs ffmpeg); gives `out`.

    A frame shows one image for each of `classes` (default: all), made from the same noise: one z through all classes.
    From frame to frame the noise moves along the sphere (normal noise) or line (uniform noise) from one random point
    to the next, `frames` each, and back to the first. Raises RunError or ImagemintError.
    """
    points, frames = arguments.whole(points, "--points", 2), arguments.whole(frames, "--frames", 1)
    seed = arguments.whole(seed, "--seed", 0)
    if points * frames > MOST_FRAMES:
        found = f"{points} points with {frames} frames each, {points * frames:,} in all"
        raise ImagemintError(found, f"at most {MOST_FRAMES:,}", "ask for fewer with --frames or --points")
    run, out = open_run(run), check_out(out, (".gif", ".mp4"))
    labels = _labels(run, classes)
    if out.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        remedy = f"install ffmpeg, or say --out {out.with_suffix('.gif')}"
        raise ImagemintError("no ffmpeg on the path", "ffmpeg, to write MP4", remedy)
    minter = load_minter(run, run.newest())
    if not isinstance(minter, NetworkMinter):
        found = f"recipe {run.recipe.name} draws images from something else than a network"
        raise RunError(found, "noise to walk through", "look at its samples: imagemint strip")
    drawn = _frames(minter, labels, points, frames, seed)
    return write_out(out, _gif(drawn) if out.suffix.lower() == ".gif" else _mp4(drawn))


def between(start: torch.Tensor, end: torch.Tensor, share: float, *, spherical: bool) -> torch.Tensor:
    """The point at `share` of the way from start to end, float `[z]`.

    Along the great circle where the noise is normal, so that its norm stays that of a draw (White 2016, arXiv
    1609.04468); along the line where it is uniform.

    >>> between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 0.5, spherical=True)
    tensor([0.7071, 0.7071])
    """
    if not spherical:
        return start + share * (end - start)
    cosine = (start @ end / (start.norm() * end.norm())).clamp(-1, 1)
    angle = torch.acos(cosine)
    if angle < 1e-4 or angle > torch.pi - 1e-4:
        return start + share * (end - start)
    return (torch.sin((1 - share) * angle) * start + torch.sin(share * angle) * end) / torch.sin(angle)


def _frames(minter: NetworkMinter, labels: np.ndarray, points: int, frames: int, seed: int) -> Iterator[np.ndarray]:
    """Pictures uint8 `[c, H, W]`, one after the other; the last leads to the first again."""
    stops = minter.z([seeds.derive(seed, "walk", k) for k in range(points)])
    for k in range(points):
        for step in range(frames):
            z = between(stops[k], stops[(k + 1) % points], step / frames, spherical=minter.noise == "normal")
            pixels = minter.draw_z(z.expand(len(labels), -1).contiguous(), labels)
            scale = max(1, _SIDE // max(pixels.shape[2:]))
            yield images.grid(pixels.repeat(scale, axis=2).repeat(scale, axis=3), min(_COLUMNS, len(labels)))


def _labels(run: Run, classes: Sequence[str] | None) -> np.ndarray:
    known = run.facts.pack.classes
    if classes is None:
        return np.arange(max(len(known), 1))
    names = arguments.names(classes, "--classes")
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        wanted = f"some of {listed(known)}" if known else "no --classes: the run knows none"
        raise RunError(f"--classes {listed(unknown) or 'without a name'}", wanted, "check the names")
    return np.array([known.index(name) for name in names])


def _gif(frames: Iterator[np.ndarray]) -> bytes:
    pictures = [Image.fromarray(np.ascontiguousarray(_hwc(frame))) for frame in frames]
    out = io.BytesIO()
    pause = 1000 // _PER_SECOND
    pictures[0].save(out, "GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0)
    return out.getvalue()


def _mp4(frames: Iterator[np.ndarray]) -> bytes:
    first = _even(_hwc(next(frames)))
    height, width = first.shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(_PER_SECOND), "-i", "-"]
    target = ["-c:v", "mpeg4", "-q:v", "3", "-pix_fmt", "yuv420p"]
    target += ["-movflags", "frag_keyframe+empty_moov", "-f", "mp4"]  # what may be written into a pipe
    data = b"".join([first.tobytes(), *(_even(_hwc(frame)).tobytes() for frame in frames)])
    done = subprocess.run(["ffmpeg", "-v", "error", *source, *target, "-"], input=data, capture_output=True)
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ImagemintError(f"ffmpeg failed ({said[-1] if said else done.returncode})", "a video", "write a .gif")
    return done.stdout


def _hwc(picture: np.ndarray) -> np.ndarray:
    """uint8 `[H, W, 3]` of `[c, H, W]`."""
    return np.broadcast_to(picture, (3, *picture.shape[1:])).transpose(1, 2, 0)


def _even(picture: np.ndarray) -> np.ndarray:
    """With sides that video takes: even ones."""
    h, w = picture.shape[:2]
    return np.ascontiguousarray(np.pad(picture, ((0, h % 2), (0, w % 2), (0, 0)), constant_values=255))
