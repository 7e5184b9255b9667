"""Exodus as libMesh, MOOSE, SIERRA and Cubit write it.

Kinds: names of elements; steps; several blocks; cell fields on some blocks, in any order; names
that are not UTF-8; vectors in three fields; extensions; elements that are not read; node sets and
side sets at the nodes by name, with the nodes inside their edges.
"""

import numpy as np
import pytest
from own_places import BOTTOM_TOP_UP, CUBE, PRISM, PYRAMID, SIDES, TETRA, at_places, exodus

from lrsa_geo.data import collect
from lrsa_geo.mesh import MeshError, read_mesh

QUADS = [[0, 0], [1, 0], [1, 1], [0, 1], [2, 0], [2, 1]]
BLOCKS = [("QUAD4", [[0, 1, 2, 3]]), ("QUAD4", [[1, 4, 5, 2]])]


@pytest.mark.parametrize(
    ("name", "cell_type", "nodes"),
    [
        *(("EDGE2", 3, 2), ("BAR", 3, 2), ("BAR2", 3, 2), ("TRUSS", 3, 2), ("BEAM2", 3, 2)),
        *(("TRI3", 5, 3), ("TRISHELL3", 5, 3), ("TRIANGLE", 5, 3), ("SHELL3", 5, 3)),
        *(("QUAD", 9, 4), ("quad4", 9, 4), ("SHELL4", 9, 4), ("SHELL", 9, 4)),
        *(("TETRA", 10, 4), ("TET4", 10, 4), ("HEX", 12, 8), ("HEX8", 12, 8)),
        *(("WEDGE", 13, 6), ("WEDGE6", 13, 6), ("PYRAMID5", 14, 5), ("PYRAMID", 14, 5)),
        ("SPHERE", 1, 1),
    ],
)
def test_names_of_elements(tmp_path, name, cell_type, nodes):
    pos = PYRAMID if cell_type == 14 else CUBE
    exodus(tmp_path / "a.e", pos, [(name, [np.arange(nodes)])])
    data = read_mesh(tmp_path / "a.e")
    assert data.cell_types.tolist() == [cell_type]
    assert sorted(data.cells[0].tolist()) == list(range(nodes))


@pytest.mark.parametrize("name", ["HEX9", "TETRA8", "SUPER", "HEX27", "NFACED"])
def test_elements_that_are_not_read_are_named(tmp_path, name):
    exodus(tmp_path / "a.e", CUBE, [("HEX8", [range(8)]), (name, [[*range(8), 0]])])
    with pytest.raises(MeshError, match=rf"a\.e: block 2 has elements '{name}' of 9 nodes"):
        read_mesh(tmp_path / "a.e")


@pytest.mark.parametrize("suffix", [".e", ".exo", ".ex2", ".exii", ".g"])
def test_steps(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    values = np.arange(6.0) + np.array([[0], [10], [20]])
    exodus(path, QUADS, BLOCKS, [("T", values)], [("s", {0: [[1], [2], [3]]})], (0.0, 1.0, 2.0))
    for step, row in ((0, 0), (1, 1), (2, 2), (-1, 2), (-3, 0)):
        data = read_mesh(path, step)
        assert data.point_data["T"].tolist() == values[row].tolist()
        assert data.cell_data["s"][0] == row + 1
    for step in (3, -4):
        with pytest.raises(MeshError, match=rf"a\{suffix}: has steps 0 to 2, got `step` {step}"):
            read_mesh(path, step)


def test_cell_fields_by_name_on_some_blocks(tmp_path):
    fields = [("stress", {1: [[7.0]]}), ("temp", {0: [[1.0]], 1: [[2.0]]}), ("none", {})]
    exodus(tmp_path / "a.e", QUADS, BLOCKS, (), fields)
    data = read_mesh(tmp_path / "a.e")
    np.testing.assert_array_equal(data.cell_data["stress"], [np.nan, 7])
    np.testing.assert_array_equal(data.cell_data["temp"], [1, 2])
    assert data.cells.tolist() == [[0, 1, 2, 3], [1, 4, 5, 2]]


def test_names_that_are_not_utf8(tmp_path):
    exodus(tmp_path / "a.e", QUADS, BLOCKS, [("Wärme".encode("latin-1"), np.ones((1, 6)))])
    assert list(read_mesh(tmp_path / "a.e").point_data) == ["Wärme"]


def test_vectors(tmp_path):
    names = ("velX", "velY", "velZ", "dispX", "p")
    exodus(tmp_path / "a.e", QUADS, BLOCKS, [(n, np.ones((1, 6)) * i) for i, n in enumerate(names)])
    data = read_mesh(tmp_path / "a.e")
    assert data.point_data.keys() == {"vel", "dispX", "p"}
    assert data.point_data["vel"][0].tolist() == [0, 1, 2]


def test_one_name_twice_is_refused(tmp_path):
    exodus(tmp_path / "a.e", QUADS, BLOCKS, [("T", np.ones((1, 6)))] * 2)
    with pytest.raises(MeshError, match=r"a\.e: has 2 node fields called 'T'"):
        read_mesh(tmp_path / "a.e")


def marked(data, name):
    return data.point_data[name].nonzero()[:, 0].tolist()


@pytest.mark.parametrize(
    ("kind", "pos", "num_sides"),
    [("HEX8", CUBE, 6), ("TETRA4", TETRA, 4), ("WEDGE6", PRISM, 5), ("PYRAMID5", PYRAMID, 5)],
)
def test_sides_are_those_that_vtk_finds(tmp_path, kind, pos, num_sides):
    vtk = pytest.importorskip("vtk")
    sides = [(f"s{i}", [1], [i]) for i in range(1, num_sides + 1)]
    path = tmp_path / "a.e"
    exodus(path, pos, [(kind, [range(len(pos))])], side_sets=sides)
    data = read_mesh(path)
    reader = vtk.vtkExodusIIReader()
    reader.SetFileName(str(path))
    reader.UpdateInformation()
    for i in range(num_sides):
        reader.SetObjectStatus(vtk.vtkExodusIIReader.SIDE_SET, i, 1)
    reader.Update()
    found = reader.GetOutput().GetBlock(4)
    for i in range(num_sides):
        surface = found.GetBlock(i)
        theirs = sorted(tuple(surface.GetPoint(j)) for j in range(surface.GetNumberOfPoints()))
        ours = sorted(map(tuple, data.pos[marked(data, f"s{i + 1}")].float().tolist()))
        assert ours == theirs


def test_sets_with_nodes_inside_edges(tmp_path):
    """All nodes of the top of a HEX27, in Exodus' order, and a node set of the same name."""
    pos = at_places(
        CUBE,
        *(BOTTOM_TOP_UP["cube"][i] for i in (0, 2, 1)),
        [tuple(range(8))],
        [SIDES[i] for i in (4, 5, 0, 1, 2, 3)],
    )
    path = tmp_path / "a.e"
    exodus(
        path,
        pos,
        [("HEX27", [range(27)])],
        [("T", [np.arange(27.0)])],
        node_sets=[("corner", [6]), ("", [0, 1])],
        side_sets=[("top", [1], [6]), ("corner", [1, 1], [1, 2])],
    )
    data = read_mesh(path)
    assert marked(data, "top") == np.flatnonzero(pos[:, 2] == 1).tolist()
    assert marked(data, "nodeset 20") == [0, 1]
    walls = (pos[:, 1] == 0) | (pos[:, 0] == 1)
    assert marked(data, "corner") == sorted({6, *np.flatnonzero(walls).tolist()})
    store, _ = collect([path], tmp_path / "s.h5", targets=["T"], boundary="top", processes=0)
    assert store[0].boundary.nonzero()[:, 0].tolist() == marked(data, "top")


@pytest.mark.parametrize(
    ("pos", "kind", "side", "nodes"),
    [
        (QUADS, "QUAD4", 2, [1, 2]),
        (np.pad(QUADS, ((0, 0), (0, 1)), constant_values=1), "SHELL4", 2, [0, 1, 2, 3]),
        (np.pad(QUADS, ((0, 0), (0, 1)), constant_values=1), "SHELL4", 4, [1, 2]),
        (np.pad(QUADS, ((0, 0), (0, 1)), constant_values=1), "QUAD4", 2, None),
        (QUADS, "QUAD4", 7, None),
    ],
)
def test_sides_of_flat_elements(tmp_path, pos, kind, side, nodes):
    """A shell has two faces before its edges; quads in space are either, and not guessed."""
    exodus(tmp_path / "a.e", pos, [(kind, [[0, 1, 2, 3]])], side_sets=[("s", [1], [side])])
    if nodes is None:
        with pytest.warns(UserWarning, match=r"a\.e: leaves out the set 's'"):
            data = read_mesh(tmp_path / "a.e")
        assert "s" not in data.point_data
    else:
        assert marked(read_mesh(tmp_path / "a.e"), "s") == nodes


def test_sides_of_a_second_block(tmp_path):
    """Cells are numbered through all blocks; a set of a cell that is not there is left out."""
    sides = [("right", [2], [2]), ("lost", [3], [1])]
    exodus(tmp_path / "a.e", QUADS, BLOCKS, side_sets=sides)
    with pytest.warns(UserWarning, match="leaves out the set 'lost'"):
        data = read_mesh(tmp_path / "a.e")
    assert marked(data, "right") == [4, 5]
