"""Mesh files and comparisons that several test files use."""

import h5py
import numpy as np
import torch

from lrsa_geo.mesh.cells import cell_dimensions, cell_measures

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


def in_any_order(pos):
    return np.array(sorted(np.round(pos, 6).tolist()))


def assert_same_as_vtk(data, grid):
    assert bits(data.pos) == bits(grid.points)
    assert data.cell_types.tolist() == grid.celltypes.tolist()
    flat = data.cells[data.cells >= 0].numpy()
    np.testing.assert_array_equal(flat, grid.cell_connectivity)
    for mine, theirs in ((data.point_data, grid.point_data), (data.cell_data, grid.cell_data)):
        assert mine.keys() == set(theirs.keys())
        for name in mine:
            assert bits(mine[name]) == bits(theirs[name]), name


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


def assert_same(found, wanted):
    assert bits(found.pos) == bits(wanted.pos)
    assert torch.equal(found.cells, wanted.cells)
    assert torch.equal(found.cell_types, wanted.cell_types)
    for kind in ("point_data", "cell_data"):
        assert found[kind].keys() == wanted[kind].keys()
        for name in found[kind]:
            assert bits(found[kind][name]) == bits(wanted[kind][name]), name


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


TEMPERATURE = '<DataArray type="Float32" Name="T" format="ascii">{}</DataArray>'
BILLION = 10**9
GOOD = {
    "a.off": OFF,
    "a.vtk": TRIANGLE,
    "a.msh": MSH2.format(n=3, tag=3),
    "b.msh": MSH4.format(n=3, k=1, tag=3),
    "a.inp": INP,
    "a.ply": PLY.format(n=1, more=""),
    "a.vtu": vtu(data=TEMPERATURE.format("1 2 3")),
}
