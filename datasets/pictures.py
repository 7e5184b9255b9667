"""Draw the pictures of a data card: `python datasets/pictures.py airfoil FILE.h5`.

Writes `datasets/NAME/samples.png` and `datasets/NAME/histograms.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lrsa_geo import plot
from lrsa_geo.data import MeshStore


def main(name: str, file: str) -> None:
    """Draw the first target of six graphs, and the distribution of sizes and values."""
    folder, store = Path(__file__).parent / name, MeshStore(file)
    first = store.fields["y"][0].name
    plot.sample_sheet(store, [0, 1, 2, 3, 4, 5], first, folder / "samples.png")
    plot.histograms(store, folder / "histograms.png")


if __name__ == "__main__":
    main(*sys.argv[1:3])
