"""What minted images were worth in labels: how many real images per class `classic` alone would have needed.

    python experiments/fewshot-study/worth.py experiments/fewshot-study/rows.jsonl

As the study's report does it (a fitted learning curve, resampled draws), but from the accuracies in the rows: the
intervals count the draws and not the finite test set. Repeats that every budget has.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from imagemint.studies import statistics

ARM, CONTROL, BUDGETS = "mix+classic", "classic", (10, 20, 50, 100)


def main() -> None:
    """One line per budget."""
    rows = [json.loads(line) for line in Path(sys.argv[1]).read_text().splitlines()]
    wrong = {(int(row["budget"]), row["repeat"], row["arm"]): 1 - row["accuracy"] for row in rows}
    repeats = sorted(
        set.intersection(*({k for b, k, arm in wrong if (b, arm) == (budget, CONTROL)} for budget in BUDGETS))
    )
    curves = np.array([[[wrong[budget, k, CONTROL]] for budget in BUDGETS] for k in repeats])
    for at, budget in enumerate(BUDGETS):
        reached = np.array([[wrong[budget, k, ARM]] for k in repeats])
        found = statistics.worth(BUDGETS, curves, at, reached)
        labels = [budget + each for each in (found.value, found.low, found.high) if each is not None]
        print(f"{budget} real images per class: worth " + " ".join(f"{each:.1f}" for each in labels), len(repeats))


if __name__ == "__main__":
    main()
