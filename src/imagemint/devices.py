"""Which device computes, and how precisely."""

from __future__ import annotations

from typing import Literal

import torch

from imagemint.errors import RunError


def usable_device(device: str | None = None) -> str:
    """`device` if it is there, by default the fastest that is: cuda, mps or cpu. Raises RunError."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    found = [name for name, is_there in there.items() if is_there]
    if device is not None and device not in found:
        problem = f"device {device} is not on this machine" if device in there else f"device {device!r}"
        raise RunError(problem, f"one of {', '.join(found)}", "leave --device out to take the fastest")
    return device or found[0]


def native_precision(device: str) -> Literal["bf16", "fp32"]:
    """bf16 where the hardware multiplies it natively; elsewhere it is emulated and slower than fp32."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    native = device == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())
    return "bf16" if native else "fp32"


def set_tf32(on: bool) -> None:
    """Whether CUDA may multiply fp32 as TF32, for the whole process; other devices take no notice."""
    if hasattr(torch.backends.cuda.matmul, "fp32_precision"):  # torch 2.9 on; it refuses a mixture of both ways
        torch.backends.cuda.matmul.fp32_precision = "tf32" if on else "ieee"
        torch.backends.cudnn.conv.fp32_precision = "tf32" if on else "ieee"  # type: ignore[attr-defined]
    else:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = on


def on_device(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the CPU on a device; to CUDA through pinned memory, so that nobody waits for the copy."""
    if device.type == "cuda":
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def holds(device: torch.device, size: int) -> bool:
    """Whether a device has room of its own for `size` bytes, and as much again for the work; the CPU has none."""
    return device.type == "cuda" and 2 * size <= torch.cuda.mem_get_info(device)[0]
