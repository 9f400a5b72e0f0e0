from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from imagemint import files
from imagemint.errors import ImagemintError


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


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "ring", "folder"):
        with pytest.raises(files.Damaged):
            files.read_bytes(tmp_path / name)
    with pytest.raises(files.Damaged):
        files.read_bytes("/dev/zero")
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "nothing")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 200_000, "nested too deeply"),
        ("[" + "9" * 5000 + "]", "not JSON"),
        ("[NaN]", "NaN is no JSON number"),
        ("[1e999]", "too large"),
        ('{"a": 1', "not JSON"),
    ],
)
def test_json_from_outside_is_bounded(text: str, reason: str) -> None:
    with pytest.raises(files.Damaged, match=reason):
        files.parse_json(text)


def test_a_file_larger_than_the_limit_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(11))
    assert files.read_bytes(tmp_path / "x", limit=11) == bytes(11)
    with pytest.raises(files.Damaged, match="more than"):
        files.read_bytes(tmp_path / "x", limit=10)


def test_lines_end_where_a_kill_cut_them(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    files.append_line(file, {"a": 1})
    files.append_line(file, {"a": 2})
    with file.open("ab") as end:
        end.write(b'{"a": ')
    assert files.read_lines(file) == [{"a": 1}, {"a": 2}]
    for bad in (b"5\n", b"{bad}\n", b"\xff\n"):
        file.write_bytes(b'{"a": 1}\n' + bad)
        with pytest.raises(files.Damaged, match="line 2"):
            files.read_lines(file)


def test_numbers_of_numpy_are_numbers_and_bytes_of_a_path_are_escapes(tmp_path: Path) -> None:
    value = {"n": np.int64(3), "x": np.float32(0.5), "list": np.arange(2), "path": Path("a\udce9"), "é": "\U0001f600"}
    files.write_json(tmp_path / "x.json", value)
    read = files.read_json(tmp_path / "x.json")
    assert read == {"n": 3, "x": 0.5, "list": [0, 1], "path": "a\\udce9", "é": "\U0001f600"}


# A child that makes an unfinished folder and file, says so and waits to be killed.
UNFINISHED = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from imagemint import files
with ExitStack() as stack:
    folder = stack.enter_context(files.whole_folder(Path("dest")))
    (folder / "big").write_bytes(bytes(100))
    files.temporary_folder(stack)
    print("there", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(os.name == "nt", reason="there are no locks of this kind on Windows")
def test_what_a_killed_process_left_goes_and_what_a_live_one_writes_stays(tmp_path: Path) -> None:
    env = {**os.environ, "TMPDIR": str(tmp_path)}

    def child() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", UNFINISHED], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        return process

    def left() -> list[str]:
        return sorted(path.name for path in tmp_path.iterdir())

    dead = child()
    dead.kill()
    dead.communicate()
    assert len(left()) == 2
    live = child()  # removes what the dead one left
    assert len(left()) == 2
    assert all(f"{live.pid}-" in name for name in left())
    files._cleaned.clear()
    files.remove_left(tmp_path)
    assert len(left()) == 2  # the live one's
    live.kill()
    live.communicate()
    files._cleaned.clear()
    files.remove_left(tmp_path)
    assert left() == []


def test_of_two_that_make_one_folder_the_second_is_told(tmp_path: Path) -> None:
    dest = tmp_path / "a"

    def second() -> None:
        with files.whole_folder(dest) as folder:
            (folder / "x").write_text("mine")
            dest.mkdir()

    with pytest.raises(ImagemintError, match="another process made"):
        second()
    assert list(tmp_path.iterdir()) == [dest]
    assert list(dest.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(ImagemintError, match="is a file"), files.whole_folder(tmp_path / "file" / "x"):
        pass


def test_a_file_that_grows_is_read_as_a_whole_one_is_and_each_line_once(tmp_path: Path) -> None:
    """Whatever is appended between two looks, half a line included; and cut back and written anew."""
    file = tmp_path / "log.jsonl"
    growing = files.Growing(file)
    assert (growing.after(0), growing.lines) == ([], 0)
    lines = [json.dumps({"k": k, "text": "x" * (k % 7)}) + "\n" for k in range(100)]
    text = "".join(lines)
    seen: list[dict[str, object]] = []
    for end in (3, 40, 41, 700, len(text) - 1, len(text)):
        file.write_text(text[:end])
        seen += growing.after(len(seen))
        assert seen == files.read_lines(file) and growing.lines == len(seen)
    assert growing.after(100) == []
    assert growing.after(98) == [json.loads(line) for line in lines[98:]]  # somebody who knows less

    file.write_text("".join(lines[:50]) + '{"k": "new"}\n' * 80)  # cut back, and longer than before
    assert growing.after(100) == [{"k": "new"}] * 30 and growing.lines == 130
    file.write_text("".join(lines[:20]))
    assert growing.after(130) == [] and growing.lines == 20
    file.unlink()
    assert growing.after(20) == [] and growing.lines == 0
    file.write_text('{"k": 1}\n[]\n')
    with pytest.raises(files.Damaged, match="line 2 is not an object"):
        growing.after(0)


def test_lines_that_were_read_are_not_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, parse = tmp_path / "log.jsonl", files.parse_json
    parsed: list[str] = []

    def counted(text: str) -> object:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(files, "parse_json", counted)
    growing = files.Growing(file)
    for k in range(5):
        with file.open("a") as out:
            out.write(f'{{"k": {k}}}\n')
        growing.after(k)
    assert len(parsed) == 5
