"""Jobs outlive the studio, wait their turn, stop and go on; their state is what the files say."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from imagemint.errors import StudioError
from imagemint.runs import open_run

pytest.importorskip("fcntl", reason="the studio needs the file locks of POSIX")

from imagemint.studio.jobs import Job, Jobs, opened

LONG = ("train", "packs/d", "--recipe", "demo", "--run", "runs/r", "--images", "2000000", "--device", "cpu")


def pumped(jobs: Jobs) -> bool:
    """What the studio does every second."""
    jobs.start_waiting()
    return True


def until(truth: Callable[[], bool]) -> None:
    """Wait for a process; what it computes is stated afterwards, never how long it took."""
    for _ in range(1200):
        if truth():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come to pass")


def over(jobs: Jobs, job: Job) -> str:
    until(lambda: pumped(jobs) and job.state in ("done", "stopped", "failed"))
    return job.state


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def test_a_job_is_the_command_line_in_the_folder(jobs: Jobs) -> None:
    job = jobs.add(["pack", "digits", "packs/my digits"], result="packs/my digits")
    assert over(jobs, job) == "done"
    assert (jobs.folder / "packs/my digits/manifest.json").is_file()
    assert job.asked.command == "imagemint pack digits 'packs/my digits'"
    assert "1,797 images" in job.sentence


def test_a_mistake_is_one_sentence(jobs: Jobs) -> None:
    job = jobs.add(["pack", "no-such-folder", "packs/x"])
    assert over(jobs, job) == "failed"
    assert "no-such-folder" in job.sentence and "wanted" in job.sentence


def test_at_most_one_runs_and_who_waits_for_a_failed_job_is_told(jobs: Jobs) -> None:
    first = jobs.add(["pack", "no-such-folder", "packs/x"])
    second = jobs.add(["info", "packs/x"], after=first)
    assert second.state == "waiting"
    assert (over(jobs, first), over(jobs, second)) == ("failed", "failed")
    assert "job 1" in second.sentence


def test_two_jobs_do_not_make_the_same(jobs: Jobs) -> None:
    first = jobs.add(["pack", "digits", "packs/d"], result="packs/d")
    with pytest.raises(StudioError, match="makes packs/d already"):
        jobs.add(["pack", "digits", "packs/d"], result="packs/d")
    assert over(jobs, first) == "done"


def test_a_training_outlives_the_studio_stops_and_goes_on(jobs: Jobs) -> None:
    pack = jobs.add(["pack", "digits", "packs/d"])
    job = jobs.add(LONG, result="runs/r", after=pack)
    queued = jobs.add(["info", "packs/d"])
    until(lambda: pumped(jobs) and (jobs.folder / "runs/r/log.jsonl").exists())
    assert queued.state == "waiting"
    again = Jobs(jobs.folder)  # a studio that was opened anew
    assert [each.state for each in again.all()] == ["waiting", "running", "done"]
    again.stop(queued.number)
    again.stop(job.number)
    assert (over(again, job), over(again, queued)) == ("stopped", "stopped")
    seen = open_run(jobs.folder / "runs/r").images_seen
    assert seen > 0
    again.resume(job.number)
    assert "--resume" in again.get(job.number).asked.words
    until(lambda: pumped(again) and job.process() is not None)
    os.kill(job.process() or 0, signal.SIGKILL)
    assert over(again, job) == "failed"
    assert "ended from outside" in job.sentence
    assert open_run(jobs.folder / "runs/r").images_seen >= seen


def test_what_a_page_says_about_jobs_is_of_one_moment(jobs: Jobs) -> None:
    job = jobs.add(["info", "nothing"])
    before = jobs.seen()
    over(jobs, job)
    after = jobs.seen()
    assert before[0].state in ("waiting", "running") and after[0].state == "failed"
    assert before == before[:1] != after  # what was seen does not change behind the page's back
    assert "nothing" in after[0].sentence and (after[0].asked.verb, after[0].number) == ("info", job.number)


def test_what_is_for_programs_is_no_sentence(jobs: Jobs) -> None:
    job = jobs.add(["info", "nothing"])
    over(jobs, job)
    (job.path / "log.txt").write_text('{"values": {}}\n')
    (job.path / "exit.json").write_text('{"status": 0}')
    assert job.state == "done" and "{" not in job.sentence and "page Judge" in job.sentence


def test_a_number_that_another_process_got_is_not_mistaken(jobs: Jobs) -> None:
    job = jobs.add(["info", "nothing"])
    over(jobs, job)
    until(lambda: job.process() is None)
    (job.path / "exit.json").unlink()
    (job.path / "started.json").write_text(f'{{"process": {os.getpid()}, "at": 0}}')
    assert job.process() is None and job.state == "failed"


def test_hostile_numbers_are_no_jobs(jobs: Jobs) -> None:
    for number in ("../..", "0", "", None, "1e9", -1, "９"):
        with pytest.raises(StudioError):
            jobs.get(number)


def test_two_studios_on_one_folder(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from imagemint.studio.jobs import opened; import sys\n"
        "with opened(Path(sys.argv[1])): print('open')"
    )
    with opened(tmp_path):
        out = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False)
        assert "another studio is open" in out.stderr and "open\n" not in out.stdout
    with opened(tmp_path):
        pass
