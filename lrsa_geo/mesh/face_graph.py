"""The graph of a mesh with polyhedra: what their faces tell, in the place of cells."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lrsa_geo.mesh.cells import cell_dimensions
from lrsa_geo.mesh.checks import check_cells
from lrsa_geo.mesh.errors import MeshError
from lrsa_geo.mesh.formats.base import RawMesh
from lrsa_geo.mesh.mesh_data import MeshData
from lrsa_geo.mesh.polyhedra import POLYHEDRON, Faces, faces_of_blocks
from lrsa_geo.mesh.transforms import both_directions

_OF_ORDER_1 = (10, 11, 12, 13, 14, 15, 16)


def face_graph(
    path: Path, raw: RawMesh, pos: np.ndarray, fields: dict[str, dict[str, Tensor]]
) -> tuple[MeshData, str]:
    r"""A mesh without cells, with edges, measure and boundary from the faces of its solids.

    - ``edge_index [2, E]``: the edges of the faces, both directions, as :class:`CellsToEdges` gives
      them;
    - ``measure [N]``: each solid's volume, shared evenly among its nodes;
    - ``boundary [N]``: 1 at the nodes of faces that bound one solid alone;
    - ``point_data``: also the fields of cells, averaged as :func:`cell_to_node` does.

    Args:
        path: for messages.
        raw: what was read, with ``faces``.
        pos: its positions ``[N, 3]``.
        fields: ``point_data`` and ``cell_data``.

    Returns:
        The mesh, and a sentence about what of the file is left out.

    Raises:
        MeshError: a polyhedron has no faces or is not closed, or stands beside solids of order 2.
    """
    faces = _all_faces(path, raw, len(pos))
    num_cells = sum(len(nodes) for _, nodes in raw.blocks)
    volumes, is_open = faces.volumes(pos.astype(np.float64), num_cells)
    if is_open.any():
        raise MeshError(
            f"{path}: {is_open.sum():,} of {num_cells:,} cells are not closed by their faces, the"
            f" first is cell {is_open.argmax()}, so they have no volume; repair the mesh (OpenFOAM:"
            " checkMesh), or split it into tetrahedra (ParaView: Tetrahedralize) and save as VTU"
        )
    data = MeshData(pos=torch.from_numpy(pos))
    data.edge_index = both_directions(faces.edges(len(pos)), len(pos))
    cell, node = faces.members(len(pos))
    share = volumes / np.maximum(np.bincount(cell, minlength=num_cells), 1)
    data.measure = torch.from_numpy(np.bincount(node, share[cell], len(pos))).to(data.pos)
    boundary = np.zeros(len(pos), dtype=np.int8)
    boundary[faces.boundary_nodes()] = 1
    data.boundary = torch.from_numpy(boundary)
    data.point_data, data.cell_data = fields["point_data"], {}
    total = np.bincount(node, volumes[cell], len(pos))
    weight = np.where(total[node] > 0, volumes[cell], 1.0)
    weight /= np.bincount(node, weight, len(pos))[node]
    dropped = []
    for name, values in fields["cell_data"].items():
        if name in data.point_data or not values.is_floating_point():
            dropped.append(name)
        else:
            data.point_data[name] = _averaged(values, cell, node, weight, len(pos))
    return data, _note(raw, dropped)


def _all_faces(path: Path, raw: RawMesh, num_nodes: int) -> Faces:
    """The faces of polyhedra and of the other solids."""
    for number, nodes in raw.blocks:
        if number == POLYHEDRON:
            continue
        check_cells(path, number, nodes, num_nodes)
        if cell_dimensions(np.array([number]))[0] == 3 and number not in _OF_ORDER_1:
            raise MeshError(
                f"{path}: has polyhedra beside cells of order 2 (VTK type {number}), whose faces do"
                " not fit together; save with cells of order 1"
            )
    polyhedra, others = raw.faces, faces_of_blocks(raw.blocks)
    assert polyhedra is not None
    if len(polyhedra.nodes) and not 0 <= polyhedra.nodes.min() <= polyhedra.nodes.max() < num_nodes:
        raise MeshError(
            f"{path}: faces point at nodes {polyhedra.nodes.min()} to {polyhedra.nodes.max()},"
            f" expected 0 to {num_nodes - 1}; the file is damaged: export it again"
        )
    first = np.cumsum([0, *(len(nodes) for _, nodes in raw.blocks)])
    expected = np.concatenate(
        [
            np.arange(start, start + len(nodes))
            for start, (number, nodes) in zip(first, raw.blocks, strict=False)
            if number == POLYHEDRON
        ]
    )
    if not np.array_equal(np.unique(polyhedra.cell), expected):
        raise MeshError(
            f"{path}: has polyhedra without faces; the file is damaged or its writer wrong: export"
            " it again"
        )
    return Faces.joined([polyhedra] if others is None else [polyhedra, others])


def _note(raw: RawMesh, dropped: list[str]) -> str:
    counts = Counter[str]()
    for number, nodes in raw.blocks:
        counts["polyhedra" if number == POLYHEDRON else "other cells"] += len(nodes)
    listed = " and ".join(f"{count:,} {kind}" for kind, count in counts.most_common())
    return (
        f"{listed} are left out, but for the edges, volumes and boundary of the solids; fields of"
        " cells come as their means at the nodes"
        + (
            f", without {', '.join(map(repr, dropped))} (whole numbers, or nodes have that name)"
            if dropped
            else ""
        )
    )


def _averaged(
    values: Tensor, cell: np.ndarray, node: np.ndarray, weight: np.ndarray, num_nodes: int
) -> Tensor:
    """Means at the nodes; NaN at a node of no cell."""
    rows = values.double().numpy().reshape(len(values), -1)[cell] * weight[:, None]
    means = np.stack([np.bincount(node, column, num_nodes) for column in rows.T], axis=1)
    means[np.bincount(node, minlength=num_nodes) == 0] = np.nan
    return torch.from_numpy(means).reshape(num_nodes, *values.shape[1:]).to(values.dtype)
