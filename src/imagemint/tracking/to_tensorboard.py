"""Posting to TensorBoard. Event files only grow, so each session writes a run's events from the beginning."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from imagemint.runs import Run
from imagemint.tracking.news import News, Position, identity, parameters, tags
from imagemint.training.watch.measure import LOGIT_EDGES

_ID = "imagemint-id"
_FAR = 2.0 * LOGIT_EDGES[-1]  # where the outermost bins of logits end, for TensorBoard


class Board:
    """Writers of one folder of events, one per run."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.writers: dict[Path, Any] = {}

    def post(self, run: Run, news: News, *, checkpoints: bool = False) -> Position:
        """Write all news of a run; what the position is then. Events hold no checkpoints."""
        writer = self._writer(run)
        for name, seen, value in news.values:
            writer.add_scalar(name.replace(".", "/"), value, seen)
        for look in news.looks:
            for side in ("real", "fake"):
                if look.get(side):
                    self._histogram(writer, f"logits/{side}", look[side], look["images_seen"])
        for path in news.samples:
            with Image.open(path) as picture:
                pixels = np.atleast_3d(np.asarray(picture.convert("RGB")))
            writer.add_image("samples", pixels, int(path.stem), dataformats="HWC")
        for finding in news.findings:
            writer.add_text("findings", str(finding), finding.images_seen)
        state = " ".join(filter(None, [news.state.state, news.state.reason]))
        writer.add_text("state", state, run.images_seen)
        writer.flush()
        return news.then.model_copy(update={"remote": str(self._folder(run))})

    def _writer(self, run: Run) -> Any:
        folder = self._folder(run)
        if folder not in self.writers:
            from torch.utils.tensorboard import SummaryWriter

            if folder.exists():
                shutil.rmtree(folder)  # ours, by its id: written again from the beginning
            folder.mkdir(parents=True)
            (folder / _ID).write_text(identity(run.path), encoding="ascii")
            self.writers[folder] = SummaryWriter(str(folder))
            about = {**tags(run), **parameters(run)}
            table = "\n".join(["| | |", "|---|---|", *(f"| {key} | {value} |" for key, value in about.items())])
            self.writers[folder].add_text("recipe", table, 0)
        return self.writers[folder]

    def _folder(self, run: Run) -> Path:
        """A folder by the run's name; with its id behind it where another run has the name."""
        plain = self.folder / run.path.absolute().name
        name = identity(run.path)
        mine = plain / _ID
        if not plain.exists() or (mine.is_file() and mine.read_text(encoding="ascii") == name):
            return plain
        return plain.with_name(f"{plain.name}-{name[:8]}")

    @staticmethod
    def _histogram(writer: Any, name: str, logits: list[Any], seen: int) -> None:
        low, _, mean, high, counts = logits
        n = sum(counts)
        edges = [*LOGIT_EDGES, _FAR]
        writer.add_histogram_raw(
            name, low, high, n, mean * n, mean * mean * n, bucket_limits=edges, bucket_counts=counts, global_step=seen
        )
