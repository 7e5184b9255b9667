"""PyG transforms that need the boundary of a mesh: markers, normals, distance.

The boundary is made of the facets of exactly one cell, see :func:`boundary_facets`. N nodes, D
dimensions, F boundary facets.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.mesh.cells import cell_dimensions, corner_counts
from lrsa_geo.mesh.graph_by_graph import MeshTransform
from lrsa_geo.mesh.mesh_data import positions_of, table_of
from lrsa_geo.mesh.topology import boundary_facets

_BOXES = 64  # along each axis


class BoundaryNodes(MeshTransform):
    """``boundary [N] int8``: 1 on the boundary of the cells, 0 inside. O(K log K).

    A closed surface has no boundary: all zeros.

    Raises:
        ValueError: the graph has no cells.
    """

    def forward(self, data: Data) -> Data:
        """Set ``boundary``."""
        cells, cell_types = _cells(data)
        marker = np.zeros(len(data.pos), dtype=np.int8)
        marker[boundary_facets(cells, cell_types, len(data.pos)).nodes] = 1
        data.boundary = torch.from_numpy(marker)
        return data


class SurfaceNormals(MeshTransform):
    r"""Unit normals at the nodes of a surface or of a boundary, ``normal [N, D]``. O(K log K).

    .. math:: n_i = \sum_{f \ni i} |f| \, n_f \,\Big/\, \Big| \sum_{f \ni i} |f| \, n_f \Big|

    over the facets f at node i. Of solids in space and of plane meshes these are the boundary's,
    and :math:`n_f` points out of the cell. Of a surface in space they are its cells, and
    :math:`n_f` follows their orientation. Nodes without such a facet, and those where the sum
    vanishes, get 0.

    Raises:
        ValueError: the graph has no cells that could have a normal.
    """

    def forward(self, data: Data) -> Data:
        """Set ``normal``, of the type of ``pos``."""
        cells, cell_types = _cells(data)
        pos = positions_of(data)
        dimensions = cell_dimensions(cell_types)
        dim = int(dimensions.max())
        if dim == pos.shape[1]:
            corners, vectors = _outward_vectors(pos, cells, cell_types)
        elif dim == 2 and pos.shape[1] == 3:
            corners = _outlines(cells, cell_types)[dimensions == dim]
            vectors = _facet_vectors(pos, corners)
        else:
            raise ValueError(
                f"cells of dimension {dim} among positions [N, {pos.shape[1]}] have no normal;"
                " expected plane cells, solids in space, or a surface in space"
            )
        there = corners >= 0
        facet = np.nonzero(there)[0]
        total = np.stack(
            [np.bincount(corners[there], vectors[facet, d], len(pos)) for d in range(pos.shape[1])],
            axis=1,
        )
        length = np.linalg.norm(total, axis=1, keepdims=True)
        # What cancels leaves rounding behind, which is no direction.
        area = np.bincount(corners[there], np.linalg.norm(vectors, axis=1)[facet], len(pos))
        sure = length > 1e-9 * area[:, None]
        normal = np.divide(total, length, out=np.zeros_like(total), where=sure)
        data.normal = torch.from_numpy(normal).to(data.pos)
        return data


def surface_polygons(data: Data) -> np.ndarray:
    """Polygons of the surface of a mesh: the boundary of solids, or the cells of a surface.

    Returns:
        ``[F, W]`` corners in order around each polygon, -1 where it has fewer than W; cells of
        lower dimension, such as lines beside a surface, are left out.

    Raises:
        ValueError: the graph has no cells, or only lines and points.
    """
    cells, cell_types = _cells(data)
    dimensions = cell_dimensions(cell_types)
    dim = int(dimensions.max())
    if dim < 2:
        raise ValueError(f"cells of dimension {dim} have no surface; expected surfaces or solids")
    if dim == 3:
        return boundary_facets(cells, cell_types, len(data.pos)).corners
    return _outlines(cells, cell_types)[dimensions == dim]


def pressure_force(data: Data, pressure: Tensor, marker: int) -> Tensor:
    r"""Force of a pressure on a part of the boundary, ``[D]``.

    .. math:: F = \int_{\Gamma} p \, n \, dA

    over the facets whose nodes all have the marker, :math:`n` pointing out of the mesh: of a mesh
    of fluid, it is the force on the body inside. Exact for a pressure that is linear on each
    (simplex) facet. In units of the pressure times length (D = 2) or area (D = 3).

    Args:
        data: mesh of plane cells or of solids, with ``boundary``.
        pressure: ``[N]`` at the nodes.
        marker: value of ``boundary``.

    Raises:
        ValueError: the graph has no cells, no facet with the marker, or another number of nodes; or
            it is a batch, whose graphs have a force each.
    """
    if isinstance(data, Batch):
        raise ValueError("a batch has no one force; call it for each of `batch.to_data_list()`")
    if pressure.shape != (len(data.pos),):
        raise ValueError(f"`pressure` has shape {list(pressure.shape)}, expected [{len(data.pos)}]")
    cells, cell_types = _cells(data)
    pos = positions_of(data)
    corners, vectors = _outward_vectors(pos, cells, cell_types)
    marked = ((data.boundary.cpu().numpy()[corners] == marker) | (corners < 0)).all(1)
    if not marked.any():
        raise ValueError(f"no facet of the boundary has nodes that are all marked {marker}")
    values = pressure.detach().cpu().double().numpy()[:, None]
    force = (_means(values, corners[marked]) * vectors[marked]).sum(0)
    return torch.from_numpy(force).to(pressure)


class DistanceToBoundary(MeshTransform):
    r"""Distance and offset vector to the nearest boundary point.

    Sets ``boundary_distance [N]`` and ``boundary_offset [N, D]``:

    .. math:: d_i = \min_{q \in \partial \Omega} |q - p_i|, \qquad o_i = q_i - p_i

    with :math:`q_i` a nearest point of the boundary's facets (points, segments, or polygons cut
    into triangles), not only of its nodes; exact up to rounding. libigl searches a tree of boxes
    around the facets, about O(N log F); nodes as far from a large part of the boundary as from its
    nearest point, such as those around the centre of a ball, take longer.

    Args:
        marker: only the boundary whose nodes all have this value in ``boundary``; by default all.

    Raises:
        ValueError: the graph has no cells, or no such boundary.
        ImportError: libigl is not installed.
    """

    def __init__(self, marker: int | None = None) -> None:
        self.marker = marker

    def forward(self, data: Data) -> Data:
        """Set ``boundary_distance`` and ``boundary_offset``, of the type of ``pos``."""
        cells, cell_types = _cells(data)
        pos = positions_of(data)
        facets = boundary_facets(cells, cell_types, len(pos)).corners
        if self.marker is not None:
            has_marker = data.boundary.cpu().numpy() == self.marker
            facets = facets[(has_marker[facets] | (facets < 0)).all(1)]
        if not len(facets):
            which = "" if self.marker is None else f" with the marker {self.marker}"
            raise ValueError(f"the mesh has no boundary{which}, so there is no distance to it")
        nearest = nearest_points(pos, pos, simplices_of(facets))
        data.boundary_offset = torch.from_numpy(nearest - pos).to(data.pos)
        data.boundary_distance = data.boundary_offset.norm(dim=1)
        return data


def nearest_points(points: np.ndarray, corners: np.ndarray, simplices: np.ndarray) -> np.ndarray:
    """The nearest point of a set of points, segments or triangles to each of ``points``.

    Args:
        points: ``[N, D]``.
        corners: ``[n, D]``.
        simplices: ``[F, S]`` numbers of the corners of each, S = 1, 2 or 3.

    Returns:
        ``[N, D]``.
    """
    if simplices.shape[1] == 1:  # libigl 2.6.3 crashes here
        places = corners[simplices[:, 0]]
        return places[cKDTree(places).query(points)[1]]
    try:
        import igl
    except ImportError as error:
        raise ImportError(
            "distances to a boundary take libigl, which is not installed; install it with"
            f" `pip install 'lrsa_geo[train]'` ({error})"
        ) from error
    order = _box_by_box(points)
    nearest = np.empty_like(points)
    nearest[order] = igl.point_mesh_squared_distance(points[order], corners, simplices)[2]
    return nearest


def _box_by_box(points: np.ndarray) -> np.ndarray:
    """An order in which neighbours are near each other: the search finds its data in the cache."""
    low, size = points.min(0), np.ptp(points, axis=0).max()
    box = ((points - low) / (size or 1) * (_BOXES - 1)).astype(np.int64)
    return np.argsort(np.ravel_multi_index(tuple(box.T), (_BOXES,) * points.shape[1]))


def _cells(data: Data) -> tuple[np.ndarray, np.ndarray]:
    cells, cell_types = table_of(data)
    if not len(cells):
        raise ValueError("the graph has no `cells`, so it has no boundary and no normals")
    return cells, cell_types


def _outward_vectors(
    pos: np.ndarray, cells: np.ndarray, cell_types: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Corners of the boundary's facets, and their areas times normals that point out."""
    facets = boundary_facets(cells, cell_types, len(pos))
    vectors = _facet_vectors(pos, facets.corners)
    outward = _means(pos, facets.corners) - _means(pos, cells[facets.cell])
    vectors *= np.where((vectors * outward).sum(1, keepdims=True) < 0, -1.0, 1.0)
    return facets.corners, vectors


def _means(pos: np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """Mean position of the nodes in each row of a table padded with -1."""
    there = (nodes >= 0)[..., None]
    return np.where(there, pos[nodes], 0.0).sum(1) / there.sum(1)


def _facet_vectors(pos: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Normals times length or area, ``[F, D]``, of segments in the plane or polygons in space."""
    if pos.shape[1] == 2:
        along = pos[corners[:, 1]] - pos[corners[:, 0]]
        return np.stack([along[:, 1], -along[:, 0]], axis=1)
    filled = np.where(corners >= 0, corners, corners[:, :1])  # adds triangles of no area
    spokes = pos[filled[:, 1:]] - pos[filled[:, :1]]
    return np.cross(spokes[:, :-1], spokes[:, 1:]).sum(1) / 2


def _outlines(cells: np.ndarray, cell_types: np.ndarray) -> np.ndarray:
    """Corners in order around each cell of a surface, padded with -1."""
    outlines = np.where(
        np.arange(cells.shape[1]) < corner_counts(cells, cell_types)[:, None], cells, -1
    )
    pixels = cell_types == 8
    outlines[pixels, 2:4] = cells[pixels, 3:1:-1]
    return outlines


def simplices_of(facets: np.ndarray) -> np.ndarray:
    """Points and segments as they are, polygons (padded with -1) cut into triangles."""
    if facets.shape[1] < 3:
        return facets
    fans = [facets[:, [0, i, i + 1]] for i in range(1, facets.shape[1] - 1)]
    triangles = np.concatenate(fans)
    return triangles[(triangles >= 0).all(1)]
