"""The edit `shard`: the same pack in several files, on this disk or at an address."""

from __future__ import annotations

from pathlib import Path

from imagemint import arguments
from imagemint.data.pack import Pack, open_pack
from imagemint.data.remote import SHARD_MEGABYTES
from imagemint.data.rewriting import rewrite


def shard(pack: Pack | Path | str, dest: Path | str, *, megabytes: float = SHARD_MEGABYTES) -> Pack:
    """The same images in the same order, their pixels in files of at most so many megabytes (2**20 bytes).

    The fingerprint stays. Every other edit of a pack in shards writes one file again, unless it writes to an address.
    Raises PackError where `dest` is taken.

    >>> import imagemint
    >>> digits = imagemint.pack("digits", "digits.pack")
    >>> cut = shard(digits, "cut.pack", megabytes=0.05)
    >>> cut.manifest.shards, cut.fingerprint == digits.fingerprint
    ([819, 819, 159], True)
    """
    megabytes = arguments.number(megabytes, "megabytes", low=1 / (1 << 20))
    shard_bytes = int(megabytes * (1 << 20))
    return rewrite(open_pack(pack), dest, "shard", {"megabytes": megabytes}, shard_bytes=shard_bytes)
