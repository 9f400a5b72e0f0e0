"""Many processes, one training: each takes every world-th row of a batch, and all agree on everything else.

`torchrun --nproc_per_node N -m imagemint -- train ...` starts N processes, *ranks* 0 to N - 1 of a *world* of N.
Noise, order and augmentation are addressed by images seen, so each rank computes its own rows of the very batch that
one process would have used; gradients, the statistics of batch normalisation and logged values are those of the whole
batch. Hence N ranks do what one does, up to the rounding of sums; dropout alone differs, because torch draws it for
the rows at hand.

Not torch's DistributedDataParallel: it acts within the backward pass of wrapped forward calls, and here D is called
several times an update, is frozen in G's turn, has gradients taken twice (R1, R2, WGAN-GP; pytorch issues 47562 and
63812) and is updated after two backward calls. One sum of all gradients before the optimiser steps is right in each
of these cases. What it gives up is computing while sending; docs/scaling.md says what that costs.

The pack and the run folder must lie on a disk that all ranks see; only rank 0 writes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from imagemint import errors
from imagemint.errors import ImagemintError, RecipeError, RunError, mendable
from imagemint.models.layers import HalfBatchNorm, normalised

Name = TypeVar("Name")
_MESSAGE = 8192  # bytes of an error that travel between ranks


class Ranks:
    """One process among those of a training. With a world of 1 every method gives back what it got."""

    def __init__(self, rank: int = 0, world: int = 1) -> None:
        assert 0 <= rank < world, (rank, world)
        self.rank, self.world = rank, world

    @property
    def first(self) -> bool:
        """Whether this rank is the one that writes."""
        return self.rank == 0

    def take_device(self, device: str) -> None:
        """Choose this rank's own GPU. Raises RunError where there is none, and for devices that cannot exchange."""
        if self.world == 1:
            return
        if device == "mps":
            raise RunError(f"{self.world} processes on mps", "cpu or cuda", "add --device cpu, or use one process")
        if device == "cuda":
            local, found = int(os.environ.get("LOCAL_RANK", self.rank)), torch.cuda.device_count()
            if local >= found:
                remedy = "lower --nproc_per_node, or add --device cpu"
                raise RunError(f"process {local} of a machine with {found} GPUs", "a GPU for each process", remedy)
            torch.cuda.set_device(local)

    def check_alone(self, what: str) -> None:
        """Raise RunError where there are other ranks."""
        if self.world > 1:
            raise RunError(f"{what} on {self.world} processes", "one process", "start it without torchrun")

    def check_shares(self, counts: list[int]) -> None:
        """Raise RecipeError unless each part of a batch is divisible among the ranks, two rows of all at least."""
        if self.world > 1 and (any(n % self.world for n in counts) or sum(counts) < 2 * self.world):
            parts = " + ".join(map(str, counts[:3])) + (" + ..." if len(counts) > 3 else "")
            raise RecipeError(
                f"a batch of {parts} images on {self.world} processes",
                f"numbers that {self.world} divides, at least two images per process",
                "set batch_size, or start another number of processes",
            )

    def rows(self, count: int) -> range:
        """The positions in the whole batch of this rank's `count` rows."""
        return range(self.rank, count * self.world, self.world)

    def mine(self, batch: Any) -> Any:
        """The rows of a whole batch that are this rank's: array or tensor `[n, ...]` -> `[n / world, ...]`."""
        return batch[self.rank :: self.world]

    def sum(self, x: Tensor) -> Tensor:
        """The sum over ranks, of the same shape. Differentiable, more than once."""
        return x if self.world == 1 else _Sum.apply(x)  # type: ignore[no-untyped-call]

    def mean_row(self, x: Tensor) -> Tensor:
        """Float `[n, f]` -> `[1, f]`, the mean row of the whole batch."""
        return self.sum(x.mean(0, keepdim=True)) / self.world

    def average_gradients(self, module: nn.Module) -> None:
        """Replace each gradient by its mean over ranks: the gradient of the whole batch's mean loss."""
        if self.world == 1:
            return
        gradients = [p.grad for p in module.parameters() if p.grad is not None]
        joined = _all_reduce(torch.cat([gradient.reshape(-1) for gradient in gradients])) / self.world
        parts = torch.split(joined, [gradient.numel() for gradient in gradients])
        torch._foreach_copy_(gradients, [part.view_as(g) for part, g in zip(parts, gradients, strict=True)])

    def mean(self, values: Mapping[Name, Tensor]) -> dict[Name, float]:
        """Scalars by name, their means over ranks. Equal on all ranks, so that all stop at a NaN of one.

        However many they are, the device is waited for once.
        """
        if not values:
            return {}
        joined = torch.stack([value.float() for value in values.values()])
        if self.world > 1:
            joined = _all_reduce(joined) / self.world
        return dict(zip(values, joined.tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on at least one rank."""
        return flag if self.world == 1 else bool(_all_reduce(torch.tensor(float(flag))))

    @contextmanager
    def together(self) -> Iterator[None]:
        """A block that fails on all ranks as soon as it fails on one, with the same error; also a meeting point."""
        if self.world == 1:
            yield
            return
        error = None
        try:
            yield
        except Exception as found:
            error = found
        if self.any(error is not None):
            agreed = self._first_of(error)
            if error is not None and _in_words(error) is None:
                raise error  # a bug keeps its traceback
            raise agreed from error

    @contextmanager
    def writing(self) -> Iterator[bool]:
        """A block in which rank 0 works and the others wait. Gives whether this is rank 0. Ends as `together` does.

        Nobody answers in it: networks that rank 0 calls in training mode are to be taken `alone`.
        """
        with self.together():
            yield self.first

    def _first_of(self, error: Exception | None) -> Exception:
        """The error of the lowest rank that has one."""
        everyone = torch.zeros(self.world, _MESSAGE, dtype=torch.uint8)
        if error is not None:
            told = json.dumps(_told(error, self.rank), ensure_ascii=False).encode()
            everyone[self.rank, : len(told)] = torch.frombuffer(bytearray(told), dtype=torch.uint8)
        rows = _all_reduce(everyone)
        told = next(bytes(row.tolist()).rstrip(b"\0") for row in rows if row.any())
        name, *words = json.loads(told)
        kind: type[ImagemintError] = getattr(errors, name)
        return kind(*words)


ALONE = Ranks()


def _told(error: Exception, rank: int) -> tuple[str, ...]:
    """An error as (class, found, wanted, remedy), short enough to travel."""
    words = _in_words(error)
    if words is not None:
        return (type(words).__name__, *(str(each)[:300] for each in words.args))
    bug = f"process {rank} failed ({type(error).__name__}: {str(error)[:300]})"
    return ("RunError", bug, "all processes alive", "see its traceback")


def _in_words(error: Exception) -> ImagemintError | None:
    """What the user can mend; None for a bug."""
    if isinstance(error, OSError):
        return mendable(error)
    return error if isinstance(error, ImagemintError) else None


@contextmanager
def joined(device: str | None) -> Iterator[Ranks]:
    """Meet the processes that torchrun started beside this one; without torchrun this one is alone.

    gloo carries what is on the CPU, nccl what is on GPUs. A process group that the caller has opened is used as is.
    """
    if dist.is_available() and dist.is_initialized():
        yield Ranks(dist.get_rank(), dist.get_world_size())
    elif int(os.environ.get("WORLD_SIZE", "1")) == 1 or "RANK" not in os.environ:
        yield Ranks()
    else:
        gpus = device in (None, "cuda") and torch.cuda.is_available() and dist.is_nccl_available()
        with _others_may_go():
            dist.init_process_group("cpu:gloo,cuda:nccl" if gpus else "gloo")
        try:
            yield Ranks(dist.get_rank(), dist.get_world_size())
            with _others_may_go():
                dist.barrier()  # they leave together: one that is torn down while another still sends may abort
        finally:
            dist.destroy_process_group()


@contextmanager
def _others_may_go() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch has no narrower class for a connection that is gone
        first = str(error).strip().split("\n")[0][:200]
        remedy = "start the same command again with --resume"
        gone = f"another process of this training is gone ({first})"
        raise RunError(gone, "all processes alive", remedy) from error


def _all_reduce(x: Tensor) -> Tensor:
    with _others_may_go():
        dist.all_reduce(x)
    return x


class _Sum(torch.autograd.Function):
    """Sum over ranks. What each rank makes of the sum counts, so the gradient is the sum of the ranks' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return _all_reduce(x.clone(memory_format=torch.contiguous_format))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient)  # type: ignore[no-untyped-call]


class GlobalBatchNorm(nn.Module):
    """Batch normalisation by the statistics of the whole batch, in the place and with the tensors of another layer.

    `[n / world, channels, ...]` -> the same shape. torch's SyncBatchNorm does so on GPUs alone. The layer's own rule
    stays: all rows are the reference, or the first half of the whole batch (HalfBatchNorm). Variance as the mean over
    ranks of (variance + squared distance of the rank's mean from the common one), which does not cancel.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: nn.BatchNorm1d | nn.BatchNorm2d | HalfBatchNorm, ranks: Ranks) -> None:
        super().__init__()
        assert isinstance(layer, HalfBatchNorm) or (layer.affine and layer.track_running_stats)
        assert layer.momentum is not None
        self.eps, self.momentum, self.ranks = layer.eps, layer.momentum, ranks
        self.asks = ranks  # whose rows the statistics are of: those of all ranks, or of ALONE
        self.by_half = isinstance(layer, HalfBatchNorm)
        for name, parameter in layer.named_parameters():
            self.register_parameter(name, parameter)
        for name, buffer in layer.named_buffers():
            self.register_buffer(name, buffer)
        self.train(layer.training)

    def forward(self, x: Tensor) -> Tensor:
        """Float `[n, channels, ...]` -> the same shape, normalised per channel."""
        if self.training:
            mean, variance = self._statistics(x)
        else:
            mean, variance = self.running_mean, self.running_var
        return normalised(x, mean, variance + self.eps, self.weight, self.bias)

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of each channel, float `[channels]`."""
        ranks, everyone = self.asks, len(x) * self.asks.world
        wanted = (everyone + 1) // 2 if self.by_half else everyone
        here = len(range(ranks.rank, wanted, ranks.world))  # rows of the reference
        own = x[:here].float().transpose(0, 1).flatten(1)  # [channels, values]
        own_variance, own_mean = torch.var_mean(own, 1, correction=0)
        mean = ranks.sum(own_mean * (here / wanted))
        variance = ranks.sum((own_variance + (own_mean - mean).square()) * (here / wanted))
        self._remember(mean.detach(), variance.detach(), wanted * (own.shape[1] // here))
        return mean, variance

    @torch.no_grad()
    def _remember(self, mean: Tensor, variance: Tensor, values: int) -> None:
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance * (values / max(values - 1, 1)), self.momentum)
        counter = self._buffers.get("num_batches_tracked")
        if counter is not None:
            counter.add_(1)


@contextmanager
def alone(*networks: nn.Module) -> Iterator[None]:
    """Networks as one rank uses them by itself: their normalisation sees the rows at hand and asks nobody."""
    layers = [layer for net in networks for layer in net.modules() if isinstance(layer, GlobalBatchNorm)]
    for layer in layers:
        layer.asks = ALONE
    try:
        yield
    finally:
        for layer in layers:
            layer.asks = layer.ranks


def normalise_globally(module: nn.Module, ranks: Ranks) -> None:
    """Let every batch normalisation in a network see the whole batch; nothing changes with a world of 1."""
    if ranks.world == 1:
        return
    for name, child in module.named_children():
        if isinstance(child, (nn.BatchNorm1d, nn.BatchNorm2d, HalfBatchNorm)):
            setattr(module, name, GlobalBatchNorm(child, ranks))
        else:
            normalise_globally(child, ranks)
