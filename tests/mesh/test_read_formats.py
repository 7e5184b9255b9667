"""Files come from programs other than the reader under test, wherever there is one."""

import gmsh
import numpy as np
import pytest
import torch
import trimesh
from mesh_files import NODES_OF_TYPE, assert_same_as_vtk, bits, in_any_order, measure, xdmf_series
from series_files import foam_hexahedron

from lrsa_geo.mesh import MeshError, read_mesh
from lrsa_geo.mesh.formats import vtk_process


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


def test_gmsh_version_4_0(gmsh_mesh):
    """meshio takes it for 4.1."""
    path, nodes = gmsh_mesh("old.msh", version=4.0)
    data = read_mesh(path)
    np.testing.assert_allclose(in_any_order(data.pos), in_any_order(nodes[:, :2]), atol=1e-9)
    assert measure(data, 2) == pytest.approx(0.5)


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


@pytest.mark.parametrize("pieces", [1, 3])
@pytest.mark.parametrize("compressor", ["None", "ZLib", "LZMA", "LZ4"])
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
    (tmp_path / "constant" / "polyMesh").mkdir(parents=True)
    monkeypatch.setattr(vtk_process.importlib.util, "find_spec", lambda name: None)
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

    foam_hexahedron(tmp_path, end=0)
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


@pytest.mark.parametrize(
    "text",
    [
        '"p","Points:0","Points:1","Points:2"\n1,0,0,0\n5,1,0,2\n',
        "Points_0,Points_1,Points_2,p\n0,0,0,1\n1,0,2,5\n",
        "x;y;z;p\n0;0;0;1\n1;0;2;5\n",
        "x\ty\tz\tp\n0\t0\t0\t1\n1\t0\t2\t5\n",
    ],
)
def test_tables_of_points(tmp_path, text):
    """As ParaView and spreadsheets write them."""
    (tmp_path / "a.csv").write_text(text)
    data = read_mesh(tmp_path / "a.csv")
    assert data.pos.tolist() == [[0, 0, 0], [1, 0, 2]]
    assert data.point_data["p"].tolist() == [1, 5]
    assert list(data.point_data) == ["p"]


def test_tables_with_decimal_commas_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("x;y\n0,5;1,0\n1;2\n")
    with pytest.raises(MeshError, match=r"a\.csv: .*'0,5' with commas; write numbers with a point"):
        read_mesh(tmp_path / "a.csv")
