"""A network of our own, trained on other classes than the study's and exported in three ways.

    imagemint edit drop mnist-train.pack low.pack --classes 5,6,7,8,9
    imagemint edit drop mnist-train.pack high.pack --classes 0,1,2,3,4
    imagemint edit drop mnist-test.pack high-test.pack --classes 0,1,2,3,4
    python experiments/linear-probe/bring.py low.pack networks

Writes networks/digits.pt (TorchScript), networks/digits.pt2 (torch.export), networks/digits.onnx (needs the package
onnx) and networks/digits.json, which says what the network expects. Half a minute of one core.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from imagemint import open_pack

MEAN, STD = 0.1307, 0.3081  # of MNIST's pixels between 0 and 1
PASSES = 1  # over 30,596 images


def main() -> None:
    pack, out = open_pack(sys.argv[1]), Path(sys.argv[2])
    out.mkdir()
    torch.manual_seed(0)
    features = nn.Sequential(
        *(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(64, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.AvgPool2d(3, 2), nn.Flatten()),
    )
    net = nn.Sequential(features, nn.Linear(64 * 9, len(pack.classes)))
    images = (torch.from_numpy(np.array(pack.pixels)).float() / 255 - MEAN) / STD
    labels = torch.from_numpy(np.array(pack.labels))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(PASSES):
        for rows in torch.randperm(len(images)).split(128):
            loss = nn.functional.cross_entropy(net(images[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    net.eval()
    with torch.inference_mode():
        right = (net(images[:5000]).argmax(1) == labels[:5000]).float().mean()
    print(f"right on the first 5,000 images that it learned: {right:.1%}")
    export(features, out)


def export(features: nn.Module, out: Path) -> None:
    """The part of the network that gives features, in three kinds of file; one of the three is enough."""
    example, wrapped = torch.zeros(2, 1, 28, 28), Features(features)
    any_number = {"images": {0: torch.export.Dim("n")}}
    names, axes = ["images"], {"images": {0: "n"}}
    torch.export.save(torch.export.export(wrapped, (example,), dynamic_shapes=any_number), out / "digits.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch is giving TorchScript up, and its older way to ONNX, which needs less
        torch.jit.save(torch.jit.trace(features, example), str(out / "digits.pt"))
        onnx = str(out / "digits.onnx")
        torch.onnx.export(wrapped, (example,), onnx, dynamo=False, dynamic_axes=axes, input_names=names)
    expected = {"size": 28, "channels": 1, "range": [0, 1], "mean": [MEAN], "std": [STD], "width": 64 * 9}
    (out / "digits.json").write_text(json.dumps(expected) + "\n")


class Features(nn.Module):
    """The features under the input's name `images`."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, 1, 28, 28]` -> `[n, 576]`."""
        found: torch.Tensor = self.net(images)
        return found


if __name__ == "__main__":
    main()
