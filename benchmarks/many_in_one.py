"""Several classifiers of a cell as one network, against one after the other, on one core.

    python benchmarks/many_in_one.py [--count 7] [--steps 20] [--turns 5]

The arms of a cell train LeNets of one shape, each on its own images of 28 x 28 pixels, in batches of 64, with Adam.
`one by one` is the training of the package without reading and augmenting, `vmap` is `torch.func.vmap` over stacked
weights with one Adam for all, `grouped` is the same by hand: convolutions with groups and batched matrix products.
All take the same steps in each turn. Told are processor time and how far the weights come out apart.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.nn import functional as F

from imagemint import seeds
from imagemint.classifiers.lenet import LeNet

BATCH, CLASSES, RATE = 64, 10, 1e-3
Weights = dict[str, torch.Tensor]


def networks(count: int) -> list[LeNet]:
    made = []
    for k in range(count):
        seeds.seed_layers(0, "many in one", k)
        made.append(LeNet(1, (28, 28), CLASSES))
    return made


def one_by_one(images: torch.Tensor, labels: torch.Tensor) -> Weights:
    """Images float `[steps, count, batch, 1, 28, 28]`, labels int64 `[steps, count, batch]`."""
    nets = networks(images.shape[1])
    for k, net in enumerate(nets):
        adam = torch.optim.Adam(net.parameters(), RATE, fused=True)
        for step in range(len(images)):
            loss = F.cross_entropy(net(images[step, k]), labels[step, k])
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
    return {name: value.detach() for name, value in stack_module_state(nets)[0].items()}


def by_vmap(images: torch.Tensor, labels: torch.Tensor) -> Weights:
    nets = networks(images.shape[1])
    weights, rest = stack_module_state(nets)

    def loss(own: Weights, batch: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return F.cross_entropy(functional_call(nets[0], own, (batch,)), wanted)

    gradients = vmap(grad(loss))
    assert not rest
    return _trained(weights, lambda step: gradients(weights, images[step], labels[step]), len(images))


def grouped(images: torch.Tensor, labels: torch.Tensor) -> Weights:
    """LeNet with the networks side by side as groups of channels."""
    count = images.shape[1]
    weights = {
        name: value.detach().requires_grad_() for name, value in stack_module_state(networks(count))[0].items()
    }
    order = list(weights)

    def forward(step: int) -> torch.Tensor:
        x = images[step].transpose(0, 1).flatten(1, 2)  # [batch, count, 28, 28]
        parts = [(weights[w], weights[b]) for w, b in zip(order[::2], order[1::2], strict=True)]
        for kernels, bias in parts[:2]:
            x = F.max_pool2d(F.conv2d(x, kernels.flatten(0, 1), bias.flatten(), groups=count), 2)
        x = x.unflatten(1, (count, -1)).flatten(2).transpose(0, 1)  # [count, batch, features]
        x = torch.baddbmm(parts[2][1][:, None], x, parts[2][0].transpose(1, 2)).relu()
        return torch.baddbmm(parts[3][1][:, None], x, parts[3][0].transpose(1, 2))

    def gradients(step: int) -> Weights:
        loss = count * F.cross_entropy(forward(step).flatten(0, 1), labels[step].flatten())
        return dict(zip(order, torch.autograd.grad(loss, list(weights.values())), strict=True))

    return _trained(weights, gradients, len(images))


def _trained(weights: Weights, gradients: Callable[[int], Weights], steps: int) -> Weights:
    for value in weights.values():
        value.data = value.data.contiguous()
    adam = torch.optim.Adam(list(weights.values()), RATE, fused=True)
    for step in range(steps):
        for name, value in gradients(step).items():
            weights[name].grad = value.contiguous()  # fused Adam takes both in the order of their bytes
        adam.step()
    return {name: value.detach() for name, value in weights.items()}


WAYS = {"one by one": one_by_one, "vmap": by_vmap, "grouped": grouped}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--count", type=int, default=7)
    arguments.add_argument("--steps", type=int, default=20)
    arguments.add_argument("--turns", type=int, default=5)
    given = arguments.parse_args()
    torch.set_num_threads(1)
    draw = seeds.generator(0, "many in one")
    images = torch.rand(given.steps, given.count, BATCH, 1, 28, 28, generator=draw) * 2 - 1
    labels = torch.randint(CLASSES, (given.steps, given.count, BATCH), generator=draw)
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    first: Weights = {}
    for turn in range(given.turns + 1):  # the first warms up
        for name, way in WAYS.items():
            started = time.process_time()
            found = way(images, labels)
            if turn:
                seconds[name].append(time.process_time() - started)
            first = found if name == "one by one" else first
            apart = max(float((found[each] - first[each]).abs().max()) for each in first)
            if not turn and name != "one by one":
                print(f"{name}: weights at most {apart:.1e} apart after {given.steps} steps")
    for name, taken in seconds.items():
        ratios = [mine / other for mine, other in zip(seconds["one by one"], taken, strict=True)]
        print(
            f"{name}: {1000 * statistics.median(taken) / given.steps / given.count:.1f} ms per step of one network, "
            f"{statistics.median(ratios):.2f} times as fast ({min(ratios):.2f}-{max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
