"""Times of the series of an XDMF file."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np

from lrsa_geo.mesh.errors import MeshError


def times_of(path: Path, root: Element) -> np.ndarray | None:
    """Times ``[T]`` of the steps; their numbers if the file has none.

    Returns:
        None if its series disagree, which reading a step says by name.

    Raises:
        MeshError: some steps have a time and others have none.
    """
    found = []
    for series in root.iter("Grid"):
        if series.get("CollectionType") == "Temporal":
            found.append(_times_of_series(path, series))
    named = [times for times in found if times is not None]
    counts = {len(s.findall("Grid")) for s in root.iter("Grid") if _is_series(s)}
    if len(counts) > 1 or any(not np.array_equal(times, named[0]) for times in named):
        return None
    return named[0] if named else np.arange(float(counts.pop()))


def _is_series(grid: Element) -> bool:
    return grid.get("CollectionType") == "Temporal"


def _times_of_series(path: Path, series: Element) -> np.ndarray | None:
    """Times of its grids, or those of the collection: a list, or first, distance and count."""
    grids = series.findall("Grid")
    values = [time.get("Value") for grid in grids for time in grid.findall("Time")[:1]]
    if any(values):
        if len(values) != len(grids) or not all(values):
            raise MeshError(
                f"{path}: {len(grids) - sum(map(bool, values))} of {len(grids)} steps have no time,"
                " the others have one; write all of them with their times"
            )
        return np.array([float(value or "nan") for value in values])
    for time in series.findall("Time"):
        kind, item = time.get("TimeType", "Single"), time.find("DataItem")
        if item is None or item.get("Format", "XML") != "XML":
            continue
        numbers = np.array((item.text or "").split(), dtype=np.float64)
        if kind == "List" and len(numbers) == len(grids):
            return numbers
        if kind == "HyperSlab" and len(numbers) == 3 and int(numbers[2]) == len(grids):
            return numbers[0] + numbers[1] * np.arange(len(grids))
        raise MeshError(
            f"{path}: gives times as {kind} of {len(numbers)} numbers for {len(grids)} steps, which"
            " is not understood; write a Time with its Value into each step"
        )
    return None
