"""Test error of a run of `sgan-consistent` or `sgan-fm` at every checkpoint that it has kept: D, and its average.

    python experiments/sgan-mnist-100/over_time.py mnist-test.pack RUN... >> rows.jsonl

The test images are looked at, and nothing is chosen by them.
"""

from __future__ import annotations

import json
import sys

import numpy as np

from imagemint import open_pack, open_run
from imagemint.checkpoints import load_weights, read_tensors
from imagemint.labelling import Judge
from imagemint.training.state import ONE_GAN


def main() -> None:
    """One line per checkpoint."""
    test = open_pack(sys.argv[1])
    labels = np.asarray(test.labels)
    for name in sys.argv[2:]:
        run = open_run(name)
        for checkpoint in run.checkpoints():
            _, discriminator = ONE_GAN.networks(run.facts)
            weights = read_tensors(checkpoint, "weights", run.state(checkpoint).weights)
            line = {"run": run.path.name, "images_seen": int(checkpoint.name)}
            for network in ("discriminator", "ema_d"):
                load_weights(discriminator, network, weights, checkpoint)
                judge = Judge(discriminator.eval(), run.facts.pack.size)
                judge.eval()
                wrong = judge.log_probabilities(test.pixels[:]).argmax(1) != labels
                line[f"error_{network}"] = round(100 * float(wrong.mean()), 2)
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
