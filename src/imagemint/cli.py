"""The command line: parse, call the public function of the same name, print. Nothing is decided here.

Streams, signals and the exit status are `__main__`'s.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

import imagemint
from imagemint import progress
from imagemint.classifiers.plan import ClassifierPlan
from imagemint.cli_edit import app as edit_app
from imagemint.cli_hub import pull, push
from imagemint.cli_look import compare, show, strip, walk
from imagemint.cli_options import changed, options_of
from imagemint.cli_studio import studio
from imagemint.cli_sweep import OnOption, sweep
from imagemint.cli_track import TrackOption, monitor, track
from imagemint.errors import ImagemintError
from imagemint.studies.plan import StudyPlan, read_plan
from imagemint.words import counted, listed, shown, split_list

app = typer.Typer(
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Mint labelled images from a small data set, and learn honestly whether they help.",
)
app.command()(studio)
app.add_typer(edit_app, name="edit")
app.command()(sweep)
app.command()(push)
app.command()(pull)
for verb in (show, strip, walk, compare):
    app.command()(verb)
app.command()(monitor)
app.command()(track)


def _version(wanted: bool) -> None:
    if wanted:
        _print(f"imagemint {imagemint.__version__}")
        raise typer.Exit


@app.callback()
def _everything(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


PackArgument = Annotated[Path, typer.Argument(metavar="PACK", help="A folder that imagemint pack or mint wrote.")]
DestArgument = Annotated[Path, typer.Argument(metavar="DEST", help="A new folder; nothing may be there yet.")]
_CLASSES_SHOWN = 12  # by name, with their counts, on one line
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
RecipeOption = Annotated[str, typer.Option("--recipe", help="A name from imagemint recipes, or a YAML file.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a field of the recipe; may be repeated."),
]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="cpu | cuda | mps", help="Where to compute; default: the fastest device that there is."
    ),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
EpochsOption = Annotated[
    float | None,
    typer.Option("--epochs", help="Train for this many passes over the pack, instead of the recipe's length."),
]
ImagesOption = Annotated[
    int | None,
    typer.Option("--images", help="Train until this many images were seen, instead of the recipe's length."),
]


@app.command()
def pack(
    source: Annotated[
        str, typer.Argument(help="Folder, zip, tar, IDX folder, list of files, or a name: digits, ...")
    ],
    dest: DestArgument,
    size: Annotated[
        str | None,
        typer.Option(metavar="N | HxW", help="Fit every image to this size, in pixels; default: as found."),
    ] = None,
    channels: Annotated[
        int | None, typer.Option(metavar="1 | 3", help="1 for gray, 3 for colour; default: as found.")
    ] = None,
    fit: Annotated[
        str,
        typer.Option(metavar="crop | pad | stretch", help="How an image of other proportions is fitted to the size."),
    ] = "crop",
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which part to take, such as train, where a source has several."),
    ] = None,
    folders_are_classes: Annotated[
        bool, typer.Option("--folders-are-classes", help="Take the folders at the top for the classes.")
    ] = False,
    path_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of a list that names the image.")
    ] = None,
    label_column: Annotated[
        str | None, typer.Option(metavar="NAME", help="The column of a list that names its class.")
    ] = None,
    names_encoding: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Encoding of file names in a zip or tar that does not state it, such as shift_jis."
        ),
    ] = None,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="BITS | LOW:HIGH | auto", help="Values that become 0 and 255 in gray images of more than 8 bits."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Pack labelled images from anywhere into one folder, and say what was understood: classes, counts, remarks."""
    made = imagemint.pack(
        source,
        dest,
        size=_size(size),
        channels=_choice("--channels", channels, (1, 3)),
        fit=_choice("--fit", fit, ("crop", "pad", "stretch")),
        split=split,
        folders_are_classes=folders_are_classes,
        path_column=path_column,
        label_column=label_column,
        names_encoding=names_encoding,
        levels=_levels(levels),
    )
    _print_json(made.info()) if as_json else _print(_one_line(made))


@app.command()
def info(pack: PackArgument, as_json: JsonOption = False) -> None:
    """Say what a pack holds and where it came from."""
    facts = imagemint.open_pack(pack).info()
    if as_json:
        _print_json(facts)
        return
    _print(_one_line(imagemint.open_pack(pack)))
    for name, count in facts["classes"].items():
        _print(f"  {name:<24} {count:>8,}")
    if facts["unlabelled"]:
        _print(f"  {'(unlabelled)':<24} {facts['unlabelled']:>8,}")
    _print(f"fingerprint {facts['fingerprint']}")
    for step in facts["history"]:
        settings = " ".join(f"{key}={value}" for key, value in step["parameters"].items())
        _print(f"made by {step['command']} {settings}".rstrip())
    for remark in facts["remarks"]:
        _print(f"remark: {remark}")
    for each in facts["unreadable"]:
        _print(f"unreadable {each['name']}: {each['problem']}")


@app.command()
def export(
    pack: PackArgument,
    dest: DestArgument,
    format: Annotated[str, typer.Option(help="Format: folder, tfrecord, webdataset, parquet, npz, idx or stylegan.")],
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed of the order of TFRecords and of the lists of a folder.")
    ] = 0,
    indices: Annotated[
        bool, typer.Option("--indices", help="Write class indices instead of names into the lists of a folder.")
    ] = False,
    absolute: Annotated[
        bool, typer.Option("--absolute", help="Write absolute paths into the lists of a folder.")
    ] = False,
) -> None:
    """Write a pack in a format that other tools read; a folder has lists of path and label beside its images."""
    from imagemint.data.export import export as write

    _print(write(pack, dest, format, seed=seed, indices=indices, absolute=absolute))


@app.command()
def train(
    pack: PackArgument,
    recipe: RecipeOption,
    run: Annotated[Path, typer.Option("--run", metavar="DIR", help="The folder to write the training into.")],
    epochs: EpochsOption = None,
    images: ImagesOption = None,
    seed: SeedOption = 0,
    settings: SetOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that is in the folder.")] = False,
    device: DeviceOption = None,
    track: TrackOption = None,
) -> None:
    """Train a GAN on a pack. Ctrl-C saves; --resume continues as if it had never stopped."""
    from imagemint.config import load_recipe

    progress.if_stopped("the same command with --resume goes on")
    made = imagemint.train(
        pack,
        load_recipe(recipe, _settings(settings)),
        run,
        track=track or (),
        seed=seed,
        epochs=epochs,
        images=images,
        resume=resume,
        device=device,
    )
    for finding in made.findings():
        _print(finding)
    _print(f"{made.path}: {made.images_seen:,} images seen; samples in {made.samples()[-1]}")


@app.command()
def mint(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that imagemint train wrote.")],
    dest: DestArgument,
    per_class: Annotated[
        int | None, typer.Option("--per-class", metavar="N", help="Images to mint per class.")
    ] = None,
    counts: Annotated[
        str | None, typer.Option(metavar="NAME=N,...", help="Images to mint of each named class.")
    ] = None,
    unlabelled: Annotated[
        int | None,
        typer.Option("--unlabelled", metavar="N", help="Unlabelled images to mint."),
    ] = None,
    at: Annotated[
        int | None,
        typer.Option(
            metavar="IMAGES", help="Mint from the checkpoint at this many images seen; default: the newest."
        ),
    ] = None,
    snapshots: Annotated[
        int, typer.Option(metavar="N", help="Mint from the last N checkpoints in turn, as many as the run keeps.")
    ] = 1,
    spread: Annotated[
        float,
        typer.Option(
            metavar="S", help="Standard deviation of the noise z: over 1 for more variety, under 1 for less."
        ),
    ] = 1.0,
    seed: SeedOption = 0,
    batch_size: Annotated[
        int, typer.Option("--batch-size", help="Images that are drawn together; it changes speed and memory only.")
    ] = 128,
    device: DeviceOption = None,
    screen: Annotated[
        bool,
        typer.Option(
            "--screen",
            help="Keep images to whose class a classifier gives at least 0.9; it learns the training pack alone.",
        ),
    ] = False,
    above: Annotated[
        float | None, typer.Option("--above", metavar="P", help="Screen with this probability, from 0 to 1.")
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option(
            "--keep", metavar="SHARE", help="Screen by keeping this share of each class, the most probable."
        ),
    ] = None,
    reject_copies: Annotated[
        bool,
        typer.Option(
            "--reject-copies",
            help="Leave out images that are nearer to a training image than nearly all of these are to each other.",
        ),
    ] = False,
    density_ratio: Annotated[
        float | None,
        typer.Option(
            "--density-ratio",
            metavar="SHARE",
            help="Keep about this share of each class by the run's discriminator (Azadi et al. 2019).",
        ),
    ] = None,
    pack: Annotated[
        Path | None,
        typer.Option("--pack", metavar="PACK", help="The training pack, where it is no longer where it was."),
    ] = None,
) -> None:
    """Mint labelled images from a training and write them as a pack."""
    made = imagemint.mint(
        run,
        dest,
        per_class=per_class,
        counts=_counts(counts),
        unlabelled=unlabelled,
        at=at,
        snapshots=snapshots,
        spread=spread,
        seed=seed,
        batch_size=batch_size,
        device=device,
        screen=screen,
        above=above,
        keep=keep,
        reject_copies=reject_copies,
        density_ratio=density_ratio,
        pack=pack,
    )
    _print(_one_line(made))
    found = made.manifest.history[-1].parameters.get("screen")
    if found:
        drawn, copies, rejected = (sum(found[what].values()) for what in ("drawn", "copies", "rejected"))
        by_ratio = f", {rejected:,} by the density ratio" if found["density_ratio"] is not None else ""
        _print(f"kept {len(made):,} of {counted(drawn, 'drawn image')}; {copies:,} left out as copies{by_ratio}")


@app.command()
def label(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A training of a semi-supervised recipe.")],
    pack: PackArgument,
    dest: DestArgument,
    above: Annotated[
        float | None,
        typer.Option(
            metavar="P", help="Leave images without a label where no class has this probability; default: name all."
        ),
    ] = None,
) -> None:
    """Name every image of a pack by a training on labelled and unlabelled images, and write them as a pack."""
    from imagemint.labelling import said

    made = imagemint.label(run, pack, dest, above=above)
    for line in (_one_line(made), *said(made)):
        _print(line)


@app.command()
@options_of(ClassifierPlan, "classifier", "epochs", "at_least")
def measure(
    pack: PackArgument,
    against: Annotated[
        Path, typer.Option("--against", metavar="PACK", help="The pack of real images to compare with.")
    ],
    features: Annotated[
        str,
        typer.Option(
            metavar="lenet | pixels | file:PATH",
            help="What distances are measured in: a LeNet that learns the real images, pixels, or your own network "
            "(TorchScript, .pt2 or .onnx, with a JSON file beside it). Reading a network file runs it.",
        ),
    ] = "lenet",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    epochs: Annotated[float | None, typer.Option(help="Passes of the judge, at least; default: 5.")] = None,
    at_least: Annotated[int | None, typer.Option(help="Images the judge sees, at least; default: 40,000.")] = None,
    **judge: Any,
) -> None:
    """Measure minted images against real ones; every number stands beside the one that real images get."""
    given = {"epochs": epochs, "at_least": at_least, **judge}
    measures = imagemint.measure(pack, against, features=features, seed=seed, **given)
    _print_json(measures.model_dump(mode="json")) if as_json else _print(measures.table())


@app.command()
@options_of(StudyPlan, "recipe")
def study(
    pack: Annotated[
        Path,
        typer.Argument(
            metavar="PACK | PLAN.yaml",
            help="The pack of real images to learn from; or a file that says pack, test, recipe and options.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for rows, runs and the report.")],
    test: Annotated[
        Path | None,
        typer.Option(
            "--test", metavar="PACK", help="The pack of real images to test on; nothing is trained on them."
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option("--recipe", help="A name from imagemint recipes, or a YAML file; needed to mint."),
    ] = None,
    saturation: Annotated[
        bool,
        typer.Option("--saturation", help="Ask only whether more images of any kind could help; needs no recipe."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(
            "--jobs",
            metavar="N",
            help="Budgets and repeats that are computed side by side, one thread each; default: one per GPU, "
            "or one per processor where there is none. The rows are the same for every number.",
        ),
    ] = None,
    gans_from: Annotated[
        Path | None,
        typer.Option(
            "--gans-from",
            metavar="STUDY",
            help="Copy the GANs of a study that differs in arms or classifiers alone, and do not train them again.",
        ),
    ] = None,
    on: OnOption = None,
    as_json: JsonOption = False,
    track: TrackOption = None,
    **plan: Any,
) -> None:
    """Find out whether minted images help a classifier, and write the report. A stopped study continues."""
    progress.if_stopped("the same command goes on")
    options = changed(StudyPlan, plan)
    if pack.suffix in (".yaml", ".yml"):  # what is said on the command line comes first
        options = {**read_plan(pack), **options}
        pack = Path(options.pop("pack"))
        test, recipe = test or Path(options.pop("test")), recipe or options.get("recipe")
        saturation = saturation or options.pop("saturation", False)
        options = {name: value for name, value in options.items() if name not in ("test", "recipe", "saturation")}
    if test is None:
        raise ImagemintError("no test images", "a pack of real images to test on", "say --test PACK")
    from imagemint.cluster import fan_out

    options |= {"saturation": saturation, "jobs": jobs, "fan_out": fan_out(on), "gans_from": gans_from}
    made = imagemint.study(pack, test, recipe, out, track=track or (), **options)
    if as_json:
        _print_json(made.to_json())
    else:
        _print(made.summary())
        _print(made.report)


@app.command()
def demo(
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="The folder for packs, runs and the report.")
    ] = Path("imagemint-demo"),
) -> None:
    """Do everything on 1,797 handwritten digits, from packing to the report."""
    from imagemint.demo import demo as run_demo

    made = run_demo(out)
    _print(made.summary())
    _print(made.report)


@app.command()
def recipes(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="A recipe to show, layer by layer.")] = None,
    size: Annotated[
        str | None, typer.Option(metavar="N | HxW", help="Show the layers for images of this size, in pixels.")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(metavar="1 | 3", help="Show the layers for images of this many channels.")
    ] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="Show the layers for this many classes.")] = None,
    settings: SetOption = None,
    parts: Annotated[bool, typer.Option("--parts", help="List the parts that recipes can choose from.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List the recipes; show one with the layers of its networks; list the parts to choose from."""
    from rich.console import Console

    from imagemint.recipe_list import recipe_list

    if name is None and (size or channels or classes or settings):
        raise ImagemintError("settings without NAME", "the recipe that they are for", "imagemint recipes NAME ...")
    if name is not None:
        from imagemint import catalogue
        from imagemint.config import load_recipe
        from imagemint.models import ImageShape

        recipe = load_recipe(name, _settings(settings))
        c, *sides = catalogue.shown_shape(recipe)
        wanted = _size(size) or (sides[0], sides[1])
        h, w = wanted if isinstance(wanted, tuple) else (wanted, wanted)
        shape = ImageShape(_choice("--channels", channels, (1, 3)) or c, h, w)
        page = catalogue.recipe_page(recipe, shape, classes or recipe.shown_at.classes)
    elif parts:
        from imagemint import catalogue

        page = catalogue.part_list()
    else:
        page = recipe_list()
    if as_json:
        _print_json(page.facts)
    else:
        Console(width=None if sys.stdout.isatty() else 100, highlight=False).print(*page.shown, sep="\n")


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to search, at any depth.")] = Path(),
) -> None:
    """List the runs in a folder."""
    from imagemint.runs import list_runs

    found = list_runs(folder)
    if not found:
        _print(f"no run in {folder}")
    for run in found:
        facts = run.facts
        shape = "x".join(map(str, (*facts.pack.size, facts.pack.channels)))
        seen = f"{run.images_seen:>12,} of {run.target:,}"
        wrong = f"; {', '.join(finding.name for finding in run.findings())}" if run.findings() else ""
        classes = f"{len(facts.pack.classes):>3} classes"
        _print(f"{run.path!s:<32} {run.recipe.name:<12} {shape:<10} {classes} {seen} images{wrong}")


def _print(line: object) -> None:
    """To stdout, with every character that could command the terminal as its escape."""
    print(shown(str(line), lines=True))


def _print_json(value: Any) -> None:
    """One JSON object in ASCII, whatever the encoding of the terminal or pipe."""
    print(json.dumps(value, allow_nan=False))


def _one_line(pack: imagemint.Pack) -> str:
    """ "p: 26 images, 2 classes: bottle 13, cable 13; 8x8 gray"; of many classes the first ones."""
    h, w = pack.size
    kind = "gray" if pack.channels == 1 else "colour"
    counts = [f"{name} {count:,}" for name, count in pack.counts().items()]
    classes = counted(len(counts), "class", "classes") + (f": {listed(counts, _CLASSES_SHOWN)}" if counts else "")
    unlabelled = f"; {pack.unlabelled():,} unlabelled" if pack.unlabelled() else ""
    return f"{pack.path}: {counted(len(pack), 'image')}, {classes}{unlabelled}; {h}x{w} {kind}"


def _size(text: str | None) -> int | tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(re.fullmatch(r"[0-9]{1,5}", side) for side in sides):
        raise ImagemintError(f"--size {text}", "N or HEIGHTxWIDTH in pixels", "write for example --size 64")
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))


def _levels(text: str | None) -> int | tuple[float, float] | Literal["auto"] | None:
    if text is None or text == "auto":
        return None if text is None else "auto"
    try:
        if ":" not in text:
            return int(text)
        low, high = map(float, text.split(":"))
        return low, high
    except ValueError:
        found = f"--levels {text}"
        raise ImagemintError(found, "BITS, LOW:HIGH or auto", "write for example --levels 12") from None


def _choice(option: str, value: Any, allowed: tuple[Any, ...]) -> Any:
    if value is not None and value not in allowed:
        raise ImagemintError(f"{option} {value}", f"one of {', '.join(map(str, allowed))}", "choose one of these")
    return value


def _counts(text: str | None) -> dict[str, int] | None:
    if text is None:
        return None
    counts: dict[str, int] = {}
    for part in split_list(text):
        name, equals, number = part.rpartition("=")
        if not equals or not number.strip().isdecimal() or len(number) > 18 or name.strip() in counts:
            raise ImagemintError(
                f"--counts {text}", "NAME=N,NAME=N, every name once", "write for example --counts cat=100,dog=50"
            )
        counts[name.strip()] = int(number)
    return counts


def _settings(texts: list[str] | None) -> dict[str, Any]:
    from imagemint.config import parse_setting

    return dict(parse_setting(text) for text in texts or [])
