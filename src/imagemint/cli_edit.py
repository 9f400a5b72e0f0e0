"""`imagemint edit VERB PACK [PACK2] DEST`: parse, call the function of that name, say in one line what came out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from imagemint.data import edit
from imagemint.data.export import check_list, export_list
from imagemint.data.pack import Pack, open_pack
from imagemint.data.remote import SHARD_MEGABYTES
from imagemint.errors import PackError
from imagemint.words import counted, listed, shown, split_list

app = typer.Typer(
    name="edit",
    help="A pack in, a pack out: slice, split, merge, resize, relabel, augment, ...",
)

Source = Annotated[Path, typer.Argument(metavar="PACK", help="The pack to start from; it is not changed.")]
Dest = Annotated[Path, typer.Argument(metavar="DEST", help="The new pack; nothing may be there yet.")]
_QUOTES = """A name with a comma stands in double quotes, as in '"a, b",c'; may be repeated."""
List = Annotated[
    Path | None,
    typer.Option("--list", metavar="FILE", help="Also write a .csv or .txt of path and label, and its images."),
]
Seed = Annotated[int, typer.Option(help="Seed of what is chosen at random.")]


@app.command("slice")
def slice_command(
    pack: Source,
    dest: Dest,
    per_class: Annotated[int | None, typer.Option(help="Images per class.")] = None,
    total: Annotated[int | None, typer.Option(help="Images altogether, in the proportions of the classes.")] = None,
    fraction: Annotated[float | None, typer.Option(help="Fraction of the images, 0 to 1.")] = None,
    seed: Seed = 0,
    list_file: List = None,
) -> None:
    """Take some of the images."""
    _check_list(list_file, dest)
    _say(pack, edit.slice(pack, dest, per_class=per_class, total=total, fraction=fraction, seed=seed))
    _write_list(dest, list_file, seed)


@app.command()
def split(
    pack: Source,
    dest: Annotated[
        Path, typer.Argument(metavar="DEST", help="A new folder for the packs train, validation and test.")
    ],
    train: Annotated[
        float | None, typer.Option(help="Fraction for training [default: what the others leave].")
    ] = None,
    validation: Annotated[float, typer.Option(help="Fraction for validation.")] = 0.0,
    test: Annotated[float, typer.Option(help="Fraction for testing.")] = 0.2,
    seed: Seed = 0,
    near: Annotated[bool, typer.Option(help="Keep near duplicates together, not only exact ones.")] = True,
) -> None:
    """Split into train, validation and test packs, class by class, with no picture in two of them."""
    sides = edit.split(pack, dest, train=train, validation=validation, test=test, seed=seed, near=near)
    kept = next(iter(sides.values())).manifest.history[-1].parameters["kept_together"]
    text = ", ".join(f"{name} {len(side):,}" for name, side in sides.items())
    text += f"; kept together: {counted(kept['images'], 'duplicate')} in {counted(kept['groups'], 'group')}"
    if kept["cut"]:
        text += f" (a chain of look-alikes was cut at {kept['largest']} images, so some may be in two packs)"
    print(shown(f"{dest}: {text}"))


@app.command()
def shard(
    pack: Source,
    dest: Annotated[
        Path, typer.Argument(metavar="DEST", help="The new pack: a folder, or an address such as s3://BUCKET/NAME.")
    ],
    megabytes: Annotated[
        float, typer.Option(help="Pixels per file, at most, in units of 2**20 bytes.")
    ] = SHARD_MEGABYTES,
) -> None:
    """The same pack in several files, on this disk or at an address."""
    _say(pack, edit.shard(pack, dest, megabytes=megabytes))


@app.command()
def merge(
    pack: Source,
    pack2: Annotated[Path, typer.Argument(metavar="PACK2", help="The pack to add.")],
    dest: Dest,
    list_file: List = None,
) -> None:
    """Join two packs, class by class (by name)."""
    _check_list(list_file, dest)
    _say(None, edit.merge([pack, pack2], dest))
    _write_list(dest, list_file)


@app.command()
def resize(
    pack: Source,
    dest: Dest,
    width: Annotated[int, typer.Option(help="Width in pixels.")],
    height: Annotated[int | None, typer.Option(help="Height in pixels [default: the width].")] = None,
    filter: Annotated[str, typer.Option(help=f"One of {', '.join(edit.FILTERS)}.")] = "lanczos",
) -> None:
    """Resize all images (stretched; crop first to keep proportions)."""
    _say(pack, edit.resize(pack, dest, width, height, filter=filter))


@app.command()
def tile(
    pack: Source,
    dest: Dest,
    height: Annotated[int, typer.Option(help="Height in pixels.")],
    width: Annotated[int | None, typer.Option(help="Width in pixels [default: the height].")] = None,
) -> None:
    """Cut every image into tiles, row by row; remainders are dropped."""
    _say(pack, edit.tile(pack, dest, height, width))


@app.command()
def crop(
    pack: Source,
    dest: Dest,
    height: Annotated[int, typer.Option(help="Height in pixels.")],
    width: Annotated[int | None, typer.Option(help="Width in pixels [default: the height].")] = None,
    top: Annotated[int | None, typer.Option(help="First row of the box, in pixels [default: in the middle].")] = None,
    left: Annotated[
        int | None, typer.Option(help="First column of the box, in pixels [default: in the middle].")
    ] = None,
) -> None:
    """Cut the same box out of every image."""
    _say(pack, edit.crop(pack, dest, height, width, top=top, left=left))


@app.command()
def invert(pack: Source, dest: Dest) -> None:
    """Invert the pixels, p to 255 - p: black becomes white."""
    _say(pack, edit.invert(pack, dest))


@app.command()
def grayscale(pack: Source, dest: Dest) -> None:
    """Turn colour into gray: 0.2989 r + 0.5870 g + 0.1140 b."""
    _say(pack, edit.grayscale(pack, dest))


@app.command()
def blur(
    pack: Source,
    dest: Dest,
    sigma: Annotated[float, typer.Option(help="Standard deviation of the Gaussian in pixels.")],
) -> None:
    """Blur all images, as a background that is out of focus."""
    _say(pack, edit.blur(pack, dest, sigma))


@app.command()
def rename(
    pack: Source,
    dest: Dest,
    names: Annotated[list[str], typer.Option("--names", help=f"old=new,old=new,... {_QUOTES}")],
    join: Annotated[bool, typer.Option("--join", help="Join classes that get the same new name.")] = False,
) -> None:
    """Give classes other names."""
    known, pairs = set(open_pack(pack).classes), dict[str, str]()
    for pair in _listed(names):
        cuts = [k for k, letter in enumerate(pair) if letter == "="]
        if not cuts:
            raise PackError(f"--names {pair}", "old=new", "write the old name, =, and the new name")
        cut = next((k for k in reversed(cuts) if pair[:k] in known), cuts[0])  # a name may hold an equals sign itself
        if pairs.setdefault(pair[:cut], pair[cut + 1 :]) != pair[cut + 1 :]:
            raise PackError(f"--names gives {pair[:cut]!r} two new names", "one", "remove one of them")
    _say(pack, edit.rename(pack, dest, pairs, join=join))


@app.command()
def drop(
    pack: Source,
    dest: Dest,
    classes: Annotated[list[str], typer.Option("--classes", help=f"name,name,... {_QUOTES}")],
) -> None:
    """Remove classes, their images and their names."""
    _say(pack, edit.drop(pack, dest, _listed(classes)))


@app.command()
def relabel(
    pack: Source,
    dest: Dest,
    labels: Annotated[Path, typer.Option("--labels", help="CSV with the columns index,label (empty: no label).")],
) -> None:
    """Give images other labels, from a CSV."""
    before, after = open_pack(pack), edit.relabel(pack, dest, labels)
    new = [name for name in after.classes if name not in before.classes]
    _say(pack, after, f"; new classes: {listed(new)}" if new else "")


@app.command()
def balance(
    pack: Source,
    dest: Dest,
    over: Annotated[
        bool,
        typer.Option(
            "--over/--down", help="Repeat images up to the largest class, or take some down to the smallest."
        ),
    ] = False,
    seed: Seed = 0,
) -> None:
    """Make all classes the same size."""
    how: Literal["over", "down"] = "over" if over else "down"
    _say(pack, edit.balance(pack, dest, how, seed=seed))


@app.command()
def unlabel(
    pack: Source,
    dest: Dest,
    keep: Annotated[int, typer.Option(help="Labels to keep per class.")],
    seed: Seed = 0,
) -> None:
    """Remove the labels of all but a few images of each class."""
    _say(pack, edit.unlabel(pack, dest, keep, seed=seed))


@app.command()
def augment(
    pack: Source,
    dest: Dest,
    variants: Annotated[int, typer.Option("--variants", "-n", help="Changed copies per image.")] = 1,
    preset: Annotated[str, typer.Option(help=f"Ranges to start from: {', '.join(edit.PRESETS)}.")] = "gentle",
    kind: Annotated[
        str | None,
        typer.Option(help="In place of ranges: what an arm of a study does, such as classic, strong or elastic."),
    ] = None,
    flip_horizontal: Annotated[float | None, typer.Option(help="Probability of a left-right mirror, 0 to 1.")] = None,
    flip_vertical: Annotated[float | None, typer.Option(help="Probability of a top-bottom mirror, 0 to 1.")] = None,
    rotation: Annotated[float | None, typer.Option(help="Largest angle in degrees, either way.")] = None,
    shear: Annotated[float | None, typer.Option(help="Largest angle in degrees, either way.")] = None,
    zoom: Annotated[
        tuple[float, float] | None,
        typer.Option(metavar="MIN MAX", help="Crop as a fraction of the side; 0.5 enlarges twice."),
    ] = None,
    brightness: Annotated[tuple[float, float] | None, typer.Option(metavar="MIN MAX", help="Factor.")] = None,
    distortion: Annotated[float | None, typer.Option(help="Largest displacement as a fraction of the side.")] = None,
    keep: Annotated[bool, typer.Option(help="Keep the original images too.")] = True,
    seed: Seed = 0,
) -> None:
    """Add changed copies of every image: mirrored, rotated, sheared, zoomed, distorted, darker."""
    if preset not in edit.PRESETS:
        raise PackError(f"preset {preset!r}", ", ".join(edit.PRESETS), "choose one of them")
    own: dict[str, Any] = {
        "flip_horizontal": flip_horizontal,
        "flip_vertical": flip_vertical,
        "rotation": rotation,
        "shear": shear,
        "zoom": zoom,
        "brightness": brightness,
        "distortion": distortion,
    }
    own = {name: value for name, value in own.items() if value is not None}
    if kind is not None and (own or preset != "gentle"):
        named = f"--{next(iter(own), 'preset').replace('_', '-')}"
        raise PackError(f"--kind and {named}", "one of the two", "leave one of them out")
    ranges = replace(edit.PRESETS[preset], **own)
    _say(pack, edit.augment(pack, dest, variants, ranges=ranges, kind=kind, keep=keep, seed=seed))


@app.command("filter")
def filter_command(
    pack: Source,
    dest: Dest,
    by: Annotated[
        Path, typer.Option("--by", help="Indices (one per line, or JSON), or scores (CSV index,score, or JSON).")
    ],
    at_least: Annotated[float | None, typer.Option(help="Lowest score to keep.")] = None,
    at_most: Annotated[float | None, typer.Option(help="Highest score to keep.")] = None,
) -> None:
    """Keep the images that a file names, by index or by score."""
    _say(pack, edit.filter(pack, dest, by, at_least=at_least, at_most=at_most))


@app.command()
def dedup(
    pack: Source,
    dest: Dest,
    near: Annotated[
        bool, typer.Option("--near", help="Remove near duplicates too: re-encoded, rescaled or brightened copies.")
    ] = False,
) -> None:
    """Remove duplicates: keep the first of equal images."""
    _say(pack, edit.dedup(pack, dest, near=near))


def _check_list(file: Path | None, dest: Path) -> None:
    if file is not None and dest.absolute() in [each.absolute() for each in check_list(file)]:
        raise PackError(f"--list {file} in the place of the pack {dest}", "a place of its own", "choose another name")


def _write_list(pack: Path, file: Path | None, seed: int = 0) -> None:
    if file is not None:
        print(shown(f"{export_list(pack, file, seed=seed)}"))


def _listed(values: list[str]) -> list[str]:
    return [part for value in values for part in split_list(value)]


def _say(before: Path | None, after: Pack, more: str = "") -> None:
    h, w = after.size
    text = (
        f"{counted(len(after), 'image')}, {counted(len(after.classes), 'class', 'classes')}, {h}x{w}x{after.channels}"
    )
    if after.unlabelled():
        text += f", {after.unlabelled():,} unlabelled"
    if before is not None:
        was = open_pack(before)
        if was.fingerprint == after.fingerprint:
            more = "; nothing changed"
        elif len(was) != len(after):
            text += f" (from {len(was):,})"
    print(shown(f"{after.path}: {text}{more}"))
