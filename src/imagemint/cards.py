"""Cards of packs and runs for the Hugging Face hub, and Croissant metadata of packs: what somebody else must know."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from imagemint import files
from imagemint.data.pack import Pack
from imagemint.runs import Run
from imagemint.words import counted, in_markdown, listed, shown

_SHOWN_CLASSES = 200  # rows of a card's table
_SIZES = {"n<1K": 10**3, "1K<n<10K": 10**4, "10K<n<100K": 10**5, "100K<n<1M": 10**6, "1M<n<10M": 10**7}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}  # of Croissant 1.0, as its specification gives it


def _card(title: str, head: Mapping[str, Any], lines: Sequence[str]) -> str:
    """Markdown, with what the hub itself reads at its head."""
    top = yaml.safe_dump({key: value for key, value in head.items() if value}, sort_keys=False, allow_unicode=True)
    return f"---\n{top}---\n\n# {in_markdown(title)}\n\n" + "\n\n".join(lines) + "\n"


def pack_card(pack: Pack, repo: str, licence: str | None = None) -> str:
    """What the hub shows of a pack: what it is, counts, licence, and every step that it came from."""
    manifest, (height, width) = pack.manifest, pack.size
    what = {
        "real": "Real images",
        "minted": "Minted images: drawn by a generative model, none of them is a photograph",
    }
    lines = [
        f"{what.get(manifest.origin, f'Images of origin {manifest.origin!r}')}. {counted(len(pack), 'image')} of "
        f"{height}x{width} pixels, {'gray' if pack.channels == 1 else 'RGB'}, in "
        f"{counted(len(pack.classes), 'class', 'classes')}; {counted(pack.unlabelled(), 'image')} without a label.",
        _counts(pack),
        f"```\npip install 'imagemint[hub]'\nimagemint pull hub:{repo} DEST\n```",
        "`pixels.npy` is uint8 [n, channels, height, width], `labels.npy` int64 [n] (-1: no label), `manifest.json` "
        "names the classes; numpy reads both arrays without any other program.",
        f"Licence: {licence or 'none was given; ask the owner before you use the images'}.",
        "## Where it comes from",
        "\n".join(f"{k}. `{_code(step.command)}`" for k, step in enumerate(manifest.history, 1)) or "Not recorded.",
    ]
    for each in manifest.mintings:
        lines.append(
            f"Minted by recipe `{_code(each.recipe)}` after {counted(each.images_seen, 'image')} seen, from weights "
            f"with sha256 `{each.checkpoint}`, which learned from a pack with fingerprint `{each.trained_on}`."
        )
    lines += [f"- {in_markdown(line)}" for line in manifest.remarks]
    lines.append(f"Fingerprint of pixels, labels and class names: `{pack.fingerprint}`.")
    head = {
        "license": licence,
        "task_categories": ["image-classification"],
        "size_categories": [_size_category(len(pack))],
        "tags": ["imagemint", manifest.origin, *(["synthetic"] if manifest.origin == "minted" else [])],
        "pretty_name": pack.path.stem,
    }
    return _card(pack.path.stem, head, lines)


def run_card(run: Run, repo: str, licence: str | None = None) -> str:
    """What the hub shows of a run: its recipe, what it learned from, what went wrong, how to mint from it."""
    facts, recipe = run.facts, run.recipe
    found = [in_markdown(str(finding)) for finding in run.findings()]
    seen, target = counted(run.images_seen, "image"), counted(run.target, "image")
    images, (height, width) = counted(facts.pack.images, "image"), facts.pack.size
    lines = [
        f"A training of recipe `{_code(recipe.name)}` ({in_markdown(recipe.about)}; source: "
        f"{in_markdown(recipe.source)}) with imagemint {in_markdown(facts.imagemint)}: {seen} seen of {target}, "
        f"seed {facts.seed}.",
        f"It learned from {images} of {height}x{width} pixels in the classes "
        f"{listed([in_markdown(name) for name in facts.pack.classes], 20)}; fingerprint of that pack: "
        f"`{facts.pack.fingerprint}`. A generator that saw few images may repeat some of them: measure what you mint "
        "(`imagemint measure`).",
        f"```\npip install 'imagemint[hub]'\nimagemint pull hub:{repo} RUN\n"
        "imagemint mint RUN minted.pack --per-class 100\n```",
        "Findings of the training: " + ("; ".join(found) if found else "none") + ".",
        f"Licence: {licence or 'none was given; ask the owner before you use it'}.",
    ]
    head = {
        "license": licence,
        "library_name": "imagemint",
        "pipeline_tag": "unconditional-image-generation",
        "tags": ["imagemint", recipe.name],
    }
    return _card(run.path.name, head, lines)


def _counts(pack: Pack) -> str:
    counts = list(pack.counts().items())
    rows = [f"| {in_markdown(name)} | {n:,} |" for name, n in counts[:_SHOWN_CLASSES]]
    more = (
        [f"| {counted(len(counts) - _SHOWN_CLASSES, 'more class', 'more classes')} | |"]
        if len(counts) > _SHOWN_CLASSES
        else []
    )
    return "\n".join(["| class | images |", "|---|---|", *rows, *more])


def _code(text: str) -> str:
    return shown(text).replace("`", "'")


def _size_category(images: int) -> str:
    return next((name for name, below in _SIZES.items() if images < below), "10M<n<100M")


def croissant(pack: Pack, repo: str, names: Sequence[str], licence: str | None = None) -> dict[str, Any]:
    """Croissant 1.0 metadata of a pack on the hub: its files `names` with their hashes, its classes with counts."""
    base = f"https://huggingface.co/datasets/{repo}"
    licences = {"license": f"https://spdx.org/licenses/{licence}"} if licence else {}
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": re.sub(r"\W+", "-", pack.path.stem) or "pack",
        "description": f"{counted(len(pack), 'image')} of {counted(len(pack.classes), 'class', 'classes')}, "
        f"origin: {pack.manifest.origin}",
        "url": base,
        "version": "1.0.0",
        **licences,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": f"{base}/resolve/main/{name}",
                "encodingFormat": "application/json" if name.endswith(".json") else "application/x-npy",
                "contentSize": f"{(pack.path / name).stat().st_size} B",
                "sha256": files.sha256(pack.path / name),
            }
            for name in names
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "classes",
                "name": "classes",
                "description": "label k of labels.npy is the class of row k",
                "field": [
                    {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"},
                    {"@type": "cr:Field", "@id": "classes/images", "name": "images", "dataType": "sc:Integer"},
                ],
                "data": [{"classes/name": name, "classes/images": n} for name, n in pack.counts().items()],
            }
        ],
    }
