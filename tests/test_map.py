"""docs/map.md names every file of the source, each with the first sentence of its docstring."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "docs" / "make_map.py"


def test_the_map_is_that_of_the_source() -> None:
    spec = importlib.util.spec_from_file_location("make_map", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    make_map = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(make_map)
    assert make_map.PAGE.read_text(encoding="utf-8") == make_map.page(), "run: python docs/make_map.py"
