"""One recipe on a pack for so many seconds of processor time, then minted and measured; one JSON row per contender.

    python contender.py PACK AGAINST WORK --recipe photo --seconds 360 [--set options.scales=1] [--rows rows.jsonl]
    python contender.py PACK AGAINST WORK --minted outsider.pack --seconds 360

The training is extended by `--chunk` images until the time is over. What is minted has the proportions of classes of
the training pack.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from imagemint import measure, mint, open_pack, open_run, train
from imagemint.config import parse_setting

MINTED = 900


def trained(
    pack: Path, folder: Path, recipe: str, seconds: float, chunk: int, seed: int, settings: dict[str, Any]
) -> float:
    """Train into `folder` until so much processor time is spent; gives what was."""
    spent = folder.with_suffix(".seconds")
    used = float(spent.read_text()) if spent.exists() else 0.0
    seen = open_run(folder).images_seen if (folder / "run.json").exists() else 0
    while used < seconds:
        began, seen = time.process_time(), seen + chunk
        train(pack, recipe, folder, seed=seed, images=seen, resume=True, **settings)
        used += time.process_time() - began
        spent.write_text(str(used))
    return used


def measured(minted: Path, against: Path) -> dict[str, Any]:
    """Every measure of a pack."""
    found: dict[str, Any] = measure(minted, against).model_dump(mode="json")
    return found


def main() -> None:
    """Append one row."""
    asked = argparse.ArgumentParser()
    asked.add_argument("pack", type=Path)
    asked.add_argument("against", type=Path)
    asked.add_argument("work", type=Path)
    asked.add_argument("--recipe")
    asked.add_argument("--minted", type=Path)
    asked.add_argument("--name")
    asked.add_argument("--seconds", type=float, default=360)
    asked.add_argument("--chunk", type=int, default=6400)
    asked.add_argument("--set", action="append", default=[])
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--rows", type=Path, default=Path("rows.jsonl"))
    args = asked.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    minted, row = args.minted, {"name": args.name or args.recipe, "set": args.set, "seed": args.seed}
    if minted is None:
        run = args.work / row["name"]
        settings = dict(parse_setting(each) for each in args.set)
        used = trained(args.pack, run, args.recipe, args.seconds, args.chunk, args.seed, settings)
        minted = args.work / f"{row['name']}.pack"
        counts = open_pack(args.pack).counts()
        total = sum(counts.values())
        mint(run, minted, counts={name: round(MINTED * n / total) for name, n in counts.items()})
        row |= {"processor_seconds": round(used), "images_seen": open_run(run).images_seen}
    else:
        row |= json.loads(minted.with_suffix(".json").read_text())
    row["measures"] = measured(minted, args.against)
    with args.rows.open("a") as out:
        out.write(json.dumps(row) + "\n")
    print(row["name"], row["processor_seconds"], row["images_seen"], json.dumps(row["measures"])[:1500])


if __name__ == "__main__":
    main()
