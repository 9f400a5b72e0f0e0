"""Classifiers: metrics look at minted images with one, studies see with them what minted images are worth.

A new classifier is a subclass of Network in a file of its own and one row of CLASSIFIERS.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from imagemint.classifiers.evaluation import Evaluation as Evaluation
    from imagemint.classifiers.evaluation import evaluate as evaluate
    from imagemint.classifiers.evaluation import features as features
    from imagemint.classifiers.lenet import LeNet as LeNet
    from imagemint.classifiers.network import Classifier as Classifier
    from imagemint.classifiers.plan import AT_LEAST as AT_LEAST
    from imagemint.classifiers.plan import ClassifierPlan as ClassifierPlan
    from imagemint.classifiers.plan import make_plan as make_plan
    from imagemint.classifiers.training import CLASSIFIERS as CLASSIFIERS
    from imagemint.classifiers.training import Augment as Augment
    from imagemint.classifiers.training import balanced_weights as balanced_weights
    from imagemint.classifiers.training import check_classifier as check_classifier
    from imagemint.classifiers.training import train_classifier as train_classifier

# Loaded when first used, so that the command line reads a plan without waiting for torch.
_HOMES = {
    "AT_LEAST": "plan",
    "CLASSIFIERS": "training",
    "Augment": "training",
    "Classifier": "network",
    "ClassifierPlan": "plan",
    "Evaluation": "evaluation",
    "LeNet": "lenet",
    "balanced_weights": "training",
    "check_classifier": "training",
    "evaluate": "evaluation",
    "features": "evaluation",
    "make_plan": "plan",
    "train_classifier": "training",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
