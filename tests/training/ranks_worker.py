"""What each rank of test_ranks does: started by torchrun, writes RESULTS/RANK.json.

torchrun --nproc_per_node 2 ranks_worker.py JOBS.json RESULTS
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from imagemint.config import saved_recipe
from imagemint.fitting import train
from imagemint.models.layers import HalfBatchNorm
from imagemint.samples import draw_samples
from imagemint.training import diary, loop
from imagemint.training.ranks import Ranks, joined, normalise_globally
from imagemint.training.step import generator_step


def normalised(ranks: Ranks, folder: Path) -> None:
    """Twice through each normalisation on this rank's rows, and back; what came out, for the test to join."""
    for name, case in torch.load(folder / "norms.pt").items():
        layer = {"BatchNorm1d": nn.BatchNorm1d, "BatchNorm2d": nn.BatchNorm2d, "Half": HalfBatchNorm}[case["kind"]]
        net = nn.Sequential(layer(3))
        normalise_globally(net, ranks)
        net.load_state_dict(case["state"])
        x = ranks.mine(case["x"]).clone().requires_grad_(True)
        net(x)
        out = net(x)
        (slope,) = torch.autograd.grad((out**3 * ranks.mine(case["weight"])).sum(), x, create_graph=True)
        slope.square().sum().backward()
        sums = {n: ranks.sum(p.grad) for n, p in net.named_parameters() if p.grad is not None}
        made = {"out": out.detach(), "slope": slope.detach(), "x": x.grad, "sums": sums, "state": net.state_dict()}
        torch.save(made, folder / f"{name}-{ranks.rank}.pt")


def broken(what: Callable[[], object]) -> str:
    try:
        what()
    except (Exception, KeyboardInterrupt) as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def on_rank(rank: int, at: int, replaced: Callable[..., Any], act: Callable[[], Any]) -> Callable[..., Any]:
    """`replaced`, but its call number `at` on one rank does `act` first and gives its result, if it has one.

    `replaced` runs all the same: the other rank is waiting for its part.
    """
    calls = iter(range(10_000))

    def each(*args: Any) -> Any:
        given = act() if next(calls) == at and int(os.environ["RANK"]) == rank else None
        result = replaced(*args)
        return result if given is None else given

    return each


def full() -> None:
    raise OSError(errno.ENOSPC, "full")


def main() -> None:
    jobs, folder = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    torch.set_num_threads(1)
    seen: dict[str, Any] = {}
    with joined("cpu") as ranks:
        seen["world"] = ranks.world
        normalised(ranks, folder)
        for name, job in jobs.items():
            recipe = saved_recipe(job["recipe"], name)
            train(job["pack"], recipe, folder / name, seed=3, device="cpu")
        pack, recipe = jobs["demo"]["pack"], saved_recipe(jobs["demo"]["recipe"], "demo")

        def again(name: str, **more: Any) -> None:
            train(pack, recipe, folder / name, seed=3, device="cpu", **more)

        seen["images"] = broken(lambda: train(pack, recipe, folder / "odd", batch_size=15, device="cpu"))
        seen["exists"] = broken(lambda: again("demo"))
        again("extended", images=64)
        again("extended", resume=True)

        draw = draw_samples
        loop.__dict__["generator_step"] = on_rank(1, 2, generator_step, lambda: os.kill(os.getpid(), signal.SIGTERM))
        seen["stopped"] = broken(lambda: again("stopped"))
        loop.__dict__["generator_step"] = generator_step
        again("stopped", resume=True)
        loop.__dict__["generator_step"] = on_rank(
            1, 2, generator_step, lambda: {"loss_g": torch.tensor(float("nan"))}
        )
        seen["nan"] = broken(lambda: again("nan"))
        loop.__dict__["generator_step"] = generator_step
        diary.__dict__["draw_samples"] = on_rank(0, 1, draw, full)
        seen["full"] = broken(lambda: again("full"))
    (folder / f"{ranks.rank}.json").write_text(json.dumps(seen))


if __name__ == "__main__":
    main()
    os._exit(0)  # as the command line does: gloo's threads may abort a process while C++ tidies up
