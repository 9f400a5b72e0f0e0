"""Fixtures that every room's tests share: small real data that is always at hand, and the large one where it is."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, Step, writing

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"

hypothesis.settings.register_profile("imagemint", deadline=None)  # no test asserts a time
hypothesis.settings.load_profile("imagemint")
torch.set_num_threads(1)  # the tests' networks are too small for two, and one does not wait for the other


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets beside the checkout; not part of the project."""
    if not (SHARED / "mnist").is_dir():
        pytest.skip("the real data sets are not beside this checkout (../shared/data)")
    return SHARED


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """scikit-learn's 1,797 handwritten digits as a pack: 8x8 gray, ten classes."""
    data = load_digits()
    pixels = np.round(data.images[:, None] * 255 / 16).astype(np.uint8)
    dest = tmp_path_factory.mktemp("digits") / "digits.pack"
    with writing(dest, classes=list("0123456789"), origin="real", history=[Step(command="pack")]) as writer:
        writer.add(pixels, data.target.astype(np.int64))
    return writer.pack()


@pytest.fixture(scope="session")
def tiny() -> Recipe:
    """A recipe that trains in a second: every part of the loop, nothing of its size."""
    settings = {
        "options": {"width": 4, "embedding": 4},
        "z_size": 8,
        "batch_size": 16,
        "images": 640,
        "log_every": 64,
        "picture_every": 128,
        "checkpoint_every": 96,
        "precision": "fp32",
    }
    return load_recipe("demo", settings)
