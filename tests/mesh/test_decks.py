"""Decks of Abaqus, CalculiX and Nastran: all nodes and cells arrive, or the file is refused.

Kinds, of ``.inp``: comments inside blocks, several node blocks, *INCLUDE and INPUT=, lower case,
elements over several lines, parts and instances with a numbering, a shift and a turn of their own,
sets (generated, of sets, of instances) at the nodes by name, springs and networks beside solids,
unknown elements, an element number that comes twice, cylindrical nodes, nodes that are generated.
Of ``.bdf``: blank continuation lines, free, small and large fields, exponents without a letter,
local coordinate systems (cylindrical, spherical, nested, by nodes), INCLUDE, springs and rigid
links, incomplete cells, missing nodes.
"""

import numpy as np
import pytest
from mesh_files import measure

from lrsa_geo.data import collect
from lrsa_geo.mesh import MeshError, read_mesh

SQUARE = "1, 0., 0.\n2, 1., 0.\n3, 1., 1.\n4, 0., 1.\n"
CPS4 = "*ELEMENT, TYPE=CPS4\n1, 1, 2, 3, 4\n"


def deck(path, text):
    path.write_text(text)
    return read_mesh(path)


@pytest.mark.parametrize(
    "text",
    [
        f"*NODE\n{SQUARE[:20]}** note\n{SQUARE[20:]}{CPS4}",
        f"*NODE\n{SQUARE}{CPS4[:20]}\n** note\n{CPS4[20:]}",
        f"*NODE\n{SQUARE[:20]}*NODE, NSET=more\n{SQUARE[20:]}{CPS4}",
        f"*node , nset = all\n{SQUARE}*element,\n type=cps4 , elset=e\n1, 1, 2,\n3, 4\n",
        f"** first\n*HEADING\ntitle\n*NODE\n{SQUARE}{CPS4}*NSET, NSET=A, GENERATE\n1, 4\n",
        f"*NODE\n{SQUARE}{CPS4}*STEP\n*NODE PRINT\nU\n*NODE FILE\nU\n*END STEP\n",
        f"*PART, NAME=a\n*NODE\n{SQUARE}{CPS4}*END PART\n",
        f"*NODE\n{SQUARE.replace('1., 1.', '1.D0, 1.0E+00')}{CPS4}",
        f"\ufeff*NODE\n{SQUARE}* ELEMENT , TYPE = CPS4\n1, 1, 2, 3, 4\n",
        f"*NODE\n{SQUARE}{CPS4}{CPS4}".replace("\n", "\r\n"),
        f"*NODE\n{SQUARE}{CPS4}1, 1, 2, 3, 4\n*PART, NAME=empty\n*END PART\n",
    ],
)
def test_one_square_however_it_is_written(tmp_path, text):
    data = deck(tmp_path / "a.inp", text)
    assert data.pos.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert data.cells.tolist() == [[0, 1, 2, 3]]


def test_included_files(tmp_path):
    (tmp_path / "mesh.inp").write_text("*INCLUDE, INPUT=nodes.inp\n" + CPS4)
    (tmp_path / "nodes.inp").write_text("*Node, input=list.txt\n")
    (tmp_path / "list.txt").write_text(SQUARE)
    data = deck(tmp_path / "a.inp", "*include, input=mesh.inp\n*NSET, NSET=n\n1, 2\n")
    assert measure(data, 2) == 1.0
    (tmp_path / "list.txt").unlink()
    with pytest.raises(MeshError, match=r"a\.inp: refers to .*list\.txt: no such file"):
        read_mesh(tmp_path / "a.inp")


def test_parts_are_placed_by_their_instances(tmp_path):
    """Two parts number from 1; one is there twice, shifted and turned."""
    parts = "".join(
        f"*Part, name={name}\n*Node\n{nodes}{CPS4}*End Part\n"
        for name, nodes in (("A", SQUARE), ("B", SQUARE.replace("1.", "2.")))
    )
    with pytest.warns(UserWarning, match=r"a\.inp: leaves out 1 elements 'SPRING1'"):
        data = deck(
            tmp_path / "a.inp",
            parts
            + "*Assembly, name=all\n*Instance, name=A-1, part=A\n*End Instance\n"
            + "*Instance, name=B-1, part=B\n5., 0.\n*End Instance\n"
            + "*Instance, name=A-2, part=A\n0., 3.\n0., 3., 0., 0., 3., 1., 90.\n*End Instance\n"
            + "*Element, type=SPRING1\n9, A-1.4\n*End Assembly\n",
        )
    assert measure(data, 2) == 1 + 4 + 1
    assert data.cells.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    np.testing.assert_allclose(data.pos[4:8], [[5, 0], [7, 0], [7, 2], [5, 2]])
    np.testing.assert_allclose(data.pos[8:], [[0, 3], [0, 4], [-1, 4], [-1, 3]], atol=1e-12)


def marked(data):
    return {name: values.nonzero()[:, 0].tolist() for name, values in data.point_data.items()}


def test_node_sets(tmp_path):
    """As pre-processors write them: over lines, generated, of other sets, with nodes."""
    text = (
        f"*NODE, NSET=all\n{SQUARE}{CPS4}*NSET, NSET=Left, UNSORTED\n1,\n4\n"
        "*nset, nset=low, generate\n1, 2, 1\n*NSET, NSET=both\nLEFT, low\n*NSET, NSET=odd,"
        " GENERATE\n1, 4, 2\n*NSET,NSET=left\n3,\n*NSET, NSET=_picked\n1\n"
        "*NSET, NSET=lost\n77\n*NSET, NSET=of, ELSET=e\n*BOUNDARY\nLeft, 1, 3\n"
    )
    assert marked(deck(tmp_path / "a.inp", text)) == {
        "all": [0, 1, 2, 3],
        "Left": [0, 2, 3],
        "low": [0, 1],
        "both": [0, 1, 3],
        "odd": [0, 2],
    }
    store, _ = collect(
        [tmp_path / "a.inp"], tmp_path / "s.h5", targets=["all"], boundary="odd", processes=0
    )
    assert store[0].boundary.tolist() == [1, 0, 1, 0]


def test_node_sets_of_parts_and_of_the_assembly(tmp_path):
    """A set of a part is there in each of its instances; one of the assembly where it says so."""
    text = (
        f"*Part, name=A\n*Node\n{SQUARE}{CPS4}*Nset, nset=foot, generate\n1, 2\n*End Part\n"
        "*Assembly, name=all\n*Instance, name=A-1, part=A\n*End Instance\n"
        "*Instance, name=A-2, part=A\n5., 0.\n*End Instance\n"
        "*Nset, nset=tip, instance=A-2\n3, 4\n*Nset, nset=tip, instance=a-1\n 3,\n"
        "*Nset, nset=dots\nA-1.4, A-2.1\n*Nset, nset=more, instance=A-2\nfoot,\n"
        "*Nset, nset=again\ntip\n*End Assembly\n"
    )
    assert marked(deck(tmp_path / "a.inp", text)) == {
        "foot": [0, 1, 4, 5],
        "tip": [2, 6, 7],
        "dots": [3, 4],
        "more": [4, 5],
        "again": [2, 6, 7],
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"*NODE\n{SQUARE}*ELEMENT, TYPE=XYZ\n1, 1, 2\n", "unknown type 'XYZ'"),
        (f"*NODE\n{SQUARE}*ELEMENT, TYPE=CPS4\n1, 1, 2, 3\n", "has 3 nodes, expected 4"),
        (f"*NODE\n{SQUARE}*ELEMENT, TYPE=CPS3\n1, 1, 2, 3, 4\n", "has 4 nodes, expected 3"),
        (f"*NODE\n{SQUARE}*ELEMENT, TYPE=CPS4\n1, 1, 2, 3, 9\n", "node 9, which is not defined"),
        (f"*NODE\n{SQUARE}{CPS4}1, 2, 3, 4, 1\n", "element 1 is there twice"),
        (f"*NODE, SYSTEM=C\n{SQUARE}{CPS4}", "SYSTEM=C"),
        (f"*SYSTEM\n1., 0., 0.\n*NODE\n{SQUARE}{CPS4}", r"\*SYSTEM"),
        (f"*NODE\n{SQUARE}{CPS4}*NGEN\n1, 4, 1\n", r"\*NGEN"),
        (f"*NODE\n{SQUARE}{CPS4}*ELGEN\n1, 4, 1\n", r"\*ELGEN"),
        ("*Instance, name=a, part=b\n*End Instance\n", "part 'b'"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path, text, message):
    with pytest.raises(MeshError, match=rf"a\.inp: .*{message}"):
        deck(tmp_path / "a.inp", text)


@pytest.mark.parametrize("name", ["SPRINGA", "DASHPOTA", "MASS", "CONN3D2", "D", "GAPUNI"])
def test_elements_without_extent_are_left_out_with_a_warning(tmp_path, name):
    text = f"*NODE\n{SQUARE}*ELEMENT, TYPE={name}\n7, 1, 2\n8, 2, 3\n{CPS4}"
    with pytest.warns(UserWarning, match=rf"a\.inp: leaves out 2 elements '{name}'"):
        data = deck(tmp_path / "a.inp", text)
    assert data.cells.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(
    ("name", "cell_type", "nodes"),
    [
        *(("C3D4", 10, 4), ("C3D8R", 12, 8), ("C3D20RH", 25, 20), ("C3D10M", 24, 10)),
        *(("C3D6", 13, 6), ("C3D15", 26, 15), ("SC8R", 12, 8), ("COH3D8", 12, 8)),
        *(("DC3D8", 12, 8), ("AC3D4", 10, 4), ("CPE8R", 23, 8), ("CPS6M", 22, 6)),
        *(("S3R", 5, 3), ("S4R5", 9, 4), ("S8R5", 23, 8), ("S9R5", 28, 9), ("STRI65", 22, 6)),
        *(("STRI3", 5, 3), ("CAX4RT", 9, 4), ("M3D9R", 28, 9), ("R3D4", 9, 4), ("DS8", 23, 8)),
        *(("B31", 3, 2), ("B33", 3, 2), ("T3D2", 3, 2), ("PIPE31", 3, 2), ("SAX1", 3, 2)),
        *(("DC2D4", 9, 4), ("DCAX8", 23, 8), ("COH2D4", 9, 4)),
    ],
)
def test_names_of_elements(tmp_path, name, cell_type, nodes):
    rows = np.random.default_rng(0).random((nodes, 3))
    lines = "".join(f"{i}, {x}, {y}, {z}\n" for i, (x, y, z) in enumerate(rows, 1))
    numbers = ", ".join(map(str, range(1, nodes + 1)))
    data = deck(tmp_path / "a.inp", f"*NODE\n{lines}*ELEMENT, TYPE={name}\n1, {numbers}\n")
    assert data.cell_types.tolist() == [cell_type]
    assert sorted(data.cells[0].tolist()) == list(range(nodes))


@pytest.mark.parametrize("middle", [1, 2])
def test_the_middle_node_of_a_beam_is_found(tmp_path, middle):
    places = [0.0, 2.0]
    places.insert(middle, 1.0)
    lines = "".join(f"{i}, {x}, 0.1\n" for i, x in enumerate(places, 1))
    data = deck(tmp_path / "a.inp", f"*NODE\n{lines}*ELEMENT, TYPE=B32\n1, 1, 2, 3\n")
    assert data.pos[data.cells[0].long(), 0].tolist() == [0, 2, 1]


# --- Nastran -------------------------------------------------------------------------------------

CUBE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 1], [1, 0, 1], [1, 1, 1], [0, 1, 1]]
GRIDS = "".join(f"GRID,{i},,{x}.,{y}.,{z}.\n" for i, (x, y, z) in enumerate(CUBE, 1))


def bulk(path, cards):
    path.write_text(f"SOL 101\nCEND\nBEGIN BULK\n{cards}ENDDATA\n")
    return read_mesh(path)


@pytest.mark.parametrize(
    "cell",
    [
        "CHEXA          1       1       1       2       3       4       5       6\n"
        "               7       8\n",
        "CHEXA          1       1       1       2       3       4       5       6+\n"
        "+              7       8\n",
        "CHEXA          1       1       1       2       3       4       5       6+ABC\n"
        "+ABC           7       8   $ the rest\n",
        "CHEXA*                 1               1               1               2\n"
        "*                      3               4               5               6\n"
        "*                      7               8\n",
        "CHEXA,1,1,1,2,3,4,5,6\n,7,8\n",
        "CHEXA,1,1,1,2,3,4,5,6,+\n$ note\n+,7,8\n",
        "chexa,1,1,1,2,3,4,5,6,+a1\n+a1,7,8\n",
    ],
)
def test_continuation_lines(tmp_path, cell):
    data = bulk(tmp_path / "a.bdf", GRIDS + cell)
    assert data.cells.tolist() == [list(range(8))]
    assert measure(data, 3) == pytest.approx(1)


def test_numbers_of_nastran(tmp_path):
    data = bulk(
        tmp_path / "a.bdf",
        "GRID,1,,1.5-3,2.+1,-1.D2\nGRID           2             -1.0.25+1      .5\n"
        "GRID*                  3                            1.25            -2.5\n*\n"
        "CTRIA3,1,1,1,2,3\n",
    )
    wanted = [[0.0015, 20, -100], [-1, 2.5, 0.5], [1.25, -2.5, 0]]
    np.testing.assert_allclose(data.pos, wanted)


def test_local_coordinate_systems(tmp_path):
    """Cylindrical; spherical in that one; rectangular through nodes."""
    data = bulk(
        tmp_path / "a.bdf",
        "CORD2C,1,0,1.,0.,0.,1.,0.,1.,+C\n+C,2.,0.,0.\n"
        "CORD2S,2,1,0.,0.,0.,0.,0.,1.,+S\n+S,1.,0.,0.\n"
        "CORD1R,3,7,8,9\n"
        "GRID,7,,0.,0.,5.\nGRID,8,,0.,0.,6.\nGRID,9,,0.,1.,5.\n"
        "GRID,1,1,2.,90.,3.\nGRID,2,2,2.,90.,180.\nGRID,3,3,1.,2.,3.\nGRID,4,,1.,2.,3.\n"
        "CQUAD4,1,1,1,2,3,4\n",
    )
    wanted = [[1, 2, 3], [-1, 0, 0], [-2, 1, 8], [1, 2, 3]]
    np.testing.assert_allclose(data.pos[3:], wanted, atol=1e-12)


def test_included_bulk_data(tmp_path):
    (tmp_path / "grids.dat").write_text(GRIDS)
    cards = "INCLUDE 'grids.dat'\nCTETRA,1,1,1,2,3,5\nCBAR,2,1,1,2,0.,0.,1.\n"
    data = bulk(tmp_path / "a.bdf", cards)
    assert data.cells.tolist() == [[0, 1, 2, 4], [0, 1, -1, -1]]
    (tmp_path / "grids.dat").write_text("INCLUDE 'a.bdf'\n")
    with pytest.raises(MeshError, match=r"a\.bdf.*more than 8 deep"):
        read_mesh(tmp_path / "a.bdf")


def test_springs_and_links_are_left_out_with_a_warning(tmp_path):
    more = "CELAS2,7,1.+3,1,1\nRBE2,8,1,123,2,3\nRBE2,9,1,123,4\nCTETRA,1,1,1,2,3,5\n"
    with pytest.warns(UserWarning, match=r"a\.bdf: leaves out 1 CELAS2, 2 RBE2"):
        data = bulk(tmp_path / "a.bdf", GRIDS + more)
    assert data.cells.tolist() == [[0, 1, 2, 4]]


@pytest.mark.parametrize(
    ("cards", "message"),
    [
        ("CHEXA,1,1,1,2,3,4,5,6\n", "CHEXA 1 has 6 nodes, expected 8 or 20"),
        ("CTETRA,1,1,1,2,3,5,6\n", "CTETRA 1 has 5 nodes"),
        ("CTRIA6,1,1,1,2,3,5,,6\n", "CTRIA6 1 has 5 nodes"),
        ("CTETRA,1,1,1,2,3,55\n", "node 55, which is not defined"),
        ("GRID,9,4,0.,0.,0.\nCTETRA,1,1,1,2,3,9\n", "coordinate system 4 is not defined"),
        ("GRDSET,,4\nCTETRA,1,1,1,2,3,5\n", "card GRDSET"),
        ("CQUAD9,1,1,1,2,3,4,5,6\n", "card CQUAD9"),
        ("INCLUDE 'nothing.bdf'\n", "refers to .*nothing.bdf: no such file"),
    ],
)
def test_what_is_not_understood_of_nastran_is_refused(tmp_path, cards, message):
    with pytest.raises(MeshError, match=rf"a\.bdf: .*{message}"):
        bulk(tmp_path / "a.bdf", GRIDS + cards)
