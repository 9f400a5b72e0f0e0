"""What is written while a training goes on: log, choice, pictures, looks, checkpoints. By rank 0 alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

from imagemint import files
from imagemint.errors import RunError
from imagemint.files import append_line, keep_lines
from imagemint.progress import say
from imagemint.runfolder import Run
from imagemint.samples import draw_samples
from imagemint.training.choice import Chooser
from imagemint.training.feed import Feed
from imagemint.training.state import Gan, Progressed, drop_old, load_checkpoint, save_checkpoint
from imagemint.training.watch import Watch

DUE = ("log", "choose", "picture", "watch", "checkpoint")  # the recipe has an `_every`, in images seen, for each


class Diary:
    """The files of a run that grow; the checkpoint comes last, as it stands for all of them."""

    def __init__(self, gan: Gan, feed: Feed, run: Run) -> None:
        self.run, self.started, self.started_at = run, time.monotonic(), gan.images_seen
        self.chooser = Chooser(feed.pack, feed.held_out, gan, run) if feed.held_out is not None else None
        self.watch = Watch(feed.pack, feed.indices(), gan, run)
        if gan.images_seen == 0:
            draw_samples(gan.minter(), run, 0)
            self.watch.observe(gan)

    def write(self, gan: Gan, line: dict[str, float], due: set[str]) -> None:
        """One line of the log, and of the others whatever is due."""
        if line:
            append_line(self.run.path / "log.jsonl", {"images_seen": gan.images_seen, **line})
        if "choose" in due and self.chooser:
            self.chooser.observe(gan)
        if "picture" in due:
            draw_samples(gan.minter(), self.run, gan.images_seen)
        if "watch" in due:
            for finding in self.watch.observe(gan):
                say(str(finding))
        if "checkpoint" in due:
            flush_logs(self.run)
            save_checkpoint(gan, self.run)
            seconds = round(time.monotonic() - self.started, 3)
            clock = {"from": self.started_at, "to": gan.images_seen, "seconds": seconds}
            append_line(self.run.path / "clock.jsonl", clock)


def due(before: int, gan: Gan, *, last: bool) -> set[str]:
    """What is to be written, `before` being the images seen at the last iteration; at the last one everything."""
    return {what for what in DUE if last or passed(before, gan.images_seen, getattr(gan.recipe, f"{what}_every"))}


def passed(before: int, now: int, every: int) -> bool:
    """Whether a multiple of `every` lies beyond `before` and not beyond `now`."""
    return before // every != now // every


def go_back_to_checkpoint(gan: Gan, run: Run) -> None:
    """Load the newest whole checkpoint and forget what was logged, drawn or half-written after it."""
    go_back(run, gan, gan.recipe.keep, lambda checkpoint: load_checkpoint(gan, checkpoint))


def go_back(run: Run, at: Progressed, keep: int, load: Callable[[Path], None]) -> None:
    """The same for a training of any kind: `load` brings `at` to the state of a checkpoint, or raises RunError."""
    drop_old(run, keep)  # a kill may have come between the newest checkpoint and this
    checkpoints = run.checkpoints()
    while checkpoints:
        try:
            load(checkpoints[-1])
            break
        except RunError as error:
            if len(checkpoints) == 1:
                raise
            say(f"{error.found}: going back to the checkpoint before it")
            shutil.rmtree(checkpoints.pop())
    for name in ("log.jsonl", "choice.jsonl", "watch.jsonl", "findings.jsonl"):
        if (run.path / name).is_file():
            keep_lines(run.path / name, [line for line in run.lines(name) if _is_before(line, at.images_seen)])
    for picture in run.samples():
        if picture.stem.isdigit() and int(picture.stem) > at.images_seen:
            picture.unlink()


def flush_logs(run: Run) -> None:
    """Put all logs on the disk: after a power cut too, the checkpoint that stands for them must come later."""
    for log in run.path.glob("*.jsonl"):
        files.flush(log)
    files.flush(run.path)


def _is_before(line: dict[str, object], images_seen: int) -> bool:
    at = line.get("images_seen")
    return isinstance(at, int) and at <= images_seen
