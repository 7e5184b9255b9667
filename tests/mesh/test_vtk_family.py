"""What VTK itself reads of its own formats, and series of XDMF.

Kinds: images, rectilinear and structured grids, collections of steps, pieces with ghost cells,
blocks that lack a field, VTKHDF; legacy files with voxels, strips and poly-lines. XDMF:
meshes that move, functions in several series, series that differ in steps, times or meshes,
checkpoints; mixed meshes with points, lines and cells of order 2 are written and read back, or
refused by name.
"""

import meshio
import numpy as np
import pytest
import torch
from mesh_files import NODES_OF_TYPE, assert_same, assert_same_as_vtk, measure

from lrsa_geo.mesh import MeshData, MeshError, read_mesh, write_mesh

pv = pytest.importorskip("pyvista")


def image():
    grid = pv.ImageData(dimensions=(3, 4, 2))
    grid["p"], grid.cell_data["c"] = np.arange(24.0), np.arange(6)
    return grid


@pytest.mark.parametrize("suffix", [".vti", ".vts", ".vtr", ".vtkhdf"])
def test_one_grid(tmp_path, suffix):
    grid = {
        ".vti": image,
        ".vts": lambda: image().cast_to_structured_grid(),
        ".vtr": lambda: image().cast_to_rectilinear_grid(),
        ".vtkhdf": lambda: image().cast_to_unstructured_grid(),
    }[suffix]()
    path = tmp_path / f"a{suffix}"
    if suffix == ".vtkhdf":
        writer = pytest.importorskip("vtk").vtkHDFWriter()
        writer.SetInputData(grid)
        writer.SetFileName(str(path))
        writer.Write()
    else:
        grid.save(path)
    assert_same_as_vtk(read_mesh(path), pv.read(path).cast_to_unstructured_grid())


def test_a_collection_of_steps(tmp_path):
    grid = image().cast_to_unstructured_grid()
    for step in range(3):
        grid["p"] = np.arange(24.0) + 10 * step
        grid.save(tmp_path / f"s{step}.vtu")
    sets = "".join(f'<DataSet timestep="{i}" part="0" file="s{i}.vtu"/>' for i in range(3))
    (tmp_path / "a.pvd").write_text(
        f'<VTKFile type="Collection" version="0.1"><Collection>{sets}</Collection></VTKFile>'
    )
    for step in (0, 1, 2, -1):
        assert read_mesh(tmp_path / "a.pvd", step).point_data["p"][0] == 10 * (step % 3)
    with pytest.raises(MeshError, match=r"a\.pvd.*steps 0 to 2, got `step` 3"):
        read_mesh(tmp_path / "a.pvd", 3)
    (tmp_path / "s1.vtu").unlink()
    with pytest.raises(MeshError, match=r"a\.pvd"):
        read_mesh(tmp_path / "a.pvd", 1)
    empty = '<?xml version="1.0"?><VTKFile type="Collection"><Collection></Collection></VTKFile>'
    (tmp_path / "a.pvd").write_text(empty)
    with pytest.raises(MeshError, match=r"a\.pvd.*lists no data set"):
        read_mesh(tmp_path / "a.pvd")


def test_pieces_without_their_ghosts(tmp_path):
    """Two halves of an image, each with a layer of cells of the other."""
    whole = image().cast_to_unstructured_grid()
    for i, (kept, ghosts) in enumerate((((0, 1, 2, 3), (2, 3)), ((2, 3, 4, 5), ()))):
        piece = whole.extract_cells(kept)
        piece.clear_data()
        piece["p"] = piece.points[:, 0].astype(float)
        mark = np.isin(kept, ghosts).astype(np.uint8)
        piece.cell_data["vtkGhostType"] = mark
        piece.save(tmp_path / f"p{i}.vtu")
    (tmp_path / "a.pvtu").write_text(
        '<VTKFile type="PUnstructuredGrid" version="0.1"><PUnstructuredGrid GhostLevel="1">'
        '<PPointData><PDataArray type="Float64" Name="p"/></PPointData><PCellData>'
        '<PDataArray type="UInt8" Name="vtkGhostType"/></PCellData><PPoints><PDataArray'
        ' type="Float32" NumberOfComponents="3"/></PPoints><Piece Source="p0.vtu"/>'
        '<Piece Source="p1.vtu"/></PUnstructuredGrid></VTKFile>'
    )
    data = read_mesh(tmp_path / "a.pvtu")
    assert len(data.cells) == 6
    assert measure(data, 3) == pytest.approx(6)
    torch.testing.assert_close(data.point_data["p"], data.pos[:, 0].double())


@pytest.mark.parametrize("suffix", [".vtp", ".vti", ".vtr", ".vts"])
def test_pieces_of_every_kind(tmp_path, suffix):
    """As the parallel writers of VTK leave them."""
    vtk_xml = pytest.importorskip("vtkmodules.vtkIOParallelXML")
    grid, kind = {
        ".vtp": (image().extract_surface(algorithm="dataset_surface"), "PolyData"),
        ".vti": (image(), "ImageData"),
        ".vtr": (image().cast_to_rectilinear_grid(), "RectilinearGrid"),
        ".vts": (image().cast_to_structured_grid(), "StructuredGrid"),
    }[suffix]
    grid.clear_data()
    grid["p"] = np.arange(float(grid.n_points))
    path = tmp_path / f"a.p{suffix[1:]}"
    writer = getattr(vtk_xml, f"vtkXMLP{kind}Writer")()
    writer.SetInputData(grid)
    writer.SetFileName(str(path))
    writer.Write()
    assert_same_as_vtk(read_mesh(path), grid.cast_to_unstructured_grid())
    with pytest.raises(MeshError, match=rf"a\.p{suffix[1:]}.*step 0 alone"):
        read_mesh(path, 1)
    for piece in tmp_path.glob(f"*{suffix}"):
        piece.unlink()
    with pytest.raises(MeshError, match=rf"a\.p{suffix[1:]}"):
        read_mesh(path)


def test_blocks_that_lack_a_field_have_nan(tmp_path):
    solid = image().cast_to_unstructured_grid()
    surface = pv.PolyData([[9.0, 0, 0], [10, 0, 0], [9, 1, 0]], faces=[3, 0, 1, 2])
    surface["q"] = np.arange(3.0)
    pv.MultiBlock([solid, surface]).save(tmp_path / "a.vtm")
    data = read_mesh(tmp_path / "a.vtm")
    assert data.point_data["p"][:24].tolist() == list(range(24))
    assert data.point_data["p"][24:].isnan().all()
    assert data.point_data["q"][24:].tolist() == [0, 1, 2]
    assert data.cell_data["c"][:6].tolist() == list(range(6))
    assert len(data.cells) == 7


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("kind", [4, 6, 11])
def test_legacy_files_with_rare_cells(tmp_path, kind, binary):
    pos = np.random.default_rng(0).random((8, 3)).astype(np.float32)
    grid = pv.UnstructuredGrid([8, *range(8), 3, 0, 1, 2], [kind, 5], pos)
    grid.cell_data["c"] = np.arange(2.0)
    grid.save(tmp_path / "a.vtk", binary=binary)
    assert_same_as_vtk(read_mesh(tmp_path / "a.vtk"), pv.read(tmp_path / "a.vtk"))


# --- XDMF ----------------------------------------------------------------------------------------


def series(path, functions, mesh="", moves=False, times=(0, 1, 2)):
    """An XDMF file of a triangle whose nodes move, with series of fields like those of dolfinx."""

    def topology(step):
        pos = np.array([[0, 0], [1, 0], [0, 1]]) + (step if moves else 0)
        return (
            '<Topology TopologyType="Triangle" NumberOfElements="1"><DataItem Format="XML"'
            ' Dimensions="1 3" NumberType="Int">0 1 2</DataItem></Topology>'
            '<Geometry GeometryType="XY"><DataItem Format="XML" Dimensions="3 2"'
            f' NumberType="Float" Precision="8">{" ".join(map(str, pos.ravel()))}</DataItem>'
            "</Geometry>"
        )

    grids = "".join(
        f'<Grid Name="{name}" GridType="Collection" CollectionType="Temporal">'
        + "".join(
            f'<Grid Name="{name}" GridType="Uniform">'
            + (topology(step) if moves or not mesh else mesh)
            + f'<Time Value="{times[step] + shift}"/><Attribute Name="{name}" Center="Node">'
            '<DataItem Format="XML" Dimensions="3" NumberType="Float" Precision="8">'
            f"{value + 10 * step} 1 2</DataItem></Attribute></Grid>"
            for step in range(count)
        )
        + "</Grid>"
        for name, value, count, shift in functions
    )
    first = f'<Grid Name="mesh" GridType="Uniform">{topology(0)}</Grid>' if mesh else ""
    path.write_text(
        '<Xdmf Version="3.0" xmlns:xi="http://www.w3.org/2001/XInclude"><Domain>'
        f"{first}{grids}</Domain></Xdmf>"
    )
    return path


def test_a_mesh_that_moves(tmp_path):
    path = series(tmp_path / "a.xdmf", [("u", 0, 3, 0)], moves=True)
    for step in (0, 1, 2, -1):
        data = read_mesh(path, step)
        assert data.pos[0].tolist() == [step % 3] * 2
        assert data.point_data["u"][0] == 10 * (step % 3)


@pytest.mark.parametrize(
    "pointer",
    [
        "xpointer(/Xdmf/Domain/Grid[@GridType='Uniform'][1]/*[self::Topology or self::Geometry])",
        "xpointer(/Xdmf/Domain/Grid[@Name='mesh']/*[self::Topology or self::Geometry])",
        "xpointer(//Grid[@Name=&quot;mesh&quot;]/*[self::Topology or self::Geometry])",
    ],
)
def test_two_functions_in_two_series(tmp_path, pointer):
    mesh = f'<xi:include xpointer="{pointer}"/>'
    path = series(tmp_path / "a.xdmf", [("u", 0, 3, 0), ("v", 5, 3, 0)], mesh)
    data = read_mesh(path, 2)
    assert (data.point_data["u"][0], data.point_data["v"][0]) == (20, 25)
    assert data.cells.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("functions", "mesh", "message"),
    [
        ([("u", 0, 3, 0), ("v", 5, 2, 0)], "", "series of 2 and 3 steps"),
        ([("u", 0, 3, 0), ("v", 5, 3, 0.5)], "", "series at the times 0 and 0.5 in one step"),
        ([("u", 0, 3, 0), ("u", 5, 3, 0)], "", "2 fields called 'Node u'"),
        ([("u", 0, 3, 0)], '<xi:include xpointer="xpointer(//Grid[@Name=&quot;no&quot;])"/>',
         "does not lead to a mesh"),
    ],
)  # fmt: skip
def test_series_that_do_not_fit_are_refused(tmp_path, functions, mesh, message):
    path = series(tmp_path / "a.xdmf", functions, mesh)
    with pytest.raises(MeshError, match=rf"a\.xdmf: .*{message}"):
        read_mesh(path)


def test_checkpoints_are_refused(tmp_path):
    path = series(tmp_path / "a.xdmf", [("u", 0, 1, 0)])
    text = path.read_text().replace('Center="Node"', 'ItemType="FiniteElementFunction"')
    path.write_text(text)
    with pytest.raises(MeshError, match=r"a\.xdmf: field 'u' is a checkpoint"):
        read_mesh(path)


IN_XDMF = [t for t in NODES_OF_TYPE if t not in (8, 11, 15, 16, 30, 31, 34, 35)]


def apart(*types):
    """Cells of these types at random places, each with nodes of its own."""
    widths = [NODES_OF_TYPE.get(t, 5) for t in types]
    ends = np.cumsum([0, *widths])
    cells = np.full((len(types), max(widths)), -1)
    for i, width in enumerate(widths):
        cells[i, :width] = np.arange(ends[i], ends[i + 1])
    data = MeshData(pos=torch.from_numpy(np.random.default_rng(0).random((ends[-1], 3))))
    data.cells = torch.from_numpy(cells).int()
    data.cell_types = torch.tensor(types, dtype=torch.int8)
    data.point_data = {"p": torch.arange(ends[-1]).double()}
    data.cell_data = {"c": torch.arange(len(types))}
    return data


@pytest.mark.parametrize("other", [1, 3, 5, 12, 25])
@pytest.mark.parametrize("one", IN_XDMF)
def test_mixed_cells_of_xdmf_are_read_back(tmp_path, one, other):
    data = apart(one, other, one)
    write_mesh(tmp_path / "a.xdmf", data)
    assert_same(read_mesh(tmp_path / "a.xdmf"), data)


@pytest.mark.parametrize("kind", [4, 6, 7, 8, 11, 15, 16, 30, 31, 34, 35])
def test_cells_that_xdmf_has_not_are_named(tmp_path, kind):
    with pytest.raises(MeshError, match=rf"a\.xdmf: XDMF has no cells .*type {kind}\); write a"):
        write_mesh(tmp_path / "a.xdmf", apart(kind, 5))
    assert not list(tmp_path.iterdir())


def test_xdmf_of_meshio(tmp_path):
    cells = [("vertex", [[0]]), ("line", [[0, 1]]), ("triangle", [[0, 1, 2]])]
    meshio.Mesh(np.eye(3), cells).write(tmp_path / "a.xdmf")
    assert read_mesh(tmp_path / "a.xdmf").cell_types.tolist() == [1, 3, 5]
