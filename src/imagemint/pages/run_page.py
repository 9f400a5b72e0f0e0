"""The page of a run, and the page that compares several: what was trained, how it went, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from imagemint.errors import ImagemintError, RunError
from imagemint.pages.html import Html, data_uri, element, items, join, name, note, page, table
from imagemint.pages.out import check_out, write_out
from imagemint.pages.run_figures import curves, layers, logits
from imagemint.pages.strip import evenly, strip_png
from imagemint.runs import Run, open_run
from imagemint.settings import flat
from imagemint.words import counted, listed

MOMENTS = 24  # sample pictures that a page holds
# What a look at a training measures (training.watch), and how to read it.
MEASURES = {
    "distance": "energy distance to real images; 0: the same distribution",
    "diversity": "distance between samples over that between real images; 1: as varied",
    "within": "the same between images of one class",
    "classes": "effective number of classes over that of the real images; 1: every class as often",
    "copies": "share of samples that are copies of real images; 0 is best",
    "separation": "how well D tells real from fake; 0.5: not at all, 1: always",
}
_NO_DIFFERENCE = {"imagemint", "pack.path", "recipe.about", "recipe.source"}  # of facts, when runs are compared


def run_page(run: Run) -> str:
    """One self-contained page about a run, finished or not. Raises RunError where its files are damaged."""
    facts, recipe = run.facts, run.recipe
    sections = [
        _section("How it went", _findings(run)),
        _section("Samples over time", _samples(run)),
        _section("Curves", curves({run.path.name: (run.log(), run.lines("watch.jsonl"))})),
        _section("Logits over time", logits(run.lines("watch.jsonl")) or Html("")),
        _section("Layers over time", layers(run.lines("watch.jsonl")) or Html("")),
        _section("Measures", _measures(run)),
        _section("Choice of the weights", _choices(run)),
        _section("What it was trained on", _pack(run)),
        _section("Recipe", _recipe(run)),
        _section("How to repeat it", element("pre", element("code", command_of(run)))),
    ]
    seen = f"{counted(run.images_seen, 'image')} seen of {run.target:,}"
    state = "complete" if run.images_seen >= run.target else "not complete"
    subtitle = f"recipe {recipe.name}, {state}: {seen}; seed {facts.seed}, {facts.precision} on {facts.device}"
    return page(run.path.absolute().name, subtitle, sections, about="A training", footer=recipe.source)


def compare(runs: Sequence[Run | Path | str], out: Path | str) -> Path:
    """A page with the curves and strips of several runs side by side, and what differs between them; gives `out`.

    Raises ImagemintError for fewer than two runs, RunError where one is none.
    """
    opened = [open_run(run) for run in runs]
    if len(opened) < 2:
        raise ImagemintError(counted(len(opened), "run"), "two runs or more", "name another one")
    out = check_out(out, (".html",))
    labels = _labels(opened)
    named = dict(zip(labels, opened, strict=True))
    sections = [
        _section("What differs", _differences(named)),
        _section("Curves", curves({k: (run.log(), run.lines("watch.jsonl")) for k, run in named.items()})),
        _section("Samples over time", _each(named, _strip)),
        _section("Findings", _each(named, _findings)),
    ]
    subtitle = counted(len(opened), "training")
    return write_out(out, page(" and ".join(labels)[:80], subtitle, sections, about="Trainings compared"))


def _differences(named: Mapping[str, Run]) -> Html:
    facts = [flat(run.facts.decisive()) | {"images seen": run.images_seen} for run in named.values()]
    keys = [key for key in dict.fromkeys(key for each in facts for key in each) if key not in _NO_DIFFERENCE]
    values = {key: [str(each.get(key, "-"))[:80] for each in facts] for key in keys}
    rows = [[key, *row] for key, row in values.items() if len(set(row)) > 1]
    return table(["setting", *named], rows) if rows else note("Nothing but the folder.")


def _each(named: Mapping[str, Run], draw: Callable[[Run], Html]) -> Html:
    return join([join([element("h3", name(label)), draw(run)]) for label, run in named.items()])


def command_of(run: Run) -> str:
    """The command that trains the same again.

    Settings that differ from the recipe of that name stand behind `--set`; they are read off the resolved recipe, so
    that the command says all that decides the result.
    """
    from imagemint.config import load_recipe
    from imagemint.errors import RecipeError

    recipe, facts = run.recipe, run.facts
    words = ["imagemint", "train", facts.pack.path or "PACK", "--recipe", recipe.name, "--run", "NEW-RUN"]
    words += ["--seed", str(facts.seed)]
    now = flat(recipe.model_dump(mode="json"))
    try:
        before = flat(load_recipe(recipe.name).model_dump(mode="json"))
    except RecipeError:  # of somebody's own: its file, wherever it lies, and what it says, which stands above
        words[words.index("--recipe") + 1] = f"{recipe.name}.yaml"
        before = now
    for key, value in now.items():
        if before.get(key) != value:
            words += ["--set", f"{key}={value}"]
    return shlex.join(words)


def _section(title: str, inside: Html) -> Html:
    return join([element("h2", title), inside]) if inside else Html("")


def _findings(run: Run) -> Html:
    found = run.findings()
    if not found and not run.lines("watch.jsonl"):
        return element("p", "Nobody looked at this training while it went on (no watch.jsonl): nothing can be said.")
    if not found:
        return element("p", "Nothing was found to be wrong with this training.")
    return items(
        [f"{each.name} since {each.began:,} images: {each.evidence}. What to do: {each.remedy}." for each in found]
    )


def _samples(run: Run) -> Html:
    """A radio button per moment: arrow keys move from one to the next, without a script."""
    chosen = evenly(run.samples(), MOMENTS)
    if not chosen:
        return note("No sample picture yet.")
    last = len(chosen) - 1
    buttons, pictures, rules = [], [], []
    for k, path in enumerate(chosen):
        seen = f"{int(path.stem):,}"
        checked = {"checked": "checked"} if k == last else {}
        buttons.append(
            element(
                "label",
                element("input", type="radio", name="moment", id=f"moment-{k}", **checked),
                element("span", seen),
                for_=f"moment-{k}",
            )
        )
        try:
            uri = data_uri(path.read_bytes(), "image/png")
        except OSError:
            raise RunError(f"{path} has gone", "the run's pictures", "look at the folder again") from None
        pictures.append(element("img", src=uri, alt=f"samples after {seen} images", class_=f"moment moment-{k}"))
        rules.append(f".moments:has(#moment-{k}:checked) .moment-{k}{{display:block}}")
    style = (
        ".moments img.moment{display:none;max-width:100%;image-rendering:pixelated}"
        ".moments fieldset{display:flex;flex-wrap:wrap;gap:.3rem .8rem;border:0;padding:0;margin:0 0 .6rem}"
        "@media print{.moments fieldset{display:none}}" + "".join(rules)
    )
    legend = element("legend", "Images seen (arrow keys move through time)")
    inside = [Html(f"<style>{style}</style>"), element("fieldset", legend, *buttons), *pictures]
    about = note("The same noise in every picture, one class per row: " + listed(run.facts.pack.classes, 20) + ".")
    return join([element("div", *inside, class_="moments"), about])


def _strip(run: Run) -> Html:
    if not run.samples():
        return note("No sample picture yet.")
    return element(
        "img", src=data_uri(strip_png(run), "image/png"), alt="samples by images seen", style="max-width:100%"
    )


def _measures(run: Run) -> Html:
    """The last look at the training, in a table; how it came to this is in the curves."""
    looks = run.lines("watch.jsonl")
    found = {key: [look[key] for look in looks if look.get(key) is not None] for key in MEASURES}
    rows = [[key, f"{values[0]:.4g}", f"{values[-1]:.4g}", MEASURES[key]] for key, values in found.items() if values]
    if not rows:
        return Html("")
    about = note(f"Of a few samples, {counted(len(looks), 'time')}; imagemint measure says more of minted images.")
    return join([table(["measure", "at first", "at last", "how to read it"], rows), about])


def _choices(run: Run) -> Html:
    lines = run.choices()
    if not lines:
        return Html("")
    keys = list(dict.fromkeys(key for line in lines for key in flat(line)))[:8]
    return table(keys, [[str(flat(line).get(key, ""))[:40] for key in keys] for line in lines[-20:]])


def _pack(run: Run) -> Html:
    pack = run.facts.pack
    height, width = pack.size
    what = f"{counted(pack.images, 'image')} of {height}x{width} pixels, {'gray' if pack.channels == 1 else 'RGB'}"
    names = (
        f"{counted(len(pack.classes), 'class', 'classes')}: {listed(pack.classes, 30)}"
        if pack.classes
        else "no classes"
    )
    lines = [what, names, f"fingerprint {pack.fingerprint}"]
    return items([*lines, *([f"it lay at {pack.path}"] if pack.path else [])])


def _recipe(run: Run) -> Html:
    facts = run.facts
    settings = flat(run.recipe.model_dump(mode="json")) | {"imagemint": facts.imagemint}
    if facts.git is not None:
        settings["commit"] = facts.git.commit + (" with changes" if facts.git.dirty else "")
    rows = [[key, str(value)[:200]] for key, value in settings.items()]
    return element("details", element("summary", counted(len(rows), "setting")), table(["setting", "value"], rows))


def _labels(runs: Sequence[Run]) -> list[str]:
    """A name for each run: of its folder, with as much of the path as tells them apart."""
    parts = [run.path.absolute().parts for run in runs]
    for depth in range(1, max(map(len, parts)) + 1):
        found = ["/".join(each[-depth:]) for each in parts]
        if len(set(found)) == len(found):
            return found
    return [f"{'/'.join(each[-1:])} ({k})" for k, each in enumerate(parts, 1)]
