"""Make `shapes.npz`: the airfoils of the UIUC database, checked, as normalised points.

    python datasets/airfoil/shapes.py FOLDER_OF_DAT_FILES

The folder is `aerosandbox/geometry/airfoil/airfoil_database` of the PyPI package `aerosandbox`
(4.2.10, MIT licence), or that of the UIUC Airfoil Coordinates Database itself.

A family is the letters that a file's name starts with, which stand for a designer or a series. An
outline within 0.05 % of the chord of an earlier one is left out as a duplicate, and families that
hold outlines within 0.1 % of each other become one, so that a split by family does not test on a
shape that was trained on under another name.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import cdist

from lrsa_geo.simulate.airfoil_shapes import (
    AirfoilError,
    ShapeLibrary,
    normalised,
    read_coordinates,
    smooth_outline,
)

DUPLICATE, ALIKE = 0.0005, 0.001  # largest distance of two outlines, in chords


def read_all(folder: Path) -> tuple[list[str], list[np.ndarray], Counter[str]]:
    """Names and points of the good files, and how often which fault was found."""
    names, points, faults = [], [], Counter[str]()
    for file in sorted(folder.glob("*.dat"), key=lambda path: path.name.lower()):
        try:
            outline = normalised(read_coordinates(file.read_text(encoding="latin-1")))
            smooth_outline(outline)
        except AirfoilError as error:
            print(f"{file.name} {error}")
            faults[re.sub(r"[\d.]+ ", "", str(error).split(":")[0].split(", expected")[0])] += 1
            continue
        names.append(file.stem)
        points.append(outline)
    return names, points, faults


def distances(points: list[np.ndarray]) -> np.ndarray:
    """Largest difference in height of each two outlines, in chords."""
    x = (1 - np.cos(np.linspace(0, np.pi, 41)[1:-1])) / 2
    heights = np.array([np.concatenate(smooth_outline(p).surfaces(x)) for p in points])
    return cdist(heights, heights, "chebyshev")


def families(names: list[str], distance: np.ndarray) -> np.ndarray:
    """Number of the family of each shape."""
    prefix = [(re.match(r"[a-z]*", name.lower()) or [""])[0] for name in names]
    _, family = np.unique(prefix, return_inverse=True)
    one, other = np.nonzero(distance < ALIKE)
    count = int(family.max()) + 1
    links = coo_matrix((np.ones(len(one)), (family[one], family[other])), (count, count))
    _, merged = connected_components(links, directed=False)
    return merged[family]


def main(folder: Path) -> None:
    """Read, check, write, and print what was left out."""
    names, points, faults = read_all(folder)
    distance = distances(points)
    earlier = np.tril(distance < DUPLICATE, -1).any(1)
    kept = np.flatnonzero(~earlier)
    groups = families([names[i] for i in kept], distance[np.ix_(kept, kept)])
    library = ShapeLibrary([names[i] for i in kept], groups, [points[i] for i in kept])
    path = Path(__file__).with_name("shapes.npz")
    library.save(path)
    sizes = np.sort(np.bincount(groups))[::-1]
    print(f"\n{len(kept)} airfoils in {len(sizes)} families, the largest {sizes[:5].tolist()}")
    print(f"left out: {dict(faults)}, {int(earlier.sum())} duplicates")
    print(f"{path.name}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
