"""Averages between cells and nodes."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.mesh import MeshError, cell_to_node, node_to_cell
from lrsa_geo.mesh.cells import cell_measures


def test_measures_are_those_of_vtk(vtk_grid):
    pv = pytest.importorskip("pyvista")
    rng = np.random.default_rng(1)
    shapes = [
        *(pv.examples.cells.Hexahedron(), pv.examples.cells.Wedge(), pv.examples.cells.Pyramid()),
        *(pv.examples.cells.Tetrahedron(), pv.examples.cells.HexagonalPrism()),
        *(pv.examples.cells.PentagonalPrism(), pv.examples.cells.Voxel()),
        *(
            pv.examples.cells.Pixel(),
            pv.examples.cells.Quadrilateral(),
            pv.examples.cells.Polygon(),
        ),
        *(
            pv.examples.cells.Triangle(),
            pv.examples.cells.TriangleStrip(),
            pv.examples.cells.Line(),
        ),
        *(pv.examples.cells.QuadraticHexahedron(), pv.examples.cells.QuadraticTetrahedron()),
        *(pv.examples.cells.QuadraticWedge(), pv.examples.cells.QuadraticTriangle()),
        pv.examples.cells.BiQuadraticQuadrilateral(),
    ]
    for grid in shapes:
        if grid.celltypes[0] not in (8, 11):  # which VTK takes to lie along the axes
            grid.points = grid.points @ np.linalg.qr(rng.normal(size=(3, 3)))[0] * 2
        sizes = grid.compute_cell_sizes()
        wanted = sum(np.abs(sizes[kind]) for kind in ("Length", "Area", "Volume"))
        found = cell_measures(grid.points, grid.cell_connectivity[None], grid.celltypes)
        np.testing.assert_allclose(found, wanted, rtol=1e-5, err_msg=str(grid.celltypes))


@given(st.floats(-1e3, 1e3), st.integers(0, 9))
@settings(deadline=None, max_examples=20)
def test_constants_pass_between_nodes_and_cells(value, seed):
    data = _triangulation(seed)
    nodes = cell_to_node(data, torch.full((len(data.cells), 2), value, dtype=torch.float64))
    torch.testing.assert_close(nodes, torch.full_like(nodes, value))
    cells = node_to_cell(data, nodes)
    torch.testing.assert_close(cells, torch.full_like(cells, value))


@given(st.integers(0, 9))
@settings(deadline=None, max_examples=10)
def test_weighted_mean_preserves_order_and_permutes_with_the_cells(seed):
    data = _triangulation(seed)
    values = torch.randn(len(data.cells), generator=torch.Generator().manual_seed(seed))
    nodes = cell_to_node(data, values)
    assert values.min() <= nodes.min() <= nodes.max() <= values.max()
    order = torch.randperm(len(data.cells))
    shuffled = Data(pos=data.pos, cells=data.cells[order], cell_types=data.cell_types[order])
    torch.testing.assert_close(cell_to_node(shuffled, values[order]), nodes)


def _triangulation(seed):
    from scipy.spatial import Delaunay

    pos = np.random.default_rng(seed).random((20, 2))
    cells = torch.from_numpy(Delaunay(pos).simplices)
    return Data(pos=torch.from_numpy(pos), cells=cells, cell_types=torch.full((len(cells),), 5))


def test_cell_to_node_weighs_by_measure_and_by_the_highest_dimension():
    # Two triangles of area 1/2 and 1 on the edge 1-2, a line on that edge, and a node of no cell.
    pos = torch.tensor([[0.0, 0], [1, 0], [0, 1], [2, 1], [9, 9]])
    cells = torch.tensor([[0, 1, 2], [1, 3, 2], [1, 2, -1]])
    data = Data(pos=pos, cells=cells, cell_types=torch.tensor([5, 5, 3]))
    nodes = cell_to_node(data, torch.tensor([3.0, 6.0, 100.0]))
    torch.testing.assert_close(nodes, torch.tensor([3.0, 5.0, 5.0, 6.0, torch.nan]), equal_nan=True)
    means = node_to_cell(data, torch.tensor([3.0, 0, 6, 9, 7]))
    torch.testing.assert_close(means, torch.tensor([3.0, 5.0, 3.0]))
    with pytest.raises(MeshError, match=r"values.*\[2\], expected 3 rows"):
        cell_to_node(data, torch.ones(2))
