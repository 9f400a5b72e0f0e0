"""`imagemint show`: a pack, run or study drawn into a file that anybody can open."""

from __future__ import annotations

from pathlib import Path

from imagemint.data.inspection import inspect
from imagemint.data.pack import Pack, open_pack
from imagemint.errors import ImagemintError
from imagemint.pages.out import check_out, write_out
from imagemint.pages.pack_page import pack_page
from imagemint.pages.pack_picture import picture
from imagemint.pages.run_page import run_page
from imagemint.pages.strip import strip_png
from imagemint.pages.study_page import report
from imagemint.runs import Run, open_run
from imagemint.studies.results import Study, open_study


def show(what: Pack | Run | Study | Path | str, out: Path | str) -> Path:
    """Draw a pack, run or study as one self-contained page (`out` ends in .html); gives `out`.

    The page of a study is written into its folder too, as after `imagemint study`. A pack may be drawn as a picture
    (.png), and so may a run: its strip. Reads the pixels of a pack a few times over. Raises ImagemintError, before it
    reads them, where `out` cannot be written.

    >>> from imagemint import pack
    >>> show(pack("digits", "digits.pack"), "digits.html").read_text(encoding="utf-8")[:15]
    '<!doctype html>'
    """
    out = check_out(out, (".html", ".png"))
    opened = _opened(what)
    picture_wanted = out.suffix.lower() == ".png"
    if isinstance(opened, Pack):
        found = inspect(opened)
        return write_out(out, picture(found) if picture_wanted else pack_page(found))
    if isinstance(opened, Run):
        return write_out(out, strip_png(opened) if picture_wanted else run_page(opened))
    if picture_wanted:
        remedy = f"say --out {out.with_suffix('.html')}"
        raise ImagemintError(f"{out} as the name of a study's page", "a name that ends in .html", remedy)
    return write_out(out, report(opened).read_bytes())


def _opened(what: Pack | Run | Study | Path | str) -> Pack | Run | Study:
    """What is at a path, told by the file that only it has."""
    if not isinstance(what, (Path, str)):
        return what
    if (Path(what) / "run.json").is_file():
        return open_run(what)
    return open_study(what) if (Path(what) / "study.json").is_file() else open_pack(what)
