"""Scores of labelled images by a classifier that has learned the real ones."""

from __future__ import annotations

import numpy as np

from imagemint.classifiers import Evaluation


def classifier_score(evaluation: Evaluation) -> float:
    """Share (0..1) of images that the judge assigns to the class asked for.

    System C calls this its inception score, which it is not.
    """
    return evaluation.accuracy


def per_class(evaluation: Evaluation) -> list[float | None]:
    """`classifier_score` class by class; None where no image of the class is there."""
    right, asked = np.diag(evaluation.confusion), evaluation.confusion.sum(1)
    return [float(r / n) if n else None for r, n in zip(right, asked, strict=True)]
