"""Fixtures that every room's tests share: small real data that is always at hand, and the large one where it is."""

from __future__ import annotations

from pathlib import Path

import hypothesis
import pytest
import torch

from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack
from tests.digits import digits as arrays_of_digits
from tests.digits import write

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
    dest = tmp_path_factory.mktemp("digits") / "digits.pack"
    return write(dest, *arrays_of_digits(), list("0123456789"))


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
    recipe = load_recipe("demo", settings)
    assert isinstance(recipe, Recipe)
    return recipe
