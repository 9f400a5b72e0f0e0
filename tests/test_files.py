from __future__ import annotations

from pathlib import Path

import pytest

from imagemint import files


def test_a_folder_is_whole_or_absent(tmp_path: Path) -> None:
    def interrupted() -> None:
        with files.whole_folder(tmp_path / "a") as folder:
            (folder / "x").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []
    with files.whole_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a").exists()
    assert [p.relative_to(tmp_path).as_posix() for p in sorted(tmp_path.rglob("*"))] == ["a", "a/x"]


def test_a_file_keeps_its_old_content_when_the_new_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    files.write_json(file, {"a": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(file, {"a": float("nan")})
    assert file.read_text() == '{\n "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [file]
