"""Is what we train as good as what a plain fp32 loop trains? Fréchet distances of both, several seeds, one table.

    python benchmarks/quality.py mnist-10k.pack [--recipes fewshot,cdcgan] [--images 100000,40000] [--seeds 3]

Default settings (bf16 where the hardware has it, one noise, frozen sides without gradients, folded labels) against
the plain loop of train_step.py: the same networks of ordinary layers with initial weights of the same kind, its own
random numbers. Averaged weights are left out on both sides. 200 images per class, measured against the pack that both
were trained on.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch
from torch import nn
from train_step import gan_recipe, plain, plain_networks

import imagemint
from imagemint.config import Recipe, load_recipe
from imagemint.data.pack import Pack, writing
from imagemint.images import to_pixels

EACH = 200  # images per class


@torch.inference_mode()
def minted(generator: nn.Module, recipe: Recipe, pack: Pack, dest: Path, seed: int) -> Pack:
    """Images of the plain loop's generator, as a pack."""
    random = torch.Generator().manual_seed(seed)
    labels = torch.arange(len(pack.classes)).repeat_interleave(EACH)
    z = torch.empty(len(labels), recipe.z_size)
    z = z.normal_(generator=random) if recipe.noise == "normal" else z.uniform_(-1, 1, generator=random)
    with writing(dest, classes=pack.classes, origin="minted", history=[]) as writer:
        for part in torch.arange(len(labels)).split(500):
            writer.add(to_pixels(generator.eval()(z[part], labels[part])).numpy(), labels[part].numpy())
    return writer.pack()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack")
    parser.add_argument("--recipes", default="fewshot,cdcgan")
    parser.add_argument("--images", default="100000,40000")
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    pack = imagemint.open_pack(options.pack)
    assert pack.size == (28, 28) and pack.channels == 1 and len(pack.classes) == 10, "as the plain networks are"
    print(
        "| recipe | images seen | seed | fd_lenet plain | ours | score plain | ours |\n|---|---|---|---|---|---|---|"
    )
    for name, images in zip(options.recipes.split(","), map(int, options.images.split(",")), strict=True):
        recipe = load_recipe(gan_recipe(name), {"ema_images": None, "images": images})
        assert isinstance(recipe, Recipe)
        distances: dict[str, list[float]] = {"plain": [], "ours": []}
        for seed in range(options.seeds):
            with tempfile.TemporaryDirectory() as folder:
                torch.manual_seed(1000 + seed)
                networks = plain_networks(recipe)
                plain(recipe, pack, True, networks, seed)(images // (recipe.batch_size * recipe.d_steps))
                theirs = minted(networks[0], recipe, pack, Path(folder) / "plain", seed)
                run = imagemint.train(pack, recipe, Path(folder) / "run", seed=seed)
                mine = imagemint.mint(run, Path(folder) / "ours", per_class=EACH, seed=seed)
                found = [imagemint.measure(each, pack).values for each in (theirs, mine)]
            for key, values in zip(distances, found, strict=True):
                distances[key].append(values["fd_lenet"].value)
            cells = [
                f"{each[key].value:.{digits}f}"
                for key, digits in (("fd_lenet", 1), ("classifier_score", 3))
                for each in found
            ]
            print(f"| {name} | {images} | {seed} | {' | '.join(cells)} |", flush=True)
        spans = [f"{key} {statistics.median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for key, v in distances.items()]
        print(f"{name}: median distance {', '.join(spans)}", flush=True)


if __name__ == "__main__":
    main()
