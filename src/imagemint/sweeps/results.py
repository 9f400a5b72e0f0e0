"""The results of a sweep, finished or not: its rows, the winner of each pack, and the table.

DIR/
  plan.yaml      the plan, which can be run again
  facts.json     what else decides the rows: scale, fingerprints of the packs, recipes as resolved, version
  packs/NAME/    train: what every trial learns from; validation: what was held out to measure against
  runs/TRIAL/    one run per trial, as imagemint train writes them
  minted/TRIAL/  what was minted from it, to measure
  trials.jsonl   one row per trial
  table.md       the settings in order of the measure, pack by pack; table.csv: the trials
  best.json      the winner of each pack, and among how many trials it was chosen
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from imagemint import files
from imagemint.errors import SweepError
from imagemint.metrics.measures import Measure
from imagemint.sweeps.plan import SweepPlan, make_sweep
from imagemint.words import counted


class Row(BaseModel):
    """A trial that ended: `trials.jsonl` has one line for each."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trial: int
    name: str
    pack: str
    recipe: str
    variant: str
    settings: dict[str, Any]  # of the grid or search, by dotted keys
    seed: int
    state: Literal["done", "failed"]
    why: str  # why it failed; "" where it did not
    run: str  # its folder, inside the sweep's
    images_seen: int
    checkpoint: str  # sha256 of the weights that were measured
    measures: dict[str, Measure]
    seconds: float  # of the try that ended it, training, minting and measuring

    @property
    def cell(self) -> str:
        """What trials share that differ in nothing but the seed."""
        return json.dumps([self.pack, self.recipe, self.variant, self.settings], sort_keys=True)

    @property
    def words(self) -> str:
        """What differs, in a line."""
        settings = [f"{key} {value}" for key, value in self.settings.items()]
        return ", ".join([Path(self.recipe).stem, *filter(None, [self.variant]), *settings])


class Facts(BaseModel):
    """`facts.json`: what decides the rows beside the plan."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scale: float
    packs: dict[str, str]  # name -> fingerprint
    recipes: dict[str, dict[str, Any]]  # as resolved with the plan's duration alone
    imagemint: str  # the version that began


@dataclass(frozen=True)
class Outcome:
    """All seeds of one setting: the mean of the measure, and what lies behind it."""

    rows: tuple[Row, ...]  # those that are done
    failed: int
    value: float
    low: float  # the lowest end of a seed's interval
    high: float
    floor: float

    @property
    def words(self) -> str:
        """What differs, in a line."""
        return self.rows[0].words


@dataclass(frozen=True)
class Sweep:
    """An open sweep folder, finished or not."""

    path: Path
    plan: SweepPlan
    facts: Facts
    rows: list[Row]  # in the order of the plan

    @property
    def done(self) -> list[Row]:
        """Trials that were trained and measured."""
        return [row for row in self.rows if row.state == "done"]

    @property
    def failed(self) -> list[Row]:
        """Trials that failed in every try."""
        return [row for row in self.rows if row.state == "failed"]

    def ranked(self, pack: str) -> list[Outcome]:
        """The settings tried on a pack, the best by the plan's measure first.

        One of which a seed failed stands behind all that are complete: its mean says less. One whose seeds all failed
        is left out.
        """
        cells: dict[str, list[Row]] = {}
        for row in self.rows:
            if row.pack == pack:
                cells.setdefault(row.cell, []).append(row)
        outcomes = [_outcome(rows, self.plan.measure) for rows in cells.values()]
        sign = 1 if self.plan.metric.direction == "lower" else -1
        return sorted(filter(None, outcomes), key=lambda each: (each.failed > 0, sign * each.value))

    def best(self) -> dict[str, Any]:
        """What best.json says."""
        return {
            "choose": self.plan.measure,
            "direction": self.plan.metric.direction,
            "measured_on": "images held out of each training pack",
            "trials": len(self.rows),
            "failed": len(self.failed),
            "winners": [self._winner(pack) for pack in self.facts.packs if self.ranked(pack)],
        }

    def _winner(self, pack: str) -> dict[str, Any]:
        first, *others = self.ranked(pack)
        row = first.rows[0]
        return {
            "pack": pack,
            "recipe": row.recipe,
            "variant": row.variant,
            "settings": row.settings,
            "settings_tried": 1 + len(others),
            "value": first.value,
            "low": first.low,
            "high": first.high,
            "floor": first.floor,
            "seeds": [each.seed for each in first.rows],
            "runs": [each.run for each in first.rows],
            "apart_from_next": None if not others else not _overlap(first, others[0]),
        }

    def summary(self) -> str:
        """The winners in a few lines, for the terminal."""
        lines = [f"{counted(len(self.rows), 'trial')} tried, {len(self.failed):,} failed"]
        lines += [self._verdict(pack) for pack in self.facts.packs]
        return "\n".join([*lines, *(f"{row.name} failed: {row.why}" for row in self.failed)])

    def _verdict(self, pack: str) -> str:
        ranked = self.ranked(pack)
        if not ranked:
            return f"{pack}: no trial has ended well"
        first, *others = ranked
        line = (
            f"{pack}: {first.words} is the best of {counted(len(ranked), 'setting')} by {self.plan.measure}, "
            f"{first.value:.4g} ({first.low:.4g} to {first.high:.4g}; held-out real images get {first.floor:.4g})"
        )
        if others and _overlap(first, others[0]):
            line += f"; the interval of the next one, {others[0].words}, overlaps with it: the order may be chance"
        return line

    def table(self) -> str:
        """table.md."""
        metric, name = self.plan.metric, self.plan.measure
        blocks = [
            f"# Sweep: {counted(len(self.rows), 'trial')} tried, {len(self.failed):,} failed",
            f"Chosen by {name} ({metric.label}; {metric.direction} is better), measured against images held out of "
            "each training pack. No test pack played a part. The best of many looks better than it is: measure the "
            "winner again on images that had no part in the choice. Distances on different packs do not compare.",
        ]
        for pack in self.facts.packs:
            blocks += [f"## {pack}", self._verdict(pack) + "."]
            rows = [
                f"| {place} | {_cell(each.words)} | {len(each.rows)} | {each.value:.4g} | {each.low:.4g} to "
                f"{each.high:.4g} | {each.floor:.4g} | {_images(each, name)} | {each.rows[0].images_seen:,} | "
                f"{sum(row.seconds for row in each.rows):.1f} |"
                for place, each in enumerate(self.ranked(pack), 1)
            ]
            head = [
                f"| place | setting | seeds | {name}, mean | intervals of the seeds | floor | images: real, minted "
                "| images seen | seconds |",
                "|---" * 9 + "|",
            ]
            blocks += ["\n".join(head + rows)] if rows else []
        if self.failed:
            lines = [f"- {_cell(row.name)} ({row.pack}, {_cell(row.words)}): {_cell(row.why)}" for row in self.failed]
            blocks += ["## Failed in every try", "\n".join(lines)]
        return "\n\n".join(blocks) + "\n"

    def csv(self) -> str:
        """table.csv: a line per trial."""
        keys = list(dict.fromkeys(key for row in self.rows for key in row.settings))
        names = list(dict.fromkeys(name for row in self.rows for name in row.measures))
        parts = ("value", "low", "high", "floor", "n_real", "n_minted")
        plain = (
            "trial",
            "name",
            "pack",
            "recipe",
            "variant",
            "seed",
            "state",
            "why",
            "run",
            "images_seen",
            "seconds",
        )
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([*plain, *keys, *(f"{name}_{part}" for name in names for part in parts)])
        for row in self.rows:
            found = (getattr(row.measures.get(name), part, "") for name in names for part in parts)
            writer.writerow(
                [*(getattr(row, key) for key in plain), *(row.settings.get(key, "") for key in keys), *found]
            )
        return out.getvalue()

    def write(self) -> None:
        """Write trials.jsonl in the order of the plan, the tables and best.json."""
        files.keep_lines(self.path / "trials.jsonl", [row.model_dump(mode="json") for row in self.rows])
        files.write_text(self.path / "table.md", self.table())
        files.write_text(self.path / "table.csv", self.csv())
        files.write_json(self.path / "best.json", self.best())


def open_sweep(path: Path | str) -> Sweep:
    """Open the folder of a sweep. Raises SweepError where it is none, or damaged."""
    path = Path(path)
    try:
        facts = files.read_model(path / "facts.json", Facts)
        tree = yaml.safe_load(files.read_text(path / "plan.yaml"))
        rows = [Row.model_validate(line) for line in files.read_lines(path / "trials.jsonl")]
        return Sweep(path, make_sweep(tree, str(path / "plan.yaml")), facts, in_order(rows))
    except FileNotFoundError:
        raise SweepError(f"no sweep at {path}", "a folder that imagemint sweep wrote", "check the path") from None
    except (files.Damaged, ValidationError, yaml.YAMLError, TypeError, ValueError):
        raise SweepError(
            f"{path} is damaged", "a sweep as imagemint sweep writes it", "sweep into a new folder"
        ) from None


def in_order(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of the plan, the last one of each trial."""
    return [row for _, row in sorted({row.trial: row for row in rows}.items())]


def _outcome(rows: list[Row], measure: str) -> Outcome | None:
    done = [row for row in rows if row.state == "done"]
    if not done:
        return None
    found = [row.measures[measure] for row in done]
    return Outcome(
        rows=tuple(done),
        failed=len(rows) - len(done),
        value=fmean(each.value for each in found),
        low=min(each.low for each in found),
        high=max(each.high for each in found),
        floor=fmean(each.floor for each in found),
    )


def _overlap(one: Outcome, other: Outcome) -> bool:
    return one.low <= other.high and other.low <= one.high


def _images(outcome: Outcome, measure: str) -> str:
    first = outcome.rows[0].measures[measure]
    return f"{first.n_real:,}, {first.n_minted:,}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
