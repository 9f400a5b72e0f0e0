"""Class names come back from the folders and lines that they are written as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imagemint.data.names import folded, from_folder, from_lines, to_folder, to_lines
from imagemint.errors import PackError

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.lists(NAMES, min_size=1, max_size=8, unique=True))
def test_every_class_has_a_folder_of_its_own_and_comes_back(names: list[str]) -> None:
    taken: set[str] = set()
    folders = [to_folder(name, taken) for name in names]
    assert [from_folder(folder) for folder in folders] == names
    assert len({folded(folder) for folder in folders}) == len(names) == len(taken)


@given(NAMES)
def test_a_folder_is_one_plain_step_down(name: str) -> None:
    folder = to_folder(name, set())
    assert folder not in (".", "..")
    assert not set(folder) & set('/\\:*?"<>|')
    assert folder.isprintable() or not any(ord(each) < 32 or 127 <= ord(each) < 160 for each in folder)
    assert folder[0] not in " ." and folder[-1] not in " ."
    assert folder.split(".")[0].upper() not in {"CON", "PRN", "AUX", "NUL", "COM1", "LPT1"}


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("Pepper,_bell___healthy", "Pepper,_bell___healthy"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        ("con", "%63on"),
        ("LPT9.txt", "%4CPT9.txt"),
        ("50%", "50%"),
        ("%41", "%2541"),
        ("\x1b[2J", "%1B[2J"),
        ("00.png", "%300.png"),
        ("é", "é"),
    ],
)
def test_folders_of_some_names(name: str, folder: str) -> None:
    assert to_folder(name, set()) == folder


def test_a_name_that_is_taken_gets_an_escape() -> None:
    taken: set[str] = set()
    assert [to_folder(name, taken) for name in ("Cat", "cat", "CAT")] == ["Cat", "%63at", "%43AT"]


@pytest.mark.parametrize("name", ["", "x" * 256, "語" * 86, "/" * 86])
def test_a_name_that_no_folder_can_have_is_refused(name: str) -> None:
    with pytest.raises(PackError, match=r"1 to 255 bytes.*edit rename"):
        to_folder(name, set())
    assert to_folder("x" * 255, set()) == "x" * 255


@given(st.lists(NAMES, max_size=8))
def test_lines_come_back_or_are_refused(names: list[str]) -> None:
    plain = all(len(name.splitlines()) == 1 and name.strip() and name.splitlines() == [name] for name in names)
    if plain:
        assert from_lines(to_lines(names)) == names
    else:
        with pytest.raises(PackError, match="a name of one line"):
            to_lines(names)
