"""Some classes of a pack cut to a share of their images; the others stay whole.

python experiments/unequal-classes/cut.py PACK DEST --share 0.15 --classes 3 8
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from imagemint import open_pack, seeds
from imagemint.data.rewriting import rewrite


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", type=Path)
    parser.add_argument("dest", type=Path)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--classes", nargs="+", required=True)
    options = parser.parse_args()
    pack = open_pack(options.pack)
    labels, kept = np.asarray(pack.labels), []
    for label, name in enumerate(pack.classes):
        members = seeds.rng(0, "unequal classes", label).permutation(np.flatnonzero(labels == label))
        share = options.share if name in options.classes else 1.0
        kept.append(members[: round(share * len(members))])
    parameters = {"classes": options.classes, "share": options.share}
    rewrite(pack, options.dest, "unequal classes", parameters, order=np.sort(np.concatenate(kept)))


if __name__ == "__main__":
    main()
