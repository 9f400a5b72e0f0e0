"""`imagemint show`: a pack drawn into a file that anybody can open."""

from __future__ import annotations

from pathlib import Path

from imagemint import files
from imagemint.data.inspection import inspect
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ImagemintError
from imagemint.pages.pack_page import pack_page
from imagemint.pages.pack_picture import picture


def show(pack: Pack | Path | str, out: Path | str) -> Path:
    """Draw a pack as one self-contained page (`out` ends in .html) or picture (.png); gives `out`.

    Reads the pixels a few times over. Raises ImagemintError, before it reads them, where `out` cannot be written.
    """
    out = Path(out)
    _check_out(out)
    found = inspect(open_pack(pack))
    out.parent.mkdir(parents=True, exist_ok=True)
    if out.suffix.lower() == ".html":
        files.write_text(out, pack_page(found))
    else:
        files.write_bytes(out, picture(found))
    return out


def _check_out(out: Path) -> None:
    if out.suffix.lower() not in (".html", ".png"):
        example = f"{out.stem or 'pack'}.html"
        raise ImagemintError(
            f"{out} as the name of the page", "a name that ends in .html or .png", f"try --out {example}"
        )
    if out.is_dir():
        raise ImagemintError(f"{out} is a folder", "the name of a file to write", "choose another name")
    above = next((each for each in out.parents if each.exists()), None)
    if above is not None and not above.is_dir():
        raise ImagemintError(f"{above} is a file", f"a folder for {out.name}", "choose another path")
