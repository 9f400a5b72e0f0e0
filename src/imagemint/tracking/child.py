"""`python -m imagemint.tracking.child FOLDER TARGET`: posts until its standard input is closed, then once more."""

from __future__ import annotations

import signal
import sys
import threading
from pathlib import Path

from imagemint.tracking.follow import follow
from imagemint.tracking.targets import target_of


def main() -> int:
    """The exit status: 0 when everything was posted."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # the training hears them, and ends this process when it ends
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    ended = threading.Event()

    def wait() -> None:
        sys.stdin.buffer.read()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    return follow(Path(sys.argv[1]), target_of(sys.argv[2]), ended)


if __name__ == "__main__":
    sys.exit(main())
