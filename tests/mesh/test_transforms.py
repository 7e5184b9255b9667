"""Transforms against VTK, against formulas, and against gmsh's meshes of known bodies."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data
from torch_geometric.transforms import Compose

from lrsa_geo.mesh import (
    BoundaryNodes,
    CellsToEdges,
    DistanceToBoundary,
    EdgeGeometry,
    KNNEdges,
    NodeMeasure,
    RadiusEdges,
    SurfaceNormals,
    read_mesh,
    surface_polygons,
)
from lrsa_geo.mesh.surfaces import nearest_points

pyvista = pytest.importorskip("pyvista")
gmsh = pytest.importorskip("gmsh")

# VTK's names in pyvista -> (nodes inside edges, inside facets, inside the cell)
LINEAR = ("Triangle", "Quadrilateral", "Pixel", "Polygon", "TriangleStrip", "Tetrahedron")
LINEAR += ("Hexahedron", "Voxel", "Wedge", "Pyramid", "PentagonalPrism", "HexagonalPrism")
LINEAR += ("Line", "PolyLine")
SECOND_ORDER = (
    "QuadraticEdge",
    "QuadraticTriangle",
    "QuadraticQuadrilateral",
    "BiQuadraticQuadrilateral",
)
SECOND_ORDER += ("QuadraticTetrahedron", "QuadraticHexahedron", "TriQuadraticHexahedron")
SECOND_ORDER += ("QuadraticWedge", "QuadraticPyramid", "BiQuadraticTriangle")
SECOND_ORDER += (
    "QuadraticLinearQuadrilateral",
    "QuadraticLinearWedge",
    "BiQuadraticQuadraticWedge",
)
SECOND_ORDER += ("BiQuadraticQuadraticHexahedron",)


def one_cell(name: str) -> tuple[object, Data]:
    """A single cell as VTK has it, and as `Data`."""
    grid = pyvista.examples.cells.__dict__[name]()
    data = Data(pos=torch.tensor(np.asarray(grid.points, dtype=np.float64)))
    data.cells = torch.arange(grid.n_points)[None].int()
    data.cells[0] = torch.from_numpy(grid.cells[1:].copy())
    data.cell_types = torch.tensor(grid.celltypes.copy()).to(torch.int8)
    return grid, data


def edge_set(data: Data) -> set[tuple[int, int]]:
    return {tuple(pair) for pair in data.edge_index.T.tolist()}


@pytest.fixture(scope="module", params=["square", "ball", "sphere", "quads", "curved", "mixed"])
def body(request, tmp_path_factory):
    """Meshes by gmsh: name, data, and the area or volume."""
    path = tmp_path_factory.mktemp("gmsh") / f"{request.param}.msh"
    gmsh.initialize()
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.25)
    occ, mesh = gmsh.model.occ, gmsh.model.mesh
    try:
        if request.param in ("ball", "sphere", "curved"):
            occ.addSphere(0, 0, 0, 1)
        elif request.param == "mixed":
            occ.addRectangle(0, 0, 0, 1, 1)
            occ.extrude([(2, 1)], 0, 0, 1, numElements=[3], recombine=True)
        else:
            occ.addRectangle(0, 0, 0, 2, 1)
        occ.synchronize()
        if request.param == "quads":
            gmsh.option.setNumber("Mesh.RecombineAll", 1)
        mesh.generate(2 if request.param in ("square", "quads", "sphere") else 3)
        if request.param == "curved":
            mesh.setOrder(2)
        gmsh.write(str(path))
    finally:
        gmsh.finalize()
    return request.param, read_mesh(path)


# --- edges ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LINEAR)
def test_edges_of_a_linear_cell_are_those_of_vtk(name):
    grid, data = one_cell(name)
    lines = grid.extract_all_edges().lines.reshape(-1, 3)[:, 1:]
    if name in ("Line", "PolyLine"):
        lines = np.column_stack([np.arange(grid.n_points - 1), np.arange(1, grid.n_points)])
    if name == "TriangleStrip":  # VTK draws the strip's edges, the diagonals are edges too
        strip = grid.cells[1:]
        lines = np.array(
            [
                (strip[i], strip[j])
                for i in range(len(strip))
                for j in (i + 1, i + 2)
                if j < len(strip)
            ]
        )
    expected = {tuple(sorted(pair)) for pair in lines.tolist()}
    found = edge_set(CellsToEdges()(data))
    assert found == expected | {(b, a) for a, b in expected}


@pytest.mark.parametrize("name", SECOND_ORDER)
def test_a_node_inside_an_edge_splits_it_in_half(name):
    """Every node inside an edge lies half-way between its two neighbours along that edge."""
    grid, data = one_cell(name)
    data = CellsToEdges()(data)
    edges = edge_set(data)
    degree = torch.bincount(data.edge_index[1], minlength=grid.n_points)
    assert (degree > 0).all()
    corners = grid.linear_copy().cells[1:]
    pos = data.pos.numpy()
    for node in set(range(grid.n_points)) - set(corners.tolist()):
        neighbours = [a for a, b in edges if b == node]
        middle = pos[neighbours].mean(0)
        size = np.ptp(pos, axis=0).max()
        # Inside an edge, a facet or the cell: the middle of what it is joined to (VTK's example
        # cells are straight, some of them up to a bulge).
        assert np.linalg.norm(pos[node] - middle) < 0.2 * size, (node, neighbours)


def test_every_edge_of_a_mesh_is_one_of_vtk(body):
    data = CellsToEdges()(body[1])
    found = data.edge_index
    assert torch.equal(found, found[:, np.lexsort(found.numpy())])  # by target, then by source
    pairs = edge_set(data)
    assert pairs == {(b, a) for a, b in pairs}
    cells = data.cells.numpy()
    # What two joined nodes have in common is a cell.
    of_node = [set() for _ in range(len(data.pos))]
    for number, nodes in enumerate(cells):
        for node in nodes[nodes >= 0]:
            of_node[node].add(number)
    assert all(of_node[a] & of_node[b] for a, b in pairs)


def test_euler_characteristic(body):
    """V - E + F = 1 of a disc, 2 of a sphere: no edge is missing, none is twice."""
    name, data = body
    if name not in ("square", "sphere", "quads"):
        pytest.skip("surfaces only")
    faces = data.cells[(data.cell_types == 5) | (data.cell_types == 9)]
    edges = CellsToEdges()(data).edge_index.shape[1] // 2
    nodes = len(torch.unique(faces[faces >= 0]))
    assert nodes - edges + len(faces) == (2 if name == "sphere" else 1)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 60), k=st.integers(1, 8), dim=st.integers(2, 3), seed=st.integers(0, 99))
def test_nearest_neighbours_are_the_nearest(n, k, dim, seed):
    pos = torch.rand(n, dim, generator=torch.Generator().manual_seed(seed))
    pos[: n // 4] = pos[0].clone()  # several nodes at one place
    edge_index = KNNEdges(k)(Data(pos=pos)).edge_index
    k = min(k, n - 1)
    assert edge_index.shape == (2, n * k)
    assert torch.equal(edge_index[1], torch.arange(n).repeat_interleave(k))
    assert (edge_index[0] != edge_index[1]).all()
    gaps = torch.cdist(pos.double(), pos.double(), compute_mode="donot_use_mm_for_euclid_dist")
    gaps.fill_diagonal_(math.inf)
    nearest = gaps.sort(1)[0][:, :k]
    found = gaps[edge_index[1], edge_index[0]].view(n, k).sort(1)[0]
    torch.testing.assert_close(found, nearest)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(1, 60), radius=st.floats(0.05, 2), seed=st.integers(0, 99))
def test_radius_edges_are_all_pairs_within(n, radius, seed):
    pos = torch.rand(n, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    data = RadiusEdges(radius)(Data(pos=pos))
    gaps = torch.cdist(pos, pos, compute_mode="donot_use_mm_for_euclid_dist")
    near = (gaps <= radius).fill_diagonal_(False)
    assert edge_set(data) == {tuple(pair) for pair in near.nonzero().tolist()}


def test_a_radius_in_the_wrong_unit_is_refused():
    with pytest.raises(
        ValueError, match=r"makes about 9,900 edges between 100 nodes.*lower `radius`"
    ):
        RadiusEdges(1e3, max_edges=5000)(Data(pos=torch.rand(100, 2)))


def test_edge_geometry_points_from_target_to_source_and_ignores_shifts():
    pos = torch.tensor([[0.0, 0], [3, 4]])
    data = Data(pos=pos, edge_index=torch.tensor([[1, 0], [0, 1]]))
    seen = EdgeGeometry()(data).edge_attr
    assert seen.tolist() == [[3, 4, 5], [-3, -4, 5]]
    moved = Data(pos=pos + 7, edge_index=data.edge_index)
    assert torch.equal(EdgeGeometry()(moved).edge_attr, seen)


# --- measure -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LINEAR, *SECOND_ORDER])
def test_the_measures_of_a_cell_add_up_to_it(name):
    grid, data = one_cell(name)
    sizes = grid.compute_cell_sizes()
    expected = max(float(sizes[key][0]) for key in ("Length", "Area", "Volume"))
    if name in ("Polygon", "TriangleStrip") or name in SECOND_ORDER:
        from lrsa_geo.mesh.cells import cell_measures

        expected = float(
            cell_measures(data.pos.numpy(), data.cells.numpy(), data.cell_types.numpy())[0]
        )
    measure = NodeMeasure()(data).measure
    assert (measure > 0).all()
    assert float(measure.sum()) == pytest.approx(abs(expected), rel=1e-12)


def test_the_measures_of_a_mesh_add_up_to_the_body(body):
    name, data = body
    total = float(NodeMeasure()(data).measure.sum())
    flat = {"square": 2, "quads": 2, "mixed": 1}
    if name in flat:
        assert total == pytest.approx(flat[name], rel=1e-12)
        return
    grid = pyvista.UnstructuredGrid(
        *_vtk_cells(data), np.pad(data.pos.numpy(), ((0, 0), (0, 3 - data.pos.shape[1])))
    )
    sizes = grid.compute_cell_sizes()
    expected = sizes["Area" if name == "sphere" else "Volume"].sum()
    # VTK integrates curved cells, we measure them by their corners.
    assert total == pytest.approx(expected, rel=0.03 if name == "curved" else 1e-9)


def _vtk_cells(data: Data):
    width = (data.cells >= 0).sum(1)
    rows = [[int(w), *row[:w].tolist()] for w, row in zip(width, data.cells, strict=True)]
    return np.concatenate(rows), data.cell_types.numpy().astype(np.uint8)


def test_quadrature_with_the_measure_is_exact_for_linear_functions(body):
    name, data = body
    if name not in ("square", "quads", "mixed"):
        pytest.skip("of these bodies the exact integral is known")
    measure = NodeMeasure()(data).measure
    centre = (measure[:, None] * data.pos).sum(0) / measure.sum()
    expected = torch.tensor([1.0, 0.5] if name != "mixed" else [0.5] * 3, dtype=torch.float64)
    torch.testing.assert_close(centre, expected, atol=1e-12, rtol=0)


def test_second_order_cells_spread_evenly_what_linear_ones_would():
    """Six nodes of a quadratic triangle, or four linear triangles between the same nodes."""
    _, data = one_cell("QuadraticTriangle")
    split = data.clone()
    corner, middle = data.cells[0, :3], data.cells[0, 3:]
    split.cells = torch.stack(
        [torch.stack([corner[i], middle[i], middle[i - 1]]) for i in range(3)] + [middle]
    ).int()
    split.cell_types = torch.full((4,), 5)
    torch.testing.assert_close(NodeMeasure()(data).measure, NodeMeasure()(split).measure)


def test_a_solid_counts_where_triangles_bound_it(body):
    """gmsh writes the surface's triangles beside the tetrahedra: they do not add to the volume."""
    name, data = body
    if name != "ball":
        pytest.skip("ball only")
    solids = data.clone()
    keep = data.cell_types == 10
    solids.cells, solids.cell_types = data.cells[keep], data.cell_types[keep]
    measure = NodeMeasure()(data).measure
    assert torch.equal(measure, NodeMeasure()(solids).measure)
    assert float(measure.sum()) == pytest.approx(4 / 3 * math.pi, rel=0.05)


def test_the_estimate_for_point_clouds_against_the_measure_of_meshes(cells):
    """Up to a common factor; these meshes are coarser than those of the docstring."""
    ratios, inside = [], []
    for data in cells:
        estimate = NodeMeasure()(Data(pos=data.pos)).measure
        ratios.append(estimate / NodeMeasure()(data).measure)
        inside.append(BoundaryNodes()(data).boundary == 0)
    ratio, is_inside = torch.cat(ratios), torch.cat(inside)
    factor = ratio[is_inside].median()
    assert 0.9 < factor < 1.4
    error = torch.exp((ratio[is_inside] / factor).log().abs()) - 1
    assert error.median() < 0.15
    assert error.quantile(0.95) < 1.5
    assert 2 < ratio[~is_inside].median() / factor < 3.5


def test_a_single_point_has_the_measure_one():
    assert NodeMeasure()(Data(pos=torch.zeros(1, 3))).measure.tolist() == [1]


# --- boundary ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*LINEAR, *SECOND_ORDER])
def test_all_nodes_of_a_single_cell_are_on_its_boundary_but_those_inside(name):
    grid, data = one_cell(name)
    marker = BoundaryNodes()(data).boundary
    inside = {
        "BiQuadraticQuadrilateral": [8],
        "TriQuadraticHexahedron": [26],
        "BiQuadraticTriangle": [6],
    }
    inside |= {"QuadraticEdge": [2], "PolyLine": list(range(1, grid.n_points - 1))}
    expected = torch.ones(grid.n_points, dtype=torch.int8)
    expected[data.cells[0, inside.get(name, [])].long()] = 0
    assert torch.equal(marker, expected)


def test_the_boundary_is_that_of_vtk(body):
    name, data = body
    marker = BoundaryNodes()(data).boundary.numpy()
    if name == "sphere":
        assert not marker.any()
        return
    pos = data.pos.numpy()
    if name in ("square", "quads"):
        x, y = pos.T
        expected = (x < 1e-9) | (x > 2 - 1e-9) | (y < 1e-9) | (y > 1 - 1e-9)
    elif name == "mixed":
        expected = ((pos < 1e-9) | (pos > 1 - 1e-9)).any(1)
    else:
        expected = np.linalg.norm(pos, axis=1) > 1 - 1e-6
        expected &= np.isin(np.arange(len(pos)), data.cells.numpy())
    assert np.array_equal(marker, expected)


def test_normals_of_a_ball_and_of_its_surface_point_outwards(body):
    name, data = body
    if name not in ("ball", "sphere"):
        pytest.skip("round bodies")
    normal = SurfaceNormals()(data).normal
    length = normal.norm(dim=1)
    there = length > 0
    torch.testing.assert_close(length[there], torch.ones_like(length[there]))
    on_surface = (data.pos.norm(dim=1) - 1).abs() < 1e-6
    assert torch.equal(there, on_surface & torch.isin(torch.arange(len(length)), data.cells))
    along = (normal[there] * data.pos[there]).sum(1)
    assert float(along.min()) > 0.97


def test_what_is_seen_of_a_solid_is_its_boundary_and_of_a_surface_its_cells():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    solid = Data(
        pos=pos,
        cells=torch.tensor([[0, 1, 2, 3], [0, 4, -1, -1]]),
        cell_types=torch.tensor([10, 3]),
    )
    seen = {frozenset(row) for row in surface_polygons(solid).tolist()}
    assert seen == {frozenset(c) for c in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))}
    surface = Data(  # a pixel, whose corners are not in order around it, a triangle, and a line
        pos=pos,
        cells=torch.tensor([[0, 1, 2, 4], [0, 1, 3, -1], [0, 3, -1, -1]]),
        cell_types=torch.tensor([8, 5, 3]),
    )
    assert surface_polygons(surface).tolist() == [[0, 1, 4, 2], [0, 1, 3, -1]]
    line = Data(pos=pos, cells=torch.tensor([[0, 1]]), cell_types=torch.tensor([3]))
    with pytest.raises(ValueError, match="cells of dimension 1 have no surface"):
        surface_polygons(line)


def test_normals_of_a_square_point_outwards(body):
    name, data = body
    if name not in ("square", "quads"):
        pytest.skip("plane bodies")
    normal = SurfaceNormals()(data).normal
    right = (data.pos[:, 0] > 2 - 1e-9) & (data.pos[:, 1] > 0.1) & (data.pos[:, 1] < 0.9)
    torch.testing.assert_close(
        normal[right], torch.tensor([1.0, 0]).double().expand(right.sum(), 2)
    )
    corner = data.pos.norm(dim=1).argmin()
    assert (normal[corner] < -0.3).all()


def test_distance_to_the_sides_of_a_rectangle_is_exact(body):
    name, data = body
    if name not in ("square", "quads", "mixed"):
        pytest.skip("bodies with plane sides")
    data = DistanceToBoundary()(data)
    size = data.pos.amax(0)
    expected = torch.minimum(data.pos, size - data.pos).amin(1)
    torch.testing.assert_close(data.boundary_distance, expected, atol=1e-12, rtol=0)
    foot = data.pos + data.boundary_offset
    at_side = torch.minimum(foot, size - foot).amin(1)
    torch.testing.assert_close(at_side, torch.zeros_like(at_side), atol=1e-12, rtol=0)


@settings(deadline=None, max_examples=60)
@given(
    corners=st.integers(1, 3),
    dim=st.integers(2, 3),
    facets=st.integers(1, 40),
    spread=st.floats(0, 8),
    seed=st.integers(0, 999),
)
def test_nearest_points_are_those_of_a_search_through_all(corners, dim, facets, spread, seed):
    """Simplices of very different size, degenerate ones among them."""
    rng = np.random.default_rng(seed)
    size = 10 ** (-spread * rng.random(facets))
    simplices = rng.normal(size=(facets, 1, dim)) + size[:, None, None] * rng.normal(
        size=(facets, corners, dim)
    )
    simplices[rng.random(facets) < 0.1] = simplices[0, 0]
    points = 2 * rng.normal(size=(30, dim))
    table = np.arange(facets * corners).reshape(facets, corners)
    nearest = nearest_points(points, simplices.reshape(-1, dim), table)
    found = np.linalg.norm(nearest - points, axis=1)
    # Every simplex as convex combinations of its corners, on a grid: never nearer, nearly as near.
    steps = 24
    weights = np.array(
        [w for w in np.ndindex(*[steps + 1] * corners) if sum(w) == steps], dtype=float
    )
    samples = np.einsum("wc,fcd->fwd", weights / steps, simplices).reshape(-1, dim)
    brute = np.linalg.norm(points[:, None] - samples, axis=2).min(1)
    longest = np.linalg.norm(simplices[:, :, None] - simplices[:, None], axis=3).max()
    assert (found <= brute + 1e-12).all()
    assert (found >= brute - longest / steps - 1e-12).all()


def test_distance_to_one_marked_part_only():
    data = Data(pos=torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]))
    data.cells = torch.tensor([[0, 1, 2, 3]])
    data.boundary = torch.tensor([2, 2, 0, 0])
    assert DistanceToBoundary(marker=2)(data).boundary_distance.tolist() == [0, 0, 1, 1]
    with pytest.raises(ValueError, match="no boundary with the marker 7"):
        DistanceToBoundary(marker=7)(data)


@pytest.mark.parametrize(
    "transform", [CellsToEdges(), BoundaryNodes(), SurfaceNormals(), DistanceToBoundary()]
)
def test_what_needs_cells_says_so(transform):
    with pytest.raises(ValueError, match="no `cells`"):
        transform(Data(pos=torch.rand(5, 2)))


def test_transforms_compose_and_leave_the_original_alone(body):
    _, data = body
    before = set(data.keys())
    prepare = Compose([CellsToEdges(), EdgeGeometry(), NodeMeasure(), BoundaryNodes()])
    done = prepare(data.clone())
    assert {"edge_index", "edge_attr", "measure", "boundary"} <= set(done.keys())
    assert prepare.transforms[0](data) is not data
    assert set(data.keys()) >= before
