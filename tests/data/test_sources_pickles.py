"""Pickles without a pickle machine: what CIFAR's files hold comes out as pickle gives it, and nothing else does."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemint.data.sources.pickles import Foreign, load
from imagemint.files import Damaged

ROWS = np.arange(24, dtype=np.uint8).reshape(4, 6)
BATCH = {b"data": ROWS, b"labels": [3, -1, 300, 2**40], "filenames": [b"a.png", "b.png"], b"": (None, True, 1.5)}
PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.binary(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(plain, st.sampled_from(PROTOCOLS))
def test_plain_values_come_out_as_pickle_gives_them(value: Any, protocol: int) -> None:
    assert load(pickle.dumps(value, protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_whole_numbers_in_any_order(protocol: int) -> None:
    arrays = {
        "rows": ROWS,
        "columns first": np.asfortranarray(ROWS),
        "big-endian": ROWS.astype(">i4") * -5,
        "none": np.empty((0, 3072), np.uint8),
        "long": np.arange(7, dtype=np.int64),
    }
    found = load(pickle.dumps(arrays, protocol))
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype and np.array_equal(found[name], array), name
    assert load(pickle.dumps([np.int64(3), np.uint8(200)], protocol)) == [3, 200]
    assert np.array_equal(load(pickle.dumps(ROWS, protocol)), ROWS)


def test_the_text_of_python_2_is_bytes() -> None:
    # {'data': 'a\xff', 'labels': [6, 9]} as cPickle of Python 2 wrote it with protocol 2
    old = b"\x80\x02}q\x01(U\x04dataq\x02U\x02a\xffq\x03U\x06labelsq\x04]q\x05(K\x06K\x09eu."
    assert load(old) == {b"data": b"a\xff", b"labels": [6, 9]} == pickle.loads(old, encoding="bytes")


class _Call:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_called_and_no_other_array_is_made(tmp_path: Path, protocol: int) -> None:
    evil = tmp_path / "evil"
    for value, words in (
        (_Call(os.mkdir, str(evil)), "it asks for posix.mkdir"),
        (_Call(np.ndarray, (2,), np.dtype("O"), b"A" * 16), "numbers of type 'O8'|calls what is not to be called"),
        (np.array([{}, None], object), "numbers of type 'O8'"),
        (ROWS.astype(np.float32), "numbers of type 'f4'"),
        (np.zeros(2, [("a", np.uint8)]), "numbers of type 'V1'"),
        (np.array(["cat"]), "numbers of type 'U3'"),
        ({1, 2}, "it "),
        ({(1, 2): 3}, "keys"),
    ):
        with pytest.raises(Foreign, match=words):
            load(pickle.dumps({"value": value}, protocol))
    assert not evil.exists()


def test_a_state_that_turns_bytes_into_pointers_is_refused() -> None:
    kind = b"cnumpy\ndtype\n(\x8c\x02O8\x89\x88tR"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85B\x01\0\0\0btR(K\x01K\x02\x85" + kind
    with pytest.raises(Foreign, match="numbers of type 'O8'"):
        load(b"\x80\x04" + array + b"\x89B\x10\0\0\0" + b"A" * 16 + b"tb.")


@pytest.mark.parametrize("shape", [b"K\x05", b"J\xff\xff\xff\xff", b"\x8a\x09" + b"\xff" * 8 + b"\0", b"N", b"\x88"])
def test_an_array_has_the_bytes_that_its_shape_says(shape: bytes) -> None:
    kind = b"cnumpy\ndtype\n(\x8c\x02u1\x89\x88tR"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85B\x01\0\0\0btR(K\x01" + shape + b"\x85"
    with pytest.raises(Damaged):
        load(b"\x80\x04" + array + kind + b"\x89B\x04\0\0\0abcdtb.")
    good = array.replace(b"K\x01" + shape, b"K\x01K\x04")
    assert load(b"\x80\x04" + good + kind + b"\x89B\x04\0\0\0abcdtb.").tolist() == [97, 98, 99, 100]


def test_damage_of_any_kind_is_one_of_two_errors() -> None:
    choose = random.Random(0)
    for protocol in PROTOCOLS:
        whole = pickle.dumps(BATCH, protocol)
        for _ in range(300):
            damaged = bytearray(whole)
            for _ in range(choose.randint(1, 4)):
                damaged[choose.randrange(len(damaged))] = choose.randrange(256)
            damaged = damaged[: choose.randint(1, len(damaged))] if choose.random() < 0.3 else damaged
            try:
                load(bytes(damaged))
            except (Foreign, Damaged):
                continue
