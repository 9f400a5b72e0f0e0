"""Images from outside -> a pack: find out what the source is, decide size and channels, decode, write."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from itertools import chain, islice
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from imagemint import images, progress
from imagemint.arguments import number, whole
from imagemint.data.decode import (
    Decoded,
    Fit,
    Header,
    Item,
    Range,
    Wanted,
    close_archive,
    decode,
    headers,
    value_range,
)
from imagemint.data.pack import Pack, PackWriter, Step, Unreadable, check_absent, open_pack, writing
from imagemint.data.sources import open_source
from imagemint.data.sources.contents import Asked, Contents
from imagemint.data.workers import Spread, spread
from imagemint.errors import ArgumentError, SourceError
from imagemint.jobs import available
from imagemint.words import counted, listed

UNREADABLE_SHARE = 0.01  # of the images that may be unreadable before it is an error

_LOOKED_AT = 64  # images whose headers are read before anything is decoded
_LARGEST_SIDE = 8192  # pixels; a larger --size is a slip of the finger
_FEW_LEVELS = 128  # of 256: deep images that keep fewer are worth a word
_CHUNK_SOURCE = 1 << 19  # pixels that go to a worker at a time (about 10 ms of work) ...
_CHUNK_IMAGES = 256  # ... but no more images than this ...
_CHUNK_BYTES = 8 << 20  # ... and no more bytes of result
# Starting workers takes about 0.2 s; that many pixels are decoded in the meantime. An image costs as much as so
# many pixels before its first pixel is read.
_WORTH_WORKERS, _IMAGE_COST = 1 << 24, 2000


Levels = int | tuple[float, float] | Literal["auto"]


def pack(
    source: Path | str,
    dest: Path | str,
    *,
    size: int | tuple[int, int] | None = None,
    channels: Literal[1, 3] | None = None,
    fit: Fit = "crop",
    split: str | None = None,
    folders_are_classes: bool = False,
    path_column: str | None = None,
    label_column: str | None = None,
    names_encoding: str | None = None,
    levels: Levels | None = None,
    workers: int | None = None,
) -> Pack:
    """Pack the images of `source` (see `imagemint.data.sources` for what it may be) at `dest`, which must not exist.

    `size` is one side in pixels or (height, width); without it all images must have one size. `channels` is 1 where
    every readable image is gray by its kind, else 3. `fit` says how an image of another shape gets the size: the
    largest centred part (crop), the whole on black (pad), or the whole with its shape changed (stretch); resampled
    with Pillow's LANCZOS. `split` is the part to take where a source has several. `folders_are_classes` takes the
    folders at the top for classes where their names or what lies below them speak against it. `path_column` and
    `label_column` name the columns of a list. `names_encoding` is the encoding of the names in a zip or tar that does
    not tell it ("shift_jis"). `levels` are the values of gray images of more than 8 bits per sample that become 0 and
    255, alike for all images: the range of so many bits (12: 0 to 4,095), a pair (low, high), or "auto" for the
    smallest and the largest value found; without it, 0 and 65,535. `workers` are processes, as many as there are
    processors where that is worth it.

    The same input gives the same fingerprint, as a folder or an archive, with any number of workers. Images that
    cannot be read are listed in the manifest and left out; over 1 % of them, or a whole class, is an error. Raises
    SourceError, and PackError where `dest` is taken.

    >>> digits = pack("digits", "digits.pack", size=16)
    >>> len(digits), digits.classes[:2], digits.pixels.shape
    (1797, ['0', '1'], (1797, 1, 16, 16))
    """
    wanted_size = _checked_size(size)
    if channels is not None:
        if whole(channels, "channels") not in (1, 3):
            raise ArgumentError(f"channels {channels}", "1 (gray) or 3 (colour)", "choose one of them")
        channels = 1 if channels == 1 else 3  # Python's number, where it was numpy's
    span = _checked_levels(levels)
    if workers is not None:
        workers = whole(workers, "workers", 1)
    if fit not in get_args(Fit):
        raise ArgumentError(f"fit {fit!r}", "crop, pad or stretch", "choose one of them")
    dest = check_absent(dest)
    size_given = wanted_size if wanted_size is None or isinstance(size, Iterable) else wanted_size[0]
    asked = Asked(split, folders_are_classes, path_column, label_column, names_encoding)
    given = {"source": str(source), "size": size_given, "channels": channels, **vars(asked)}
    parameters = {key: value for key, value in given.items() if value not in (None, False)}
    parameters |= {"fit": fit} if size is not None else {}
    history = [Step(command="pack", parameters=parameters)]
    with ExitStack() as stack:
        stack.callback(close_archive)
        contents = open_source(source, asked, stack)
        if contents.blocks is not None and span is not None:
            found = f"{source} holds pixels of 8 bits, but --levels was given"
            raise SourceError(found, "images of more than 8 bits per sample", "leave the option out")
        if contents.blocks is not None and not _changes(contents, wanted_size, channels):
            with writing(dest, classes=contents.classes, origin="real", history=history) as writer:
                writer.remarks = contents.remarks
                _write_blocks(writer, contents)
        else:
            _decode_into(dest, contents, wanted_size, channels, fit, span, workers, history)
    for remark in contents.remarks:  # last, where they are read, beside the classes and their counts
        progress.say(remark)
    return open_pack(dest)


def _checked_size(size: Any) -> tuple[int, int] | None:
    if size is None:
        return None
    sides = list(size) if isinstance(size, Iterable) and not isinstance(size, str) else [size, size]
    if len(sides) != 2:
        raise ArgumentError(f"size {size}", "one side, or height and width", "choose another size")
    height, width = (whole(side, "size", 1, _LARGEST_SIDE) for side in sides)
    return height, width


def _checked_levels(levels: Levels | None) -> tuple[float, float] | Literal["auto"] | None:
    """The values that become 0 and 255, or "auto"."""
    if levels is None or levels == "auto":
        return levels
    if isinstance(levels, str) or not isinstance(levels, Iterable):
        return 0.0, 2.0 ** whole(levels, "levels", 1, 32) - 1
    ends = [number(end, "levels") for end in levels]
    if len(ends) != 2 or ends[0] >= ends[1]:
        raise ArgumentError(f"levels {ends}", "a lower and an upper end", "write for example 0:4095")
    return ends[0], ends[1]


def _changes(contents: Contents, size: tuple[int, int] | None, channels: int | None) -> bool:
    assert contents.shape is not None
    c, h, w = contents.shape
    return size not in (None, (h, w)) or channels not in (None, c)


def _write_blocks(writer: PackWriter, contents: Contents) -> None:
    assert contents.blocks is not None
    with progress.progress(len(contents.labels), "pack") as advance:
        for block in contents.blocks():
            writer.add(block, contents.labels[writer.images : writer.images + len(block)])
            advance(len(block))


class _Surprise(Exception):
    """An image that the headers looked at before did not announce: "size" or "colour"."""


def _decode_into(
    dest: Path,
    contents: Contents,
    size: tuple[int, int] | None,
    channels: int | None,
    fit: Fit,
    span: tuple[float, float] | Literal["auto"] | None,
    workers: int | None,
    history: list[Step],
) -> None:
    """Decode once, on what a few headers promise; begin again in colour where one of the others does not keep it."""
    sample = _sample(contents.each())
    pixels = next((seen.height * seen.width for seen in headers(sample[:8]) if seen), 1 << 16)  # of a usual image
    if workers is None:
        worth = len(contents.labels) * (pixels + _IMAGE_COST) > _WORTH_WORKERS
        workers = available() if worth else 1
    with spread(workers) as over:  # they start while we look at more
        levels = _found_levels(contents, over) if span == "auto" else span
        if levels is not None:
            history[0].parameters["levels"] = list(levels)
        seen = _survey(chain([sample], _chunks(contents.each(), _LOOKED_AT)), size, channels, levels)
        sizes = {(each.height, each.width) for each in seen} if size is None else {size}
        if len(sizes) > 1:
            raise _several_sizes(contents, over)
        target = sizes.pop() if sizes else (1, 1)  # nothing can be read: any size will do to say so
        some_colour = not all(each.gray for each in seen)
        for count in [channels] if channels else [3] if some_colour else [1, 3]:
            only_gray = channels is None and count == 1
            wanted = Wanted(target, None if size is None else fit, count, only_gray, levels)
            chunk = min(_CHUNK_SOURCE // pixels, _CHUNK_BYTES // (target[0] * target[1] * count), _CHUNK_IMAGES)
            try:
                with writing(dest, classes=contents.classes, origin="real", history=history) as writer:
                    writer.remarks = contents.remarks
                    _write_decoded(writer, contents, wanted, _chunks(contents.each(), max(chunk, 1)), over)
                return
            except _Surprise as surprise:
                if surprise.args[0] == "size":
                    raise _several_sizes(contents, over) from None
    raise AssertionError("colour cannot surprise a second time")


def _sample(items: Iterable[Item]) -> list[Item]:
    """Some items, spread evenly where that does not mean reading them all."""
    if not isinstance(items, Sequence):
        return list(islice(items, _LOOKED_AT))
    count = min(len(items), _LOOKED_AT)
    return [items[k * len(items) // count] for k in range(count)]


def _survey(
    chunks: Iterable[list[Item]],
    size: tuple[int, int] | None,
    channels: int | None,
    levels: tuple[float, float] | None,
) -> list[Header]:
    """What there is in the first chunk in which anything is readable: an example of each size and kind that matters.

    A header is not enough, the image must decode whole: one that is left out later has no say in size and channels.
    """
    for chunk in chunks:
        proven: dict[object, Header] = {}
        for item, seen in zip(chunk, headers(chunk), strict=True):
            if seen is None:
                continue
            key = ((seen.height, seen.width) if size is None else None, seen.gray if channels is None else None)
            own_size = Wanted((seen.height, seen.width), "stretch", 1, only_gray=False, levels=levels)
            if key not in proven and not decode([item], own_size).problems:
                proven[key] = seen
        if proven:
            return list(proven.values())
    return []


def _chunks(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, size)):
        yield chunk


def _write_decoded(
    writer: PackWriter, contents: Contents, wanted: Wanted, chunks: Iterable[list[Item]], over: Spread
) -> None:
    (h, w), total = wanted.size, len(contents.labels)
    sizes: list[int] = []  # of the chunks on their way

    def noted() -> Iterator[list[Item]]:
        for chunk in chunks:
            sizes.append(len(chunk))
            yield chunk

    unreadable: list[int] = []
    start = enlarged = minted = 0
    deep: Range | None = None
    sides: Counter[int] = Counter()
    with progress.progress(total, "pack") as advance:
        for number, result in enumerate(over(decode, noted(), wanted)):
            assert isinstance(result, Decoded)
            if result.surprise:
                raise _Surprise(result.surprise)
            count = sizes[number]
            labels = contents.labels[start : start + count]
            if result.problems:
                bad = [position for position, _ in result.problems]
                labels = np.delete(labels, bad)
                unreadable += [start + position for position in bad]
                for position, problem in result.problems:
                    name = contents.names[start + position] if contents.names else f"image {start + position}"
                    writer.unreadable.append(Unreadable(name=name, problem=problem))
            if len(labels):
                images = np.frombuffer(result.pixels, np.uint8).reshape(len(labels), h, w, wanted.channels)
                writer.add(images.transpose(0, 3, 1, 2), labels)
            start += count
            enlarged += result.enlarged
            minted += result.minted
            deep = result.deep | deep if result.deep else deep
            sides.update(result.sides)
            advance(count)
    writer.source_sides = _binned(sides)
    if minted:  # exported by us and packed again: never taken for real images
        writer.origin = "minted" if minted == writer.images else "mixed"
        progress.say(
            f"{counted(minted, 'image')} of {writer.images:,} were minted by imagemint, as their PNG files say"
        )
    writer.remarks += _on_levels(deep, wanted.levels)
    if enlarged:  # worth knowing before training: an enlarged image is blurred
        (step,) = writer.history
        writer.history = [step.model_copy(update={"parameters": {**step.parameters, "enlarged": enlarged}})]
    assert start == total, (start, total)
    _check_unreadable(contents, unreadable, writer.unreadable)


def _found_levels(contents: Contents, over: Spread) -> tuple[float, float]:
    """The smallest and the largest value of the images of more than 8 bits; it decodes them all."""
    found: Range | None = None
    left = len(contents.labels)
    with progress.progress(left, "levels") as advance:
        for each in over(value_range, _chunks(contents.each(), _LOOKED_AT), None):
            found = each | found if each else found
            advance(min(_LOOKED_AT, left))
            left -= min(_LOOKED_AT, left)
    if found is None or found.low == found.high:
        what = "no image has more than 8 bits per sample" if found is None else f"every value is {found.low:g}"
        raise SourceError(f"{what}, but --levels was given", "gray images of more than 8 bits", "leave it out")
    return found.low, found.high


def _on_levels(deep: Range | None, levels: tuple[float, float] | None) -> list[str]:
    """What to say of images of more than 8 bits: where few of the 256 levels are used, and where none are there."""
    if deep is None:
        return [] if levels is None else ["no image has more than 8 bits per sample: --levels changed nothing"]
    low, high = images.to_levels(np.array([deep.low, deep.high]), *(levels or (0, 65535))).tolist()
    if high - low + 1 >= _FEW_LEVELS:
        return []
    bits = max(int(deep.high).bit_length(), 9)
    way = f"--levels {bits} maps 0 to {2**bits - 1:,}, --levels auto the range found, to 0..255"
    way = way if deep.gray else "scale them to 8 bits before packing"
    found = (
        f"{counted(deep.images, 'image')} of more than 8 bits per sample: values from {deep.low:,g} to {deep.high:,g}"
    )
    dark = " and are dark" if high < _FEW_LEVELS else ""
    return [f"{found} keep {high - low + 1} of 256 levels{dark}; {way}"]


def _binned(sides: Counter[int], bins: int = 24) -> list[tuple[int, int, int]]:
    """Lengths and how often they come, in at most so many equal ranges: (shortest, longest, images) each."""
    if not sides:
        return []
    low, high = min(sides), max(sides)
    width = -(-(high - low + 1) // bins)
    counts: Counter[int] = Counter()
    for side, count in sides.items():
        counts[(side - low) // width] += count
    return [(low + k * width, min(low + (k + 1) * width - 1, high), counts[k]) for k in range(max(counts) + 1)]


def _check_unreadable(contents: Contents, positions: list[int], unreadable: list[Unreadable]) -> None:
    """Say what could not be read; refuse where it is too much."""
    total = len(contents.labels)
    shown = [f"{each.name} ({each.problem})" for each in unreadable]
    wanted, remedy = f"at most {UNREADABLE_SHARE:.0%}, and no whole class", "mend or remove them"
    if len(positions) > UNREADABLE_SHARE * total:
        found = f"{len(positions):,} of {counted(total, 'image')} cannot be read: {listed(shown, 3)}"
        raise SourceError(found, wanted, remedy)
    classes = len(contents.classes)
    all_counts = np.bincount(contents.labels[contents.labels >= 0], minlength=classes)
    bad_labels = contents.labels[positions]
    bad_counts = np.bincount(bad_labels[bad_labels >= 0], minlength=classes)
    lost = [contents.classes[k] for k in range(classes) if all_counts[k] and bad_counts[k] == all_counts[k]]
    if lost:
        raise SourceError(f"no image of {listed(lost)} can be read: {listed(shown, 3)}", wanted, remedy)
    for line in shown:
        progress.say(f"not readable, left out: {line}")


def _several_sizes(contents: Contents, over: Spread) -> SourceError:
    """The error that lists all sizes; it looks at every header."""
    counts: Counter[tuple[int, int]] = Counter()
    with progress.progress(len(contents.labels), "sizes") as advance:
        for chunk in over(headers, _chunks(contents.each(), _LOOKED_AT), None):
            counts.update((seen.height, seen.width) for seen in chunk if seen is not None)
            advance(len(chunk))
    ranked = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    sizes = listed([f"{h}x{w} ({counted(count, 'image')})" for (h, w), count in ranked])
    example = max(1, min(min(size) for size in counts))
    return SourceError(
        f"images of {len(counts):,} sizes (height x width): {sizes}",
        "one size",
        f"choose the size to make of them, for example --size {example}",
    )
