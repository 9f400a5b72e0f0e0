"""Draws rows-mnist.jsonl (classifiers while they learn) and mnist-log.jsonl (D while the GANs learn).

python experiments/sterzinger/mnist_curves.py experiments/sterzinger mnist-curves.png
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

STYLES = {
    "real": ("#000000", "-"),
    "sterzinger": ("#0072b2", "--"),
    "minted": ("#d55e00", "-."),
    "mix": ("#009e73", ":"),
}


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def main() -> None:
    folder, picture = Path(sys.argv[1]), sys.argv[2]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    for row in read(folder / "rows-mnist.jsonl"):
        colour, style = STYLES[row["arm"]]
        seen = [look["images_seen"] for look in row["history"]]
        for k, images in enumerate(("training", "test")):
            losses = [look[images]["loss"] for look in row["history"]]
            axes[k].plot(seen, losses, color=colour, linestyle=style, label=row["arm"])
            axes[k].set(title=f"loss on {images} images", xlabel="images seen by the classifier", ylim=(0, 0.6))
    axes[0].legend(frameon=False)
    log = read(folder / "mnist-log.jsonl")
    seen = [line["images_seen"] for line in log]
    axes[2].plot(seen, [line["accuracy_real"] for line in log], color="#0072b2", label="real images")
    axes[2].plot(
        seen, [line["accuracy_fake"] for line in log], color="#d55e00", linestyle="--", label="minted images"
    )
    axes[2].axhline(0.5, color="#999999", linewidth=1)
    axes[2].set(title="accuracy of D", xlabel="images seen by the ten GANs", ylim=(0, 1.02))
    axes[2].legend(frameon=False)
    figure.savefig(picture, dpi=100)


if __name__ == "__main__":
    main()
