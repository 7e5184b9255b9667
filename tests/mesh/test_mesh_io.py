"""Files come from programs other than the reader under test, wherever there is one."""

import io
import json
import os
import pickle
import struct
import time
import warnings
import zipfile
from pathlib import Path

import gmsh
import h5py
import meshio
import numpy as np
import pytest
import torch
import trimesh
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch_geometric.data import Batch, Data

from lrsa_geo.mesh import formats as mesh_formats
from lrsa_geo.mesh.cells import cell_dimensions, cell_measures
from lrsa_geo.mesh.io import MeshError, cell_to_node, node_to_cell, read_mesh, write_mesh

NODES_OF_TYPE = {
    **{1: 1, 3: 2, 5: 3, 8: 4, 9: 4, 10: 4, 11: 8, 12: 8, 13: 6, 14: 5, 15: 10, 16: 12, 21: 3},
    **{22: 6, 23: 8, 24: 10, 25: 20, 26: 15, 27: 13, 28: 9, 29: 27, 30: 6, 31: 12, 32: 18},
    **{33: 24, 34: 7, 35: 4},
}


def bits(values):
    """Equal bits, NaN included."""
    array = np.ascontiguousarray(np.asarray(values))
    return array.dtype.str, array.shape, array.tobytes()


def measure(data, dim):
    cells, types = data.cells.numpy(), data.cell_types.numpy()
    return cell_measures(data.pos.numpy(), cells, types)[cell_dimensions(types) == dim].sum()


# --- files of other programs ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def gmsh_mesh(tmp_path_factory):
    """Writes a rectangle (area 0.5) or a box (volume 1) with gmsh; also returns gmsh's nodes."""
    folder = tmp_path_factory.mktemp("gmsh")
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)

    def write(name, dim=2, order=1, quads=False, version=4.1, binary=False):
        gmsh.clear()
        if dim == 2:
            gmsh.model.occ.addRectangle(0, 0, 0, 1, 0.5)
        else:
            gmsh.model.occ.addBox(0, 0, 0, 1, 1, 1)
        gmsh.model.occ.synchronize()
        gmsh.model.addPhysicalGroup(dim - 1, [1], name="one side")
        gmsh.model.addPhysicalGroup(dim, [1], name="inside")
        gmsh.option.setNumber("Mesh.MeshSizeMax", 0.4)
        gmsh.option.setNumber("Mesh.RecombineAll", int(quads))
        gmsh.option.setNumber("Mesh.MshFileVersion", version)
        gmsh.option.setNumber("Mesh.Binary", int(binary))
        gmsh.model.mesh.generate(dim)
        gmsh.model.mesh.setOrder(order)
        path = folder / name
        gmsh.write(str(path))
        tags, coordinates, _ = gmsh.model.mesh.getNodes()
        return path, coordinates.reshape(-1, 3)[np.argsort(tags)]

    yield write
    gmsh.finalize()


def in_any_order(pos):
    return np.array(sorted(np.round(pos, 6).tolist()))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".msh", {"version": 2.2}),
        (".msh", {"version": 2.2, "binary": True}),
        (".msh", {"version": 4.1}),
        (".msh", {"version": 4.1, "binary": True}),
        (".vtk", {}),
        (".inp", {}),
        (".bdf", {}),
        (".med", {}),
    ],
)
def test_gmsh_files_give_the_nodes_and_cells_of_gmsh(gmsh_mesh, suffix, options, dim, order):
    path, nodes = gmsh_mesh(f"mesh{suffix}", dim, order, **options)
    data = read_mesh(path)
    assert data.pos.shape[1] == dim
    assert data.cells.dtype == torch.int32
    assert data.cell_types.dtype == torch.int8
    used = data.pos[data.cells[data.cells >= 0].long().unique()].numpy()
    np.testing.assert_allclose(in_any_order(used), in_any_order(nodes[:, :dim]), atol=1e-5)
    assert measure(data, dim) == pytest.approx(0.5 if dim == 2 else 1.0, rel=1e-5)
    solid = {(2, 1): 5, (2, 2): 22, (3, 1): 10, (3, 2): 24}[dim, order]
    gmsh_cells = gmsh.model.mesh.getElementsByType({5: 2, 22: 9, 10: 4, 24: 11}[solid])[0]
    physical = data.cell_types == solid
    assert int(physical.sum()) == len(gmsh_cells)


def test_mixed_cells_of_gmsh(gmsh_mesh):
    path, _ = gmsh_mesh("mixed.msh", quads=True)
    data = read_mesh(path)
    assert set(data.cell_types.tolist()) >= {3, 9}
    widths = (data.cells >= 0).sum(1)
    assert torch.equal(widths, torch.tensor([NODES_OF_TYPE[t] for t in data.cell_types.tolist()]))
    assert measure(data, 2) == pytest.approx(0.5)
    assert torch.equal(data.cell_data["gmsh:physical"].unique(), torch.tensor([1, 2]))


def test_stl_of_gmsh_becomes_a_connected_surface(gmsh_mesh):
    path, _ = gmsh_mesh("box.stl", 3)
    data = read_mesh(path)
    edges = np.sort(data.cells[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2).numpy(), axis=1)
    _, triangles_at_edge = np.unique(edges, axis=0, return_counts=True)
    assert measure(data, 2) == pytest.approx(1.0)  # the one side that is a physical group
    assert triangles_at_edge.max() == 2


def test_cgns_of_gmsh(gmsh_mesh):
    pytest.importorskip("pyvista")
    path, nodes = gmsh_mesh("mesh.cgns", 3)
    data = read_mesh(path)
    np.testing.assert_allclose(in_any_order(data.pos.numpy()), in_any_order(nodes), atol=1e-5)
    assert measure(data, 3) == pytest.approx(1.0)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("version", [2.2, 4.1])
def test_gmsh_fields(gmsh_mesh, tmp_path, version, binary):
    """A field that is x + 2y on nodes, and on cells; meshio ignores which node a value is for."""
    gmsh_mesh("fields.msh", version=version, binary=binary)
    tags, nodes, _ = gmsh.model.mesh.getNodes()
    nodes = nodes.reshape(-1, 3)
    view = gmsh.view.add("T")
    gmsh.view.addModelData(
        view, 0, gmsh.model.getCurrent(), "NodeData", tags, nodes @ [[1], [2], [0]]
    )
    gmsh.option.setNumber("PostProcessing.SaveMesh", 1)
    gmsh.view.write(view, str(tmp_path / "a.msh"))
    gmsh.view.remove(view)
    data = read_mesh(tmp_path / "a.msh")
    torch.testing.assert_close(data.point_data["T"], data.pos @ torch.tensor([1.0, 2]).double())


def test_gmsh_version_4_0_is_refused_with_the_way_out(gmsh_mesh):
    path, _ = gmsh_mesh("old.msh", version=4.0)
    with pytest.raises(MeshError, match=r"old\.msh.*save it as 4\.1"):
        read_mesh(path)


SPHERE = trimesh.creation.icosphere(1)


@pytest.mark.parametrize("suffix", [".stl", ".ply", ".obj", ".off", ".glb", ".gltf", ".3mf"])
def test_surfaces_of_trimesh(tmp_path, suffix):
    path = tmp_path / f"sphere{suffix}"
    if suffix == ".gltf":
        for name, content in trimesh.Scene(SPHERE).export(file_type="gltf").items():
            (tmp_path / (path.name if name.endswith(".gltf") else name)).write_bytes(content)
    else:
        SPHERE.export(path)
    data = read_mesh(path)
    assert data.num_nodes == len(SPHERE.vertices)
    assert measure(data, 2) == pytest.approx(SPHERE.area, rel=1e-5)
    corners = data.pos.numpy()[data.cells.numpy()]
    np.testing.assert_allclose(corners, SPHERE.vertices[SPHERE.faces], atol=1e-6)
    if suffix != ".stl":
        np.testing.assert_array_equal(data.cells.numpy(), SPHERE.faces)
        np.testing.assert_allclose(data.pos.numpy(), SPHERE.vertices, atol=1e-6)


@pytest.mark.parametrize("encoding", ["ascii", "binary"])
def test_ply_fields_of_trimesh(tmp_path, encoding):
    mesh = SPHERE.copy()
    mesh.vertex_attributes["pressure"] = np.linspace(0, 1, len(mesh.vertices), dtype=np.float32)
    mesh.export(tmp_path / "a.ply", encoding=encoding, vertex_normal=False)
    data = read_mesh(tmp_path / "a.ply")
    found = data.point_data["pressure"].numpy()
    np.testing.assert_allclose(found, mesh.vertex_attributes["pressure"], rtol=1e-6)


def test_ply_keeps_quads_and_face_fields(tmp_path):
    (tmp_path / "a.ply").write_text(
        "ply\nformat ascii 1.0\nelement vertex 5\nproperty float x\nproperty float y\n"
        "property float z\nproperty double T\nelement face 2\n"
        "property list uchar int vertex_indices\nproperty int id\nend_header\n"
        "0 0 0 1.5\n1 0 0 2\n1 1 0 3\n0 1 1 4\n5 5 5 5\n4 0 1 2 3 7\n3 3 2 1 8\n"
    )
    data = read_mesh(tmp_path / "a.ply")
    assert data.pos.dtype == torch.float32
    assert data.cells.tolist() == [[0, 1, 2, 3], [3, 2, 1, -1]]
    assert data.cell_types.tolist() == [9, 5]
    assert data.point_data["T"].tolist() == [1.5, 2, 3, 4, 5]
    assert data.cell_data["id"].tolist() == [7, 8]


@pytest.fixture(scope="session")
def vtk_grid():
    """A grid with every kind of cell and of array."""
    pv = pytest.importorskip("pyvista")
    rng = np.random.default_rng(0)
    types = [t for t in NODES_OF_TYPE if t > 1] * 2 + [7, 4, 6]
    widths = [NODES_OF_TYPE.get(t, 5) for t in types]
    cells = np.concatenate([[w, *rng.permutation(40)[:w]] for w in widths])
    grid = pv.UnstructuredGrid(cells, np.array(types, np.uint8), rng.random((40, 3), np.float32))
    for dtype in (np.float32, np.float64, np.int8, np.int32, np.int64, np.uint16):
        name = np.dtype(dtype).name
        grid.point_data[f"p {name}"] = rng.integers(0, 99, 40).astype(dtype)
        grid.cell_data[f"c {name}"] = rng.integers(0, 99, (grid.n_cells, 3)).astype(dtype)
    grid.point_data["pair"] = rng.random((40, 2))
    return grid


def assert_same_as_vtk(data, grid):
    assert bits(data.pos) == bits(grid.points)
    assert data.cell_types.tolist() == grid.celltypes.tolist()
    flat = data.cells[data.cells >= 0].numpy()
    np.testing.assert_array_equal(flat, grid.cell_connectivity)
    for mine, theirs in ((data.point_data, grid.point_data), (data.cell_data, grid.cell_data)):
        assert mine.keys() == set(theirs.keys())
        for name in mine:
            assert bits(mine[name]) == bits(theirs[name]), name


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZMA"])
@pytest.mark.parametrize("mode", ["Ascii", "Binary", "Appended raw", "Appended base64"])
def test_vtu_of_vtk(tmp_path, vtk_grid, mode, compressor, pieces):
    vtk = pytest.importorskip("vtk")
    pv = pytest.importorskip("pyvista")
    writer = vtk.vtkXMLUnstructuredGridWriter()
    writer.SetInputData(vtk_grid)
    writer.SetFileName(str(tmp_path / "a.vtu"))
    getattr(writer, f"SetDataModeTo{mode.split()[0]}")()
    writer.SetEncodeAppendedData(mode.endswith("64"))
    getattr(writer, f"SetCompressorTypeTo{compressor}")()
    writer.SetBlockSize(1 << 10)
    writer.SetNumberOfPieces(pieces)
    writer.Write()
    assert_same_as_vtk(read_mesh(tmp_path / "a.vtu"), pv.read(tmp_path / "a.vtu"))


@pytest.mark.parametrize("binary", [True, False])
def test_legacy_vtk_of_vtk(tmp_path, vtk_grid, binary):
    pv = pytest.importorskip("pyvista")
    grid = vtk_grid.extract_cells(~np.isin(vtk_grid.celltypes, (4, 6)))
    for data in (grid.point_data, grid.cell_data):
        for name in [n for n in data if n.startswith("vtk")]:
            data.remove(name)
    grid.save(tmp_path / "a.vtk", binary=binary)
    assert_same_as_vtk(read_mesh(tmp_path / "a.vtk"), pv.read(tmp_path / "a.vtk"))


@pytest.mark.parametrize("suffix", [".vtp", ".vtk"])
def test_surfaces_of_vtk(tmp_path, suffix):
    pv = pytest.importorskip("pyvista")
    lines, quad = pv.PolyData([[0.0, 0, 5], [1, 0, 5]], lines=[2, 0, 1]), pv.Plane(i_resolution=2)
    surface = pv.Sphere(theta_resolution=5, phi_resolution=5).append_polydata(lines, quad)
    surface["c"] = np.arange(surface.n_cells)
    surface.save(tmp_path / f"a{suffix}")
    data = read_mesh(tmp_path / f"a{suffix}")
    assert_same_as_vtk(data, surface.cast_to_unstructured_grid())


@pytest.mark.parametrize("kind", ["image", "rectilinear", "colours", "polygons with data"])
def test_legacy_vtk_beyond_meshio(tmp_path, kind):
    pv = pytest.importorskip("pyvista")
    if kind == "image":
        grid = pv.ImageData(dimensions=(3, 4, 5))
    elif kind == "rectilinear":
        grid = pv.RectilinearGrid(np.arange(3.0), np.arange(4.0) ** 2, np.arange(2.0))
    else:
        cells = [5, 0, 1, 2, 3, 4, 3, 0, 1, 2]
        grid = pv.UnstructuredGrid(cells, [7, 5], np.random.default_rng(0).random((5, 3)))
    dtype = np.uint8 if kind == "colours" else np.float64
    grid.cell_data["c"] = np.arange(grid.n_cells, dtype=dtype)
    grid.save(tmp_path / "a.vtk")
    grid = pv.read(tmp_path / "a.vtk").cast_to_unstructured_grid()
    assert_same_as_vtk(read_mesh(tmp_path / "a.vtk"), grid)


def test_what_takes_pyvista_says_so_without_it(tmp_path, monkeypatch):
    (tmp_path / "a.foam").touch()
    monkeypatch.setattr(mesh_formats.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MeshError, match=r"a\.foam.*lrsa_geo\[viz\]"):
        read_mesh(tmp_path / "a.foam")


def test_ensight_with_steps(tmp_path):
    pytest.importorskip("pyvista")
    (tmp_path / "a.case").write_text(
        "FORMAT\ntype: ensight gold\nGEOMETRY\nmodel: a.geo\nVARIABLE\n"
        "scalar per node: 1 T T**.scl\nTIME\ntime set: 1\nnumber of steps: 2\n"
        "filename start number: 0\nfilename increment: 1\ntime values: 0.0 1.0\n"
    )
    (tmp_path / "a.geo").write_text(
        "a\nb\nnode id assign\nelement id assign\npart\n         1\nname\ncoordinates\n         4\n"
        + "".join(f"{v:12.5e}\n" for v in [0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1])
        + "tetra4\n         1\n         1         2         3         4\n"
    )
    for step in range(2):
        values = "".join(f"{v + 10 * step:12.5e}\n" for v in range(4))
        (tmp_path / f"T{step:02}.scl").write_text(f"T\npart\n         1\ncoordinates\n{values}")
    assert read_mesh(tmp_path / "a.case").point_data["T"].tolist() == [0, 1, 2, 3]
    data = read_mesh(tmp_path / "a.case", step=-1)
    assert data.point_data["T"].tolist() == [10, 11, 12, 13]
    assert data.cells.tolist() == [[0, 1, 2, 3]]
    with pytest.raises(MeshError, match=r"a\.case.*steps 0 to 1.*got `step` 2"):
        read_mesh(tmp_path / "a.case", step=2)


def test_openfoam_volume_without_its_patches(tmp_path):
    pytest.importorskip("pyvista")

    def put(name, kind, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        head = f"version 2.0; format ascii; class {kind}; object {path.name};"
        path.write_text(f"FoamFile {{ {head} }}\n{text}\n")

    mesh = "constant/polyMesh"
    points = "(0 0 0) (1 0 0) (1 1 0) (0 1 0) (0 0 1) (1 0 1) (1 1 1) (0 1 1)"
    faces = "4(0 4 7 3) 4(1 2 6 5) 4(0 1 5 4) 4(3 7 6 2) 4(0 3 2 1) 4(4 5 6 7)"
    put(f"{mesh}/points", "vectorField", f"8\n({points})")
    put(f"{mesh}/faces", "faceList", f"6\n({faces})")
    put(f"{mesh}/owner", "labelList", "6\n(0 0 0 0 0 0)")
    put(f"{mesh}/neighbour", "labelList", "0\n()")
    wall = "wall { type wall; nFaces 6; startFace 0; }"
    put(f"{mesh}/boundary", "polyBoundaryMesh", f"1\n({wall})")
    put("system/controlDict", "dictionary", "startTime 0; endTime 0; deltaT 1; writeInterval 1;")
    (tmp_path / "a.foam").touch()
    data = read_mesh(tmp_path / "a.foam")
    assert data.num_nodes == 8
    assert data.cell_types.tolist() == [12]
    assert measure(data, 3) == pytest.approx(1.0)


def test_exodus(tmp_path):
    netcdf = pytest.importorskip("netCDF4")
    with netcdf.Dataset(tmp_path / "a.e", "w", format="NETCDF3_64BIT_OFFSET") as file:
        sizes = {"len_string": 33, "num_nodes": 5, "num_el_in_blk1": 2, "num_nod_per_el1": 4}
        for name, size in {**sizes, "num_nod_var": 1, "time_step": None}.items():
            file.createDimension(name, size)
        for axis in "xyz":
            file.createVariable(f"coord{axis}", "f8", ("num_nodes",))[:] = np.arange(5) ** 2
        connect = file.createVariable("connect1", "i4", ("num_el_in_blk1", "num_nod_per_el1"))
        connect.elem_type = "TETRA"
        connect[:] = [[1, 2, 3, 4], [2, 3, 4, 5]]
        names = file.createVariable("name_nod_var", "S1", ("num_nod_var", "len_string"))
        names[0, :] = ["T"] + [""] * 32
        values = file.createVariable("vals_nod_var1", "f8", ("time_step", "num_nodes"))
        values[0] = np.arange(5.0)
    data = read_mesh(tmp_path / "a.e")
    assert data.cells.tolist() == [[0, 1, 2, 3], [1, 2, 3, 4]]
    assert data.point_data["T"].tolist() == [0, 1, 2, 3, 4]


def xdmf_series(folder):
    """Two steps of a field on two triangles, arrays in HDF5."""
    with h5py.File(folder / "a.h5", "w") as file:
        file["pos"] = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]])
        file["cells"] = np.array([[0, 1, 2], [0, 2, 3]])
        for step in range(3):
            file[f"T{step}"] = np.arange(4.0) + 10 * step
            file[f"k{step}"] = np.array([step, step + 1], np.int32)

    def item(name, shape, kind, precision):
        return (
            f'<DataItem Dimensions="{shape}" NumberType="{kind}" Precision="{precision}"'
            f' Format="HDF">a.h5:/{name}</DataItem>'
        )

    steps = "".join(
        f'<Grid GridType="Uniform"><Time Value="{step}"/>'
        f'<Attribute Name="T" Center="Node">{item(f"T{step}", "4", "Float", 8)}</Attribute>'
        f'<Attribute Name="k" Center="Cell">{item(f"k{step}", "2", "Int", 4)}</Attribute></Grid>'
        for step in range(3)
    )
    (folder / "a.xdmf").write_text(
        '<Xdmf Version="3.0"><Domain><Grid GridType="Uniform"><Topology TopologyType="Triangle">'
        f'{item("cells", "2 3", "Int", 8)}</Topology><Geometry GeometryType="XY">'
        f"{item('pos', '4 2', 'Float', 8)}</Geometry></Grid>"
        f'<Grid GridType="Collection" CollectionType="Temporal">{steps}</Grid></Domain></Xdmf>'
    )
    return folder / "a.xdmf"


def test_xdmf_series(tmp_path):
    path = xdmf_series(tmp_path)
    for step, expected in ((0, 0), (1, 10), (2, 20), (-1, 20)):
        data = read_mesh(path, step=step)
        assert data.point_data["T"].tolist() == [expected + i for i in range(4)]
        assert data.cell_data["k"].tolist() == [expected // 10, expected // 10 + 1]
    assert data.pos.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    with pytest.raises(MeshError, match=r"a\.xdmf.*steps 0 to 2.*got `step` 3"):
        read_mesh(path, step=3)


def test_point_clouds(tmp_path):
    pos = np.random.default_rng(0).random((6, 3))
    temperature = np.arange(6, dtype=np.float32)
    np.savez(tmp_path / "a.npz", pos=pos, T=temperature)
    lines = [",".join(map(repr, map(float, row))) for row in np.column_stack([temperature, pos])]
    (tmp_path / "a.csv").write_text("T,X,y,z\n" + "\n".join(lines))
    np.savetxt(tmp_path / "bare.csv", pos, delimiter=",", fmt="%.17g")
    trimesh.PointCloud(pos).export(tmp_path / "a.ply")
    np.savetxt(tmp_path / "a.xyz", np.column_stack([pos, temperature]), fmt="%.17g")
    for name in ("a.npz", "a.csv", "bare.csv", "a.xyz", "a.ply"):
        data = read_mesh(tmp_path / name)
        assert data.get("cells") is None
        assert data.cell_data == {}
        np.testing.assert_allclose(data.pos.numpy(), pos, atol=0 if name != "a.ply" else 1e-7)
    assert bits(read_mesh(tmp_path / "a.npz").point_data["T"]) == bits(temperature)
    assert read_mesh(tmp_path / "a.csv").point_data["T"].tolist() == temperature.tolist()
    assert read_mesh(tmp_path / "a.xyz").point_data["column_3"].tolist() == temperature.tolist()


# --- round trips ---------------------------------------------------------------------------------

FLOATS = st.sampled_from([np.float32, np.float64])


@st.composite
def meshes(draw, types=tuple(NODES_OF_TYPE), one_type=False, shapes=((), (3,), (4,))):
    """A Data with random cells and fields, any bit pattern in the floats."""
    num_nodes = draw(st.integers(30, 40))
    dim = draw(st.sampled_from([2, 3]))
    dtype = draw(FLOATS)
    finite = st.floats(-1e3, 1e3, width=32)
    pos = draw(hnp.arrays(dtype, (num_nodes, dim), elements=finite, fill=finite))
    if dim == 3:
        pos[0, 2] = 1.0
    kinds = draw(st.lists(st.sampled_from(types), min_size=1, max_size=6))
    kinds = kinds[:1] * len(kinds) if one_type else kinds
    cells = np.full((len(kinds), max(NODES_OF_TYPE[k] for k in kinds)), -1, np.int32)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    for row, kind in enumerate(kinds):
        cells[row, : NODES_OF_TYPE[kind]] = rng.permutation(num_nodes)[: NODES_OF_TYPE[kind]]
    names = st.text("abcé <>&\"'%0_.μ", min_size=1, max_size=6).filter(str.strip)

    def fields(rows):
        def values(shape):
            return hnp.arrays(draw(FLOATS), (rows, *shape), elements={"allow_nan": True})

        found = draw(st.dictionaries(names, st.sampled_from(shapes), max_size=2))
        return {name: torch.from_numpy(draw(values(shape))) for name, shape in found.items()}

    return Data(
        pos=torch.from_numpy(pos),
        cells=torch.from_numpy(cells),
        cell_types=torch.tensor(kinds, dtype=torch.int8),
        point_data=fields(num_nodes),
        cell_data=fields(len(kinds)),
    )


def assert_same(found, wanted):
    assert bits(found.pos) == bits(wanted.pos)
    assert torch.equal(found.cells, wanted.cells)
    assert torch.equal(found.cell_types, wanted.cell_types)
    for kind in ("point_data", "cell_data"):
        assert found[kind].keys() == wanted[kind].keys()
        for name in found[kind]:
            assert bits(found[kind][name]) == bits(wanted[kind][name]), name


ROUND_TRIP = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
@given(data=meshes())
@ROUND_TRIP
def test_round_trip_is_exact(tmp_path, suffix, data):
    write_mesh(tmp_path / f"a{suffix}", data)
    assert_same(read_mesh(tmp_path / f"a{suffix}"), data)


XDMF_TYPES = (5, 9, 10, 12, 13, 14, 22, 23, 24, 25, 26, 27, 28, 29)


@given(data=meshes(XDMF_TYPES, one_type=True, shapes=((), (3,))))
@ROUND_TRIP
def test_round_trip_of_xdmf_is_exact(tmp_path, data):
    write_mesh(tmp_path / "a.xdmf", data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.xdmf", "a.xdmf.h5"]
    found = read_mesh(tmp_path / "a.xdmf")
    assert_same(found, data)


def test_round_trip_of_all_that_vtk_has(tmp_path, vtk_grid):
    """Polylines, strips and polygons, and all types of arrays, through a file of VTK and back."""
    vtk_grid.save(tmp_path / "a.vtu")
    write_mesh(tmp_path / "b.vtu", read_mesh(tmp_path / "a.vtu"))
    assert_same_as_vtk(read_mesh(tmp_path / "b.vtu"), vtk_grid)
    assert_same_as_vtk(
        read_mesh(tmp_path / "b.vtu"), pytest.importorskip("pyvista").read(tmp_path / "b.vtu")
    )


def test_xdmf_of_triangles_and_quads(tmp_path, gmsh_mesh):
    data = read_mesh(gmsh_mesh("mixed.msh", quads=True)[0])
    write_mesh(tmp_path / "a.xdmf", data)
    assert_same(read_mesh(tmp_path / "a.xdmf"), data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prediction_opens_in_meshio_and_paraview(tmp_path, gmsh_mesh, dtype):
    """The road of the project: a file of Gmsh in, the same mesh with new fields out."""
    path, _ = gmsh_mesh("in.msh", order=2)
    data = read_mesh(path)
    generator = torch.Generator().manual_seed(0)
    fields = {
        "stress": torch.randn(data.num_nodes, generator=generator, dtype=dtype),
        "displacement": torch.randn(data.num_nodes, 2, generator=generator, dtype=dtype),
    }
    write_mesh(tmp_path / "out.vtu", data, fields)
    assert [p.name for p in tmp_path.iterdir()] == ["out.vtu"]
    wanted = torch.nn.functional.pad(fields["displacement"], (0, 1))
    again, other = read_mesh(tmp_path / "out.vtu"), meshio.read(tmp_path / "out.vtu")
    assert torch.equal(again.cells, data.cells)
    for point_data in (again.point_data, other.point_data):
        assert bits(point_data["stress"]) == bits(fields["stress"])
        assert bits(point_data["displacement"]) == bits(wanted)
        assert bits(point_data["gmsh:dim_tags"]) == bits(data.point_data["gmsh:dim_tags"])
    assert other.points.shape == (data.num_nodes, 3)
    assert not other.points[:, 2].any()
    pv = pytest.importorskip("pyvista")
    grid = pv.read(tmp_path / "out.vtu")
    assert_same_as_vtk(again, _flat(grid))
    assert bits(grid.point_data["displacement"]) == bits(wanted)


def _flat(grid):
    """The grid, with plane points as they are in a Data."""

    class Flat:
        points = np.ascontiguousarray(grid.points[:, :2])
        celltypes, cell_connectivity = grid.celltypes, grid.cell_connectivity
        point_data, cell_data = grid.point_data, grid.cell_data

    return Flat


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf"])
def test_point_cloud_gets_a_vertex_for_every_node(tmp_path, suffix):
    data = Data(pos=torch.rand(5, 3))
    write_mesh(tmp_path / f"a{suffix}", data, {"T": torch.arange(5.0)})
    found = read_mesh(tmp_path / f"a{suffix}")
    assert found.cells.tolist() == [[i] for i in range(5)]
    assert bits(found.pos) == bits(data.pos)


def test_cells_without_types_are_guessed_or_refused(tmp_path):
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    data = Data(pos=square, cells=torch.tensor([[0, 1, 2], [0, 2, 3]]))
    write_mesh(tmp_path / "a.vtu", data, {"T": torch.arange(4)})
    assert read_mesh(tmp_path / "a.vtu").cell_types.tolist() == [5, 5]
    with pytest.raises(MeshError, match="cell_types"):
        write_mesh(tmp_path / "b.vtu", Data(pos=square, cells=torch.tensor([[0, 1, 2, 3, 0]])))


def test_read_meshes_make_a_batch(tmp_path):
    write_mesh(tmp_path / "a.vtu", Data(pos=torch.rand(4, 3)), {"T": torch.rand(4)})
    batch = Batch.from_data_list([read_mesh(tmp_path / "a.vtu")] * 2)
    assert batch.point_data["T"].shape == (8,)


@pytest.mark.parametrize("name", ["a.vtu", "a.xdmf"])
def test_failed_write_leaves_the_old_file(tmp_path, name):
    write_mesh(tmp_path / name, Data(pos=torch.rand(4, 3)))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(MeshError, match=f"{name}.*cannot be written.*complex"):
        write_mesh(tmp_path / name, Data(pos=torch.rand(4, 3)), {"z": torch.ones(4) * 1j})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


# --- between nodes and cells ---------------------------------------------------------------------


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
    torch.testing.assert_close(nodes, torch.tensor([3.0, 5.0, 5.0, 6.0, 0.0]))
    means = node_to_cell(data, torch.tensor([3.0, 0, 6, 9, 7]))
    torch.testing.assert_close(means, torch.tensor([3.0, 5.0, 3.0]))
    with pytest.raises(MeshError, match=r"values.*\[2\], expected 3 rows"):
        cell_to_node(data, torch.ones(2))


# --- bad input -----------------------------------------------------------------------------------

OFF = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 1\n3 0 1 2\n"
VTK = "# vtk DataFile Version 3.0\nt\nASCII\nDATASET UNSTRUCTURED_GRID\nPOINTS {n} float\n{pos}\n"
TRIANGLE = VTK.format(n=3, pos="0 0 0 1 0 0 0 1 1") + "CELLS 1 4\n3 0 1 2\nCELL_TYPES 1\n5\n"
MSH2 = (
    "$MeshFormat\n2.2 0 8\n$EndMeshFormat\n$Nodes\n{n}\n1 0 0 0\n2 1 0 0\n{tag} 0 1 1\n$EndNodes\n"
    "$Elements\n1\n1 2 2 0 1 1 2 3\n$EndElements\n"
)
MSH4 = (
    "$MeshFormat\n4.1 0 8\n$EndMeshFormat\n$Nodes\n1 {n} 1 3\n2 1 0 {n}\n1\n2\n{tag}\n0 0 0\n"
    "1 0 0\n0 1 1\n$EndNodes\n$Elements\n1 {k} 1 1\n2 1 2 {k}\n1 1 2 3\n$EndElements\n"
)
INP = "*NODE\n1, 0, 0, 0\n2, 1, 0, 0\n3, 0, 1, 1\n*ELEMENT, TYPE=S3\n1, 1, 2, 3\n"
PLY = (
    "ply\nformat ascii 1.0\nelement vertex {n}\nproperty float x\nproperty float y\n"
    "property float z\n{more}end_header\n0 0 0 0\n"
)


def vtu(points="0 0 0 1 0 0 0 1 1", cells="0 1 2", data="", n=3, kind=5):
    def array(name, values, dtype, more=""):
        return f'<DataArray type="{dtype}" Name="{name}" format="ascii"{more}>{values}</DataArray>'

    return (
        '<VTKFile type="UnstructuredGrid" version="1.0"><UnstructuredGrid>'
        f'<Piece NumberOfPoints="{n}" NumberOfCells="1"><PointData>{data}</PointData><Points>'
        + array("Points", points, "Float64", ' NumberOfComponents="3"')
        + f"</Points><Cells>{array('connectivity', cells, 'Int64')}"
        + f"{array('offsets', '3', 'Int64')}{array('types', kind, 'UInt8')}"
        "</Cells></Piece></UnstructuredGrid></VTKFile>"
    )


def twice_in_a_zip():
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for _ in range(2):
            archive.writestr("pos.npy", b"")
    return file.getvalue()


TEMPERATURE = '<DataArray type="Float32" Name="T" format="ascii">{}</DataArray>'
GOOD = {
    "a.off": OFF,
    "a.vtk": TRIANGLE,
    "a.msh": MSH2.format(n=3, tag=3),
    "b.msh": MSH4.format(n=3, k=1, tag=3),
    "a.inp": INP,
    "a.ply": PLY.format(n=1, more=""),
    "a.vtu": vtu(data=TEMPERATURE.format("1 2 3")),
}
BILLION = 10**9
BAD = {
    "unknown extension": ("a.doc", "x", r"'\.doc'.*expected one of \.vtu"),
    "empty": ("a.vtu", "", r"empty \(0 bytes\)"),
    "other contents": ("a.vtu", OFF, r"ParseError.*extension"),
    "other contents of trimesh": ("a.off", TRIANGLE, "cannot be read"),
    "no nodes": (
        "a.vtk",
        VTK.format(n=0, pos="") + "CELLS 0 0\nCELL_TYPES 0\n",
        "cannot be read|N > 0",
    ),
    "no nodes in a VTU": ("a.vtu", vtu(n=0), "no nodes"),
    "no nodes in a PLY": ("a.ply", PLY.format(n=0, more=""), "."),
    "NaN coordinate": ("a.vtu", vtu("0 0 0 1 nan 0 0 1 1"), r"1 of 3 nodes.*NaN.*node 1"),
    "infinite coordinate": ("a.csv", "x,y\n0,0\n1,inf\n", r"1 of 2 nodes.*infinite.*node 1"),
    "missing node": ("a.vtu", vtu(cells="0 1 3"), "nodes 0 to 3, expected 0 to 2"),
    "negative node": ("a.vtu", vtu(cells="-1 1 2"), "nodes -1 to 2, expected 0 to 2"),
    "missing node in legacy VTK": ("a.vtk", TRIANGLE.replace("3 0 1 2", "3 0 1 7"), "nodes 0 to 7"),
    "missing node in MSH 2": ("a.msh", MSH2.format(n=3, tag=4), "."),
    "missing node in MSH 4": ("a.msh", MSH4.format(n=3, k=1, tag=4), "nodes -1 to 1"),
    "missing node in INP": ("a.inp", INP.replace("1, 1, 2, 3", "1, 1, 2, 9"), r"KeyError: .*9"),
    "missing node in OFF": ("a.off", OFF.replace("3 0 1 2", "3 0 1 5"), "outside the range"),
    "unknown cell": ("a.vtu", vtu(kind=99), "unknown VTK type 99"),
    "polyhedron": ("a.vtu", vtu(kind=42), "unknown VTK type 42"),
    "unknown cell in MSH": (
        "a.msh",
        MSH2.format(n=3, tag=3).replace("1 2 2 0", "1 999 2 0"),
        "999",
    ),
    "unknown cell in INP": ("a.inp", INP.replace("S3", "XYZ"), "XYZ"),
    "short field": ("a.vtu", vtu(data=TEMPERATURE.format("1 2")), "'T' has 2 values, expected 3"),
    "long field": (
        "a.vtu",
        vtu(data=TEMPERATURE.format("1 2 3 4")),
        "'T' has 4 values, expected 3",
    ),
    "short field in legacy VTK": (
        "a.vtk",
        TRIANGLE + "POINT_DATA 3\nSCALARS T float\nLOOKUP_TABLE default\n1 2\n",
        "T",
    ),
    "one name twice": (
        "a.vtu",
        vtu(data=TEMPERATURE.format("1 2 3") * 2),
        "2 arrays called 'T' in PointData",
    ),
    "one name twice in legacy VTK": (
        "a.vtk",
        TRIANGLE + "POINT_DATA 3\n" + "SCALARS T float\nLOOKUP_TABLE default\n1 2 3\n" * 2,
        "2 point fields called 'T'",
    ),
    "one name twice in CSV": ("a.csv", "x,y,T,T\n0,0,1,2\n", "all different"),
    "one name twice in PLY": (
        "a.ply",
        PLY.format(n=1, more="property float T\nproperty float T\n"),
        "2 vertex fields called 'T'",
    ),
    "text field": ("a.csv", "x,y,T\n0,0,hot\n", "hot"),
    "no x": ("a.csv", "a,b\n0,0\n", "expected x, y"),
    "name that is not UTF-8": ("a.csv", b"x,y,\xff\n0,0,1\n", "UnicodeDecodeError"),
    "XML name that is not UTF-8": (
        "a.vtu",
        vtu(data=TEMPERATURE.format("1 2 3")).encode().replace(b'"T"', b'"\xff"'),
        "ParseError",
    ),
    "legacy name that is not UTF-8": (
        "a.vtk",
        (TRIANGLE + "POINT_DATA 3\nSCALARS T float\nLOOKUP_TABLE default\n1 2 3\n")
        .encode()
        .replace(b"T float", b"\xff float"),
        "UnicodeDecodeError",
    ),
    "pickle as NPZ": ("a.npz", pickle.dumps({"pos": [1]}), "not a zip"),
    "text as MED": ("a.med", "hello", "not an HDF5 file"),
    "pickle as CGNS": ("a.cgns", pickle.dumps([1]), "not an HDF5 file"),
    "a billion triangles": (
        "a.stl",
        b"\0" * 80 + struct.pack("<I", BILLION) + b"\0" * 50,
        "1,000,000,000",
    ),
    "a billion nodes in PLY": ("a.ply", PLY.format(n=BILLION, more=""), "1,000,000,000 vertex"),
    "a billion nodes in VTK": ("a.vtk", VTK.format(n=BILLION, pos="0 0 0"), "1,000,000,000 points"),
    "a billion nodes in VTU": ("a.vtu", vtu(n=BILLION), "expected 3,000,000,000"),
    "a billion nodes in MSH 2": ("a.msh", MSH2.format(n=BILLION, tag=3), "1,000,000,000 Nodes"),
    "a billion nodes in MSH 4": (
        "a.msh",
        MSH4.format(n=BILLION, k=1, tag=3),
        "1,000,000,000 Nodes",
    ),
    "a billion cells in MSH 4": (
        "a.msh",
        MSH4.format(n=3, k=BILLION, tag=3),
        "1,000,000,000 Elements",
    ),
    "a billion as a tag in MSH 2": ("a.msh", MSH2.format(n=3, tag=BILLION), "as a node tag"),
    "a billion as a tag in MSH 4": ("a.msh", MSH4.format(n=3, k=1, tag=BILLION), "as a node tag"),
    "a billion nodes in OFF": (
        "a.off",
        OFF.replace("3 1 0", f"{BILLION} 1 0", 1),
        "cannot be read",
    ),
    "a billion in a set": (
        "a.inp",
        INP + f"*NSET, NSET=all, GENERATE\n1, {BILLION}, 1\n",
        "generated set",
    ),
    "a billion voxels": (
        "a.vtk",
        "# vtk DataFile Version 3.0\nt\nASCII\nDATASET STRUCTURED_POINTS\n"
        "DIMENSIONS 1000 1000 1000\nORIGIN 0 0 0\nSPACING 1 1 1\n",
        "1,000,000,000 dimensions",
    ),
    "endless include": ("a.inp", "*INCLUDE, INPUT=/dev/zero\n" + INP, "not a regular file"),
    "include of itself": ("a.inp", "*INCLUDE, INPUT=a.inp\n" + INP, "more than 8 deep"),
    "arrays outside": (
        "a.xdmf",
        '<Xdmf Version="3.0"><Domain><Grid><Geometry GeometryType="XYZ"><DataItem Format="Binary"'
        ' Dimensions="9 3">/dev/zero</DataItem></Geometry></Grid></Domain></Xdmf>',
        "not a regular file",
    ),
    "unfinished Nastran": ("a.bdf", "BEGIN BULK\n", "no ENDDATA"),
    "unfinished STL": ("a.stl", "solid a\nfacet normal 0 0 1\n", "endsolid"),
    "one name twice in NPZ": ("a.npz", twice_in_a_zip(), "called 'pos.npy'"),
    "node 0 in MSH 2": (
        "a.msh",
        MSH2.format(n=3, tag=3).replace("1 2 3\n$EndE", "1 2 0\n$EndE"),
        "node 0",
    ),
    "a field in another order in MSH": (
        "a.msh",
        MSH2.format(n=3, tag=3)
        + '$NodeData\n1\n"T"\n1\n0.0\n3\n0\n1\n3\n1 1.0\n3 3.0\n2 2.0\n$EndNodeData\n',
        "field 'T' has 3 values in an order of their own",
    ),
    "one name twice in MSH": (
        "a.msh",
        MSH2.format(n=3, tag=3)
        + 2 * '$NodeData\n1\n"T"\n1\n0.0\n3\n0\n1\n3\n1 1.0\n2 2.0\n3 3.0\n$EndNodeData\n',
        "called 'NodeData T'",
    ),
    "unfinished MSH": ("a.msh", MSH2.format(n=3, tag=3)[:-14], "not closed"),
}


@pytest.mark.parametrize("name", GOOD)
def test_templates_of_the_bad_files_are_good(tmp_path, name):
    (tmp_path / name).write_text(GOOD[name])
    assert read_mesh(tmp_path / name).num_nodes in (1, 3)


@pytest.mark.parametrize("case", BAD)
def test_bad_files_are_one_clear_error(tmp_path, capfd, case):
    name, content, message = BAD[case]
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    start = time.perf_counter()
    with pytest.raises(MeshError, match=message) as caught:
        read_mesh(path)
    assert time.perf_counter() - start < 5
    assert str(path.name) in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_library_error_is_in_the_message_and_chained(tmp_path):
    (tmp_path / "a.inp").write_text(INP.replace("S3", "XYZ"))
    with pytest.raises(MeshError, match="Element type not available: XYZ") as caught:
        read_mesh(tmp_path / "a.inp")
    assert type(caught.value.__cause__).__name__ == "ReadError"


def test_paths_that_are_no_files(tmp_path):
    (tmp_path / "folder.vtu").mkdir()
    (tmp_path / "loop.vtu").symlink_to(tmp_path / "loop.vtu")
    (tmp_path / "nowhere.vtu").symlink_to(tmp_path / "missing.vtu")
    os.mkfifo(tmp_path / "pipe.vtu")
    for name, message in {
        "missing.vtu": "no such file",
        "nowhere.vtu": "a link to nothing",
        "folder.vtu": "is a directory",
        "loop.vtu": "cannot be opened",
        "pipe.vtu": "not a regular file",
        "nul\0.vtu": "cannot be opened",
    }.items():
        with pytest.raises(MeshError, match=message):
            read_mesh(tmp_path / name)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_forbidden_files(tmp_path):
    path = tmp_path / "a.vtu"
    path.write_text(vtu())
    path.chmod(0)
    with pytest.raises(MeshError, match=r"a\.vtu.*permissions"):
        read_mesh(path)


def test_forbidden_file_as_the_system_reports_it(tmp_path, monkeypatch):
    (tmp_path / "a.vtu").write_text(vtu())

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "stat", refuse)
    with pytest.raises(MeshError, match=r"a\.vtu.*permissions.*Permission denied"):
        read_mesh(tmp_path / "a.vtu")


class Explosive:
    """A pickle that would leave a trace if it were ever loaded."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_nothing_in_a_file_is_executed(tmp_path):
    trace = tmp_path / "trace"
    np.savez(tmp_path / "a.npz", pos=np.array([Explosive(trace)], dtype=object))
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("pos.npy", pickle.dumps(Explosive(trace)))
    with zipfile.ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("anything.txt", "no arrays")
    (tmp_path / "d.npz").write_bytes(pickle.dumps(Explosive(trace)))
    for name in ("a.npz", "b.npz", "c.npz", "d.npz"):
        with pytest.raises(MeshError, match=name[0]):
            read_mesh(tmp_path / name)
    assert not trace.exists()


def test_hdf5_that_promises_more_than_it_holds(tmp_path):
    with h5py.File(tmp_path / "a.med", "w") as file:
        file.create_dataset("ENS_MAA/m/NOE/COO", (BILLION,), "f8", chunks=(1000,))
    with pytest.raises(MeshError, match=r"a\.med.*8,000,000,000 bytes of 'ENS_MAA/m/NOE/COO'"):
        read_mesh(tmp_path / "a.med")
    xdmf_series(tmp_path)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file.create_dataset("big", (BILLION,), "f8", chunks=(1000,))
    with pytest.raises(MeshError, match=r"a\.h5.*8,000,000,000 bytes of 'big'"):
        read_mesh(tmp_path / "a.xdmf")


def test_gltf_that_promises_more_than_it_holds(tmp_path):
    files = trimesh.Scene(SPHERE).export(file_type="gltf")
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    tree = json.loads((tmp_path / "model.gltf").read_text())
    tree["accessors"][0]["count"] = BILLION
    (tmp_path / "model.gltf").write_text(json.dumps(tree))
    with pytest.raises(MeshError, match=r"model\.gltf.*1,000,000,000 items of an accessor"):
        read_mesh(tmp_path / "model.gltf")


def test_crash_and_hang_of_vtk_are_errors(tmp_path, monkeypatch):
    """VTK's own readers run in a process of their own."""
    pytest.importorskip("pyvista")
    (tmp_path / "a.foam").touch()
    child = tmp_path / "child.py"
    child.write_text("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
    monkeypatch.setattr(mesh_formats.vtk_child, "__file__", str(child))
    with pytest.raises(MeshError, match=r"a\.foam.*status -11"):
        read_mesh(tmp_path / "a.foam")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"T": torch.ones(3)}, r"'T' has shape \[3\], expected 4 rows"),
        ({"T": torch.tensor(1.0)}, r"'T' has shape \[\], expected 4 rows"),
        ({"old": torch.ones(4)}, "already has a node field 'old'.*old_predicted"),
        ({"": torch.ones(4)}, "no printable name"),
        ({"a\nb": torch.ones(4)}, "no printable name"),
        ({"\udcff": torch.ones(4)}, "not UTF-8"),
    ],
)
def test_bad_fields_are_not_written(tmp_path, fields, message):
    data = Data(pos=torch.rand(4, 3), point_data={"old": torch.ones(4)})
    with pytest.raises(MeshError, match=message):
        write_mesh(tmp_path / "a.vtu", data, fields)
    assert not list(tmp_path.iterdir())


def test_bad_meshes_are_not_written(tmp_path):
    with pytest.raises(MeshError, match=r"\.stl.*expected one of \.vtu"):
        write_mesh(tmp_path / "a.stl", Data(pos=torch.rand(4, 3)))
    with pytest.raises(MeshError, match=r"\[4, 1\], expected"):
        write_mesh(tmp_path / "a.vtu", Data(pos=torch.rand(4, 1)))
    with pytest.raises(MeshError, match="nodes 0 to 9, expected 0 to 3"):
        write_mesh(tmp_path / "a.vtu", Data(pos=torch.rand(4, 2), cells=torch.tensor([[0, 1, 9]])))
    (tmp_path / "file").touch()
    with pytest.raises(MeshError, match=r"cannot be written.*(NotADirectory|FileExists)"):
        write_mesh(tmp_path / "file" / "a.vtu", Data(pos=torch.rand(4, 3)))


# --- damage --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seeds(tmp_path_factory, gmsh_mesh):
    """Real files of the formats that are read in this process, name -> bytes."""
    folder = tmp_path_factory.mktemp("seeds")
    paths = [
        gmsh_mesh("2a.msh", version=2.2)[0],
        gmsh_mesh("2b.msh", version=2.2, binary=True)[0],
        gmsh_mesh("4a.msh", version=4.1)[0],
        gmsh_mesh("4b.msh", version=4.1, binary=True)[0],
        *(gmsh_mesh(f"g{suffix}")[0] for suffix in (".vtk", ".inp", ".bdf", ".med", ".stl")),
    ]
    for suffix in (".stl", ".ply", ".obj", ".off", ".glb"):
        paths.append(folder / f"t{suffix}")
        trimesh.creation.box().export(paths[-1])
    cloud = np.random.default_rng(0).random((9, 3))
    np.savez(folder / "c.npz", pos=cloud, T=cloud[:, 0])
    np.savetxt(folder / "c.xyz", cloud)
    np.savetxt(folder / "c.csv", cloud, delimiter=",", header="x,y,z", comments="")
    paths += [folder / f"c{suffix}" for suffix in (".npz", ".xyz", ".csv")]
    data = Data(pos=torch.rand(9, 3), cells=torch.arange(8).reshape(2, 4))
    for name in ("w.vtu", "w.vtk"):
        write_mesh(folder / name, data, {"T": torch.rand(9), "v": torch.rand(9, 3)})
        paths.append(folder / name)
    (folder / "x.vtu").write_text(vtu(data=TEMPERATURE.format("1 2 3")))
    paths += [folder / "x.vtu", xdmf_series(folder)]
    contents = {path.name: path.read_bytes() for path in paths}
    for path in paths:
        assert read_mesh(path).num_nodes
    return contents


DAMAGE = st.one_of(
    st.tuples(st.just("cut"), st.floats(0, 1), st.just(b"")),
    st.tuples(st.just("flip"), st.floats(0, 1), st.binary(min_size=1, max_size=3)),
    st.tuples(st.just("delete"), st.floats(0, 1), st.binary(min_size=1, max_size=20)),
    st.tuples(
        st.just("insert"), st.floats(0, 1), st.text("0123456789 -\n", min_size=1).map(str.encode)
    ),
)


@given(choice=st.integers(0, 10**6), damage=st.lists(DAMAGE, min_size=1, max_size=3))
@settings(
    max_examples=max(600, settings().max_examples),
    deadline=5000,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_damaged_files_are_read_or_refused(tmp_path, seeds, choice, damage):
    """More of it, with statistics: add `--hypothesis-profile fuzz --hypothesis-show-statistics`."""
    name = sorted(seeds)[choice % len(seeds)]
    content = bytearray(seeds[name])
    for kind, where, what in damage:
        start = int(where * len(content))
        if kind == "cut":
            content = content[: max(start, 1)]
        elif kind == "insert":
            content[start:start] = what
        else:
            content[start : start + len(what)] = what if kind == "flip" else b""
    path = tmp_path / name
    path.write_bytes(content or b"\0")
    try:
        data = read_mesh(path)
    except MeshError as refused:
        event("refused")
        message = str(refused)
    else:
        event("read")
        message = f"{name} is read"
        assert torch.isfinite(data.pos).all()
    assert name in message
