"""One job: `python -m imagemint.studio.child EXIT_FILE VERB ...` is `imagemint VERB ...` that notes how it ended.

The note is for a studio that was closed and opened again meanwhile: it is not the parent, so nobody tells it.
"""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from imagemint import files
from imagemint.__main__ import main


def run(note: Path) -> int:
    """Run the command line that is in sys.argv, write its exit status into `note`, and return it."""
    status = 1
    try:
        main()
        status = 0
    except SystemExit as error:
        status = error.code if isinstance(error.code, int) else 1 if error.code else 0
    except KeyboardInterrupt:  # before the command line could prepare for it
        status = 130
    except Exception:  # not swallowed: the log has it, and the status says that it is a bug
        traceback.print_exc()
    files.write_json(note, {"status": status})
    return status


if __name__ == "__main__":
    _, exit_file, *words = sys.argv
    sys.argv = ["imagemint", *words]
    sys.exit(run(Path(exit_file)))
