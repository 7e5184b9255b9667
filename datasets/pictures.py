"""Draw the pictures of a data card: `python datasets/pictures.py airfoil FILE.h5 [GRAPH ...]`.

Writes `datasets/NAME/samples.png`, of the graphs of those numbers or else the first six, and
`datasets/NAME/histograms.png`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from lrsa_geo import plot
from lrsa_geo.data import open_store


def main(name: str, file: str, *graphs: str) -> None:
    """Draw the first target of some graphs (of series the last state), and the distributions."""
    folder, store = Path(__file__).parent / name, open_store(file)
    first = store.fields["states" if store.is_series else "y"][0].name
    shown = [int(graph) for graph in graphs] or list(range(6))
    plot.sample_sheet(store, shown, first, folder / "samples.png")
    plot.histograms(store, folder / "histograms.png")


if __name__ == "__main__":
    main(*sys.argv[1:])
