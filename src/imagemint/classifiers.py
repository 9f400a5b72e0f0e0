"""The one classifier that judges: LeNet as Caffe ships it (system A's choice), trained and tested here.

Metrics use it to look at minted images, studies use it to see what minted images are worth. The same seed, data and
number of threads give the same network, bit for bit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from imagemint import seeds
from imagemint.data.batches import Batches
from imagemint.images import to_images
from imagemint.progress import Advance

FEATURES = 500  # width of the last hidden layer
SMALLEST, LARGEST = 16, 64  # sides that LeNet looks at directly; others are scaled by a whole factor first
LEARNING_RATE = 1e-3
# System A decays by 0.95 an epoch for 500 epochs, which has all but stopped learning after 90 (0.95^90 = 0.01). Our
# reading: down to a hundredth, spread evenly over the training whatever its length, so that arms with more data are
# treated alike.
FINAL_DECAY = 0.01
BATCH = 64
AT_LEAST = 40_000  # images that a classifier sees however small its pack: 100 images x 20 epochs would not train it
_BLOCK = 8  # batches that are read and augmented in one go: part of the cost of augmentation is by the call
_TEST_BATCH = 512  # how many images go through the network at a time when it is only asked

Augment = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


class LeNet(nn.Module):
    """Conv 5/1 20, max-pool 2, conv 5/1 50, max-pool 2, fc 500 relu, fc classes; 431,080 parameters on MNIST.

    LeCun et al. 1998, in the form of Caffe's `lenet.prototxt`. Images with a side under 16 px are enlarged by the
    smallest whole factor that reaches 16 (bilinear); images with a side over 64 px are averaged over whole blocks.
    """

    def __init__(self, channels: int, size: tuple[int, int], classes: int) -> None:
        super().__init__()
        self.enlarge = -(-SMALLEST // min(size))
        self.shrink = 1 if self.enlarge > 1 else -(-max(size) // LARGEST)
        while self.shrink > 1 and min(size) // self.shrink < SMALLEST:  # long and narrow
            self.shrink -= 1
        h, w = (((side * self.enlarge // self.shrink - 4) // 2 - 4) // 2 for side in size)
        self.conv1 = nn.Conv2d(channels, 20, 5)
        self.conv2 = nn.Conv2d(20, 50, 5)
        self.hidden = nn.Linear(50 * h * w, FEATURES)
        self.out = nn.Linear(FEATURES, classes)
        for layer in (self.conv1, self.conv2, self.hidden, self.out):
            # Caffe's "xavier" filler: uniform, variance 1 / fan-in; on 8x8 digits a point better than torch's own
            reach = (3 / layer.weight[0].numel()) ** 0.5
            nn.init.uniform_(layer.weight, -reach, reach)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        # on the CPU about 1.4 times faster than the default layout (measured at 16, 24 and 28 px)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> the last hidden layer, float `[n, 500]`, 0 or more."""
        if self.enlarge > 1:
            images = F.interpolate(images, scale_factor=float(self.enlarge), mode="bilinear")
        elif self.shrink > 1:
            images = F.avg_pool2d(images, self.shrink)
        images = images.contiguous(memory_format=torch.channels_last)
        maps = F.max_pool2d(self.conv1(images), 2)
        maps = F.max_pool2d(self.conv2(maps), 2)
        return F.relu(self.hidden(maps.flatten(1)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Float `[n, c, h, w]` in [-1, 1] -> logits `[n, classes]`."""
        logits: torch.Tensor = self.out(self.features(images))
        return logits

    def weights_hash(self) -> str:
        """sha256 over the weights, in order: names the judge that a number was computed with."""
        digest = hashlib.sha256()
        for name, value in self.state_dict().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class Evaluation:
    """What a classifier makes of labelled images."""

    accuracy: float  # share in 0..1
    loss: float  # mean cross-entropy, nats
    predictions: np.ndarray  # int64 [n]
    confusion: np.ndarray  # int64 [k, k]; row: label, column: prediction


def train_classifier(
    pixels: np.ndarray,
    labels: np.ndarray,
    classes: int,
    *,
    images_seen: int,
    seed: int,
    augment: Augment | None = None,
    batch_size: int = BATCH,
    advance: Advance = lambda amount=1, note="": None,
) -> LeNet:
    """A LeNet after `images_seen` images of uint8 `[n, c, h, w]` with labels int64 `[n]` in 0..classes-1.

    Adam at 1e-3, decaying to 1e-5 over the training. Initial weights depend on `seed` and the shapes alone, not on
    the data. `augment` gets images in [-1, 1] and a generator, some batches at a time. `advance` hears of all images.
    """
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    assert labels.min() >= 0 and labels.max() < classes, "a label without a class"
    _, channels, h, w = pixels.shape
    seeds.seed_layers(seed, "classifier")
    net = LeNet(channels, (h, w), classes).train()
    optimizer = torch.optim.Adam(net.parameters(), LEARNING_RATE, fused=True)
    generator = seeds.generator(seed, "classifier augmentation")
    order = Batches(len(pixels), seeds.derive(seed, "classifier order"))
    for block in range(0, images_seen, batch_size * _BLOCK):
        picks = order.take(block, min(batch_size * _BLOCK, images_seen - block))
        images = to_images(torch.from_numpy(pixels[picks]))
        if augment is not None:
            images = augment(images, generator)
        wanted = torch.from_numpy(labels[picks])
        for start in range(0, len(picks), batch_size):
            part = slice(start, start + batch_size)
            optimizer.param_groups[0]["lr"] = LEARNING_RATE * FINAL_DECAY ** ((block + start) / images_seen)
            loss = F.cross_entropy(net(images[part]), wanted[part])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        advance(len(picks))
    return net.eval()


def evaluate(net: LeNet, pixels: np.ndarray, labels: np.ndarray) -> Evaluation:
    """Accuracy, loss, predictions and confusion on uint8 `[n, c, h, w]` with labels int64 `[n]` in 0..k-1."""
    assert len(pixels) == len(labels) > 0, (len(pixels), len(labels))
    loss, predictions = 0.0, []
    for part, images in _blocks(pixels):
        with torch.inference_mode():
            logits = net(images)
            wanted = torch.from_numpy(np.array(labels[part]))
            loss += F.cross_entropy(logits.double(), wanted, reduction="sum").item()
            predictions.append(logits.argmax(1).numpy())
    return judged(np.concatenate(predictions), labels, net.out.out_features, loss / len(labels))


def judged(predictions: np.ndarray, labels: np.ndarray, classes: int, loss: float) -> Evaluation:
    """The Evaluation of predictions int64 `[n]` against labels int64 `[n]`."""
    confusion = np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)
    return Evaluation(float(np.mean(predictions == labels)), loss, predictions, confusion)


def features(net: LeNet, pixels: np.ndarray) -> np.ndarray:
    """The last hidden layer for uint8 `[n, c, h, w]`: float32 `[n, 500]`."""
    with torch.inference_mode():
        return np.concatenate([net.features(images).numpy() for _, images in _blocks(pixels)])


def _blocks(pixels: np.ndarray) -> Iterator[tuple[slice, torch.Tensor]]:
    """Images in turn; copies, since torch does not take the read-only arrays of a pack."""
    for start in range(0, len(pixels), _TEST_BATCH):
        part = slice(start, start + _TEST_BATCH)
        yield part, to_images(torch.from_numpy(np.array(pixels[part])))
