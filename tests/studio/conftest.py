"""A studio as a person starts it: `imagemint studio` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port


@dataclass(frozen=True)
class Served:
    """Where it is."""

    url: str
    folder: Path


@contextmanager
def studio_on(folder: Path) -> Iterator[Served]:
    """A studio that is open on a folder, until the block ends."""
    pytest.importorskip("gradio", reason="the studio needs the extra: pip install 'imagemint[studio]'")
    port = free_port()
    command = [sys.executable, "-m", "imagemint", "studio", "--folder", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f":{port}/" in line, line
        try:
            yield Served(f"http://127.0.0.1:{port}/", folder)
        finally:
            process.send_signal(signal.SIGINT)
            ended = process.wait(60)
        assert ended == 130


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with studio_on(tmp_path_factory.mktemp("studio") / "folder") as started:
        yield started


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Served]:
    """A studio of its own, on a folder in which nothing is."""
    with studio_on(tmp_path / "folder") as started:
        yield started
