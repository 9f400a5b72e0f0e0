"""lightweight-gan 1.2.1 (Wang, after Liu et al. 2021) on a pack, on the CPU, for so much processor time.

    pip install --target SITE --no-deps lightweight-gan==1.2.1 einops==0.8.1 adabelief-pytorch==0.2.0
    PYTHONPATH=SITE python outsider.py PACK DEST.pack --seconds 900 --minted 1500

It is no dependency of imagemint; this script is all that knows of it. Its `Trainer.train` runs as published, with the
defaults of its command line. What is changed, and why:

- the assertion that CUDA is there is lifted, and `.cuda()` leaves tensors on the CPU;
- torchvision is replaced by an empty stub: it reads and resizes image files and saves grids, and here the images come
  from the pack, at the size that they have;
- no checkpoint and no grid is written while time is counted;
- `--bf16` puts its own autocast contexts (`amp`) to bfloat16 on the CPU, as imagemint's `precision: auto` does.

What is minted is drawn from its generator G: its average GE begins at step 20,000. It knows no labels.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import types
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import numpy as np
import torch

from imagemint import open_pack
from imagemint.data.pack import writing

DEFAULTS = {"batch_size": 10, "gradient_accumulate_every": 4, "attn_res_layers": [32], "disc_output_size": 1}
AUGMENTS = {"aug_prob": 0.29, "aug_types": ["cutout", "translation"]}  # min(0.5, (100,000 - 1,835) x 3e-6) = 0.29
CHANGES = (
    ("assert torch.cuda.is_available(), 'You need to have an Nvidia GPU with CUDA installed.'", ""),
    (".cuda(self.rank)", ""),
    ("self.cuda(rank)", ""),
    ("torch.device(f'cuda:{self.rank}')", "torch.device('cpu')"),
    ("partial(autocast, 'cuda')", "partial(autocast, 'cpu', dtype=torch.bfloat16)"),
    ("GradScaler(enabled = self.amp)", "GradScaler('cpu', enabled = False)"),
)


def lifted() -> types.ModuleType:
    """The module lightweight_gan.lightweight_gan with CHANGES made to its text."""
    stub, transforms = types.ModuleType("torchvision"), types.ModuleType("torchvision.transforms")
    stub.transforms = transforms  # type: ignore[attr-defined]
    sys.modules |= {"torchvision": stub, "torchvision.transforms": transforms}
    package = util.find_spec("lightweight_gan")
    assert package and package.submodule_search_locations, "no lightweight-gan on the PYTHONPATH"
    folder = Path(package.submodule_search_locations[0])
    text = (folder / "lightweight_gan.py").read_text()
    for old, new in CHANGES:
        assert old in text, old
        text = text.replace(old, new)
    module = types.ModuleType("lifted")
    sys.modules["lifted"] = module
    bare = types.ModuleType("lightweight_gan")
    bare.__path__ = [str(folder)]
    sys.modules["lightweight_gan"] = bare
    exec(compile(text, "lightweight_gan.py", "exec"), module.__dict__)
    return module


def batches(pixels: np.ndarray, size: int, seed: int) -> Iterator[torch.Tensor]:
    """Images float `[size, c, h, w]` in [0, 1], pass after pass, the last incomplete batch of a pass dropped."""
    order = np.random.default_rng(seed)
    while True:
        picks = order.permutation(len(pixels))
        for start in range(0, len(picks) - size + 1, size):
            yield torch.from_numpy(pixels[picks[start : start + size]]).float() / 255


def main() -> None:
    """Train, then mint a pack without labels, and print one JSON line of what it took."""
    asked = argparse.ArgumentParser()
    asked.add_argument("pack")
    asked.add_argument("dest", type=Path)
    asked.add_argument("--seconds", type=float, default=900)
    asked.add_argument("--minted", type=int, default=1500)
    asked.add_argument("--fmap-max", type=int, default=512)
    asked.add_argument("--bf16", action="store_true")
    asked.add_argument("--seed", type=int, default=0)
    args = asked.parse_args()
    pack, module = open_pack(args.pack), lifted()
    torch.manual_seed(args.seed)
    scratch = args.dest.parent / f"{args.dest.name}.scratch"
    trainer = module.Trainer(
        image_size=pack.size[0],
        fmap_max=args.fmap_max,
        amp=args.bf16,
        results_dir=scratch / "results",
        models_dir=scratch / "models",
        use_aim=False,
        save_every=10**9,
        evaluate_every=10**9,
        **DEFAULTS,
        **AUGMENTS,
    )
    trainer.loader = batches(pack.pixels[:], trainer.batch_size, args.seed)
    trainer.evaluate = trainer.save = lambda *ignored, **options: None
    trainer.init_GAN()
    began = time.process_time()
    while time.process_time() - began < args.seconds:
        trainer.train()
        if trainer.steps % 20 == 0:
            print(trainer.steps, f"{time.process_time() - began:.0f} s", trainer.d_loss, trainer.g_loss, flush=True)
    seconds, gan = time.process_time() - began, trainer.GAN
    gan.eval()
    made = []
    with torch.no_grad():
        for _ in range(0, args.minted, 50):
            drawn = gan.G(torch.randn(50, gan.latent_dim)).clamp(0, 1)
            made.append((drawn * 255).round().to(torch.uint8).numpy())
    pixels = np.concatenate(made)[: args.minted]
    with writing(args.dest, classes=pack.classes, origin="minted", history=[]) as dest:
        dest.add(pixels, np.full(len(pixels), -1, np.int64))
    facts = {
        "contender": "lightweight-gan 1.2.1",
        "fmap_max": args.fmap_max,
        "bf16": args.bf16,
        "processor_seconds": round(seconds),
        "steps": trainer.steps,
        "images_seen": trainer.steps * trainer.batch_size * trainer.gradient_accumulate_every,
        "parameters_g": sum(p.numel() for p in gan.G.parameters()),
        "parameters_d": sum(p.numel() for p in gan.D.parameters()),
    }
    args.dest.with_suffix(".json").write_text(json.dumps(facts) + "\n")
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
