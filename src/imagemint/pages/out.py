"""Files that a page or picture is written to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from imagemint import files
from imagemint.errors import ImagemintError


def check_out(out: Path | str, endings: Sequence[str]) -> Path:
    """`out` as a path, if it has one of the endings and can be a file. Raises ImagemintError."""
    out = Path(out)
    if out.suffix.lower() not in endings:
        wanted = f"a name that ends in {' or '.join(endings)}"
        raise ImagemintError(f"{out} as the name of the file", wanted, f"try --out {out.stem or 'run'}{endings[0]}")
    if out.is_dir():
        raise ImagemintError(f"{out} is a folder", "the name of a file to write", "choose another name")
    above = next((each for each in out.parents if each.exists()), None)
    if above is not None and not above.is_dir():
        raise ImagemintError(f"{above} is a file", f"a folder for {out.name}", "choose another path")
    return out


def write_out(out: Path, data: bytes | str) -> Path:
    """Write the file, whole or not at all, and its folder where there is none; gives `out`."""
    out.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(out, data) if isinstance(data, str) else files.write_bytes(out, data)
    return out
