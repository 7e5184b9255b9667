"""PyG transforms that need the boundary of a mesh: markers, normals, distance.

The boundary is made of the facets of exactly one cell, see :func:`boundary_facets`. N nodes, D
dimensions, F boundary facets.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from lrsa_geo.data.mesh_cells import cell_dimensions, corner_counts, table_of
from lrsa_geo.data.topology import boundary_facets

_CENTRES = 8  # of facets that are looked at


class BoundaryNodes(BaseTransform):
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


class SurfaceNormals(BaseTransform):
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
        pos = data.pos.detach().cpu().double().numpy()
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
        ValueError: the graph has no cells, no facet with the marker, or another number of nodes.
    """
    if pressure.shape != (len(data.pos),):
        raise ValueError(f"`pressure` has shape {list(pressure.shape)}, expected [{len(data.pos)}]")
    cells, cell_types = _cells(data)
    pos = data.pos.detach().cpu().double().numpy()
    corners, vectors = _outward_vectors(pos, cells, cell_types)
    marked = ((data.boundary.cpu().numpy()[corners] == marker) | (corners < 0)).all(1)
    if not marked.any():
        raise ValueError(f"no facet of the boundary has nodes that are all marked {marker}")
    values = pressure.detach().cpu().double().numpy()[:, None]
    force = (_means(values, corners[marked]) * vectors[marked]).sum(0)
    return torch.from_numpy(force).to(pressure)


class DistanceToBoundary(BaseTransform):
    r"""Distance to the boundary, and the way there.

    Sets ``boundary_distance [N]`` and ``boundary_offset [N, D]``:

    .. math:: d_i = \min_{q \in \partial \Omega} |q - p_i|, \qquad o_i = q_i - p_i

    with :math:`q_i` a nearest point of the boundary's facets (points, segments, or polygons cut
    into triangles), not only of its nodes. Of the facets of like size, those with the eight nearest
    centres are looked at, O(N log N): enough where the boundary is flat at the scale of a facet,
    and never too large by more than a facet's radius. ``exact`` looks at all that could be nearer.

    Args:
        marker: only the boundary whose nodes all have this value in ``boundary``; by default all.
        exact: take the time that it needs; far from a bent boundary, that is much.

    Raises:
        ValueError: the graph has no cells, or no such boundary.
    """

    def __init__(self, marker: int | None = None, exact: bool = False) -> None:
        self.marker = marker
        self.exact = exact

    def forward(self, data: Data) -> Data:
        """Set ``boundary_distance`` and ``boundary_offset``, of the type of ``pos``."""
        cells, cell_types = _cells(data)
        pos = data.pos.detach().cpu().double().numpy()
        facets = boundary_facets(cells, cell_types, len(pos)).corners
        if self.marker is not None:
            has_marker = data.boundary.cpu().numpy() == self.marker
            facets = facets[(has_marker[facets] | (facets < 0)).all(1)]
        if not len(facets):
            which = "" if self.marker is None else f" with the marker {self.marker}"
            raise ValueError(f"the mesh has no boundary{which}, so there is no distance to it")
        limit = None if self.exact else _CENTRES
        nearest = nearest_points(pos, pos[_simplices(facets)], limit)
        data.boundary_offset = torch.from_numpy(nearest - pos).to(data.pos)
        data.boundary_distance = data.boundary_offset.norm(dim=1)
        return data


def nearest_points(
    points: np.ndarray, simplices: np.ndarray, limit: int | None = None
) -> np.ndarray:
    """The nearest point of a set of points, segments or triangles to each of ``points``.

    A simplex of radius r around its centre c is nearer than distance d only if its centre is within
    d + r. The simplices are sorted into classes of like radius, so that a few long ones do not
    widen the search among the short ones.

    Args:
        points: ``[N, D]``.
        simplices: ``[F, S, D]`` corners, S = 1, 2 or 3.
        limit: look at no more simplices of a class; the answer may then be too far by their radius.

    Returns:
        ``[N, D]``.
    """
    # Where to start from: the nearest corner.
    corners = np.unique(simplices.reshape(-1, points.shape[1]), axis=0)
    best, number = cKDTree(corners).query(points)
    nearest = corners[number]
    if simplices.shape[1] == 1:
        return nearest
    centre = simplices.mean(1)
    radius = np.linalg.norm(simplices - centre[:, None], axis=2).max(1)
    size_class = np.floor(np.log2(np.maximum(radius, radius.max() * 2.0**-40))).astype(int)
    for size in np.unique(size_class):
        members = np.flatnonzero(size_class == size)
        reach = radius[members].max()
        tree = cKDTree(centre[members])
        most = min(len(members), limit or len(members))
        open_, first, k = np.arange(len(points)), 0, limit or 4
        while len(open_) and first < most:
            last = min(first + k, most)
            distance, number = tree.query(points[open_], range(first + 1, last + 1))
            candidates = members[number]
            for column in range(last - first):
                near = np.flatnonzero(distance[:, column] - reach < best[open_])
                rows = open_[near]
                found = _nearest_on_simplex(points[rows], simplices[candidates[near, column]])
                gap = np.linalg.norm(found - points[rows], axis=1)
                better = gap < best[rows]
                best[rows[better]], nearest[rows[better]] = gap[better], found[better]
            open_ = open_[distance[:, -1] - reach < best[open_]]
            first, k = last, 2 * k
    return nearest


def _nearest_on_simplex(p: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Nearest point of segment or triangle n, ``[n, S, D]``, to point n, ``[n, D]``."""
    if corner.shape[1] == 2:
        return _nearest_on_segment(p, corner[:, 0], corner[:, 1])
    a, b, c = corner[:, 0], corner[:, 1], corner[:, 2]
    sides = [_nearest_on_segment(p, *ends) for ends in ((a, b), (b, c), (c, a))]
    gaps = np.stack([np.linalg.norm(side - p, axis=1) for side in sides], axis=1)
    nearest = np.stack(sides, axis=1)[np.arange(len(p)), gaps.argmin(1)]
    # The foot of the perpendicular, where it lies inside.
    u, v, w = b - a, c - a, p - a
    uu, uv, vv = (u * u).sum(1), (u * v).sum(1), (v * v).sum(1)
    wu, wv = (w * u).sum(1), (w * v).sum(1)
    area = uu * vv - uv * uv
    safe = np.where(area > 0, area, 1.0)
    s, t = (vv * wu - uv * wv) / safe, (uu * wv - uv * wu) / safe
    inside = (area > 0) & (s >= 0) & (t >= 0) & (s + t <= 1)
    nearest[inside] = (a + s[:, None] * u + t[:, None] * v)[inside]
    return nearest


def _nearest_on_segment(p: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    along = b - a
    square = (along * along).sum(1)
    t = np.divide(((p - a) * along).sum(1), square, out=np.zeros(len(p)), where=square > 0)
    return a + np.clip(t, 0, 1)[:, None] * along


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


def _simplices(facets: np.ndarray) -> np.ndarray:
    """Points and segments as they are, polygons cut into triangles."""
    if facets.shape[1] < 3:
        return facets
    fans = [facets[:, [0, i, i + 1]] for i in range(1, facets.shape[1] - 1)]
    triangles = np.concatenate(fans)
    return triangles[(triangles >= 0).all(1)]
