"""A studio as a person starts it: `imagemint studio` in a process of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port


@dataclass(frozen=True)
class Served:
    """Where it is."""

    url: str
    folder: Path


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("gradio", reason="the studio needs the extra: pip install 'imagemint[studio]'")
    folder, port = tmp_path_factory.mktemp("studio") / "folder", free_port()
    command = [sys.executable, "-m", "imagemint", "studio", "--folder", str(folder), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert f":{port}/" in line, line
        yield Served(f"http://127.0.0.1:{port}/", folder)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
