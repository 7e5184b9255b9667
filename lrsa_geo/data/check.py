"""Check a MeshStore for what spoils training: NaN, broken cells, outliers, leakage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from torch_geometric.data import Data

from lrsa_geo.data.geometry import geometry_keys
from lrsa_geo.data.split import Split
from lrsa_geo.data.store import NAMED_ARRAYS, MeshStore
from lrsa_geo.mesh.cells import cell_dimensions, cell_measures, signed_measures
from lrsa_geo.mesh.collapsed import resolve_collapsed
from lrsa_geo.mesh.fields import column_slices
from lrsa_geo.mesh.merge import groups_of_nodes, hanging_nodes, repeated_cells
from lrsa_geo.mesh.mesh_data import table_of

_OUTLIER = 12.0  # robust standard deviations; a normal distribution has none in 10^30


@dataclass(frozen=True)
class Finding:
    """Something that is wrong, or looks wrong.

    Attributes:
        graph: its number, None if it concerns the store.
        what: a sentence.
        serious: training on it gives nonsense or a wrong figure; otherwise it is worth a look.
    """

    graph: int | None
    what: str
    serious: bool = True

    def __str__(self) -> str:
        place = "store" if self.graph is None else f"graph {self.graph}"
        return f"{'error  ' if self.serious else 'warning'} {place}: {self.what}"


def check_store(store: MeshStore, split: Split | None = None) -> list[Finding]:
    """Check all graphs of a MeshStore, and its split, for what spoils training.

    Errors: values that are NaN or infinite, cells without area or volume, a graph without nodes,
    cells that are there twice, the same mesh in two parts of the split. Warnings: nodes without a
    target (NaN in ``y``), nodes of no cell, several nodes at one place, nodes that hang on an edge
    of a neighbour, cells that repeat a node, cells turned the other way than most, values of a
    field far beyond those of the other graphs.

    Args:
        store: what to check; its digest is checked too.
        split: for leakage between training, validation and test.

    Raises:
        StoreError: the contents are not those that were written.
    """
    store.verify()
    findings: list[Finding] = []
    largest: dict[str, list[float]] = {}
    for number, data in enumerate(store):
        findings += [Finding(number, what, serious) for what, serious in _of_graph(data)]
        for name, values in _fields(store, data):
            size = np.abs(values[np.isfinite(values)])
            largest.setdefault(name, []).append(float(size.max(initial=0)))
    for name, sizes in largest.items():
        findings += _outliers(name, np.array(sizes))
    if split is not None:
        findings += _leaks(store, split)
    return findings


def _fields(store: MeshStore, data: Data) -> Iterator[tuple[str, np.ndarray]]:
    for array in NAMED_ARRAYS:
        if array in store.arrays:
            values = data[array].numpy()
            for name, columns in column_slices(store.fields[array]).items():
                yield name, values[:, columns]


def _of_graph(data: Data) -> Iterator[tuple[str, bool]]:
    """Sentences about one graph, and whether they are serious."""
    for array in ("pos", "x", "y", "cond", "measure", "edge_attr"):
        if data.get(array) is not None:
            values = data[array].numpy()
            bad = ~np.isfinite(values)
            if array == "y" and np.isnan(values).any():
                bad &= ~np.isnan(values)
                nodes = np.isnan(values).any(1)
                yield (
                    f"{nodes.sum():,} nodes lack a target (NaN), first node {nodes.argmax()}",
                    False,
                )
            if bad.any():
                row = int(np.nonzero(bad)[0][0])
                yield (
                    f"'{array}' is NaN or infinite at {bad.sum():,} places, first in row {row}",
                    True,
                )
    pos = data.pos.double().numpy()
    if not len(pos):
        yield "has no nodes", True
        return
    if np.isfinite(pos).all():
        yield from _of_places(data, pos)
    cells, cell_types = table_of(data)
    if len(cells):
        yield from _of_cells(pos, cells, cell_types)


def _of_places(data: Data, pos: np.ndarray) -> Iterator[tuple[str, bool]]:
    """Nodes at one place, which part the mesh where they are."""
    tolerance = 1e-8 * float(np.ptp(pos, axis=0).max())
    groups = groups_of_nodes(pos, tolerance)
    several = len(pos) - int(groups.max()) - 1
    if not several:
        return
    counts = np.bincount(groups)
    first, second = np.flatnonzero(groups == np.argmax(counts > 1))[:2]
    exact = len(pos) - len(np.unique(pos, axis=0)) == several
    where = "exactly where" if exact else "nearly where"
    cells, _ = table_of(data)
    held = np.bincount(cells[cells >= 0], minlength=len(pos))
    advice = (
        "; no edge joins the cells on both sides and both count as boundary: make the store with"
        f" --merge-nodes {0 if exact else tolerance:.1g}, unless it is a crack or a contact"
    )
    owned = "; every cell has nodes of its own" if len(cells) > 1 and (held == 1).all() else ""
    yield (
        f"{several:,} nodes lie {where} another one does, such as nodes {first} and {second}"
        + owned
        + (advice if len(cells) else ""),
        False,
    )


def _of_cells(
    pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray
) -> Iterator[tuple[str, bool]]:
    used = np.zeros(len(pos), dtype=bool)
    used[cells[cells >= 0]] = True
    if not used.all():
        yield f"{(~used).sum():,} nodes belong to no cell, the first is node {used.argmin()}", False
    if not np.isfinite(pos).all():
        return
    measures = cell_measures(pos, cells, cell_types)
    dimensions = cell_dimensions(cell_types)
    yield from _of_topology(pos, cells, cell_types)
    size = float(np.ptp(pos, axis=0).max())
    flat = (measures <= 1e-12 * size**dimensions) & (dimensions > 0)
    if flat.any():
        yield (
            f"{flat.sum():,} cells have no area or volume, the first is cell {flat.argmax()}",
            True,
        )
    if pos.shape[1] == 3:
        flat |= dimensions < 3  # a surface in space may be turned either way
    signed = np.where(flat, 0, signed_measures(pos, cells, cell_types))
    for cell_type in np.unique(cell_types):  # of some types, conventions differ
        sign = np.sign(signed) * (cell_types == cell_type)
        ahead, behind = int((sign > 0).sum()), int((sign < 0).sum())
        if ahead and behind:
            first = int(np.argmax(sign == (1 if ahead < behind else -1)))
            yield (
                f"{min(ahead, behind):,} of {ahead + behind:,} cells of VTK type {cell_type} are"
                " inverted, or numbered the other way round, the first is cell"
                f" {first}",
                False,
            )


def _of_topology(
    pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray
) -> Iterator[tuple[str, bool]]:
    """Cells that are there twice or repeat a node, and nodes that hang."""
    twice = repeated_cells(pos, cells, cell_types)
    if len(twice):
        yield (
            f"{len(twice):,} cells have the nodes of another cell, the first is cell {twice[0]}:"
            " they count twice in the measure, and inner facets as boundary; export each cell once",
            True,
        )
    _, _, collapsed = resolve_collapsed(cells, cell_types)
    if collapsed:
        yield (
            f"{collapsed:,} cells have a node at two of their corners and no lesser type: facets"
            " beside them count as boundary; split them into tetrahedra (ParaView: Tetrahedralize)",
            False,
        )
    hanging = hanging_nodes(pos, cells, cell_types)
    if len(hanging):
        yield (
            f"{len(hanging):,} nodes hang on an edge of a neighbouring cell, the first is node"
            f" {hanging[0]}: no edge joins both sides and both count as boundary; export a mesh"
            " whose cells meet at whole edges, or triangulate it",
            False,
        )


def _outliers(name: str, sizes: np.ndarray) -> Iterator[Finding]:
    """Graphs whose largest value is far from those of the others, on a logarithmic scale."""
    logs = np.log(np.maximum(sizes, np.finfo(float).tiny))
    middle = np.median(logs)
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), 0.05)
    for graph in np.flatnonzero(np.abs(logs - middle) > _OUTLIER * spread):
        yield Finding(
            int(graph),
            f"the largest |{name}| is {sizes[graph]:.4g}, in the median graph {np.exp(middle):.4g}",
            False,
        )


def _leaks(store: MeshStore, split: Split) -> Iterator[Finding]:
    keys = geometry_keys(store)
    parts = {"train": split.train, "val": split.val, "test": split.test}
    for (one, first), (other, second) in combinations(parts.items(), 2):
        seen = {keys[i]: i for i in first}
        shared = [i for i in second if keys[i] in seen]
        if shared:
            pair = f"graph {shared[0]} is on the mesh of graph {seen[keys[shared[0]]]}"
            yield Finding(
                None,
                f"{len(shared)} graphs of '{other}' are on meshes of '{one}' (such as {pair}); if"
                " the model should work on new meshes, split by geometry",
            )
