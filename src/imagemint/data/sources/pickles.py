"""Pickles of arrays and plain values, read without a pickle machine: nothing that a file names is ever called.

CIFAR's python batches are pickles: dictionaries of text, lists of whole numbers and numpy arrays of bytes, as
Python 2 wrote them and as numpy 1 and 2 write them today. `pickletools` takes a pickle apart into opcodes; the few
that such a file uses are played here on Python's own lists and dictionaries. The only names that mean anything are
those of numpy's arrays of whole numbers, and what stands for them here is built with `np.frombuffer`.
"""

from __future__ import annotations

import math
import pickletools
from collections.abc import Callable
from typing import Any, cast

import numpy as np

from imagemint.files import Damaged

_MOST_STEPS = 4_000_000  # opcodes; CIFAR-100's train batch, the largest, takes about 200,000
_WHOLE = {f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)}


class Foreign(Exception):
    """A pickle asks for something other than arrays and plain values; the text says for what."""


class _Name(str):
    """Something outside that a pickle names ("numpy.dtype")."""


class _Type:
    """What stands for numpy's dtype: whole numbers, and no others."""

    def __init__(self, code: Any) -> None:
        self.code = _ascii(code)
        if self.code not in _WHOLE:
            raise Foreign(f"it holds numbers of type {self.code[:20]!r}")
        self.order = "="

    def build(self, state: Any) -> None:
        order = _ascii(state[1])
        if order not in ("<", ">", "|", "=") or any(each is not None for each in state[2:5]):
            raise Foreign("it holds arrays of compound values")
        self.order = order

    def plain(self) -> np.dtype[Any]:
        return np.dtype(self.order.replace("|", "=") + self.code)


class _Array:
    """What stands for numpy's ndarray while its content is not known yet."""

    values: np.ndarray | None = None

    def build(self, state: Any) -> None:
        _, shape, kind, fortran, data = state
        self.values = _array(data, kind, shape, "F" if fortran else "C")


def _array(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, _Type) or not isinstance(data, (bytes, bytearray)):
        raise Foreign("it holds arrays of other things than whole numbers")
    if not all(type(side) is int and side >= 0 for side in shape):
        raise ValueError("an array has an impossible shape")
    dtype = kind.plain()
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of {list(shape)} has {len(data):,} bytes")
    values = np.frombuffer(data, dtype) if data else np.empty(0, dtype)
    return values.reshape(shape, order="F" if order in ("F", b"F") else "C")


def _scalar(kind: Any, data: Any) -> int:
    return int(_array(data, kind, (), "C"))


def _encode(text: Any, encoding: Any) -> bytes:
    if _ascii(encoding) not in ("latin1", "latin-1"):
        raise Foreign(f"it encodes text as {encoding[:20]!r}")
    return bytes(_exactly(text, str).encode("latin-1"))


def _no_bytes(*arguments: Any) -> bytes:
    if arguments:
        raise Foreign("it makes bytes in an unusual way")
    return b""


_CALLS: dict[str, Callable[..., Any]] = {
    "numpy.dtype": lambda code, *_: _Type(code),
    "_codecs.encode": _encode,  # how Python 3 writes bytes for Python 2
    "__builtin__.bytes": _no_bytes,
    "builtins.bytes": _no_bytes,
}
for _core in ("numpy.core", "numpy._core"):
    _CALLS[f"{_core}.multiarray._reconstruct"] = lambda *_: _Array()
    _CALLS[f"{_core}.multiarray.scalar"] = _scalar
    _CALLS[f"{_core}.numeric._frombuffer"] = _array
_NAMES = {"numpy.ndarray", *_CALLS}

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = frozenset(("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"))
_TEXT = frozenset(("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"))
_BYTES = frozenset(("SHORT_BINBYTES", "BINBYTES", "BINBYTES8", "BYTEARRAY8"))
_PLAIN = _NUMBERS | _TEXT | _BYTES
_OLD_TEXT = frozenset(("STRING", "BINSTRING", "SHORT_BINSTRING"))  # Python 2's str: bytes
_EMPTY: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_TUPLE": tuple}
_GATHER: dict[str, Callable[[list[Any]], Any]] = {
    "LIST": list,
    "TUPLE": tuple,
    "DICT": lambda found: _pairs({}, found),
}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_NOTHING = frozenset(("PROTO", "FRAME"))


def load(data: bytes) -> Any:
    """The value of a pickle: plain values, text, bytes, lists, tuples, dictionaries and arrays of whole numbers.

    Text of Python 2 comes as bytes, as `pickle.load(..., encoding="bytes")` gives it. Raises Foreign where the pickle
    asks for anything else, and Damaged.

    >>> import pickle
    >>> load(pickle.dumps({"labels": [3, 1], "name": b"batch"}))
    {'labels': [3, 1], 'name': b'batch'}
    """
    try:
        return _plain(_play(data))
    except (ValueError, IndexError, TypeError, KeyError, AttributeError, OverflowError, DeprecationWarning) as error:
        # What a damaged pickle does to the few lines below: too short a stack, an unhashable key, half an array; the
        # last, where warnings are errors, is an odd escape in text.
        raise Damaged(f"is no whole pickle ({error})"[:200]) from None


def _play(data: bytes) -> Any:
    stack: list[Any] = []
    marks: list[int] = []  # where in the stack a list, tuple or dictionary begins
    memo: dict[int, Any] = {}

    def gathered() -> list[Any]:
        start = marks.pop()
        found = stack[start:]
        del stack[start:]
        return found

    for step, (code, given, _) in enumerate(pickletools.genops(data)):
        name, argument = code.name, cast(Any, given)
        if step > _MOST_STEPS:
            raise Foreign(f"it has more than {_MOST_STEPS:,} parts")
        if name in _PLAIN:
            stack.append(argument)
        elif name in _OLD_TEXT:
            stack.append(str(argument).encode("latin-1"))
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _EMPTY:
            stack.append(_EMPTY[name]())
        elif name in _GATHER:
            stack.append(_GATHER[name](gathered()))
        elif name in _TUPLES:
            found = stack[len(stack) - _TUPLES[name] :]
            del stack[len(stack) - _TUPLES[name] :]
            stack.append(tuple(found))
        elif name == "MARK":
            marks.append(len(stack))
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[int(argument)] = stack[-1]
        elif name == "MEMOIZE":
            memo[len(memo)] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[int(argument)])
        elif name in ("APPEND", "APPENDS"):
            found = gathered() if name == "APPENDS" else [stack.pop()]
            _exactly(stack[-1], list).extend(found)
        elif name in ("SETITEM", "SETITEMS"):
            found = gathered() if name == "SETITEMS" else [stack.pop(-2), stack.pop()]
            _pairs(_exactly(stack[-1], dict), found)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            called = str(argument).replace(" ", ".") if name == "GLOBAL" else ".".join([stack.pop(-2), stack.pop()])
            if called not in _NAMES:
                raise Foreign(f"it asks for {called}"[:100])
            stack.append(_Name(called))
        elif name == "REDUCE":
            arguments, called = stack.pop(), stack.pop()
            if type(called) is not _Name or called not in _CALLS:
                raise Foreign("it calls what is not to be called")
            stack.append(_CALLS[called](*arguments))
        elif name == "BUILD":
            state = stack.pop()
            if not isinstance(stack[-1], (_Type, _Array)):
                raise Foreign("it sets the state of what has none")
            stack[-1].build(state)
        elif name == "STOP":
            return stack.pop()
        elif name not in _NOTHING:
            raise Foreign(f"it uses {name}")
    raise ValueError("it does not end")


def _exactly(value: Any, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"a {type(value).__name__} where a {kind.__name__} belongs")
    return value


def _ascii(value: Any) -> str:
    return value if type(value) is str else bytes(_exactly(value, bytes)).decode("ascii")


def _pairs(into: dict[Any, Any], found: list[Any]) -> dict[Any, Any]:
    if not all(type(key) in (bytes, str, int) for key in found[::2]):
        raise Foreign("it has keys that are neither text nor whole numbers")
    into.update(zip(found[::2], found[1::2], strict=True))
    return into


def _plain(value: Any) -> Any:
    """Arrays in the place of what stood for them, at the top and in a dictionary there."""
    if isinstance(value, _Array):
        return value.values
    if isinstance(value, dict):
        return {key: each.values if isinstance(each, _Array) else each for key, each in value.items()}
    return value
