"""What is written while a training goes on: log, choice, pictures, looks, checkpoints. By rank 0 alone."""

from __future__ import annotations

import shutil
import time

from imagemint import files
from imagemint.errors import RunError
from imagemint.files import append_line, keep_lines
from imagemint.progress import say
from imagemint.runfolder import Run
from imagemint.samples import draw_samples
from imagemint.training.choice import Chooser
from imagemint.training.feed import Feed
from imagemint.training.state import Gan, drop_old, load_checkpoint, save_checkpoint
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
            for log in self.run.path.glob("*.jsonl"):  # after a power cut too, what stands for them must come later
                files.flush(log)
            files.flush(self.run.path)
            save_checkpoint(gan, self.run)
            seconds = round(time.monotonic() - self.started, 3)
            clock = {"from": self.started_at, "to": gan.images_seen, "seconds": seconds}
            append_line(self.run.path / "clock.jsonl", clock)


def due(before: int, gan: Gan, *, last: bool) -> set[str]:
    """What is to be written, `before` being the images seen at the last iteration; at the last one everything."""
    return {what for what in DUE if last or _passed(before, gan.images_seen, getattr(gan.recipe, f"{what}_every"))}


def _passed(before: int, now: int, every: int) -> bool:
    return before // every != now // every


def go_back_to_checkpoint(gan: Gan, run: Run) -> None:
    """Load the newest whole checkpoint and forget what was logged, drawn or half-written after it."""
    drop_old(gan, run)  # a kill may have come between the newest checkpoint and this
    checkpoints = run.checkpoints()
    while checkpoints:
        try:
            load_checkpoint(gan, checkpoints[-1])
            break
        except RunError as error:
            if len(checkpoints) == 1:
                raise
            say(f"{error.found}: going back to the checkpoint before it")
            shutil.rmtree(checkpoints.pop())
    for name in ("log.jsonl", "choice.jsonl", "watch.jsonl", "findings.jsonl"):
        if (run.path / name).is_file():
            keep_lines(run.path / name, [line for line in run.lines(name) if _is_before(line, gan.images_seen)])
    for picture in run.samples():
        if picture.stem.isdigit() and int(picture.stem) > gan.images_seen:
            picture.unlink()


def _is_before(line: dict[str, object], images_seen: int) -> bool:
    at = line.get("images_seen")
    return isinstance(at, int) and at <= images_seen
