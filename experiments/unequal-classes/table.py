"""Rows of a study -> accuracy, balanced accuracy, recall of the rare classes, and the differences to `classic`.

    python experiments/unequal-classes/table.py rows.jsonl --rare 3 8

`--rare` takes numbers of classes, from 0. In per cent; means over the repeats with 95 % intervals (Student's t over
the repeats), differences paired within each repeat.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy.stats import t

NAMES = ("accuracy", "balanced accuracy", "recall of the rare classes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--rare", type=int, nargs="+", required=True)
    options = parser.parse_args()
    arms: dict[str, dict[int, list[float]]] = defaultdict(dict)
    for row in map(json.loads, options.rows.read_text().splitlines()):
        recalls = row["per_class"]
        values = [row["accuracy"], np.mean(recalls), np.mean([recalls[k] for k in options.rare])]
        arms[row["arm"]][row["repeat"]] = [100 * float(value) for value in values]
    complete = sorted(set.intersection(*(set(repeats) for repeats in arms.values())))
    table = {arm: np.array([repeats[k] for k in complete]) for arm, repeats in arms.items()}  # [repeats, 3]
    print(f"{len(complete)} repeats\n| arm |", " | ".join(NAMES), "|")
    for arm, values in table.items():
        print(f"| `{arm}` |", " | ".join(_interval(column) for column in values.T), "|")
    print("| difference to `classic` | | | |")
    for arm, values in table.items():
        if arm != "classic":
            print(f"| `{arm}` |", " | ".join(_interval(c, "+") for c in (values - table["classic"]).T), "|")


def _interval(values: np.ndarray, sign: str = "") -> str:
    half = t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return f"{values.mean():{sign}.1f} ({values.mean() - half:{sign}.1f} to {values.mean() + half:{sign}.1f})"


if __name__ == "__main__":
    main()
