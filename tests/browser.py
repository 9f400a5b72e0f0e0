"""Debian's chromium for tests: a page that may talk to this machine alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = Path("/usr/bin/chromium")
WIDE = {"width": 1200, "height": 900}


@contextmanager
def browser_page(*, milliseconds: int, console: bool) -> Iterator[Any]:
    """A page 1,200 pixels wide, which waits so long at most; skips where there is no browser.

    At its end there must have been no request to another machine and, with `console`, no error in the console.
    """
    reason = "the browser tests need playwright: pip install 'imagemint[dev]'"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    if not CHROMIUM.is_file():
        pytest.skip(f"the browser tests need Debian's chromium at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(milliseconds)
        wrong: list[str] = []
        if console:
            page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
            page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if _here(asked.url) else wrong.append(asked.url))
        yield page
        browser.close()
    assert not wrong


def shots(request: pytest.FixtureRequest) -> Path | None:
    """The folder for screenshots, where somebody has made one: `mkdir screenshots` to look at them."""
    folder = request.config.rootpath / "screenshots"
    return folder if folder.is_dir() else None


def _here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or parts.hostname == "127.0.0.1"
