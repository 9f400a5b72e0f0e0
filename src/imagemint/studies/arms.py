"""The sides of a study: what a classifier learns from. A new arm is one row of ARMS."""

from __future__ import annotations

from dataclasses import dataclass

ALL = "all"  # the budget that takes every labelled image


@dataclass(frozen=True)
class Arm:
    """Which images a classifier sees. Nothing at all: it always answers with the most frequent class."""

    real: bool
    minted: bool
    classic: bool  # classic augmentation (imagemint.augment) over them
    about: str  # for the report


ARMS: dict[str, Arm] = {
    "floor": Arm(False, False, False, "always the most frequent class"),
    "real": Arm(True, False, False, "the real images of the budget"),
    "minted": Arm(False, True, False, "minted images alone"),
    "mix": Arm(True, True, False, "real and minted images together"),
    "classic": Arm(True, False, True, "real images, shifted, turned, sheared, zoomed and lit at random"),
    "minted+classic": Arm(False, True, True, "minted images, moved and lit the same way"),
    "mix+classic": Arm(True, True, True, "real and minted images, moved and lit the same way"),
}

# The comparisons that a verdict is given for: (arm, what it is compared with). The first is the question that counts:
# do minted images beat what augmentation gives for free?
COMPARISONS: list[tuple[str, str]] = [
    ("mix+classic", "classic"),
    *((arm, "real") for arm in ARMS if arm not in ("real", "floor")),
]


def in_words(budget: str) -> str:
    """A budget as people say it."""
    return "all real images" if budget == ALL else f"{budget} real images a class"
