"""The networks of a training through `torch.compile`, where the recipe asks for it.

Compiled are the calls of G and D whose gradients are taken once. Gradient penalties need second derivatives, which
compiled functions refuse, and a call that is no `forward` (features, logits of three players) is not worth a graph of
its own: both go through the network as it is. Shapes never change within a training, so that graphs are made for the
shapes at hand alone, and none depends on what was computed before: a resumed training compiles the same ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imagemint.errors import RecipeError
from imagemint.words import first_line

BACKEND = "inductor"
_FOLDER = "TORCHINDUCTOR_CACHE_DIR"

Network = Callable[[Tensor, Tensor], Tensor]  # z or images, and labels


def start_compiler(device: torch.device) -> None:
    """Forget what was compiled for other trainings, and compile something small. Raises RecipeError where that fails.

    What the compiler writes goes below the user's cache folder, and not where torch puts it, a folder of known name
    that is everybody's to write to: it is loaded as code.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    os.environ.setdefault(_FOLDER, str(cache / "imagemint" / "torchinductor"))
    torch._dynamo.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # else it would go on without a word, not compiled
    x = torch.ones(8, device=device, requires_grad=True)
    try:
        _compile(lambda x: (x * 2).tanh())(x).sum().backward()
    except Exception as error:  # a compiler that is missing has many names
        raise _refused("compile: true", error) from None


def compiled(network: nn.Module, name: str) -> Network:
    """The same network, of which a call is compiled when it first comes. It has the same parameters and buffers.

    A call raises RecipeError where the network cannot be compiled.
    """
    made = _compile(network)

    def call(x: Tensor, labels: Tensor) -> Tensor:
        try:
            found: Tensor = made(x, labels)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise _refused(f"compile: true, and {name} cannot be compiled", error) from None
        return found

    return call


def _compile(work: Any) -> Any:
    # No cache of graphs: those are pickled files. Compiled code itself is found again.
    options: dict[str, Any] | None = (
        {"fx_graph_cache": False, "compile_threads": 1} if BACKEND == "inductor" else None
    )
    return torch.compile(work, backend=BACKEND, dynamic=False, options=options)


def _refused(what: str, error: Exception) -> RecipeError:
    return RecipeError(
        f"{what} ({type(error).__name__}: {first_line(error)[:200]})",
        "a machine on which torch.compile works: a C++ compiler for the CPU, Triton for CUDA",
        "leave compile out, or install what is missing",
    )
