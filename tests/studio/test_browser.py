"""What a person sees in a real browser: the sample, wide and on a phone; by keyboard; what axe says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from .conftest import Served

CHROMIUM = Path("/usr/bin/chromium")
WIDE, PHONE = {"width": 1200, "height": 900}, {"width": 400, "height": 800}
SOON = 60_000  # milliseconds
BAD = ("serious", "critical")  # what axe calls them
TABS = ("Start", "Data", "Train", "Mint", "Judge", "Jobs")


@pytest.fixture
def page(served: Served) -> Iterator[Any]:
    reason = "the browser tests need playwright: pip install 'imagemint[dev]'"
    playwright = pytest.importorskip("playwright.sync_api", reason=reason)
    if not CHROMIUM.is_file():
        pytest.skip(f"the browser tests need Debian's chromium at {CHROMIUM}")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page(viewport=WIDE)
        page.set_default_timeout(SOON)
        wrong: list[str] = []
        page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda asked: None if _here(asked.url) else wrong.append(asked.url))
        yield page
        browser.close()
    assert not wrong


def _here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme in ("data", "blob", "about") or parts.hostname == "127.0.0.1"


def frame(page: Any, title: str) -> Any:
    return page.frame_locator(f"iframe[title='{title}']:visible")


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def look(page: Any, name: str, folder: Path | None) -> None:
    if folder:
        page.screenshot(path=str(folder / f"{name}.png"))


def test_the_sample_is_packed_and_shown_wide_and_on_a_phone(
    page: Any, served: Served, request: pytest.FixtureRequest
) -> None:
    shots = request.config.rootpath / "screenshots"
    where = shots if shots.is_dir() else None  # `mkdir screenshots` to look at them
    page.goto(served.url)
    page.get_by_role("button", name="Take the sample").click()
    frame(page, "The pack digits").get_by_role("heading", name="digits", exact=True).wait_for()
    look(page, "start", where)
    page.set_viewport_size(PHONE)
    for name in TABS:
        if page.get_by_role("tab", name=name, exact=True).filter(visible=True).count():
            tab(page, name)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        look(page, f"phone-{name.lower()}", where)


def test_axe_finds_nothing_serious(page: Any, served: Served) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe: pip install 'imagemint[dev]'"
    )
    page.goto(served.url)
    for name in TABS:
        tab(page, name)
        page.get_by_role("tabpanel").filter(visible=True).first.wait_for()
        found = axe.Axe().run(page).response["violations"]
        serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in BAD]
        assert not serious, (name, serious)


def test_by_keyboard(page: Any, served: Served) -> None:
    page.goto(served.url)
    page.get_by_role("tab", name="Data", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pack", exact=True).wait_for()
