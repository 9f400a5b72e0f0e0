"""What stands beside a study's report: its rows as CSV for a spreadsheet, its answer as Markdown for a text."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from imagemint import files
from imagemint.pages import answer
from imagemint.studies.advice import advice, yardstick
from imagemint.studies.plan import budget_in_words
from imagemint.studies.results import Study
from imagemint.studies.verdict import Difference, Interval, amount
from imagemint.words import in_markdown, shortened, shown

ROWS, MARKDOWN = "rows.csv", "report.md"
_COLUMNS = (
    *("budget", "repeat", "arm", "accuracy", "loss", "validation", "n_real", "n_minted", "n_test", "images_seen"),
    *("seed", "seconds", "subset", "minted", "test"),
)


def write_rows(study: Study) -> None:
    """`rows.csv`: rows.jsonl as a table; behind the columns of every row come its scores and the recall per class."""
    scores = list(dict.fromkeys(name for row in study.rows for name in row.scores))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    recalls = [f"recall of {shown(name)}" for name in study.classes]
    writer.writerow([*_COLUMNS, *(f"score {name}" for name in scores), *recalls])
    for row in study.rows:
        values = [getattr(row, name) for name in _COLUMNS]
        writer.writerow([*values, *(row.scores.get(name) for name in scores), *row.per_class])
    files.write_text(study.path / ROWS, text.getvalue())


def write_markdown(study: Study, *, again: str, longer: tuple[str, str] | None) -> None:
    """`report.md`: the answer and its tables, as text; `again` is the command that repeats the study.

    `longer` says what to try before a gain is believed, in words and as a command.
    """
    _, text = answer.headline(study)
    said = [line for line in (answer.certainty(study), *answer.in_real_images(study)) if line]
    done, wanted = study.progress
    parts = [
        f"# {in_markdown(answer.title(study))}",
        in_markdown(answer.subtitle(study)),
        f"**{in_markdown(text)}**",
        *([in_markdown(" ".join(said))] if said else []),
        *([f"Unfinished: {done} of {wanted} classifiers are trained."] if done < wanted else []),
        *_next(study),
        *_tables(study),
        *_classes(study),
    ]
    if lines := answer.left_out(study):
        parts += [
            "## What was left out, and what to keep in mind",
            "\n".join(f"- {in_markdown(line)}" for line in lines),
        ]
    parts += ["## To do it again", f"    {shown(again)}"]
    parts += [in_markdown(longer[0]), f"    {shown(longer[1])}"] if longer else []
    files.write_text(study.path / MARKDOWN, "\n\n".join(parts) + "\n")


def _next(study: Study) -> list[str]:
    found, base = advice(study), yardstick(study)
    if not found or base is None:
        return []
    rows = [
        [
            f"{rank}. {shortened(each.what, 160)}",
            _with_interval(study, each.gain.value, each.gain.low, each.gain.high),
            answer.sureness(each),
            f"{answer.minutes(each.minutes)}{f' ({each.cost})' if each.cost else ''}",
        ]
        for rank, each in enumerate(found, 1)
    ]
    where = f"At {budget_in_words(answer.largest(study, base))}, compared with {base}; gains of "
    where += f"{answer.score_name(study)}, {answer.unit(study)}, with 95 % intervals."
    return ["## What to do next", in_markdown(where), _table(["what", "gain", "", "cost"], rows)]


def _tables(study: Study) -> list[str]:
    heads, parts = [answer.budget_in_short(each) for each in study.budgets], []
    if differences := answer.difference_table(study):
        about = f"{answer.unit(study).capitalize()} of {answer.score_name(study)}, with 95 % intervals."
        rows = [
            [f"{arm} against {base}", *(_difference(study, each) for each in row)] for arm, base, row in differences
        ]
        parts += ["## Differences", in_markdown(about), _table(["", *heads], rows)]
    if levels := answer.level_table(study):
        name = answer.score_name(study)
        rows = [[arm, *(_level(study, each) for each in row)] for arm, row in levels]
        parts += [f"## {name[0].upper()}{name[1:]} of every arm", _table(["", *heads], rows)]
    return parts


def _classes(study: Study) -> list[str]:
    each = answer.focus(study)
    if each is None:
        return []
    rows = [
        [
            study.classes[row.label],
            f"{row.images:,}",
            f"{100 * row.before:.1f}",
            f"{100 * row.after:.1f}",
            _points(row.difference),
        ]
        for row in answer.class_table(study, each)
    ]
    heads = ["class", "test images", each.baseline, each.arm, "difference, points"]
    return [
        "## Class by class",
        in_markdown(" ".join(answer.gains_and_losses(study, each))),
        in_markdown(f"Recall in per cent with {budget_in_words(each.budget)}."),
        _table(heads, rows),
    ]


def _difference(study: Study, each: Difference | None) -> str:
    if each is None:
        return "not there"
    i = each.interval
    return f"{_with_interval(study, i.mean, i.low, i.high)} {each.word}"


def _with_interval(study: Study, value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return amount(value, study.score)
    return f"{amount(value, study.score)} ({amount(low, study.score)} to {amount(high, study.score)})"


def _level(study: Study, each: Interval | None) -> str:
    if each is None:
        return "not there"
    if each.low is None or each.high is None:
        return answer.level(study, each.mean)
    between = f"{answer.level(study, each.low)} to {answer.level(study, each.high)}"
    return f"{answer.level(study, each.mean)} ({between})"


def _points(i: Interval) -> str:
    if i.low is None or i.high is None:
        return amount(i.mean, "accuracy")
    return f"{amount(i.mean, 'accuracy')} ({amount(i.low, 'accuracy')} to {amount(i.high, 'accuracy')})"


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [[in_markdown(str(each)) for each in row] for row in (heads, *rows)]
    lines.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(row)} |" for row in lines)
