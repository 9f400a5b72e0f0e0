"""The monitor: MLflow's own server, with its database and artifacts in one folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from imagemint.errors import TrackingError
from imagemint.progress import say
from imagemint.tracking.targets import HOST, PORT, check_library, make_folder

_QUIET = {  # no telemetry, no jobs of MLflow's own, nothing but the server
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
}


def monitor(
    folder: Path | str,
    *,
    port: int = PORT,
    host: str = HOST,
    backend: str | None = None,
    artifacts: str | None = None,
    allow: str | None = None,
) -> int:
    """Run MLflow's server until it is stopped; its exit status.

    Its database is sqlite in `folder`, or `backend` (postgresql://...); its artifacts lie below `folder`, or at
    `artifacts` (s3://...). `allow`: names by which others may call it, with commas. Raises TrackingError where MLflow
    is missing, the port is taken, or the folder cannot be written to.
    """
    check_library("mlflow")
    if (backend or "").startswith("postgresql://"):
        check_library("psycopg")
    folder = Path(folder).absolute()
    make_folder(folder)
    _check_port(host, port)
    names = f"{host}:{port},localhost:{port},127.0.0.1:{port},[::1]:{port}" + (f",{allow}" if allow else "")
    command = [sys.executable, "-m", "mlflow", "server", "--host", host, "--port", str(port), "--workers", "1"]
    command += ["--artifacts-destination", artifacts or str(folder / "artifacts"), "--serve-artifacts"]
    command += ["--allowed-hosts", names]
    database = {"MLFLOW_BACKEND_STORE_URI": backend or f"sqlite:///{folder / 'mlflow.db'}"}  # may hold a password
    say(f"monitor at http://{'127.0.0.1' if host == '0.0.0.0' else host}:{port}, data in {folder}; Ctrl-C ends it")
    server = subprocess.Popen(command, cwd=folder, env={**os.environ, **_QUIET, **database}, start_new_session=True)
    try:
        return server.wait()
    finally:
        _stop(server)


def _stop(server: subprocess.Popen[bytes]) -> None:
    """The server with its workers; first softly."""
    if os.name == "nt":
        server.terminate()
        server.wait()
        return
    for which, seconds in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(server.pid, which)
            server.wait(seconds)
        except (ProcessLookupError, PermissionError):
            return
        except subprocess.TimeoutExpired:
            continue


def _check_port(host: str, port: int) -> None:
    if not 0 < port < 65_536:
        raise TrackingError(f"port {port}", "1 to 65535", "choose another")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            found = f"port {port} of {host} is not to be had ({error.strerror})"
            raise TrackingError(found, "a free port of this machine", "choose another with --port") from None
