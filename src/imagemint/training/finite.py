"""Numbers that are not finite: they stop a training, or send it back once with lower learning rates."""

from __future__ import annotations

import math

from imagemint.errors import TrainingError
from imagemint.runfolder import Finding, Run
from imagemint.training.state import Gan

NOT_FINITE = "not finite"  # the finding
ROLLBACK_RATE = 0.1  # what is left of the learning rates after a roll-back


def refuse_not_finite(name: str, number: float, gan: Gan) -> None:
    """Raise TrainingError for NaN and infinity: they are never replaced by something else."""
    if not math.isfinite(number):
        raise TrainingError(
            f"{name} is {number} at {gan.images_seen} images seen (iteration {gan.iterations})",
            "finite numbers",
            "lower the learning rates (--set optimizer_g.lr=... --set optimizer_d.lr=...) in a new run; "
            "the last checkpoint is from before",
        )


def not_finite(error: TrainingError, failed: int, images_seen: int, *, rolled_back: bool = False) -> Finding:
    """The finding of a number that is not finite at `failed` images seen."""
    back = f"rolled back to {images_seen:,} images; from there both learning rates are a tenth"
    remedy = back if rolled_back else error.remedy
    return Finding(images_seen=images_seen, name=NOT_FINITE, began=failed, evidence=error.found, remedy=remedy)


def slow_down(gan: Gan, run: Run) -> None:
    """Lower both learning rates, once, in a run that was rolled back."""
    if gan.recipe.rollback and not gan.slowed and any(finding.name == NOT_FINITE for finding in run.findings()):
        for group in gan.optimizer_g.param_groups + gan.optimizer_d.param_groups:
            group["lr"] *= ROLLBACK_RATE
        gan.slowed = True
