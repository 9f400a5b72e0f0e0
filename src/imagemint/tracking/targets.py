"""Where runs are posted to: `mlflow`, `mlflow:URI`, `tensorboard`, `tensorboard:DIR`."""

from __future__ import annotations

import hashlib
import os
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from imagemint.errors import TrackingError
from imagemint.words import shown

HOST, PORT = "127.0.0.1", 5000  # where `imagemint monitor` listens by default
_URI = re.compile(r"(https?://[^\s/]+.*|sqlite:////?[^\s]+|postgresql(\+\w+)?://[^\s]+)")
_SECONDS = 5.0  # that a server may take to say that it is there


class Unreachable(Exception):
    """The server does not answer, or not as it should; the text says in a few words how."""


@dataclass(frozen=True)
class Target:
    """One place to post to.

    >>> str(Target("mlflow", "http://monitor:5000"))
    'mlflow:http://monitor:5000'
    """

    kind: Literal["mlflow", "tensorboard"]
    where: str  # a URI of MLflow, or a folder

    def __str__(self) -> str:
        return f"{self.kind}:{self.where}"

    @property
    def key(self) -> str:
        """Names the place in file names."""
        return f"{self.kind}-{hashlib.sha256(self.where.encode()).hexdigest()[:12]}"


def target_of(text: str) -> Target:
    """Read a target. Raises TrackingError for an unknown kind, an address that is none, and a missing library."""
    kind, _, where = text.partition(":")
    if kind not in ("mlflow", "tensorboard"):
        raise TrackingError(
            f"--track {shown(text)[:100]}", "mlflow, mlflow:URI, tensorboard or tensorboard:DIR", "check the spelling"
        )
    check_library(kind)
    if kind == "tensorboard":
        return Target("tensorboard", str(Path(where or "tensorboard").absolute()))
    where = where or os.environ.get("MLFLOW_TRACKING_URI", f"http://{HOST}:{PORT}")
    if not _URI.fullmatch(where):
        wanted = "http://HOST:PORT, https://..., sqlite:///FILE or postgresql://..."
        raise TrackingError(f"the address {shown(where)[:100]} of MLflow", wanted, "check the spelling")
    return Target("mlflow", where.rstrip("/"))


def check_library(name: str) -> None:
    """Raise TrackingError where a library of the extra `track` is missing."""
    if find_spec(name) is None:
        raise TrackingError(f"{name} is not installed", name, "pip install 'imagemint[track]'")


def check_folder(folder: Path) -> None:
    """Raise TrackingError where a folder is not there and cannot be made, or nothing can be written into it."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not there.is_dir():
        raise TrackingError(f"no folder can be made at {folder}", "a folder to write into", "choose another")
    if not os.access(there, os.W_OK):
        raise TrackingError(f"{there} is not writable", "a writable folder", "choose another")


def make_folder(folder: Path) -> None:
    """Make a folder, if it is not there. Raises TrackingError where nothing can be written into it."""
    check_folder(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        found = f"no folder can be made at {folder} ({error.strerror})"
        raise TrackingError(found, "a folder to write into", "choose another") from None


def check(target: Target) -> None:
    """Ask whether it is there. Raises Unreachable where it is not now, TrackingError where it never will be."""
    if target.kind == "tensorboard":
        check_folder(Path(target.where))  # made with its first event: a training that is refused leaves nothing
        return
    if not target.where.startswith("http"):
        return
    try:
        with urllib.request.urlopen(f"{target.where}/version", timeout=_SECONDS) as answer:
            version = answer.read(100).decode("utf-8", "replace").strip()
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return  # a server with authentication says more to the client, which knows how to log in
        if error.code >= 500:
            raise Unreachable(f"answers {error.code}") from None
        version = ""
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"does not answer ({shown(str(reason))[:120]})") from None
    if not re.fullmatch(r"\d+\.\d+[\w.+-]*", version):
        remedy = "check the address; imagemint monitor starts one"
        raise TrackingError(f"{target.where} answers, but is no MLflow server", "a server of MLflow", remedy)
