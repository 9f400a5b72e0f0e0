"""Ports for servers that tests start."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def answering(answer: bytes = b"") -> Iterator[int]:
    """The port of a server that takes every call and says the same to all; by default nothing at all."""
    calls: list[socket.socket] = []

    def listen() -> None:
        with suppress(OSError):
            while True:
                calls.append(server.accept()[0])
                calls[-1].sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as server:
        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield int(server.getsockname()[1])
        finally:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)  # wakes accept
            server.close()
            listener.join()
            for each in calls:
                each.close()
