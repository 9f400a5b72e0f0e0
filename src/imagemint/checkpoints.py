"""A checkpoint: tensors in safetensors files, and a state.json, written last, that holds their hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from imagemint import files
from imagemint.errors import RunError
from imagemint.files import Damaged, read_model


class _Saved(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Choice(_Saved):
    """The best weights so far: when they were taken, and their measure."""

    images_seen: int = Field(ge=0)
    fd_lenet: float


class State(_Saved):
    """`state.json`: what a checkpoint says of itself. Fitted runs have no iterations and no optimisers."""

    images_seen: int = Field(ge=0)
    iterations: int = Field(default=0, ge=0)
    pending: dict[str, tuple[float, int]] = Field(
        default={}, description="sum and count since the last line of the log"
    )
    chosen: dict[str, Choice] = {}
    balance: float = Field(default=0.0, ge=0, le=1, description="k of a BEGAN")
    weights: str
    optimizers: str | None = None

    @field_validator("pending", mode="before")
    @classmethod
    def _as_version_0_1_wrote_it(cls, value: Any) -> Any:
        """Counts stood beside the sums, as `n name`."""
        if isinstance(value, dict) and all(isinstance(each, (int, float)) for each in value.values()):
            return {k: (v, value[f"n {k}"]) for k, v in value.items() if not k.startswith("n ") and f"n {k}" in value}
        return value


def read_state(checkpoint: Path) -> State:
    """`state.json` of a checkpoint. Raises RunError where it is damaged."""
    file = checkpoint / "state.json"
    try:
        state = read_model(file, State)
    except (Damaged, FileNotFoundError) as error:
        raise damaged(checkpoint, f"{file} {error if isinstance(error, Damaged) else 'is gone'}") from None
    if state.images_seen != int(checkpoint.name):
        raise damaged(checkpoint, f"{file} says images_seen {state.images_seen}")
    return state


def write_state(folder: Path, state: State) -> None:
    """Write `state.json`; it comes last, since it stands for the whole checkpoint."""
    files.write_json(folder / "state.json", state.model_dump(mode="json", exclude_unset=True))


def damaged(checkpoint: Path, found: str) -> RunError:
    """The error of a damaged checkpoint, with advice that is true for what lies beside it."""
    others = [
        path for path in checkpoint.parent.glob("[0-9]*") if path != checkpoint and (path / "state.json").is_file()
    ]
    before = "the one before it is used then" if others else "it is the only one, so the training begins anew then"
    return RunError(found, "a whole checkpoint", f"remove {checkpoint}: {before}")


def tensors_of(modules: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The weights and statistics of networks, as `name.key`, on the CPU."""
    return {
        f"{name}.{key}": tensor.detach().cpu().contiguous()
        for name, module in modules.items()
        for key, tensor in module.state_dict().items()
    }


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> str:
    """Write tensors and return their file's sha256. Through Python's own files: a full disk is an OSError there."""
    data = save(tensors)
    path.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def read_tensors(checkpoint: Path, name: str, wanted: str | None) -> dict[str, Tensor]:
    """The tensors of `name.safetensors`, whose sha256 must be `wanted`. Raises RunError where it is damaged."""
    file = checkpoint / f"{name}.safetensors"
    try:
        with files.open_regular(file) as opened:
            data = opened.read()
        if hashlib.sha256(data).hexdigest() != wanted:
            raise SafetensorError("its hash is not the one in state.json")
        return load(data)
    except (SafetensorError, FileNotFoundError, Damaged) as error:
        raise damaged(checkpoint, f"{file} is damaged ({error})") from None


def load_weights(module: nn.Module, name: str, weights: Mapping[str, Tensor], checkpoint: Path) -> None:
    """Bring the tensors `name.*` of a checkpoint into a network. Raises RunError where they do not fit."""
    prefix = f"{name}."
    own = {key.removeprefix(prefix): tensor for key, tensor in weights.items() if key.startswith(prefix)}
    try:
        module.load_state_dict(own)
    except RuntimeError:
        remedy = f"remove {checkpoint} or train into a new folder"
        raise RunError(f"{checkpoint} belongs to another network", "weights of this run's recipe", remedy) from None
    bad = next((key for key, tensor in own.items() if not torch.isfinite(tensor).all()), None)
    if bad is not None:
        raise damaged(checkpoint, f"{checkpoint} holds numbers that are not finite ({prefix}{bad})")
