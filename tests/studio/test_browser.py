"""What a person sees in a real browser: sample, whole job, wide and on a phone; by keyboard; what axe says."""

from __future__ import annotations

import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import WIDE, browser_page, shots
from tests.digits import digits, write

from .conftest import Served

PHONE = {"width": 400, "height": 800}
SOON, LATE = 60_000, 180_000  # milliseconds: for a page, for a job, on a busy machine
BAD = ("serious", "critical")  # what axe calls them
TABS = ("Start", "Data", "Train", "Mint", "Judge", "Jobs")


@pytest.fixture
def page() -> Iterator[Any]:
    with browser_page(milliseconds=SOON, console=True) as opened:
        yield opened


def frame(page: Any, title: str) -> Any:
    return page.frame_locator(f"iframe[title='{title}']:visible")


def tab(page: Any, name: str) -> None:
    page.get_by_role("tab", name=name, exact=True).click()


def look(page: Any, name: str, folder: Path | None) -> None:
    if folder:
        page.screenshot(path=str(folder / f"{name}.png"), animations="disabled")  # nothing half faded in


def test_the_sample_is_packed_and_shown_wide_and_on_a_phone(
    page: Any, served: Served, request: pytest.FixtureRequest
) -> None:
    where = shots(request)
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


def panel(page: Any) -> Any:
    return page.get_by_role("tabpanel").filter(visible=True).last


def fill(page: Any, label: str, value: str) -> None:
    name = re.compile(f"^{re.escape(label)}")  # what the field is for stands behind its label
    place = panel(page)
    place.get_by_role("textbox", name=name).or_(place.get_by_role("spinbutton", name=name)).first.fill(value)


def chosen(page: Any, label: str, value: str) -> None:
    """Wait until a list shows what the last job made."""
    from playwright.sync_api import expect

    expect(panel(page).get_by_role("combobox", name=label, exact=True)).to_have_value(value, timeout=SOON)


def press(page: Any, button: str, job: int, verb: str) -> None:
    """Press a button, and wait until the head of the page says that its job is done."""
    now = page.locator(".im-now")
    panel(page).get_by_role("button", name=button, exact=True).click()
    now.get_by_text(re.compile(f"Job {job}, {verb}: (done|failed|stopped)")).wait_for(timeout=LATE)
    assert f"Job {job}, {verb}: done" in now.inner_text()


def photos(folder: Path) -> Path:
    """A zip of real images, as a person would bring it: handwritten digits, scanned, a folder per class."""
    from sklearn.datasets import load_digits

    from imagemint import images

    found, archive = load_digits(), folder / "my digits.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for k in range(300):
            pixels = (found.images[k] * 255 / 16).astype("uint8")
            out.writestr(f"scans/{found.target_names[found.target[k]]}/{k}.png", images.png(pixels[None]))
    return archive


def test_from_a_zip_to_the_verdict(fresh: Served, page: Any, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    where = shots(request)
    page.goto(fresh.url)
    page.get_by_text("No job yet.").wait_for()

    tab(page, "Data")
    panel(page).locator("input[type=file]").set_input_files(photos(tmp_path))
    panel(page).get_by_text("my digits").first.wait_for()
    fill(page, "Name of the new pack", "scans")
    press(page, "Pack", 1, "pack")
    frame(page, "The pack scans").get_by_text("300 images").first.wait_for()
    chosen(page, "Pack", "scans")
    look(page, "data", where)
    press(page, "Split into train and test", 2, "edit")
    chosen(page, "Pack", "scans-parts/train")

    tab(page, "Train")
    chosen(page, "Pack to train on", "scans-parts/train")
    fill(page, "Name of the new run", "first")
    fill(page, "images", "640")
    press(page, "Train", 3, "train")
    chosen(page, "Run to look at", "first")
    shown = frame(page, "Run first")
    for heading in ("Samples over time", "Curves", "What it was trained on", "How to repeat it"):
        shown.get_by_role("heading", name=heading).wait_for()
    assert seen(shown.get_by_role("img", name="samples after 640 images"))
    look(page, "train", where)

    tab(page, "Mint")
    chosen(page, "Run to mint from", "first")
    fill(page, "Images per class", "12")
    press(page, "Mint", 4, "mint")
    chosen(page, "Pack to look at", "minted")
    shown = frame(page, "The pack minted")
    shown.get_by_role("heading", name="Real left, minted right").wait_for()
    assert seen(shown.get_by_role("img", name="Real | minted"))
    assert shown.locator("td[data-head='images']").all_inner_texts() == ["12"] * 10
    press(page, "Walk through what the run can draw", 5, "walk")
    walk = panel(page).get_by_role("img", name="A walk through what first can draw")
    walk.wait_for()
    assert seen(walk)
    panel(page).get_by_role("button", name="Make a zip of labelled images").click()
    panel(page).get_by_role("cell", name="minted.zip").wait_for()
    look(page, "mint", where)

    tab(page, "Judge")
    chosen(page, "Minted images", "minted")
    chosen(page, "Real images to compare with", "scans-parts/train")
    fill(page, "Images that the judge sees, at least", "300")
    press(page, "Measure", 6, "measure")
    shown = frame(page, "Measures")
    shown.get_by_role("heading", name="Copies").wait_for()
    assert seen(shown.get_by_role("img", name="Closest pairs"))
    chosen(page, "Real images to test on", "scans-parts/test")
    for label, value in (("budgets", "5"), ("repeats", "1"), ("images", "300"), ("classifier images", "300")):
        fill(page, label, value)
    fill(page, "Name of the new study", "small")
    press(page, "Study", 7, "study")
    shown = frame(page, "The report of study small")
    shown.get_by_role("heading").first.wait_for()
    look(page, "judge", where)

    tab(page, "Jobs")
    page.locator(".im-jobs tbody tr").nth(6).wait_for()
    states = page.locator(".im-jobs td[data-head='state']").all_inner_texts()
    assert states == ["done"] * 7, states
    tab(page, "Start")
    page.locator("#im-answer .im-verdict").wait_for()
    chosen(page, "Images to ask about", "scans-parts/train")  # and not the minted pack, which is newer
    for name in TABS:
        page.set_viewport_size(WIDE)  # a phone's width hides some of the tabs in a menu
        tab(page, name)
        page.set_viewport_size(PHONE)
        page.wait_for_function(f"innerWidth === {PHONE['width']}")
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], name
        look(page, f"phone-{name.lower()}", where)
        serious(page, name)


def seen(picture: Any) -> bool:
    """Whether a picture is there with pixels, rather than as a sign for one that is broken."""
    return bool(picture.first.evaluate("each => each.decode().then(() => each.naturalWidth > 0)"))


def serious(page: Any, where: str) -> None:
    axe = pytest.importorskip(
        "axe_playwright_python.sync_playwright", reason="needs axe: pip install 'imagemint[dev]'"
    )
    found = [each for each in axe.Axe().run(page).response["violations"] if each["impact"] in BAD]
    assert not found, (where, [(each["id"], each["nodes"][0]["html"]) for each in found])


def test_a_pack_that_is_removed_while_it_is_shown_goes_from_the_page_and_can_be_made_again(
    fresh: Served, page: Any
) -> None:
    page.goto(fresh.url)
    heading = frame(page, "The pack digits").get_by_role("heading", name="digits", exact=True)
    for _ in range(2):
        tab(page, "Start")
        page.get_by_role("button", name="Take the sample").click()
        tab(page, "Data")
        heading.wait_for()
        shutil.rmtree(fresh.folder / "packs" / "digits")
        heading.wait_for(state="detached")


def test_what_a_person_has_chosen_stays_chosen_while_it_is_there(fresh: Served, page: Any) -> None:
    """The other lists follow what is new."""
    images = digits(20)
    packs = fresh.folder / "packs"
    write(packs / "one", *images)
    write(packs / "two", *images)
    page.goto(fresh.url)
    tab(page, "Data")
    chosen(page, "Pack", "two")
    panel(page).get_by_role("combobox", name="Pack", exact=True).click()
    page.get_by_role("option", name="one", exact=True).click()
    frame(page, "The pack one").get_by_role("heading", name="one", exact=True).wait_for()
    write(packs / "three", *images)
    tab(page, "Train")
    chosen(page, "Pack to train on", "three")
    tab(page, "Data")
    chosen(page, "Pack", "one")
    shutil.rmtree(packs / "one")
    chosen(page, "Pack", "three")


def test_axe_finds_nothing_serious(page: Any, served: Served) -> None:
    page.goto(served.url)
    for name in TABS:
        tab(page, name)
        page.get_by_role("tabpanel").filter(visible=True).first.wait_for()
        serious(page, name)


def test_by_keyboard(page: Any, served: Served) -> None:
    page.goto(served.url)
    page.get_by_role("tab", name="Data", exact=True).focus()
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Pack", exact=True).wait_for()
