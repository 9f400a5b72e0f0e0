"""The rival without a GAN: labels spread over a graph of neighbours, and a LeNet that learns them, in turn.

    python experiments/sgan-mnist-100/spread.py mnist-train.pack few.pack mnist-test.pack >> spread.jsonl

`few.pack` has some of the labels of `mnist-train.pack`. Round 0 joins each image with its ten nearest in the first 64
principal components of the pixels, spreads the labels (Zhou et al. 2004, alpha 0.99; weights by local distances,
Zelnik-Manor & Perona 2004) and gives a LeNet all of them, weighted by class and by how sure they are (one minus the
entropy), as Iscen et al. 2019 do. Later rounds do the same in the features of the LeNet before. One line of JSON per
round. Test images and the true labels are looked at, and nothing is chosen by them.
"""

from __future__ import annotations

import json
import sys
import time
from functools import partial

import numpy as np
import torch
from scipy import sparse
from scipy.sparse.linalg import cg

from imagemint import open_pack
from imagemint.augment import AUGMENTATIONS, augment
from imagemint.classifiers import evaluate, train_classifier
from imagemint.classifiers.network import blocks

ROUNDS, SEEN = 3, 120_000  # images that LeNet sees per round
NEIGHBOURS, ALPHA, COMPONENTS = 10, 0.99, 64
LOCAL = 7  # the distance to this neighbour is the scale of an image (Zelnik-Manor & Perona 2004)


def neighbours(features: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other rows of each row, and their squared distances: `[n, NEIGHBOURS]` each."""
    squares, found = (features**2).sum(1), []
    for rows in torch.arange(len(features)).split(1000):
        distances = squares[rows, None] + squares[None] - 2 * features[rows] @ features.T
        distances[torch.arange(len(rows)), rows] = torch.inf
        found.append(distances.topk(NEIGHBOURS, largest=False))
    nearest, squared = torch.cat([each.indices for each in found]), torch.cat([each.values for each in found])
    return nearest.numpy(), squared.clamp(min=0).double().numpy()


def spread(features: torch.Tensor, labels: np.ndarray, classes: int) -> np.ndarray:
    """The probability of each class, float64 `[n, classes]`: (1 - alpha S)^-1 y, every class of equal mass."""
    nearest, squared = neighbours(features)
    scale = np.sqrt(squared[:, LOCAL - 1])
    weights = np.exp(-squared / (scale[:, None] * scale[nearest] + 1e-9))
    n = len(features)
    graph = sparse.csr_matrix((weights.ravel(), (np.arange(n).repeat(NEIGHBOURS), nearest.ravel())), shape=(n, n))
    graph = graph.maximum(graph.T)
    norm = sparse.diags(1 / np.sqrt(np.asarray(graph.sum(1)).ravel()))
    system = sparse.identity(n) - ALPHA * norm @ graph @ norm
    found = np.stack([cg(system, (labels == k).astype(float), rtol=1e-5, maxiter=60)[0] for k in range(classes)], 1)
    found = found.clip(0) / found.clip(0).sum(0)
    return found / found.sum(1, keepdims=True).clip(1e-12)


def main() -> None:
    """One line per round."""
    torch.set_num_threads(1)
    whole, few, test = map(open_pack, sys.argv[1:])
    truth, given, classes = np.asarray(whole.labels), np.asarray(few.labels), len(few.classes)
    pixels, started = few.pixels[:], time.process_time()
    flat = torch.from_numpy(pixels.reshape(len(pixels), -1).astype(np.float32) / 255)
    flat -= flat.mean(0)
    torch.manual_seed(0)
    features = flat @ torch.pca_lowrank(flat, COMPONENTS, center=False, niter=3)[2]
    for number in range(ROUNDS):
        probabilities = spread(features, given, classes)
        probabilities[given >= 0] = np.eye(classes)[given[given >= 0]]
        labels = probabilities.argmax(1)
        order = np.argsort(-probabilities.max(1), kind="stable")
        wrong = labels != truth
        line = {"pack": few.path.name, "round": number, "error_spread": round(100 * float(wrong.mean()), 2)}
        line["error_of_surest_half"] = round(100 * float(wrong[order[: len(order) // 2]].mean()), 2)
        line["seconds_spread"] = round(time.process_time() - started)
        entropy = -(probabilities * np.log(probabilities.clip(1e-12))).sum(1) / np.log(classes)
        weights = (1 - entropy) / np.bincount(labels, minlength=classes)[labels]
        moved = partial(augment, ranges=AUGMENTATIONS["classic"])
        net = train_classifier(pixels, labels, classes, images_seen=SEEN, seed=number, augment=moved, weights=weights)
        found = evaluate(net, test.pixels[:], np.asarray(test.labels))
        line |= {"error": round(100 * (1 - found.accuracy), 2), "seconds": round(time.process_time() - started)}
        print(json.dumps(line), flush=True)
        with torch.inference_mode():
            features = torch.cat([net.features(images) for images in blocks(pixels)]).float()
        features = features / features.norm(dim=1, keepdim=True).clamp(min=1e-9)


if __name__ == "__main__":
    main()
