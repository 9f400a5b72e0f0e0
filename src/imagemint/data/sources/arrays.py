"""Images that come as arrays: what the readers of IDX, CIFAR and npz share, and scikit-learn's digits."""

from __future__ import annotations

import errno
import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

from imagemint.data.pack import BLOCK_BYTES
from imagemint.data.sources.contents import Contents
from imagemint.errors import SourceError
from imagemint.files import Damaged

# Bytes that compressed arrays may always unpack to; above, at most so many times their size as an archive may.
# Labels in order shrink 1,000 times, and 16 million of them are enough.
FLOOR = 16 << 20


def digits() -> Contents:
    """scikit-learn's 1,797 handwritten digits, 8x8; their 17 levels 0..16 become round(v * 255 / 16)."""
    from sklearn.datasets import load_digits

    data = load_digits()
    levels = np.rint(data.images * (255 / 16)).astype(np.uint8)[:, None]
    return of_array(levels, data.target.astype(np.int64), [str(k) for k in range(10)])


def of_array(
    pixels: np.ndarray, labels: np.ndarray, classes: list[str], remarks: list[str] | None = None
) -> Contents:
    """Contents of uint8 `[n, c, h, w]` and int64 `[n]` that are in memory."""
    return Contents(
        labels, classes, blocks=lambda: iter(_in_blocks(pixels)), shape=pixels.shape[1:], remarks=remarks or []
    )


def _in_blocks(pixels: np.ndarray) -> Iterator[np.ndarray]:
    step = max(1, BLOCK_BYTES // int(np.prod(pixels.shape[1:])))
    for start in range(0, len(pixels), step):
        yield pixels[start : start + step]


@contextmanager
def reading(where: str) -> Iterator[None]:
    """What a damaged file of numbers raises while it is read and unpacked, in our words."""
    try:
        yield
    except Damaged as error:
        raise SourceError(f"{where} {error}", "a whole file", "fetch or make it again") from None
    except FileNotFoundError:
        raise SourceError(f"{where} is a link to nothing", "a file", "fetch it again") from None
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the machine's; a damaged zip leads to before its beginning
            raise
        raise _damaged(where, error) from None
    except (EOFError, ValueError, OverflowError, zlib.error, lzma.LZMAError, struct.error) as error:
        raise _damaged(where, error) from None
    except (zipfile.BadZipFile, NotImplementedError) as error:
        raise _damaged(where, error) from None


def _damaged(where: str, error: Exception) -> SourceError:
    return SourceError(f"{where} is damaged ({str(error)[:200]})", "a whole file", "fetch or make it again")


WANTED = "uint8 [n, h, w], [n, h, w, c] or [n, c, h, w] with 1 or 3 channels"


def planes(shape: tuple[int, ...], where: str) -> Callable[[np.ndarray], np.ndarray]:
    """How uint8 `[n, h, w]`, `[n, h, w, c]` or `[n, c, h, w]` becomes `[n, c, h, w]`; other shapes: SourceError."""
    if len(shape) == 3 and min(shape[1:]) > 0:
        return lambda pixels: pixels[:, None]
    if len(shape) == 4 and min(shape[1:]) > 0:
        if shape[3] in (1, 3):  # also where both could be the channels
            return lambda pixels: pixels.transpose(0, 3, 1, 2)
        if shape[1] in (1, 3):
            return lambda pixels: pixels
    raise SourceError(f"{where} has the shape {list(shape)}", WANTED, "reshape it and save it again")
