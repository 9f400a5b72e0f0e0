"""Edits: a pack in, a pack out. A pack never changes; every edit writes another one, with one more step of history.

    which images    slice, balance, filter, dedup        (select.py)
    their pixels    resize, tile, crop, invert, grayscale, blur (pixels.py), augment (augmenting.py)
    their labels    rename, drop, relabel, unlabel       (labels.py)
    several packs   merge (merging.py), split            (../split.py)
    several files   shard                                (sharding.py)

All of them take `(pack, dest, ...)` (merge: `(packs, dest)`), where a pack is an open one or its path, keep the order
of the images, carry names, columns and mintings along, and raise PackError where what is asked cannot be done. An
edit of nothing gives a pack with the same fingerprint. Class names stay when their last image goes, unless `drop`
takes them.
"""

from imagemint.data.edit.augmenting import PRESETS, Ranges, augment
from imagemint.data.edit.labels import drop, relabel, rename, unlabel
from imagemint.data.edit.merging import merge
from imagemint.data.edit.pixels import FILTERS, blur, crop, grayscale, invert, resize, tile
from imagemint.data.edit.select import balance, dedup, filter, slice
from imagemint.data.edit.sharding import shard
from imagemint.data.split import split

__all__ = [
    "FILTERS",
    "PRESETS",
    "Ranges",
    "augment",
    "balance",
    "blur",
    "crop",
    "dedup",
    "drop",
    "filter",
    "grayscale",
    "invert",
    "merge",
    "relabel",
    "rename",
    "resize",
    "shard",
    "slice",
    "split",
    "tile",
    "unlabel",
]
