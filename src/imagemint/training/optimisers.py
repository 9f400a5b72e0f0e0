"""Optimisers: one table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, NamedTuple

import torch
from pydantic import Field
from torch import nn

from imagemint.settings import OneOf, Strict


class Row(NamedTuple):
    """An optimiser and what its checkpoints hold."""

    make: Callable[[list[nn.Parameter], Optimizer], torch.optim.Optimizer]
    remembers: frozenset[str]  # tensors that it keeps for each parameter
    about: str


def _adam(parameters: list[nn.Parameter], choice: Optimizer) -> torch.optim.Optimizer:
    betas = (choice.beta1, choice.beta2)
    return torch.optim.Adam(parameters, lr=choice.lr, betas=betas, eps=choice.eps, fused=True)


def _rmsprop(parameters: list[nn.Parameter], choice: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(parameters, lr=choice.lr, alpha=choice.beta2, eps=choice.eps)


def _sgd(parameters: list[nn.Parameter], choice: Optimizer) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=choice.lr)


OPTIMIZERS: dict[str, Row] = {
    "adam": Row(_adam, frozenset({"step", "exp_avg", "exp_avg_sq"}), "Kingma & Ba 2015"),
    "rmsprop": Row(_rmsprop, frozenset({"step", "square_avg"}), "Tieleman & Hinton 2012"),
    "sgd": Row(_sgd, frozenset(), "no momentum"),
}


class Optimizer(Strict):
    """How one of the two networks is updated."""

    name: Annotated[str, OneOf(OPTIMIZERS)] = Field(
        "adam", description="; ".join(f"{name}: {row.about}" for name, row in OPTIMIZERS.items())
    )
    lr: float = Field(gt=0, le=10, description="learning rate")
    beta1: float = Field(0.5, ge=0, lt=1, description="Adam only")
    beta2: float = Field(0.999, ge=0, lt=1, description="Adam; for RMSProp the smoothing constant")
    eps: float = Field(1e-8, gt=0, description="Adam and RMSProp: keeps the division finite")
    decay: float = Field(
        0.0, ge=0, le=1, description="the rate after t updates is lr / (1 + decay x t), as Keras' optimisers had it"
    )


def update(optimizer: torch.optim.Optimizer, choice: Optimizer, updates: int) -> None:
    """One update, after `updates` earlier ones: its learning rates are divided by 1 + decay x updates.

    What they were before stands again afterwards, so that nothing of the decay is among what a checkpoint keeps.

    >>> weight = nn.Parameter(torch.zeros(1))
    >>> choice = Optimizer.model_validate({"name": "sgd", "lr": 1.0, "decay": 0.5})
    >>> optimizer, weight.grad = torch.optim.SGD([weight], lr=1.0), torch.ones(1)
    >>> for updates in range(3):
    ...     update(optimizer, choice, updates)
    >>> round(-weight.item(), 4)  # 1 + 1/1.5 + 1/2
    2.1667
    """
    if not choice.decay:
        optimizer.step()
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] /= 1 + choice.decay * updates
    optimizer.step()
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate


def make_optimizer(choice: Optimizer, module: nn.Module) -> torch.optim.Optimizer:
    """The chosen optimiser of a network's trainable parameters."""
    return OPTIMIZERS[choice.name].make([p for p in module.parameters() if p.requires_grad], choice)
