"""Tasks on other machines: the same fan-out as `jobs.side_by_side`, by Ray (extra cluster)."""

from __future__ import annotations

from imagemint.errors import ArgumentError
from imagemint.jobs import FanOut, side_by_side


def fan_out(on: str | None, *, cpus: float = 1.0, gpus: float = 0.0) -> FanOut:
    """Where tasks run: None: processes of this machine; "ray": a Ray of our own here; "ray:ADDRESS": that cluster.

    `cpus` and `gpus` are what a task takes of a cluster. Raises ArgumentError for any other text, where Ray is not
    installed, and where nothing answers at the address.
    """
    if on is None:
        return side_by_side
    kind, colon, address = on.partition(":")
    if kind != "ray" or (colon and not address):
        raise ArgumentError(f"--on {on}", "ray or ray:ADDRESS", "write for example --on ray:10.0.0.1:6379")
    from imagemint.cluster.rays import on_ray

    return on_ray(address or None, cpus, gpus)
