"""One pack read through into another, block by block: what every edit is made of.

Memory: one block of pixels (`BLOCK_BYTES`) with what is computed from it, and the labels, columns and indices of the
whole pack, about 35 bytes per image. All pixels are never in memory at once (`benchmarks/memory.py` shows it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from imagemint.data.pack import BLOCK_BYTES, UNLABELLED, Origin, Pack, Step, open_pack, writing
from imagemint.progress import progress

Change = Callable[[np.ndarray, np.ndarray], np.ndarray]


def rewrite(
    pack: Pack,
    dest: Path | str,
    command: str,
    parameters: Mapping[str, Any],
    *,
    order: np.ndarray | None = None,
    labels: np.ndarray | None = None,
    classes: list[str] | None = None,
    change: Change | None = None,
    growth: float = 1.0,
    origin: Origin | None = None,
    extra: Mapping[str, np.ndarray] | None = None,
    shard_bytes: int | None = None,
) -> Pack:
    """Write the images `order` of `pack` (default: all, in order) to `dest`, with one more step of history.

    `labels` (int64 `[len(pack)]`, one for each image of `pack`) and `classes` replace those of the pack. `change`
    takes pixels `[k, c, h, w]` and their indices `[k]` and returns as many images, or a multiple: the m images that
    come from one stand together, inherit its label and columns, and the columns `extra` (int64 `[m]`) tell them
    apart. `growth` says how many bytes `change` needs for each byte that it is given. With `shard_bytes` pixels go
    into files of at most so many bytes. Raises PackError where `dest` is taken or no image is left.
    """
    labels = np.asarray(pack.labels) if labels is None else labels
    order = np.arange(len(pack)) if order is None else order
    columns = {name: np.asarray(column) for name, column in pack.columns.items()}
    with (
        writing(
            dest,
            classes=pack.classes if classes is None else classes,
            origin=pack.manifest.origin if origin is None else origin,
            history=[*pack.manifest.history, step_of(command, parameters, pack)],
            shard_bytes=shard_bytes,
        ) as writer,
        progress(len(order), command) as advance,
    ):
        writer.unreadable = list(pack.manifest.unreadable)
        writer.mintings = list(pack.manifest.mintings)
        for index in pack.blocks(order, block_bytes=int(BLOCK_BYTES / max(growth, 1.0))):
            pixels = pack.read(index)
            pixels = pixels if change is None else change(pixels, index)
            times = len(pixels) // len(index)
            carried = {name: column[index].repeat(times) for name, column in columns.items()}
            marks = {name: np.tile(values, len(index)) for name, values in (extra or {}).items()}
            writer.add(pixels, labels[index].repeat(times), **{**carried, **marks})
            advance(len(index))
    return open_pack(dest)


def step_of(command: str, parameters: Mapping[str, Any], *parents: Pack) -> Step:
    """The history's entry for `imagemint edit COMMAND`."""
    return Step(
        command=f"edit {command}", parameters=dict(parameters), parents=[pack.fingerprint for pack in parents]
    )


def relabelled(labels: np.ndarray, new: list[int]) -> np.ndarray:
    """Labels with class k turned into class `new[k]`; unlabelled stays unlabelled."""
    table = np.array([*new, UNLABELLED], np.int64)  # index -1 is the last entry
    result: np.ndarray = table[labels]
    return result


def apportion(total: int, weights: np.ndarray, owed: np.ndarray | float = 0.0) -> np.ndarray:
    """int64, sums to `total`, in proportion to `weights` as nearly as whole numbers can be (largest remainder).

    Hamilton's method: everybody gets the whole part of the exact share, and what is left goes to the largest
    fractional parts, each with what it is `owed` from earlier rounds added; ties to the first. Nobody gets a whole
    one more or less than the exact share.

    >>> apportion(10, np.array([1, 1, 1])).tolist(), apportion(3, np.array([0.8, 0.2])).tolist()
    ([4, 3, 3], [2, 1])
    """
    exact = total * weights / weights.sum()
    given: np.ndarray = np.floor(exact + 1e-9).astype(np.int64)
    fraction = exact - given
    due = np.where(fraction > 1e-9, fraction + owed, -np.inf)
    given[np.argsort(-due, kind="stable")[: total - given.sum()]] += 1
    return given
