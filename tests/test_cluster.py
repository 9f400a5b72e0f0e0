"""Ray in place of processes: the same rows, though a worker is killed in the middle."""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from imagemint.cluster import fan_out, rays
from imagemint.data.pack import Pack
from imagemint.errors import ArgumentError
from imagemint.jobs import side_by_side
from imagemint.pages.study_page import study
from imagemint.sweeps.results import open_sweep
from imagemint.sweeps.sweep import sweep
from tests.digits import digits as digits_of
from tests.digits import write
from tests.ports import answering, free_port
from tests.test_sweep import TINY, here, plain, plan_of

OURS = {
    **os.environ,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),  # of this test alone: nothing is kept in the home folder
}
QUICK_STUDY: dict[str, Any] = {
    "arms": "real",
    "budgets": "3,5",
    "repeats": 1,
    "classifier_epochs": 1,
    "classifier_images": 64,
}
LONGEST = 120  # seconds that Ray may take to start on a busy machine


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A Ray of our own with room for two tasks, on loopback: its address and its process."""
    pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")
    port = free_port()
    folder = tmp_path_factory.mktemp("r")  # the paths of Ray's sockets must be short
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--num-cpus", "2"]
    command += ["--node-ip-address", "127.0.0.1", "--port", str(port), "--include-dashboard", "false"]
    command += [
        "--object-store-memory",
        str(80 << 20),
        "--disable-usage-stats",
        "--temp-dir",
        f"/tmp/{folder.name}-{port}",
    ]
    with subprocess.Popen(command, env=OURS, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + LONGEST
        while process.poll() is None and time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"127.0.0.1:{port}", process
        process.send_signal(signal.SIGTERM)


def worker_of(driver: subprocess.Popen[str], lock: Path) -> int | None:
    """The process other than the driver's that holds the lock of a run: Ray's worker that trains it."""
    for descriptor in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if descriptor.readlink() == lock and int(descriptor.parts[2]) != driver.pid:
                return int(descriptor.parts[2])
        except OSError:  # a process that has ended, or that is not ours
            continue
    return None


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the worker in /proc")
@pytest.mark.timeout(600)
def test_eight_trials_end_as_they_do_here_though_a_worker_is_killed(
    digits: Pack, head: tuple[str, subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    address, _ = head
    settings = {**TINY, "checkpoint_every": 128, "watch_every": 8192, "picture_every": 8192, "log_every": 128}
    grid = {"images": [3072, 64, 128, 192]}
    plan = plan_of(digits, recipes=["demo"], variants={"tiny": settings}, grid=grid, seeds=[0, 1])
    file, out = tmp_path / "plan.yaml", tmp_path / "ray"
    file.write_text(yaml.safe_dump(plan.model_dump(mode="json", exclude_none=True)))
    command = [sys.executable, "-m", "imagemint", "sweep", str(file), "--out", str(out), "--on", f"ray:{address}"]
    driver = subprocess.Popen(command, env=OURS, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    run = out / "runs" / "00001-demo-seed0"
    while driver.poll() is None and not list(run.glob("checkpoints/0*/state.json")):
        time.sleep(0.02)
    worker = worker_of(driver, run / "lock")
    assert worker is not None, driver.communicate()
    os.kill(worker, signal.SIGKILL)
    printed, errors = driver.communicate()
    assert driver.returncode == 0, errors
    assert "8 trials tried, 0 failed" in printed
    assert plain(open_sweep(out).rows) == plain(sweep(plan, tmp_path / "here", fan_out=here).rows)


@pytest.mark.skipif(sys.platform == "win32", reason="Ray on Windows is a beta")
@pytest.mark.timeout(600)
def test_a_study_has_the_same_rows_there_as_here(head: tuple[str, subprocess.Popen[bytes]], tmp_path: Path) -> None:
    pixels, labels = digits_of(200)
    packs = write(tmp_path / "real", pixels[:120], labels[:120]), write(tmp_path / "test", pixels[120:], labels[120:])
    study(*packs, None, tmp_path / "here", **QUICK_STUDY)
    words = [f"--{name.replace('_', '-')}={value}" for name, value in QUICK_STUDY.items()]
    command = [sys.executable, "-m", "imagemint", "study", str(packs[0].path), "--test", str(packs[1].path), *words]
    command += ["--out", str(tmp_path / "there"), "--on", f"ray:{head[0]}"]
    subprocess.run(command, env=OURS, check=True, capture_output=True)
    one, other = ((tmp_path / name / "rows.jsonl").read_text().splitlines() for name in ("here", "there"))
    assert len(one) == 2
    assert [{**json.loads(row), "seconds": 0} for row in one] == [{**json.loads(row), "seconds": 0} for row in other]


def test_where_tasks_run_is_said_in_one_way() -> None:
    assert fan_out(None) is side_by_side
    for on in ("", "ray:", "dask", "RAY", "rayon:1"):
        with pytest.raises(ArgumentError, match=r"wanted ray or ray:ADDRESS"):
            fan_out(on)


def test_an_address_that_is_none_or_does_not_answer_is_one_line() -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")
    with pytest.raises(ArgumentError, match=r"^no Ray at 127\.0\.0\.1:[0-9]+ \(.*ray start --head;.*token$"):
        fan_out(f"ray:127.0.0.1:{free_port()}")
    for address in ("nonsense", "127.0.0.1", "127.0.0.1:99999", "http://127.0.0.1:80", "ray://"):
        with pytest.raises(ArgumentError, match=r"wanted HOST:PORT"):
            fan_out(f"ray:{address}")


def test_a_server_that_is_no_ray_or_says_nothing_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")
    monkeypatch.setattr(rays, "_SECONDS_TO_ANSWER", 0.3)
    for answer, words in ((b"", "timed out"), (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is no Ray")):
        with answering(answer) as port, pytest.raises(ArgumentError, match=rf"^no Ray at 127.*\({words}\); wanted"):
            fan_out(f"ray:127.0.0.1:{port}")


@pytest.mark.skipif(sys.platform == "win32", reason="Ray on Windows is a beta")
@pytest.mark.timeout(300)
def test_a_ray_of_our_own_leaves_no_token_in_the_home_folder_and_works_as_urgently_as_we_do(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (the extra cluster)")
    there = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    code = "from imagemint.cluster import fan_out; fan_out('ray'); import os, ray; "
    code += "print(len(ray.nodes()), ray.get(ray.remote(lambda: os.nice(0)).remote()) - os.nice(0))"
    (tmp_path / "home").mkdir()
    made = subprocess.run(
        [sys.executable, "-c", code], env={**there, "HOME": str(tmp_path / "home")}, capture_output=True, text=True
    )
    assert made.stdout.strip() == "1 0", made.stderr
    assert not list((tmp_path / "home").rglob("auth_token"))
