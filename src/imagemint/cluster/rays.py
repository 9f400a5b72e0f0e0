"""Tasks on Ray: one Ray task each, tried again where its worker or machine dies, with one thread as everywhere.

A task is given by name and arguments, so that every machine needs imagemint itself; what its arguments name by path
lies on a disk that all machines see. A task that is tried again goes on from what it wrote there.
"""

from __future__ import annotations

import os
import re
import secrets
import socket
import traceback
from collections import Counter, deque
from collections.abc import Generator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from imagemint import progress
from imagemint.errors import ArgumentError, ImagemintError
from imagemint.jobs import ONE_THREAD, PATIENCE, TRIES, FanOut, Task, available, bug, one_thread
from imagemint.words import counted

_SECONDS_TO_ANSWER = 5.0
_LOOPBACK = "127.0.0.1"
_HTTP2 = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)  # how it begins (RFC 9113, 3.4)
# Nothing is sent to Ray's makers; where a task takes no GPU, Ray leaves the choice of devices as it is; workers of a
# Ray that is started here are as urgent as the processes of `--jobs`. By Ray's default of 15 all others go first.
_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_worker_niceness": "0",
}
_TOKENS = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")


def on_ray(address: str | None, cpus: float, gpus: float) -> FanOut:
    """The fan-out on a cluster, or on a Ray of our own where `address` is None; connected from now on.

    Whoever is connected to a Ray already stays so. Raises ArgumentError.
    """
    ray = _load_ray()
    if not ray.is_initialized():
        _connect(ray, address)
    _check_room(ray, cpus, gpus)
    return partial(_run, ray, {"num_cpus": cpus, "num_gpus": gpus})


def _run(
    ray: Any, share: dict[str, float], tasks: Sequence[Task], count: int, what: str, *, go_on: bool = False
) -> Generator[tuple[Task, Any]]:
    """As `jobs.side_by_side`; the results of a task come together, when it has ended."""
    remote = ray.remote(**share, max_retries=TRIES - 1)(_work)
    waiting, tries = deque(enumerate(tasks)), Counter[int]()
    running: dict[Any, tuple[int, Task]] = {}
    try:
        with progress.progress(sum(task.results for task in tasks), what) as advance:
            while waiting or running:
                while waiting and len(running) < count:
                    key, task = waiting.popleft()
                    running[remote.remote(task.work, task.arguments)] = key, task
                (ended, *_), _ = ray.wait(list(running), num_returns=1)
                key, task = running.pop(ended)
                found = _found(ray, ended, task)
                if not isinstance(found, Exception):
                    advance(len(found), note=task.name)
                    yield from ((task, value) for value in found)
                    continue
                tries[key] += 1
                gone = isinstance(found, _Gone)  # Ray has tried it as often as we would
                if go_on and not gone and tries[key] < TRIES:
                    progress.say(f"{task.name}: {_last_line(found)}; the task starts again from what it wrote")
                    waiting.appendleft((key, task))
                elif go_on:
                    progress.say(f"{task.name}: failed in {counted(TRIES, 'try', 'tries')}; the others go on")
                    advance(task.results, note=task.name)
                    yield task, found
                else:
                    progress.say(f"{task.name}: failed; the others stop and keep what they have")
                    raise found
    finally:
        for reference in running:  # each is interrupted, and writes a checkpoint first
            with suppress(ray.exceptions.RayError):
                ray.cancel(reference)
        if running:
            ray.wait(list(running), num_returns=len(running), timeout=PATIENCE)


class _Gone(ImagemintError):
    """The process of a task ended in every try."""


def _found(ray: Any, ended: Any, task: Task) -> list[Any] | Exception:
    """The results of a task that has ended, or what it ended by."""
    try:
        kind, value = ray.get(ended)
    except ray.exceptions.RayError as error:
        return _Gone(
            f"{task.name}: its worker ended {counted(TRIES, 'time')} ({_last_line(error)})",
            "enough memory for every task, and machines that stay",
            "raise cpus in the plan, so that fewer run on a machine; the same command goes on",
        )
    return value if kind != "bug" else bug(task, value)


def _work(work: Any, arguments: tuple[Any, ...]) -> tuple[str, Any]:
    """What a worker does: the results of a task, its error, or the traceback of its bug."""
    try:
        with one_thread():
            return "results", list(work(*arguments))
    except (ImagemintError, OSError) as error:
        return "error", error
    except Exception:
        return "bug", traceback.format_exc()


def _connect(ray: Any, address: str | None) -> None:
    """Connect to the cluster at an address, or start a Ray here. Raises ArgumentError."""
    where: dict[str, Any] = {"address": address}
    if address is None:
        where = {"address": "local", "num_cpus": available(), "include_dashboard": False}
        if not any(name in os.environ for name in _TOKENS):  # else Ray would write one to the user's home
            os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    if address is None or address.partition(":")[0] in (_LOOPBACK, "localhost"):
        where["_node_ip_address"] = _LOOPBACK  # Ray would take the address of this machine in its network
    if address is not None:
        _check_answers(address)
    try:
        ray.init(**where, log_to_driver=False, logging_level="error", runtime_env={"env_vars": {**ONE_THREAD}})
    except (OSError, RuntimeError, ValueError) as error:
        raise _silent(address or "this machine", _last_line(error)) from None


def _check_room(ray: Any, cpus: float, gpus: float) -> None:
    """Raise ArgumentError where no machine of the cluster can hold one task: it would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(each.get("CPU", 0) >= cpus and each.get("GPU", 0) >= gpus for each in nodes):
        held = ", ".join(f"{each.get('CPU', 0):g} and {each.get('GPU', 0):g}" for each in nodes[:5])
        raise ArgumentError(
            f"{cpus:g} CPUs and {gpus:g} GPUs per task; the machines of the cluster have {held}",
            "a machine that can hold one task",
            "ask for less (cpus, gpus), or add a machine",
        )


def _check_answers(address: str) -> None:
    """Raise ArgumentError unless HOST:PORT answers as gRPC does; Ray would wait for it for minutes."""
    if address == "auto":
        return
    match = re.fullmatch(r"(?:ray://)?\[?([^/\[\]]+?)\]?:([0-9]{1,5})", address)
    if not match or int(match[2]) > 65_535:
        remedy = "ray start --head prints the address"
        raise ArgumentError(f"--on ray:{address}", "HOST:PORT, ray://HOST:PORT or auto", remedy)
    try:
        with socket.create_connection((match[1], int(match[2])), _SECONDS_TO_ANSWER) as there:
            if os.environ.get("RAY_USE_TLS", "0") != "0":  # it waits for a certificate; Ray knows how
                return
            there.sendall(_HTTP2)
            if there.recv(9)[3:4] != b"\x04":  # the settings of the server
                raise _silent(address, "what answers there is no Ray")
    except OSError as error:
        raise _silent(address, error.strerror or str(error)) from None


def _silent(address: str, why: str) -> ArgumentError:
    return ArgumentError(
        f"no Ray at {address} ({why})",
        "the address of a Ray that runs, and its token where it asks for one",
        "start one with ray start --head; set RAY_AUTH_MODE=token where it asks for a token",
    )


def _load_ray() -> Any:
    """The module ray. Raises ArgumentError where it is not installed."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise ArgumentError(
            "--on ray, and Ray is not installed", "the extra cluster", "pip install 'imagemint[cluster]'"
        ) from None
    return ray


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
