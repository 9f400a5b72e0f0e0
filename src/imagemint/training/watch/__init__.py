"""It says what is wrong, in words: looks at a training, and what the sequence of looks means.

A *look* (measure.py) is a line of watch.jsonl. *Findings* (rules.py) are decided from the looks by a pure function,
so that a run which was killed and resumed finds the same.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from imagemint.data.pack import Pack
from imagemint.files import append_line
from imagemint.runfolder import Finding, Run
from imagemint.training.state import Gan
from imagemint.training.watch.measure import Eyes, Look
from imagemint.training.watch.rules import findings


class Watch:
    """The watcher of one run: its looks so far, and what they have brought to light."""

    def __init__(self, pack: Pack, indices: np.ndarray, gan: Gan, run: Run) -> None:
        """`indices`: the images of the pack that the networks see."""
        self.run, self.eyes = run, Eyes(pack, indices, gan)
        self.looks = [Look.of(line) for line in run.lines("watch.jsonl")]
        self.found = [finding.name for finding in run.findings()]

    def observe(self, gan: Gan) -> list[Finding]:
        """Look now, write the look down, and give back the findings that it brings to light, which are written too.

        Raises TrainingError where a measure is not finite.
        """
        if self.looks and self.looks[-1].images_seen >= gan.images_seen:
            return []
        look = self.eyes.measure(gan)
        self.looks.append(look)
        append_line(self.run.path / "watch.jsonl", asdict(look))
        new = [each for each in findings(self.looks, gan.recipe) if each.images_seen == look.images_seen]
        self.found += [finding.name for finding in new]
        return [write_down(self.run, finding) for finding in new]


def write_down(run: Run, finding: Finding) -> Finding:
    """Write a finding down, unless it is there."""
    if finding not in run.findings():
        append_line(run.path / "findings.jsonl", finding.model_dump(mode="json"))
    return finding
