"""Cells that repeat a node become what they are.

Kinds: quads as triangles; hexahedra as tetrahedra, pyramids and wedges in every position; wedges
and pyramids as lesser cells; all of it in order 2; a hexahedron with one edge gone stays.
"""

from itertools import product

import meshio
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesh_files import measure
from own_places import BOTTOM_TOP_UP, CUBE, PRISM, PYRAMID, RING4, TO_APEX, at_places

from lrsa_geo.mesh import BoundaryNodes, CellsToEdges, read_mesh
from lrsa_geo.mesh.cells import cell_measures
from lrsa_geo.mesh.collapsed import resolve_collapsed
from lrsa_geo.mesh.topology import boundary_facets

CORNERS = {9: np.array(CUBE[:4]), 12: np.array(CUBE), 13: np.array(PRISM), 14: np.array(PYRAMID)}


def merged(cell_type, *groups):
    """A cell whose corners of each group are one, with positions that fit."""
    pos, nodes = CORNERS[cell_type].astype(float), np.arange(len(CORNERS[cell_type]))
    for group in groups:
        pos[group[0]] = pos[list(group)].mean(0)
        nodes[list(group)] = group[0]
    return pos, nodes[None]


@pytest.mark.parametrize(
    ("cell_type", "groups", "wanted"),
    [
        *((9, [(i, (i + 1) % 4)], 5) for i in range(4)),
        *((12, [(0, 1), (4, 5)], 13) for _ in range(1)),
        *((12, [(i, (i + 1) % 4), (4 + i, 4 + (i + 1) % 4)], 13) for i in range(4)),
        *((12, [(i, i + 4), ((i + 1) % 4, (i + 1) % 4 + 4)], 13) for i in range(4)),
        (12, [(4, 5, 6, 7)], 14),
        (12, [(0, 1, 2, 3)], 14),
        (12, [(0, 3, 7, 4)], 14),
        (12, [(2, 3), (4, 5, 6, 7)], 10),
        (13, [(0, 3)], 14),
        (13, [(2, 5)], 14),
        (13, [(3, 4, 5)], 10),
        (14, [(0, 1)], 10),
        (14, [(2, 3)], 10),
    ],
)
def test_collapsed_cells(cell_type, groups, wanted):
    pos, nodes = merged(cell_type, *groups)
    cells, types, left = resolve_collapsed(nodes, np.array([cell_type]))
    assert types.tolist() == [wanted]
    assert left == 0
    kept = cells[0][cells[0] >= 0]
    assert set(kept) == set(nodes[0])
    assert len(kept) == len(set(nodes[0]))
    before, after = (
        cell_measures(pos, nodes, np.array([cell_type])),
        cell_measures(pos, cells, types),
    )
    np.testing.assert_allclose(after, before, rtol=1e-6)
    assert after[0] > 0.1


@given(st.permutations(range(8)), st.sampled_from([[(2, 3), (6, 7)], [(4, 5, 6, 7)]]))
def test_numbers_of_nodes_do_not_matter(order, groups):
    _, nodes = merged(12, *groups)
    renamed = np.array(order)[nodes]
    one, types, _ = resolve_collapsed(nodes, np.array([12]))
    other, same, _ = resolve_collapsed(renamed, np.array([12]))
    assert types.tolist() == same.tolist()
    assert other.tolist() == np.where(one >= 0, np.array(order)[one], -1).tolist()


def test_a_hexahedron_without_one_edge_stays_and_is_counted():
    _, nodes = merged(12, (0, 1))
    cells, types, left = resolve_collapsed(nodes, np.array([12]))
    assert (cells.tolist(), types.tolist(), left) == (nodes.tolist(), [12], 1)


@pytest.mark.parametrize(
    ("cell_type", "groups", "wanted"),
    [
        (23, [(2, 3)], 22),
        (25, [(2, 3), (6, 7)], 26),
        (25, [(4, 5, 6, 7)], 27),
        (25, [(2, 3), (4, 5, 6, 7)], 24),
        (26, [(3, 4, 5)], 24),
        (27, [(0, 1)], 24),
    ],
)
def test_collapsed_cells_of_order_2(tmp_path, cell_type, groups, wanted):
    """Nodes inside edges that coincide are one, as ANSYS writes them; the middles stay middles."""
    pv = pytest.importorskip("pyvista")
    corners, edges = {
        23: (CUBE[:4], [RING4]),
        25: (CUBE, BOTTOM_TOP_UP["cube"]),
        26: (PRISM, BOTTOM_TOP_UP["prism"]),
        27: (PYRAMID, [RING4, TO_APEX]),
    }[cell_type]
    corners = np.array(corners, float)
    for group in groups:
        corners[list(group)] = corners[group[0]]
    pos = at_places(corners, *edges)
    places, nodes = np.unique(pos.round(9), axis=0, return_inverse=True)
    grid = pv.UnstructuredGrid([len(nodes), *nodes.ravel()], [cell_type], places)
    grid.save(tmp_path / "a.vtu")
    data = read_mesh(tmp_path / "a.vtu")  # which looks where nodes inside edges lie
    assert data.cell_types.tolist() == [wanted]
    assert len(set(data.cells[data.cells >= 0].tolist())) == (data.cells >= 0).sum()


def test_boundary_of_a_plate_with_collapsed_quads(tmp_path):
    """Four triangles around an inner node, written as quads, in a ring of eight quads."""
    pos = np.array([*([x, y, 0] for y, x in product(range(4), repeat=2)), [1.5, 1.5, 0]], float)
    ring = [
        [i + 4 * j, i + 1 + 4 * j, i + 5 + 4 * j, i + 4 + 4 * j]
        for j, i in product(range(3), repeat=2)
        if (i, j) != (1, 1)
    ]
    fan = [[5, 6, 16, 16], [6, 10, 16, 16], [10, 9, 16, 16], [9, 5, 16, 16]]
    meshio.Mesh(pos, [("quad", [*ring, *fan])]).write(tmp_path / "a.vtu")
    data = read_mesh(tmp_path / "a.vtu")
    assert data.cell_types.tolist() == [9] * 8 + [5] * 4
    assert not BoundaryNodes()(data).boundary[[5, 6, 9, 10, 16]].any()
    assert measure(data, 2) == pytest.approx(9)
    source, target = CellsToEdges()(data).edge_index
    assert (source != target).all()


def test_a_pyramid_on_a_cube_shares_its_base(tmp_path):
    """The pyramid is written as a hexahedron; four corners of the base are inside no solid."""
    pos = np.array([*CUBE, [0.5, 0.5, 2]], float)
    cells = [[0, 1, 2, 3, 4, 5, 6, 7], [4, 5, 6, 7, 8, 8, 8, 8]]
    meshio.Mesh(pos, [("hexahedron", cells)]).write(tmp_path / "a.vtu")
    data = read_mesh(tmp_path / "a.vtu")
    assert measure(data, 3) == pytest.approx(4 / 3)
    facets = boundary_facets(data.cells.numpy(), data.cell_types.numpy(), 9)
    assert len(facets.cell) == 5 + 4
