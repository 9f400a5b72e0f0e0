"""The look: what is drawn is what the pack holds, nothing from outside gets in, and what hurts is said."""

from __future__ import annotations

import base64
import io
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from imagemint import ImagemintError
from imagemint.data.inspection import inspect, warnings
from imagemint.data.pack import Minting, Pack, Step, Unreadable, open_pack, writing
from imagemint.pages.show import show

_VOID = {"meta", "img", "br", "link", "rect", "path", "stop"}


class _Page(HTMLParser):
    """What a browser would see: tags that close, attributes, text; fails on a tag that does not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert not self._open, self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def attributes(self, tag: str, name: str) -> list[str]:
        return [value for each, found in self.tags if each == tag and (value := found.get(name)) is not None]


def _pack(
    dest: Path,
    counts: Sequence[int] = (25, 30),
    *,
    names: Sequence[str] | None = None,
    unlabelled: int = 0,
    channels: int = 1,
    size: tuple[int, int] = (8, 8),
    pixels: np.ndarray | None = None,
    history: list[Step] | None = None,
    unreadable: list[Unreadable] | None = None,
) -> Pack:
    """Noise, so that nothing repeats, in classes of `counts` images."""
    names = [f"class {k}" for k in range(len(counts))] if names is None else names
    labels = np.concatenate([np.repeat(np.arange(len(counts)), counts), np.full(unlabelled, -1)]).astype(np.int64)
    labels = np.random.default_rng(1).permutation(labels)
    if pixels is None:
        pixels = np.random.default_rng(0).integers(0, 256, (len(labels), channels, *size), np.uint8)
    with writing(dest, classes=list(names), origin="real", history=history or []) as writer:
        writer.unreadable = unreadable or []
        writer.add(pixels, labels)
    return open_pack(dest)


def _page(pack: Pack, tmp_path: Path) -> _Page:
    return _Page(show(pack, tmp_path / "look.html").read_text(encoding="utf-8"))


def _decoded(source: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(source.split(",", 1)[1]))) as image:
        return np.asarray(image)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_page_shows_images_of_the_pack_under_their_class(tmp_path: Path, channels: int) -> None:
    pack = _pack(tmp_path / "p", (25, 3, 40), channels=channels, unlabelled=2)
    page = _page(pack, tmp_path)
    sources, texts = page.attributes("img", "src"), page.attributes("img", "alt")
    assert len(sources) == 12 + 3 + 12 + 2
    seen = []
    for source, text in zip(sources, texts, strict=True):
        match = re.fullmatch(r"image (\d+), (.*)", text)
        assert match is not None
        index, label = int(match[1]), int(pack.labels[int(match[1])])
        assert match[2] == (pack.classes[label] if label >= 0 else "without a label")
        picture = pack.pixels[index, 0] if channels == 1 else pack.pixels[index].transpose(1, 2, 0)
        np.testing.assert_array_equal(_decoded(source), picture)
        seen.append(label)
    assert seen == [0] * 12 + [1] * 3 + [2] * 12 + [-1] * 2  # one class per row, in label order


def test_small_images_are_enlarged_and_large_ones_reduced(tmp_path: Path) -> None:
    for size, shown in (((8, 8), (64, 64)), ((28, 28), (56, 56)), ((128, 128), (128, 128)), ((400, 200), (128, 64))):
        page = _page(_pack(tmp_path / str(size), (20,), size=size), tmp_path)
        assert page.attributes("img", "height")[0] == str(shown[0])
        assert page.attributes("img", "width")[0] == str(shown[1])


def test_the_choice_of_images_is_spread_over_the_class_and_always_alike(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p", (120, 30))
    facts, again = inspect(pack), inspect(pack)
    members = np.flatnonzero(np.asarray(pack.labels) == 0)
    places = np.searchsorted(members, facts.classes[0].shown)
    assert (places // 10).tolist() == list(range(12))  # one in each twelfth
    np.testing.assert_array_equal(facts.classes[0].shown, again.classes[0].shown)


def test_counts_and_brightness_are_those_of_the_pack(tmp_path: Path) -> None:
    pixels = np.zeros((55, 3, 8, 8), np.uint8)
    pixels[:, 1] = np.arange(55)[:, None, None] * 4
    pack = _pack(tmp_path / "p", pixels=pixels)
    facts = inspect(pack)
    # luma of pure green, normalised so that white is 255
    np.testing.assert_allclose(facts.brightness, np.arange(55) * 4 * 0.5870 / 0.9999)
    for each in facts.classes:
        assert each.images == (pack.labels == each.label).sum()
        assert each.brightness == pytest.approx(facts.brightness[pack.labels == each.label].mean())
    assert facts.histogram().sum() == 55
    words = _page(pack, tmp_path).words
    assert "label 0 · 25 images" in words and "label 1 · 30 images" in words


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p", (21, 2), names=["https://example.org/a.png", "url(http://example.org)"])
    page = _page(pack, tmp_path)
    assert not {"script", "link", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    for tag, found in page.tags:
        for name, value in found.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "data", "srcset", "poster", "xlink:href"):
                assert value is not None and value.startswith("data:image/"), (tag, name)
    style = re.search(r"<style>(.*?)</style>", (tmp_path / "look.html").read_text(encoding="utf-8"), re.DOTALL)
    assert style is not None and "url(" not in style[1] and "@import" not in style[1]


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style></title>&amp;",
    "狗 🐕 שלום {name} %s",
    "two\nlines\t\x1b[31m\u2028\u202e",
    "x" * 500,
    "{0.__class__}",
]


@pytest.mark.parametrize("ending", ["html", "png"])
def test_names_from_outside_are_only_text(tmp_path: Path, ending: str) -> None:
    steps = [Step(command=name, parameters={name: name, "number": [1, None]}, parents=[name]) for name in HOSTILE]
    bad = [Unreadable(name=name, problem=name) for name in HOSTILE * 5]
    pack = _pack(tmp_path / HOSTILE[2].replace("/", "_"), [3] * 7, names=HOSTILE, history=steps, unreadable=bad)
    out = show(pack, tmp_path / f"look.{ending}")
    if ending == "html":
        page = _Page(out.read_text(encoding="utf-8"))
        assert {tag for tag, _ in page.tags} & {"script", "onerror"} == set()
        assert "<script>alert(1)</script>" in page.words and "{0.__class__}" in page.words
        assert not re.search(r"[\x00-\x08\x1b\u2028\u202e]", page.words)
        assert "x" * 61 not in page.words.split("Unreadable files")[0]
        assert "and 15 more" in page.words  # of 35 unreadable files
    for line in warnings(pack):
        assert line.isprintable()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_holds_the_images(tmp_path: Path, channels: int) -> None:
    pack = _pack(tmp_path / "p", (21, 25), channels=channels, size=(10, 7))
    with Image.open(show(pack, tmp_path / "look.png")) as image:
        sheet = np.asarray(image.convert("RGB"))
    scale = 96 // 10
    for each in inspect(pack).classes:
        for index in each.shown:
            tile = (
                np.broadcast_to(pack.pixels[index].transpose(1, 2, 0), (10, 7, 3)).repeat(scale, 0).repeat(scale, 1)
            )
            corner = (sheet[: -tile.shape[0], : -tile.shape[1]] == tile[0, 0]).all(axis=2)
            places = np.argwhere(corner)
            h, w = tile.shape[:2]
            assert any(np.array_equal(sheet[y : y + h, x : x + w], tile) for y, x in places)


@pytest.mark.parametrize("ending", ["html", "png"])
def test_two_hundred_classes_are_capped_and_said(tmp_path: Path, ending: str) -> None:
    pack = _pack(tmp_path / "p", [21 + k % 50 for k in range(200)], size=(4, 4))
    out = show(pack, tmp_path / f"look.{ending}")
    facts = inspect(pack)
    shown, left_out = facts.shown_classes()
    assert len(shown) == 40 and len(left_out) == 160
    assert max(each.images for each in left_out) <= min(each.images for each in shown[:20])
    assert min(each.images for each in left_out) >= max(each.images for each in shown[20:])
    if ending == "html":
        page = _Page(out.read_text(encoding="utf-8"))
        assert (
            "The 20 largest and the 20 smallest classes, and 160 more between them (26 to 65 images each)"
            in page.words
        )
        assert len(page.attributes("img", "src")) == 40 * 12


@pytest.mark.parametrize("ending", ["html", "png"])
def test_a_pack_without_any_label_has_its_look(tmp_path: Path, ending: str) -> None:
    pack = _pack(tmp_path / "p", (), unlabelled=30)
    out = show(pack, tmp_path / "new" / f"look.{ending.upper()}")
    assert out.is_file()
    assert len(warnings(pack)) == 1 and warnings(pack)[0].startswith("30 of 30 images have no label")


def test_another_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ImagemintError, match=r"look\.html"):
        show(_pack(tmp_path / "p"), tmp_path / "look.pdf")


def test_provenance_is_a_list_to_read(tmp_path: Path) -> None:
    history = [Step(command="pack", parameters={"source": "photos.zip", "size": 8, "split": None})]
    history.append(Step(command="slice", parameters={"per_class": 5}, parents=["ab" * 32]))
    minting = Minting(
        run="runs/one", checkpoint="12" * 32, images_seen=640, recipe="demo", seed=7, trained_on="cd" * 32
    )
    with writing(tmp_path / "p", classes=["a"], origin="mixed", history=history) as writer:
        writer.mintings = [minting]
        writer.add(np.zeros((1, 1, 8, 8), np.uint8), np.zeros(1, np.int64), seed=np.array([5]), minting=np.array([0]))
    words = _page(open_pack(tmp_path / "p"), tmp_path).words
    assert "pack source photos.zip size 8 slice per_class 5 from abababababab" in words
    assert "recipe demo, seed 7, after 640 images, run runs/one, weights 121212121212" in words


# --- warnings ---


def test_a_healthy_pack_has_no_warning(tmp_path: Path) -> None:
    pack = _pack(tmp_path / "p", (20, 100))  # the bounds themselves are allowed
    assert warnings(pack) == []
    assert "Nothing stands out" in _page(pack, tmp_path).words


@pytest.mark.parametrize(
    ("counts", "unlabelled", "said"),
    [
        ((19, 40), 0, ["1 class has fewer than 20 images (class 0: 19)"]),
        ((3, 2, 9), 0, ["3 classes have fewer than 20 images (class 1: 2, class 0: 3, class 2: 9)"]),
        ((20, 101), 0, ["class 1 has 5.05 times as many images as class 0 (101 and 20)"]),
        ((0, 30), 0, ["1 class has no image (class 0)"]),
        ((30, 30), 1, ["1 of 61 images has no label"]),
        ((1, 6), 0, ["2 classes have fewer", "class 1 has 6 times"]),
        ([1] * 7, 0, ["(class 0: 1, class 1: 1, class 2: 1, class 3: 1, class 4: 1 and 2 more)"]),
    ],
)
def test_counts_that_hurt(tmp_path: Path, counts: Sequence[int], unlabelled: int, said: list[str]) -> None:
    pack = _pack(tmp_path / "p", counts, unlabelled=unlabelled)
    lines = warnings(pack)
    assert len(lines) == len(said)
    assert all(words in line for words, line in zip(said, lines, strict=True))
    page = _page(pack, tmp_path).words
    assert all(words in page for words in said)


@pytest.mark.parametrize(("copies", "warned"), [(1, False), (2, True)])
def test_more_than_one_percent_of_copies(tmp_path: Path, copies: int, warned: bool) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (100, 1, 8, 8), np.uint8)
    pixels[50 : 50 + copies] = pixels[:copies]
    pack = _pack(tmp_path / "p", (100,), pixels=pixels)
    assert ("nearly repeat another" in " ".join(warnings(pack))) == warned
    facts = inspect(pack)
    assert facts.duplicates.groups == [[k, 50 + k] for k in range(copies)]
    assert facts.duplicates.repeated == facts.duplicates.exact == copies


def test_near_copies_count_but_not_as_equal(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (40, 1, 8, 8), np.uint8)
    pixels[[10, 20]] = pixels[0]
    pixels[20] += 1  # a level lighter
    pack = _pack(tmp_path / "p", (40,), pixels=pixels)
    facts = inspect(pack)
    assert (facts.duplicates.groups, facts.duplicates.repeated, facts.duplicates.exact) == ([[0, 10, 20]], 2, 1)
    assert (
        "2 images nearly repeat another (1 of them with the same pixels), in 1 group." in _page(pack, tmp_path).words
    )


def test_one_picture_in_two_classes(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (400, 1, 8, 8), np.uint8)
    pixels[[1, 2, 3]] = pixels[0]
    with writing(tmp_path / "p", classes=["a", "b"], origin="real", history=[]) as writer:
        labels = np.arange(400) % 2
        labels[[0, 1, 2, 3]] = [0, -1, 1, 0]
        writer.add(pixels, labels)
    lines = [line for line in warnings(tmp_path / "p") if "several classes" in line]
    assert len(lines) == 1 and "images 0, 1, 2, 3" in lines[0]


def test_images_of_one_colour(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), np.uint8)
    pixels[17] = np.array([200, 10, 90])[:, None, None]
    lines = warnings(_pack(tmp_path / "p", (60,), pixels=pixels))
    assert len(lines) == 1 and lines[0].startswith("1 of 60 images is of one colour") and "image 17" in lines[0]


def test_unreadable_files(tmp_path: Path) -> None:
    bad = [Unreadable(name="cat/1.jpg", problem="cut short")]
    pack = _pack(tmp_path / "p", unreadable=bad)
    assert warnings(pack)[0].startswith("1 file could not be read (cat/1.jpg)")
    assert "cat/1.jpg cut short" in _page(pack, tmp_path).words


@pytest.mark.parametrize(
    ("steps", "warned"),
    [
        ([("pack", {"size": 32}), ("edit resize", {"width": 64, "height": 48})], True),
        ([("pack", {"size": [32, 20]}), ("slice", {"total": 9}), ("edit resize", {"width": 64, "height": 64})], True),
        ([("pack", {"size": 64}), ("edit resize", {"width": 32, "height": 32})], False),
        ([("pack", {}), ("edit resize", {"width": 64, "height": 64})], False),  # nobody knows from what
        ([("pack", {"size": 64, "enlarged": 12})], True),
        ([("pack", {"size": 64, "enlarged": 0})], False),
    ],
)
def test_enlarged_images(tmp_path: Path, steps: list[tuple[str, dict[str, object]]], warned: bool) -> None:
    history = [Step(command=command, parameters=parameters) for command, parameters in steps]
    lines = warnings(_pack(tmp_path / "p", history=history))
    assert [("enlarged images are blurred" in line) for line in lines] == [True] * warned


def test_dark_images_and_few_levels_are_said(tmp_path: Path) -> None:
    deep = np.random.default_rng(0).integers(0, 4096, (60, 1, 8, 8))  # 12 bits
    kept, scaled = (deep >> 8).astype(np.uint8), (deep >> 4).astype(np.uint8)
    assert warnings(_pack(tmp_path / "scaled", (60,), pixels=scaled)) == []
    lines = warnings(_pack(tmp_path / "kept", (60,), pixels=kept))
    assert len(lines) == 2
    assert "no pixel above level 15 of 255" in lines[0] and "16 of 256 levels (0 to 15)" in lines[1]
    assert all("--levels" in line for line in lines)


def test_one_bright_image_does_not_hide_a_dark_pack(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 63, (200, 1, 8, 8), np.uint8)
    pixels[0] = 255
    assert "the images are dark" in " ".join(warnings(_pack(tmp_path / "p", (200,), pixels=pixels)))
    pixels[:10] += 63
    assert "the images are dark" not in " ".join(warnings(_pack(tmp_path / "q", (200,), pixels=pixels)))


def test_large_packs_are_searched_for_near_duplicates_in_a_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("imagemint.data.inspection.MOST_COMPARED", 100)
    pixels = np.random.default_rng(0).integers(0, 250, (300, 1, 8, 8), np.uint8)
    pixels[150:200] = pixels[:50]  # the same pixels
    pixels[200:300] = pixels[50:150] + 1  # a level lighter: pairs of which one in nine is in the sample
    pack = _pack(tmp_path / "p", (300,), pixels=pixels)
    found = inspect(pack).duplicates
    assert found.exact == 50 and found.compared == 100
    assert 50 < found.repeated < 80
    words = _page(pack, tmp_path).words
    assert "near duplicates among 100 images drawn at random" in words
    assert "as far as 100 images drawn at random tell" in " ".join(warnings(pack))


@pytest.mark.parametrize(
    ("out", "message"),
    [(".", "ends in .html"), ("..", "ends in .html"), ("folder.html", "is a folder"), ("file/x.html", "is a file")],
)
def test_what_cannot_be_written_is_refused_before_the_pack_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, out: str, message: str
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "file").write_text("mine")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ImagemintError, match=message) as error:
        show(tmp_path / "no pack", out)
    assert "\n" not in str(error.value)
