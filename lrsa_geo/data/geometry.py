"""Which graphs of a store are on the same mesh, however it was rounded."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Callable
from itertools import islice

import numpy as np
from scipy.spatial import cKDTree
from torch_geometric.data import Data

from lrsa_geo.data.store import MeshStore

_OF_SIZE = 1e-5  # six digits, as programs print them
_SORTED = -1  # place in a summary of a mean, in which unlike meshes differ sooner than in extent
_OF_FLOAT32 = 2 * float(np.finfo(np.float32).eps)  # far from the origin


def geometry_keys(store: MeshStore) -> list[int]:
    """For each graph the number of the first graph on the same mesh, whatever their fields.

    Meshes are the same if they have as many nodes and cells, and every node of one has a node of
    the other within a hundred-thousandth of the mesh's size, or within what float32 leaves of its
    coordinates. The order of nodes does not matter.
    """
    known = KnownMeshes(store.__getitem__)
    return [known.number(number, data) for number, data in enumerate(store)]


class KnownMeshes:
    """Meshes that were seen, to tell whether another one is among them, see :func:`geometry_keys`.

    It keeps some numbers of each mesh, and reads one again if these numbers fit.

    Args:
        load: number -> graph or mesh.
    """

    def __init__(self, load: Callable[[int], Data]) -> None:
        self._load = load
        # Those that have as many nodes and cells: one number of each, ascending, and which it is.
        self._alike: dict[tuple[int, int, int], list[tuple[float, int]]] = defaultdict(list)
        self._about: dict[int, np.ndarray] = {}

    def number(self, number: int, data: Data) -> int:
        """The number of the first one on the same mesh; ``number`` itself if there was none."""
        pos = data.pos.double().numpy()
        num_cells = len(data.cells) if data.get("cells") is not None else 0
        alike = self._alike[len(pos), pos.shape[1], num_cells]
        if not len(pos):
            alike.append((0.0, number))
            return alike[0][1]
        tolerance, summary = _tolerance(pos), _summary(pos)
        for other in self._near(summary, alike, 2 * tolerance):
            if _same(pos, self._load(other).pos.double().numpy(), tolerance):
                return other
        self._about[number] = summary
        insort(alike, (float(summary[_SORTED]), number))
        return number

    def _near(
        self, summary: np.ndarray, alike: list[tuple[float, int]], tolerance: float
    ) -> list[int]:
        """Numbers of those whose summary is this one, but for rounding, ascending."""
        first = bisect_left(alike, (float(summary[_SORTED]) - tolerance, -1))
        found = []
        for value, number in islice(alike, first, None):
            if value > summary[_SORTED] + tolerance:
                break
            if np.abs(self._about[number] - summary).max() <= tolerance:
                found.append(number)
        return sorted(found)


def _tolerance(pos: np.ndarray) -> float:
    size = float(np.ptp(pos, axis=0).max())
    return max(_OF_SIZE * size, min(_OF_FLOAT32 * float(np.abs(pos).max()), 1e-3 * size))


def _summary(pos: np.ndarray) -> np.ndarray:
    """Numbers that rounding changes no more than it changes the nodes."""
    return np.concatenate([pos.min(0), pos.max(0), pos.std(0), pos.mean(0)])


def _same(one: np.ndarray, other: np.ndarray, tolerance: float) -> bool:
    if np.abs(one - other).max() <= tolerance:
        return True
    _, partner = cKDTree(other).query(one, p=np.inf, distance_upper_bound=2 * tolerance)
    return bool((partner < len(other)).all() and len(np.unique(partner)) == len(other))
