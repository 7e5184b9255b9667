"""Nodes beyond the corners, of every format and type, end where they belong.

Kinds: cells of order 2 of Gmsh 2.2, 4.1 (text, binary), MED, UNV, Medit, Nastran and Abaqus as Gmsh
writes them, of Exodus (upright edges before the top ones), of VTU and legacy VTK as VTK writes
them; nodes in another order than the format says; cells of order 3 and more; cells with another
number of nodes than their type has, in whatever format.
"""

import gmsh
import meshio
import numpy as np
import pytest
from own_places import (
    BOTTOM_TOP_UP,
    CUBE,
    PRISM,
    PYRAMID,
    RING3,
    RING4,
    SIDES,
    TETRA,
    TO_APEX,
    WALLS,
    assert_at_places,
    at_places,
    exodus,
)

from lrsa_geo.mesh import MeshError, read_mesh

# Gmsh's number of a type -> VTK's.
TYPES = {8: 21, 9: 22, 10: 28, 11: 24, 12: 29, 13: 32, 14: 74, 16: 23, 17: 25, 18: 26, 19: 27}
NOT_WRITTEN = {  # by Gmsh, or in a wrong way
    ".bdf": (8, 10, 12, 13, 14, 19),
    ".inp": (10, 12, 13, 14),
    ".med": (14,),
    ".unv": (10, 12, 13, 14, 19),
    ".mesh": (10, 12, 13, 14, 16, 17, 18, 19),
    ".vtk": (13, 14, 19),
}


@pytest.fixture(scope="module")
def one_cell(tmp_path_factory):
    """A file of one cell, its nodes at the places that Gmsh says."""
    folder = tmp_path_factory.mktemp("cells")
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.option.setNumber("Mesh.SaveAll", 1)

    def write(name, kind, version=4.1, binary=False):
        gmsh.clear()
        _, dim, _, count, local, _ = gmsh.model.mesh.getElementProperties(kind)
        pos = np.zeros((count, 3))
        pos[:, :dim] = np.reshape(local, (count, dim))
        numbers = np.arange(1, count + 1)
        gmsh.model.addDiscreteEntity(dim, 1)
        gmsh.model.mesh.addNodes(dim, 1, numbers, pos.ravel())
        gmsh.model.mesh.addElements(dim, 1, [kind], [[1]], [numbers])
        gmsh.option.setNumber("Mesh.MshFileVersion", version)
        gmsh.option.setNumber("Mesh.Binary", int(binary))
        gmsh.write(str(folder / name))
        return folder / name

    yield write
    gmsh.finalize()


FORMATS = [
    (".msh", {"version": 2.2}),
    (".msh", {"version": 2.2, "binary": True}),
    (".msh", {"version": 4.1}),
    (".msh", {"version": 4.1, "binary": True}),
    *((suffix, {}) for suffix in (".bdf", ".inp", ".med", ".unv", ".mesh", ".vtk")),
]


@pytest.mark.parametrize(
    ("suffix", "options", "kind"),
    [
        (suffix, options, kind)
        for suffix, options in FORMATS
        for kind in TYPES
        if kind not in NOT_WRITTEN.get(suffix, ())
    ],
)
def test_cells_of_gmsh(one_cell, suffix, options, kind):
    path = one_cell(f"c{kind}{suffix}", kind, **options)
    data = read_mesh(path)
    assert data.cell_types.tolist() == [TYPES[kind]]
    assert_at_places(data)


EXODUS = {
    "HEX20": (25, at_places(CUBE, *(BOTTOM_TOP_UP["cube"][i] for i in (0, 2, 1)))),
    "HEX27": (
        29,
        at_places(
            CUBE,
            *(BOTTOM_TOP_UP["cube"][i] for i in (0, 2, 1)),
            [tuple(range(8))],
            [SIDES[i] for i in (4, 5, 0, 1, 2, 3)],
        ),
    ),
    "WEDGE15": (26, at_places(PRISM, *(BOTTOM_TOP_UP["prism"][i] for i in (0, 2, 1)))),
    "WEDGE18": (32, at_places(PRISM, *(BOTTOM_TOP_UP["prism"][i] for i in (0, 2, 1)), WALLS)),
    "PYRAMID13": (27, at_places(PYRAMID, RING4, TO_APEX)),
    "PYRAMID14": (74, at_places(PYRAMID, RING4, TO_APEX, [(0, 1, 2, 3)])),
    "TETRA10": (24, at_places(TETRA, RING3, [(0, 3), (1, 3), (2, 3)])),
    "TRI6": (22, at_places(TETRA[:3], RING3)),
    "TRISHELL6": (22, at_places(TETRA[:3], RING3)),
    "TRI7": (34, at_places(TETRA[:3], RING3, [(0, 1, 2)])),
    "QUAD8": (23, at_places(CUBE[:4], RING4)),
    "SHELL9": (28, at_places(CUBE[:4], RING4, [(0, 1, 2, 3)])),
    "EDGE3": (21, at_places(TETRA[:2], [(0, 1)])),
}


@pytest.mark.parametrize("name", EXODUS)
def test_cells_of_exodus(tmp_path, name):
    cell_type, pos = EXODUS[name]
    exodus(tmp_path / "a.e", pos, [(name, [np.arange(len(pos))])])
    data = read_mesh(tmp_path / "a.e")
    assert data.cell_types.tolist() == [cell_type]
    assert_at_places(data)


def test_edges_of_a_hexahedron_of_exodus_are_halves(tmp_path):
    exodus(tmp_path / "a.e", EXODUS["HEX20"][1], [("HEX20", [np.arange(20)])])
    assert_at_places(read_mesh(tmp_path / "a.e"), lengths_of_edges=0.5)


@pytest.mark.parametrize("kind", [21, 22, 23, 24, 25, 26, 28, 29, 32, 34])
@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
def test_cells_of_vtk(tmp_path, suffix, kind):
    pv = pytest.importorskip("pyvista")
    cell = pytest.importorskip("vtk").vtkGenericCell.InstantiateCell(kind)
    pos = np.reshape(
        [cell.GetParametricCoords()[i] for i in range(3 * cell.GetNumberOfPoints())], (-1, 3)
    )
    pv.UnstructuredGrid([len(pos), *range(len(pos))], [kind], pos).save(tmp_path / f"a{suffix}")
    assert_at_places(read_mesh(tmp_path / f"a{suffix}"))


@pytest.mark.parametrize("curved", [0.0, 0.2])
@pytest.mark.parametrize("name", ["HEX20", "WEDGE15"])
def test_nodes_in_another_order_are_refused(tmp_path, name, curved):
    """As if the file's order were VTK's; cells may be bent."""
    pv = pytest.importorskip("pyvista")
    cell_type, pos = EXODUS[name]
    pos = pos + curved * np.sin(3 * pos[:, [1, 2, 0]])
    grid = pv.UnstructuredGrid([len(pos), *range(len(pos))], [cell_type], pos)
    for suffix in (".vtu", ".vtk"):
        path = tmp_path / f"a{suffix}"
        grid.save(path)
        with pytest.raises(MeshError, match=rf"a{suffix}: .*type {cell_type} lie on other edges"):
            read_mesh(path)


def test_thin_bent_cells_are_not_taken_for_that(tmp_path):
    """A boundary layer: cells far thinner than their edges are bent."""
    wanted = at_places(CUBE, *BOTTOM_TOP_UP["cube"]) * [1, 1, 1e-3]
    wanted[:, 2] += 0.3 * np.sin(np.pi * wanted[:, 0])
    meshio.Mesh(wanted, [("hexahedron20", [np.arange(20)])]).write(tmp_path / "a.vtu")
    assert read_mesh(tmp_path / "a.vtu").cell_types.tolist() == [25]


@pytest.mark.parametrize("order", [3, 4])
def test_order_3_is_refused(tmp_path, order):
    pv = pytest.importorskip("pyvista")
    rng = np.random.default_rng(0)
    for kind, width in ((69, (order + 1) * (order + 2) // 2), (70, (order + 1) ** 2)):
        grid = pv.UnstructuredGrid([width, *range(width)], [kind], rng.random((width, 3)))
        for suffix in (".vtu", ".vtk"):
            grid.save(tmp_path / f"a{suffix}")
            with pytest.raises(MeshError, match=rf"a\{suffix}: has 1 cells.*save with order 1 or"):
                read_mesh(tmp_path / f"a{suffix}")


def test_order_3_of_gmsh_is_refused(one_cell):
    with pytest.raises(MeshError, match=r"c21\.msh.*'Triangle 10'.*order 1 or 2"):
        read_mesh(one_cell("c21.msh", 21))


@pytest.mark.parametrize(("kind", "width"), [(12, 20), (12, 6), (10, 10), (5, 6), (25, 27)])
def test_cells_of_another_width_are_refused(tmp_path, kind, width):
    """20 nodes of type 12: the first eight are not its corners by any rule."""
    pos = np.random.default_rng(0).random((width, 3))
    types = "".join(
        f'<DataArray type="{dtype}" Name="{name}" format="ascii">{values}</DataArray>'
        for dtype, name, values in (
            ("Int64", "connectivity", " ".join(map(str, range(width)))),
            ("Int64", "offsets", width),
            ("UInt8", "types", kind),
        )
    )
    (tmp_path / "a.vtu").write_text(
        '<VTKFile type="UnstructuredGrid" version="1.0"><UnstructuredGrid>'
        f'<Piece NumberOfPoints="{width}" NumberOfCells="1"><Points>'
        '<DataArray type="Float64" NumberOfComponents="3" format="ascii">'
        + " ".join(map(str, pos.ravel()))
        + f"</DataArray></Points><Cells>{types}</Cells></Piece></UnstructuredGrid></VTKFile>"
    )
    with pytest.raises(MeshError, match=rf"a\.vtu.*type {kind} with {width} nodes, expected"):
        read_mesh(tmp_path / "a.vtu")
