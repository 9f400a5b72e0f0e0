"""Arguments of the public functions, checked before anything is read or computed.

numpy's numbers are as good as Python's and come out as Python's, so that what is written down is plain JSON.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any

from imagemint.errors import ArgumentError


def whole(value: Any, what: str, low: int | None = None, high: int | None = None) -> int:
    """`value` as an int between `low` and `high`, both included. Raises ArgumentError, which calls it `what`.

    >>> import numpy
    >>> whole(numpy.int64(3), "--per-class", 1)
    3
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise ArgumentError(f"{what} {value!r}", "a whole number", "write for example 10")
    return _between(int(value), what, low, high)


def number(value: Any, what: str, low: float | None = None, high: float | None = None) -> float:
    """`value` as a finite float between `low` and `high`, both included. Raises ArgumentError.

    >>> number(1, "--real-share", 0, 1)
    1.0
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise ArgumentError(f"{what} {value!r}", "a number", "write for example 0.5")
    return _between(float(value), what, low, high)


def names(values: Iterable[str], what: str) -> list[str]:
    """Any iterable of texts as a list; a single text is refused, since its letters would be taken for names.

    >>> names((name for name in ["cat", "dog"]), "classes")
    ['cat', 'dog']
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ArgumentError(f"{what} {values!r}", "a list of names", "write for example ['cat', 'dog']")
    found = list(values)
    for each in found:
        if not isinstance(each, str):
            raise ArgumentError(f"{what} with {each!r}", "names as text", "write for example ['cat', 'dog']")
    return found


def _between(value: Any, what: str, low: float | None, high: float | None) -> Any:
    if (low is not None and value < low) or (high is not None and value > high):
        if high is None:
            wanted = f"at least {low:,}"
        elif low is None:
            wanted = f"at most {high:,}"
        else:
            wanted = f"{low:,} to {high:,}"
        raise ArgumentError(f"{what} {value:,}", wanted, "choose a value in this range")
    return value
