"""Pages as a browser shows them: nothing is fetched, nothing is moved sideways, on a phone and on a desk."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from imagemint.pages.show import show
from imagemint.pages.study_page import report
from tests.digits import digits, write
from tests.pages.made import HOSTILE, made_study

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if not CHROMIUM:
        pytest.skip("needs chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a study of many arms and budgets with hostile names, and that of a pack with such classes."""
    folder = tmp_path_factory.mktemp("pages")
    arms = ("real", "classic", "strong", "mix+classic", "mix+strong", "pack:/a/long path/<script>x</script>.pack")
    study = made_study(
        folder / "study",
        lambda budget, arm: 0.6 + 0.1 * (arm == "mix+classic"),
        arms=arms,
        budgets=("5", "10", "20", "50", "all"),
        classes=HOSTILE,
        extra={"history": [{"images_seen": 10, "test": {"loss": 1, "accuracy": 0.5}}]},
    )
    pixels, labels = digits(300)
    pack = write(folder / "<b>.pack", pixels, labels, HOSTILE)
    return {"study": report(study), "pack": show(pack, folder / "pack.html")}


@pytest.mark.parametrize("kind", ["study", "pack"])
@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_is_fetched_and_nothing_is_cut(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    fetched, said = [], []
    tab.on("request", lambda request: fetched.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.on("pageerror", lambda error: said.append(str(error)))
    tab.goto(pages[kind].as_uri())
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    tables = "[...document.querySelectorAll('.wide')].filter(each => !each.closest('details'))"
    cut = tab.evaluate(
        f"{tables}.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.innerText)"
    )
    assert cut == []
    tab.close()
    assert not said and [url for url in fetched if not url.startswith("data:")] == [pages[kind].as_uri()]
