"""What every page is made of: elements that escape, the shell, the one style, tables and bars.

A page is put together from `element`s. Text is escaped there and nowhere else; only `Html` goes in as it is. So a
name from outside (a class, a file, a folder) can be anything and is only text.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

from imagemint import __version__
from imagemint.words import shortened, shown

_VOID = {"br", "img", "meta", "rect", "path", "stop"}
BAR_WIDTH, BAR_HEIGHT = 960, 120  # of `bars`, in the units of their picture


class Html(str):
    """Text that is HTML already."""

    __slots__ = ()


def element(tag: str, /, *inside: str | None, **attributes: object) -> Html:
    """An element. Text inside it and in its attributes is escaped, `Html` inside it is not; None is left out.

    In the names of attributes a trailing underscore vanishes and others become hyphens.

    >>> element("p", "1 < 2, ", element("b", "really"), class_="note")
    '<p class="note">1 &lt; 2, <b>really</b></p>'
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{escape(_printable(str(value)))}"'
        for name, value in attributes.items()
        if value is not None
    )
    if tag in _VOID:
        assert not inside, tag
        return Html(f"<{tag}{given}{'/' if tag in ('rect', 'path', 'stop') else ''}>")
    return Html(f"<{tag}{given}>{join(inside)}</{tag}>")


def join(parts: Iterable[str | None], between: str = "") -> Html:
    """Parts one after the other; text among them is escaped."""
    return Html(_escaped(between).join(_escaped(part) for part in parts if part is not None))


def _escaped(text: str) -> str:
    return text if isinstance(text, Html) else escape(_printable(text))


def _printable(text: str) -> str:
    return shown(text, lines=True)


def name(text: str, longest: int = 60) -> Html:
    """A name from outside, shortened, and isolated so that its writing direction leaves its neighbours alone."""
    return element("bdi", shortened(text, longest))


# --- the page ---


def page(title: str, subtitle: str, sections: Sequence[Html], *, about: str, footer: str = "") -> str:
    """The whole file. Its content policy forbids every outside reference, so that a browser would refuse one too."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        Html(
            '<meta http-equiv="Content-Security-Policy" '
            "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        ),
        element("title", f"{shortened(title)} · imagemint"),
        Html(f"<style>{_STYLE}</style>"),
    )
    body = element(
        "body",
        element(
            "header",
            element("p", about, class_="brand"),
            element("h1", name(title)),
            element("p", subtitle, class_="sub"),
        ),
        element("main", *(element("section", each) for each in sections if each)),
        element("footer", f"imagemint {__version__}. {footer}".strip()),
    )
    return f'<!doctype html>\n<html lang="en">{head}\n{body}</html>\n'


@dataclass(frozen=True)
class Cell:
    """A cell of a `table`: what stands in it, and its class in the style."""

    inside: tuple[str | None, ...]
    kind: str | None = None


def cell(*inside: str | None, kind: str | None = None) -> Cell:
    """A cell of a `table`."""
    return Cell(inside, kind)


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Cell | str]], kind: str | None = None, *, marked: int | None = None
) -> Html:
    """A table whose first column names its rows; `marked` is the row that is set off from the others.

    On a phone every row becomes a block of its own, in which each cell stands beside the head of its column, so that
    nothing has to be moved sideways; a table of the kind "rows" scrolls instead.

    >>> made = table(["", "score"], [["real", "90.1"]])
    >>> made.partition("<tbody>")[2].partition("</tbody>")[0]
    '<tr><th scope="row">real</th><td data-head="score">90.1</td></tr>'
    """
    assert not any(isinstance(row, str) for row in rows), "a row is its cells"
    head = element("thead", element("tr", *(element("th", each) for each in heads))) if heads else None
    body = [
        element(
            "tr",
            *(_in_row(each, heads[k] if heads else None, first=not k) for k, each in enumerate(row)),
            class_="key" if number == marked else None,
        )
        for number, row in enumerate(rows)
    ]
    return element("div", element("table", head, element("tbody", *body), class_=kind), class_="wide")


def _in_row(each: Cell | str, head: str | None, *, first: bool) -> Html:
    made = cell(each) if isinstance(each, str) else each
    if first:
        return element("th", *made.inside, scope="row", class_=made.kind)
    return element("td", *made.inside, data_head=head, class_=made.kind)


def items(lines: Sequence[str], kind: str | None = None) -> Html:
    """A list, one point per line."""
    return element("ul", *(element("li", line) for line in lines), class_=kind)


def note(*inside: str | None) -> Html:
    """A paragraph in small print."""
    return element("p", *inside, class_="note")


def bars(values: Sequence[float], gap: float) -> Html:
    """Bars over a width of BAR_WIDTH, the tallest BAR_HEIGHT high; `gap` is the share of a bar that is free."""
    step, tallest = BAR_WIDTH / len(values), max(values) or 1
    tall = [BAR_HEIGHT * value / tallest for value in values]
    return join(
        element(
            "rect",
            x=f"{(k + gap / 2) * step:.2f}",
            y=f"{BAR_HEIGHT - height:.2f}",
            width=f"{step * (1 - gap):.2f}",
            height=f"{height:.2f}",
        )
        for k, height in enumerate(tall)
        if height
    )


def data_uri(data: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


_STYLE = """
:root{--paper:#f7f7f4;--card:#fff;--ink:#1d2327;--soft:#5f6b73;--line:#e3e6e8;--track:#eef0ee;--mint:#2f8f76;
 --good:#0b7a55;--good-soft:#eef7f2;--bad:#b3361f;--bad-soft:#fbefec;--mixed:#c98a00;--none:#5f6b73;
 --amber:#8f5400;--amber-soft:#fdf4e2}
@media(prefers-color-scheme:dark){:root{--paper:#14181d;--card:#1b2027;--ink:#e8eaed;--soft:#98a2af;--line:#2c333c;
 --track:#262d35;--mint:#5dbb9f;--good:#5dbb9f;--good-soft:#17251f;--bad:#f0907c;--bad-soft:#2d1c19;--mixed:#f0b455;
 --none:#98a2af;--amber:#f0b455;--amber-soft:#2a2418}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);overflow-wrap:anywhere;-webkit-text-size-adjust:100%;
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main,footer{max-width:1080px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
footer{padding-bottom:32px;color:var(--soft);font-size:13px}
.brand{margin:0;font-size:13px;letter-spacing:.08em;text-transform:uppercase;color:var(--good);font-weight:600}
h1{font-size:34px;line-height:1.15;margin:2px 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:0 0 6px}
h3{font-size:16px;margin:22px 0 6px}
p{margin:6px 0 12px}
.sub{color:var(--soft);margin:0 0 20px}
.note{color:var(--soft);font-size:13.5px;margin:10px 0 0}
section{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:22px 26px;margin:0 0 18px}
.answer{margin:-23px -27px;padding:22px 26px;border-left:7px solid var(--none);border-radius:10px}
.answer.helps,.answer.well{border-left-color:var(--good)}
.answer.hurts{border-left-color:var(--bad)}
.answer.mixed,.answer.beware{border-left-color:var(--mixed)}
.answer.beware{background:var(--amber-soft)}
.answer.beware h2{color:var(--amber)}
.answer li+li{margin-top:6px}
.headline{font-size:21px;line-height:1.4;margin:0 0 18px;font-weight:600;max-width:50em}
.sure{max-width:62em;margin:0 0 18px}
.wide .numbers{width:auto}
.numbers td,.numbers thead th{padding-right:28px}
.note+.figures{margin-top:14px}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px}
.cards.small{grid-template-columns:repeat(auto-fit,minmax(104px,1fr))}
.card{border:1px solid var(--line);border-radius:8px;padding:12px 14px;border-top:4px solid var(--none)}
.small .card{border-top:1px solid var(--line);padding:10px 14px}
.small .card .number{font-size:20px;white-space:nowrap}
.card.helps{border-top-color:var(--good)}
.card.hurts{border-top-color:var(--bad)}
.card.helps .word{color:var(--good)}
.card.hurts .word{color:var(--bad)}
.card .where,.card .detail{font-size:13.5px;color:var(--soft)}
.card .number{font-size:30px;font-weight:650;line-height:1.25;font-variant-numeric:tabular-nums}
.card .number small{font-size:14px;font-weight:400;color:var(--soft)}
.card .word{font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;overflow-wrap:break-word;font-variant-numeric:tabular-nums;font-size:14.5px;width:100%}
th,td{padding:7px 14px 7px 10px;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
th:first-child{padding-left:0}
thead th{color:var(--soft);font-weight:500;font-size:13px;white-space:nowrap}
tbody th{font-weight:600}
th.arm,.plain th{min-width:9em}
tbody th i{font-weight:400;color:var(--soft)}
th small,td small{display:block;font-weight:400;color:var(--soft)}
td small{white-space:nowrap}
td em{display:block;font-style:normal;font-size:12.5px;color:var(--soft)}
td.helps b,td.helps em{color:var(--good)}
td.hurts b,td.hurts em{color:var(--bad)}
td.helps{background:var(--good-soft)}
td.hurts{background:var(--bad-soft)}
td.none,.none{color:var(--soft);font-style:italic}
tr.key th,tr.key td{border-bottom:2px solid var(--ink)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:10px 22px}
.figure{display:block;width:100%;height:auto;background:#fff;border-radius:6px}
.pairs{display:flex;flex-wrap:wrap;gap:14px 18px;margin:10px 0}
.pairs figure{margin:0}
.pairs img{display:block;image-rendering:pixelated;height:auto;max-width:100%}
.strips{width:auto;font-size:13px;margin:0 0 18px}
.strips caption{text-align:left;font-weight:600;padding-bottom:2px;font-size:14.5px}
.strips th,.strips td{border:0;padding:1px 22px 1px 0;vertical-align:middle}
.strips thead td{color:var(--soft)}
.strips tbody th{font-weight:400;min-width:0;color:var(--soft);max-width:9em;overflow-wrap:anywhere}
.strip{display:block;height:auto;width:min(360px,34vw);image-rendering:pixelated}
pre{background:var(--paper);border-radius:6px;padding:12px 14px;font-size:13px;white-space:pre-wrap}
code{font-size:13px}
.plain th{font-weight:400;color:var(--soft);white-space:nowrap}
.rows{font-size:12.5px}
details{margin-top:10px}
summary{cursor:pointer;color:var(--soft)}
ul,ol{padding-left:20px;margin:6px 0 0}
li{margin:5px 0}
.row{display:grid;grid-template-columns:150px 1fr;gap:8px 14px;padding:14px 0;border-top:1px solid var(--line)}
.row h3{font-size:15px;margin:0}
.row small{display:block;color:var(--soft);font-size:13px;font-weight:400}
.pictures{display:flex;flex-wrap:wrap;gap:4px;align-items:flex-start}
.pictures img{display:block;border-radius:3px;max-width:100%}
img.pixels{image-rendering:pixelated}
.count{display:grid;grid-template-columns:200px 1fr 5.5em 4em 6.5em;gap:16px;align-items:center;padding:5px 0;
 font-variant-numeric:tabular-nums;text-align:right}
.count .name{line-height:1.3;text-align:left}
.count .soft,.count.head{color:var(--soft)}
.count.head{font-size:13px}
.track{height:14px;border-radius:3px;background:var(--track);overflow:hidden}
.head .track{background:none}
.track span{display:block;height:100%;background:var(--mint);border-radius:3px}
.few .track span{background:var(--mixed)}
.few .track+span{color:var(--amber);font-weight:600}
.count i{display:inline-block;width:14px;height:14px;border-radius:50%;border:1px solid var(--line);
 vertical-align:-2px;margin-right:8px}
figure{margin:0 0 16px}
figcaption{color:var(--soft);font-size:13px;margin-top:6px}
svg{display:block;width:100%;height:auto;fill:var(--mint)}
.median{stroke:var(--ink);stroke-width:1.5;stroke-dasharray:4 4}
.ramp{stroke:var(--line)}
.axis{fill:var(--soft);font-size:14px}
.groups{display:flex;flex-wrap:wrap;gap:16px}
.group{margin:0;padding:14px;border:1px solid var(--line);border-radius:8px;max-width:100%}
.story i{color:var(--soft);font-style:normal}
.story span{margin-left:10px}
.story small{display:block;color:var(--soft)}
@media(max-width:720px){
 header,main,footer{padding:0 10px}
 header{padding-top:20px}
 section{padding:16px 14px}
 .answer{margin:-17px -15px;padding:16px 14px}
 h1{font-size:27px}
 .headline{font-size:18px}
 .strips th,.strips td{padding-right:8px}
 .row{grid-template-columns:1fr}
 .row h3{display:flex;gap:12px;align-items:baseline;justify-content:space-between}
 .row small{white-space:nowrap}
 .count{grid-template-columns:1fr 4.5em 4em 5em;gap:2px 8px;padding:7px 0}
 .count .name{grid-column:1/-1}
 .count.head{display:none}
 .axis{font-size:30px}
}
@media screen and (max-width:720px){
 .wide table:not(.rows),.wide table:not(.rows) :is(tbody,tr,th,td){display:block}
 .wide table:not(.rows) thead{display:none}
 .wide table:not(.rows) tr{border-bottom:1px solid var(--line);padding:9px 0}
 .wide table:not(.rows) tr.key{border-bottom:2px solid var(--ink)}
 .wide table:not(.rows) :is(th,td){border:0!important;padding:1px 6px 1px 0}
 .wide table:not(.rows) td[data-head]:not([data-head=""]){display:flex;flex-wrap:wrap;gap:0 8px}
 .wide td[data-head]:not([data-head=""])::before{content:attr(data-head);color:var(--soft);flex:0 0 30%}
 .wide table:not(.rows) td em{margin-left:auto}
 .wide table:not(.rows) td small{white-space:normal}
 .wide table:not(.rows) td.none{background:none}
}
@page{margin:14mm}
@media print{
 :root{--paper:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--track:#eee;--good:#0b7a55;--good-soft:#fff;
  --bad:#b3361f;--bad-soft:#fff;--none:#444;--amber:#8f5400;--amber-soft:#fff;color-scheme:light}
 body{font-size:11pt}
 header,main,footer{max-width:none;padding:0}
 section{padding:10pt 0;margin:0;border:0;border-top:1px solid #bbb;border-radius:0}
 .answer{margin:0;padding:0 0 0 10pt;border-radius:0}
 .wide{overflow:visible}
 table{font-size:8.5pt}
 table.rows{font-size:6.5pt}
 th,td{padding:3px 8px 3px 0}
 thead th,.plain th{white-space:normal}
 h2,h3,caption{break-after:avoid}
 .figures{grid-template-columns:1fr 1fr}
 .sure,.headline{max-width:none}
 tr,.row,figure,.figure,.card,.pairs figure,.story{break-inside:avoid}
}
"""
