"""`imagemint` and `python -m imagemint`: streams, signals and threads first, then the command line.

Exit status: 0 done; 2 something that the user can mend, said in one line on stderr; 130 stopped by Ctrl-C, 143 by
SIGTERM; 1 a bug, with its traceback.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import NoReturn

from imagemint import progress
from imagemint.errors import ImagemintError, mendable
from imagemint.words import shown


def main() -> None:
    """Run the command line and exit. Of the processes that torchrun starts, the first alone speaks."""
    _prepare()
    try:
        _leave(_run())
    except ImagemintError as error:
        _fail(str(error))
    except KeyboardInterrupt:
        _stopped()
    except BrokenPipeError:  # `imagemint info PACK | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except UnicodeEncodeError as error:
        if error.encoding.replace("_", "-").lower() == "utf-8":
            raise
        name = error.object[error.start : error.end]
        _fail(
            f"this system's encoding ({error.encoding}) has no letter for {name!r}; wanted UTF-8; "
            "set the environment variable PYTHONUTF8=1 and run the same command again"
        )
    except OSError as error:
        words = mendable(error) or _lost_folder()
        if words is None:
            raise
        _fail(str(words))


def _run() -> int:
    """Load and run the command; its exit status."""
    import typer

    from imagemint.cli import app

    if os.environ.get("WORLD_SIZE", "1") != "1" and "train" not in sys.argv[1:3]:
        raise ImagemintError(f"torchrun with {' '.join(sys.argv[1:2])}", "train", "run it without torchrun")
    words = sys.argv[1:] or ["--help"]
    try:
        status = app(words, prog_name="imagemint", standalone_mode=False)
    except typer.TyperException as error:
        _fail(f"{error.format_message().rstrip('.')}; see imagemint --help")
    except typer.Abort as error:
        raise error.__cause__ or KeyboardInterrupt from error
    if status == 130:  # how typer reports Ctrl-C
        raise KeyboardInterrupt
    return int(status or 0)


def _leave(status: int) -> NoReturn:
    """Exit. A process that torchrun started leaves at once: gloo's threads may abort it while C++ tidies up."""
    if os.environ.get("WORLD_SIZE", "1") != "1":
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _prepare() -> None:
    """What must stand before a library is loaded or a line is printed."""
    # OpenMP threads that wait by spinning make a training with two threads tens of times slower as soon as one core
    # is busy with something else; sleeping while waiting mends that. It has to be chosen before torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    _open_streams()
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _stop)
    progress.turn_on(progress.first_process())
    if not progress.first_process():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (till the process ends)


def _open_streams() -> None:
    """A service may start us without streams, and a terminal may not know every letter: neither loses any work."""
    for number in (0, 1, 2):  # a closed one would be taken by the next file that is opened
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _stop(number: int, frame: FrameType | None) -> NoReturn:
    """SIGTERM (docker stop, batch queues) and a closed terminal end as Ctrl-C does: nothing is left half-written."""
    progress.stop_signals.append(number)
    raise KeyboardInterrupt


def _stopped() -> NoReturn:
    number = next(iter(progress.stop_signals), int(signal.SIGINT))
    by = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name
    if progress.first_process():
        _print(f"imagemint: stopped by {by}; nothing is half-written; {progress.how_to_go_on()}")
    sys.exit(128 + number)


def _lost_folder() -> ImagemintError | None:
    """The working folder may be removed while we stand in it; every relative path fails then."""
    try:
        os.getcwd()
    except OSError:
        return ImagemintError("the working folder is gone", "a folder that is there", "change into another one")
    return None


def _fail(line: str) -> NoReturn:
    if progress.first_process():
        _print(f"imagemint: {' '.join(line.split())}")
    else:
        time.sleep(1)  # torchrun stops all processes as soon as one is gone: the first must have spoken
    sys.exit(2)


def _print(line: str) -> None:
    print(shown(line), file=sys.stderr)


if __name__ == "__main__":
    main()
