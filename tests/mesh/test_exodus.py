"""Exodus as libMesh, MOOSE, SIERRA and Cubit write it.

Kinds: names of elements; steps; several blocks; cell fields on some blocks, in any order; names
that are not UTF-8; vectors in three fields; extensions; elements that are not read.
"""

import numpy as np
import pytest
from own_places import CUBE, PYRAMID, exodus

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
