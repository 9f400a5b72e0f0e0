"""What a report is made of: one HTML page, its style, and figures that live inside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def page(title: str, subtitle: str, sections: Sequence[str]) -> str:
    """The whole file. Its content policy forbids every outside reference, so that a browser would refuse one too."""
    body = "\n".join(f"<section>{each}</section>" for each in sections if each)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>{escape(title)} · {escape(subtitle)}</title><style>{_STYLE}</style></head>
<body><header><p class="brand">imagemint study</p><h1>{escape(title)}</h1>
<p class="sub">{escape(subtitle)}</p></header>
<main>
{body}
</main></body></html>
"""


def table(heads: Sequence[str], rows: Sequence[str], kind: str = "") -> str:
    """A table that scrolls by itself where it is too wide; `heads` are plain text, `rows` are `<tr>`s."""
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    head = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f'<div class="wide"><table class="{kind}">{head}<tbody>{"".join(rows)}</tbody></table></div>'


def figures(pictures: Sequence[str]) -> str:
    """Figures side by side where there is room, one under the other on a phone."""
    return f'<div class="figures">{"".join(pictures)}</div>'


def figure(draw: Callable[[Axes], None], width: float, height: float, alt: str) -> str:
    """What `draw` draws, as SVG inside the page; sizes in inches. The same numbers give the same bytes."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: dict[Any, Any] = {
        "font.family": "sans-serif",
        "font.size": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": "#888888",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "xtick.color": "#444444",
        "ytick.color": "#444444",
        "legend.frameon": False,
        "legend.fontsize": 8,
        "text.parse_math": False,  # class names are names, whatever is in them
        "svg.hashsalt": "imagemint",
        "svg.fonttype": "path",
    }
    buffer = io.BytesIO()
    with rc_context(style):
        canvas = Figure(figsize=(width, height), layout="constrained")
        draw(canvas.subplots())
        canvas.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    source, largest = data_uri(buffer.getvalue(), "image/svg+xml"), round(width * 120)
    return f'<img class="figure" style="max-width:{largest}px" alt="{escape(alt)}" src="{source}">'


def data_uri(data: bytes, kind: str) -> str:
    """A file as an address that holds it."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


_STYLE = """
:root{--ink:#1d2327;--soft:#5f6b73;--line:#e3e6e8;--good:#0b7a55;--bad:#b3361f;--mixed:#c98a00;--none:#5f6b73}
*{box-sizing:border-box}
body{margin:0;background:#f5f6f4;color:var(--ink);
 font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans",sans-serif}
header,main{max-width:1080px;margin:0 auto;padding:0 24px}
header{padding-top:36px}
.brand{margin:0;font-size:13px;letter-spacing:.08em;text-transform:uppercase;color:var(--good);font-weight:600}
h1{font-size:34px;line-height:1.15;margin:2px 0 4px;letter-spacing:-.01em}
h2{font-size:20px;margin:0 0 6px}
h3{font-size:16px;margin:22px 0 6px}
p{margin:6px 0 12px}
.sub{color:var(--soft);margin:0 0 20px}
.note{color:var(--soft);font-size:13.5px;margin:10px 0 0}
section{background:#fff;border:1px solid var(--line);border-radius:10px;padding:22px 26px;margin:0 0 18px}
.answer{margin:-23px -27px;padding:22px 26px;border-left:7px solid var(--none);border-radius:10px}
.answer.helps{border-left-color:var(--good)}
.answer.hurts{border-left-color:var(--bad)}
.answer.mixed{border-left-color:var(--mixed)}
.headline{font-size:21px;line-height:1.4;margin:0 0 18px;font-weight:600;max-width:50em}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:12px}
.card{border:1px solid var(--line);border-radius:8px;padding:12px 14px;border-top:4px solid var(--none)}
.card.helps{border-top-color:var(--good)}
.card.hurts{border-top-color:var(--bad)}
.card.helps .word{color:var(--good)}
.card.hurts .word{color:var(--bad)}
.card .where,.card .detail{font-size:13.5px;color:var(--soft)}
.card .number{font-size:30px;font-weight:650;line-height:1.25}
.card .number small{font-size:14px;font-weight:400;color:var(--soft)}
.card .word{font-weight:600}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14.5px;width:100%}
th,td{padding:7px 14px 7px 10px;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
th:first-child{padding-left:0}
thead th{color:var(--soft);font-weight:500;font-size:13px;white-space:nowrap}
tbody th{font-weight:600}
tbody th i{font-weight:400;color:var(--soft)}
th small,td small{display:block;font-weight:400;color:var(--soft)}
td small{white-space:nowrap}
td em{font-style:normal;font-size:12.5px;color:var(--soft)}
td.helps b,td.helps em{color:var(--good)}
td.hurts b,td.hurts em{color:var(--bad)}
td.helps{background:#eef7f2}
td.hurts{background:#fbefec}
td.none{color:#9aa3a9}
tr.key th,tr.key td{border-bottom:2px solid var(--ink)}
.figures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(300px,100%),1fr));gap:10px 22px}
.figure{display:block;width:100%;height:auto}
.strips{width:auto;font-size:13px;margin:0 0 18px}
.strips caption{text-align:left;font-weight:600;padding-bottom:2px;font-size:14.5px}
.strips th,.strips td{border:0;padding:1px 22px 1px 0;vertical-align:middle}
.strips thead td{color:var(--soft)}
.strips tbody th{font-weight:400;color:var(--soft);max-width:9em;overflow-wrap:anywhere}
.strip{display:block;height:auto;width:min(360px,34vw);image-rendering:pixelated}
pre{background:#f5f6f4;border-radius:6px;padding:12px 14px;font-size:13px;white-space:pre-wrap;overflow-wrap:anywhere}
code{font-size:13px;overflow-wrap:anywhere}
.plain th{font-weight:400;color:var(--soft);white-space:nowrap}
.rows{font-size:12.5px}
details{margin-top:10px}
summary{cursor:pointer;color:var(--soft)}
ul{padding-left:20px;margin:6px 0 0}
li{margin:5px 0}
@media(max-width:640px){
 header,main{padding:0 10px}
 header{padding-top:20px}
 section{padding:16px 14px}
 .answer{margin:-17px -15px;padding:16px 14px}
 h1{font-size:27px}
 .headline{font-size:18px}
 .strips th,.strips td{padding-right:8px}
}
@media print{body{background:#fff}section{break-inside:avoid;border-color:#ccc}}
"""
