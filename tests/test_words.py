from __future__ import annotations

import doctest
from fractions import Fraction

import numpy as np
import pytest

from imagemint import arguments, files, words
from imagemint.errors import ArgumentError, ImagemintError


@pytest.mark.parametrize("module", [words, arguments, files])
def test_examples_of_the_docstrings(module: object) -> None:
    assert doctest.testmod(module).failed == 0  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text", ["\x1b[31mred", "a\nb", "a\rb", "\x9b1m", "\ud800", "\u202egnp.exe", "\x00", "\u2028"]
)
def test_what_commands_a_terminal_is_never_printed(text: str) -> None:
    safe = words.shown(text)
    assert safe.isascii()
    assert safe.isprintable()


@pytest.mark.parametrize("text", ["cat", "Würste", "猫 1", "a b", "\U0001f600", "\u00a0"])
def test_names_that_people_write_stay_as_they_are(text: str) -> None:
    assert words.shown(text) == text


def test_an_error_is_one_safe_line() -> None:
    assert str(ImagemintError("class '\x1b[2J'", "b", "c\nd")) == "class '\\x1b[2J'; wanted b; c d"


@pytest.mark.parametrize("value", [2.5, True, "3", None, float("nan"), np.float64(2.0)])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError, match="--per-class"):
        arguments.whole(value, "--per-class")


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_come_out_as_pythons(value: object) -> None:
    assert type(arguments.whole(value, "n", 3, 3)) is int
    for low, high in ((4, None), (None, 2)):
        with pytest.raises(ArgumentError):
            arguments.whole(value, "n", low, high)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1", True, None])
def test_what_is_no_number_is_refused(value: object) -> None:
    with pytest.raises(ArgumentError):
        arguments.number(value, "share")


def test_numbers_come_out_as_floats() -> None:
    for value in (np.float32(0.5), Fraction(1, 2), 0.5):
        assert type(arguments.number(value, "share", 0, 1)) is float
    with pytest.raises(ArgumentError, match="0 to 1"):
        arguments.number(1.5, "share", 0, 1)


@pytest.mark.parametrize("value", ["cat", b"cat", 3, [1]])
def test_a_text_is_no_list_of_names(value: object) -> None:
    with pytest.raises(ArgumentError):
        arguments.names(value, "classes")  # type: ignore[arg-type]
