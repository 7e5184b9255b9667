"""Meshes with polyhedra: what their faces tell is what the same cells tell as hexahedra.

Kinds: every format of VTK, faces turned at random, hexahedra, wedges, pyramids and tetrahedra
beside polyhedra, cells that are not convex, faces split at hanging nodes, flat cells beside solids,
fields of cells; open cells, faces that are missing or point nowhere, cells of order 2; the way to a
prediction and back.
"""

import warnings

import numpy as np
import pytest
import torch

from lrsa_geo.data import GraphReader, reader_for
from lrsa_geo.mesh import (
    BoundaryNodes,
    CellsToEdges,
    MeshError,
    NodeMeasure,
    cell_to_node,
    read_mesh,
    write_mesh,
)
from lrsa_geo.mesh.merge import merge_nodes
from lrsa_geo.mesh.polyhedra import Faces
from lrsa_geo.mesh.topology import facets_of

pv = pytest.importorskip("pyvista")
NAMES = {10: "tetra", 12: "hexahedron", 13: "wedge", 14: "pyramid"}


def box():
    """Hexahedra, each of them moved and bent a little, but with flat faces."""
    grid = pv.ImageData(dimensions=(4, 5, 3)).cast_to_unstructured_grid()
    cells = grid.cell_connectivity.reshape(-1, 8)[:, [0, 1, 3, 2, 4, 5, 7, 6]]
    pos = grid.points.astype(np.float64) ** 1.3
    mesh = pv.UnstructuredGrid({12: cells}, pos)
    mesh["p"] = np.arange(60.0)
    mesh.cell_data["c"] = np.random.default_rng(1).random(24)
    mesh.cell_data["v"] = np.random.default_rng(2).random((24, 3)).astype(np.float32)
    return mesh


def as_polyhedra(mesh, every=1, seed=0):
    """One of ``every`` cells by its faces, which start anywhere and turn any way."""
    draw = np.random.default_rng(seed)
    cells, types = [], []
    for i in range(mesh.n_cells):
        kind, nodes = int(mesh.celltypes[i]), np.array(mesh.get_cell(i).point_ids)
        if i % every:
            cells += [len(nodes), *nodes]
            types.append(kind)
            continue
        stream = [len(facets_of(NAMES[kind]))]
        for facet in draw.permutation(np.array(facets_of(NAMES[kind]), dtype=object)):
            around = np.roll(nodes[list(facet)], draw.integers(4))
            stream += [len(facet), *(around[::-1] if draw.random() < 0.5 else around)]
        cells += [len(stream), *stream]
        types.append(42)
    result = pv.UnstructuredGrid(cells, types, mesh.points)
    for name in mesh.point_data:
        result[name] = mesh[name]
    for name in mesh.cell_data:
        result.cell_data[name] = mesh.cell_data[name]
    return result


def save(grid, path, binary=True):
    if path.suffix == ".vtkhdf":
        writer = pytest.importorskip("vtk").vtkHDFWriter()
        writer.SetInputData(grid)
        writer.SetFileName(str(path))
        writer.Write()
    elif path.suffix == ".vtm":
        pv.MultiBlock([grid]).save(path)
    else:
        grid.save(path, binary=binary)


@pytest.fixture
def read():
    """Read a mesh that warns of what it leaves out."""

    def read_with_warning(path):
        with pytest.warns(UserWarning, match="polyhedra.* are left out, but for the edges"):
            return read_mesh(path)

    return read_with_warning


def of_cells(path):
    mesh = read_mesh(path)
    return mesh, CellsToEdges()(mesh).edge_index, NodeMeasure()(mesh).measure


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize(
    ("suffix", "binary"),
    [(".vtu", True), (".vtu", False), (".vtk", True), (".vtk", False), (".vtkhdf", 1), (".vtm", 1)],
)
def test_polyhedra_are_what_their_hexahedra_are(tmp_path, read, suffix, binary, every):
    box().save(tmp_path / "h.vtu")
    path = tmp_path / f"a{suffix}"
    save(as_polyhedra(box(), every), path, binary)
    graph, (mesh, edges, measure) = read(path), of_cells(tmp_path / "h.vtu")
    assert "cells" not in graph
    assert graph.validate()
    torch.testing.assert_close(graph.pos, mesh.pos)  # a text has fewer digits
    assert torch.equal(graph.edge_index, edges)
    assert torch.equal(graph.boundary, BoundaryNodes()(mesh).boundary)
    torch.testing.assert_close(graph.measure, measure, rtol=1e-5, atol=0)
    assert graph.point_data.keys() == {"p", "c", "v"}
    assert torch.equal(graph.point_data["p"], mesh.point_data["p"])
    for name in ("c", "v"):
        wanted = cell_to_node(mesh, mesh.cell_data[name])
        torch.testing.assert_close(graph.point_data[name], wanted, rtol=1e-5, atol=0)


def test_an_older_legacy_file(tmp_path, read):
    vtk = pytest.importorskip("vtk")
    writer = vtk.vtkUnstructuredGridWriter()
    writer.SetFileVersion(vtk.vtkUnstructuredGridWriter.VTK_LEGACY_READER_VERSION_4_2)
    writer.SetInputData(as_polyhedra(box()))
    writer.SetFileName(str(tmp_path / "a.vtk"))
    writer.Write()
    assert read(tmp_path / "a.vtk").measure.sum() == pytest.approx(box().volume)


def test_other_solids_beside_polyhedra(tmp_path, read):
    """A cube of two wedges, a pyramid on it, a tetrahedron at its side."""
    square = [[0, 0], [1, 0], [1, 1], [0, 1]]
    pos = [*([*p, z] for z in (0, 1) for p in square), [0.5, 0.5, 2], [2, 0, 0]]
    cells = [(13, [0, 1, 2, 4, 5, 6]), (13, [0, 2, 3, 4, 6, 7]), (14, [4, 5, 6, 7, 8])]
    cells += [(10, [1, 2, 5, 9])]
    flat = [entry for _, nodes in cells for entry in (len(nodes), *nodes)]
    mesh = pv.UnstructuredGrid(flat, [kind for kind, _ in cells], np.array(pos, dtype=float))
    mesh.save(tmp_path / "h.vtu")
    _, edges, measure = of_cells(tmp_path / "h.vtu")
    for every in (1, 2, 4):
        as_polyhedra(mesh, every).save(tmp_path / "a.vtu")
        graph = read(tmp_path / "a.vtu")
        assert torch.equal(graph.edge_index, edges)
        torch.testing.assert_close(graph.measure, measure)
    assert measure.sum() == pytest.approx(1 + 1 / 3 + 1 / 6)


def prism(outline, first):
    """Faces of a prism between the nodes ``outline`` and those ``first`` later."""
    n = len(outline)
    walls = [
        [outline[i - 1], outline[i], outline[i] + first, outline[i - 1] + first] for i in range(n)
    ]
    return [outline, [node + first for node in outline], *walls]


def polyhedra(cells, pos):
    """An unstructured grid of polyhedra, each a list of faces."""
    streams = [[len(faces), *(x for face in faces for x in (len(face), *face))] for faces in cells]
    flat = [x for stream in streams for x in (len(stream), *stream)]
    return pv.UnstructuredGrid(flat, [42] * len(cells), np.asarray(pos, dtype=float))


def test_a_cell_that_is_not_convex_and_its_neighbour(tmp_path, read):
    """An L of area 3 and the square that is missing from it."""
    plane = [[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2], [2, 2]]
    pos = [[*p, z] for z in (0, 1) for p in plane]
    pos = np.array(pos) @ np.linalg.qr(np.random.default_rng(0).random((3, 3)))[0] + 100
    grid = polyhedra([prism([0, 1, 2, 3, 4, 5], 7), prism([2, 6, 4, 3], 7)], pos)
    grid.cell_data["c"] = [1.0, 5.0]
    grid.save(tmp_path / "a.vtu")
    graph = read(tmp_path / "a.vtu")
    share = 3 / 12
    expected = [share, share, *[share + 1 / 8] * 3, share, 1 / 8] * 2
    torch.testing.assert_close(graph.measure, torch.tensor(expected).double())
    assert graph.boundary.all()
    expected = [1, 1, *[(3 * 1 + 1 * 5) / 4] * 3, 1, 5] * 2
    torch.testing.assert_close(graph.point_data["c"], torch.tensor(expected).double())


def test_a_large_cell_beside_small_ones(tmp_path, read):
    """As a mesh that was refined on one side: the large cell has the faces of the small ones."""
    plane = [[0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 0.5], [2, 1], [1, 0.5]]
    pos = [[*p, z] for z in (0, 1) for p in plane]
    cells = [prism([0, 1, 7, 2, 3], 8), prism([1, 4, 5, 7], 8), prism([7, 5, 6, 2], 8)]
    polyhedra(cells, pos).save(tmp_path / "a.vtu")
    graph = read(tmp_path / "a.vtu")
    assert graph.measure.sum() == pytest.approx(2)
    pairs = {tuple(sorted(pair)) for pair in graph.edge_index.T.tolist()}
    assert {(1, 7), (2, 7), (5, 7)} <= pairs
    assert (1, 2) not in pairs
    assert len(pairs) * 2 == graph.edge_index.shape[1] == 2 * (2 * 10 + 8)


def test_what_has_no_place_is_said(tmp_path):
    """Whole numbers have no means; a field of the nodes stays; cells around solids go."""
    grid = as_polyhedra(box())
    nodes = grid.cell_connectivity
    flat = pv.UnstructuredGrid({9: nodes[:4].reshape(1, 4)}, grid.points)
    grid.cell_data["mat"], grid.cell_data["p"] = np.arange(24), np.arange(24.0)
    pv.MultiBlock([grid, flat]).save(tmp_path / "a.vtm")
    grid.save(tmp_path / "a.vtu")
    with pytest.warns(UserWarning, match="24 polyhedra are left out.*without 'mat', 'p'"):
        assert read_mesh(tmp_path / "a.vtu").point_data["p"].tolist() == list(range(60))
    with pytest.warns(UserWarning, match="24 polyhedra and 1 other cells are left out"):
        assert read_mesh(tmp_path / "a.vtm").measure.sum() == pytest.approx(box().volume)


def test_a_node_of_no_cell_has_no_value(tmp_path, read):
    grid = polyhedra([prism([0, 1, 2], 3)], [*np.eye(3), *(np.eye(3) + 1), [5, 5, 5]])
    grid.cell_data["c"] = [2.0]
    grid.save(tmp_path / "a.vtu")
    graph = read(tmp_path / "a.vtu")
    assert graph.point_data["c"][:6].tolist() == [2] * 6
    assert graph.point_data["c"][6].isnan()
    assert graph.measure[6] == 0


OPEN = prism([0, 1, 2], 3)[:-1]


@pytest.mark.parametrize(
    ("faces", "message"),
    [
        (OPEN, r"1 of 1 cells are not closed .* first is cell 0.*checkMesh"),
        ([*prism([0, 1, 2], 3), [0, 1, 2]], ".*not closed"),
    ],
)
def test_open_cells_are_refused(tmp_path, faces, message):
    polyhedra([faces], [*np.eye(3), *(np.eye(3) + 1)]).save(tmp_path / "a.vtu")
    with pytest.raises(MeshError, match=rf"a\.vtu: {message}"):
        read_mesh(tmp_path / "a.vtu")


def test_faces_that_do_not_fit_are_refused(tmp_path):
    path = tmp_path / "a.vtu"
    polyhedra([prism([0, 1, 2], 3)], [*np.eye(3), *(np.eye(3) + 1)]).save(path, binary=False)
    text = path.read_text()
    start = text.index('Name="faces"') if 'Name="faces"' in text else text.index("face_conn")
    for wrong in ("99", "-7"):
        head, tail = text[:start], text[start:]
        path.write_text(head + tail.replace(" 5", f" {wrong}", 1))
        with pytest.raises(MeshError, match=r"a\.vtu"):
            read_mesh(path)


def test_cells_of_order_2_beside_polyhedra_are_refused(tmp_path):
    cube = polyhedra([prism([0, 1, 2], 3)], [*np.eye(3), *(np.eye(3) + 1)])
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    middles = [
        (corners[a] + corners[b]) / 2 for a, b in ((0, 1), (1, 2), (0, 2), (0, 3), (1, 3), (2, 3))
    ]
    tetra = pv.UnstructuredGrid({24: np.arange(10)[None]}, np.concatenate([corners, middles]) + 9.0)
    pv.MultiBlock([cube, tetra]).combine().save(tmp_path / "a.vtu")
    with pytest.raises(MeshError, match=r"a\.vtu: has polyhedra beside cells of order 2"):
        read_mesh(tmp_path / "a.vtu")


def test_volumes_do_not_depend_on_how_faces_are_turned():
    grid = box()
    nodes = grid.cell_connectivity.reshape(-1, 8)
    facets = facets_of("hexahedron")
    draw = np.random.default_rng(3)
    faces = []
    for cell in nodes:
        for facet in facets:
            around = np.roll(cell[list(facet)], draw.integers(4))
            faces.append(around[:: draw.choice([-1, 1])])
    made = Faces(np.concatenate(faces), np.arange(0, 4 * 144 + 1, 4), np.repeat(np.arange(24), 6))
    volumes, is_open = made.volumes(grid.points.astype(float), 24)
    assert not is_open.any()
    np.testing.assert_allclose(volumes, grid.compute_cell_sizes()["Volume"])


def test_the_way_to_a_graph_and_back(tmp_path, read):
    path = tmp_path / "a.vtu"
    as_polyhedra(box()).save(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mesh = read_mesh(path)
        reader = reader_for(mesh, inputs=["v"], targets=["p", "c"])
        _, graph = GraphReader.from_dict(reader.to_dict()).read(path)
    assert torch.equal(graph.edge_index, mesh.edge_index)
    assert torch.equal(graph.boundary, mesh.boundary)
    torch.testing.assert_close(graph.measure, mesh.measure.float())
    write_mesh(tmp_path / "out.vtu", mesh, {"p_predicted": graph.y[:, 0]})
    back = read_mesh(tmp_path / "out.vtu")
    assert back.cell_types.unique().tolist() == [1]
    assert back.point_data.keys() == {"p", "c", "v", "p_predicted"}
    with pytest.raises(MeshError, match="polyhedra are not merged"):
        merge_nodes(mesh, 1e-9, path)
