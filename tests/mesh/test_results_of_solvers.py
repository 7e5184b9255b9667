"""Results of CalculiX (FRD), meshes of SU2, versions of MED, and files that are known but not read.

Kinds: FRD: every cell type at its places, numbers that touch, nodes without a result, several steps
with several fields, components that the viewer works out, the short format, binary blocks,
truncated files, columns that moved. SU2: comments, indices behind the nodes, either order of the
lists, markers by name, zones, lists that end early. MED 2.3 and several meshes are refused by name;
extensions of other programs say what to do.
"""

import h5py
import meshio
import numpy as np
import pytest
from own_places import (
    BOTTOM_TOP_UP,
    CUBE,
    PRISM,
    RING3,
    RING4,
    TETRA,
    assert_at_places,
    at_places,
)

from lrsa_geo.data import collect
from lrsa_geo.mesh import MeshError, read_mesh

UPRIGHT_FIRST = (0, 2, 1)
CELLS = {  # FRD's number -> VTK's, positions in FRD's order
    1: (12, np.array(CUBE, float)),
    2: (13, np.array(PRISM, float)),
    3: (10, np.array(TETRA, float)),
    4: (25, at_places(CUBE, *(BOTTOM_TOP_UP["cube"][i] for i in UPRIGHT_FIRST))),
    5: (26, at_places(PRISM, *(BOTTOM_TOP_UP["prism"][i] for i in UPRIGHT_FIRST))),
    6: (24, at_places(TETRA, RING3, [(0, 3), (1, 3), (2, 3)])),
    7: (5, np.array(TETRA[:3], float)),
    8: (22, at_places(TETRA[:3], RING3)),
    9: (9, np.array(CUBE[:4], float)),
    10: (23, at_places(CUBE[:4], RING4)),
    11: (3, np.array(TETRA[:2], float)),
    12: (21, at_places(TETRA[:2], [(0, 1)])),
}


def numbers(values):
    return "".join(f"{value:12.5E}" for value in values)


def frd(path, kind, pos, results=(), tags=None, width=10):
    """A file of one cell.

    Args:
        path: file.
        kind: FRD's number of the cell type.
        pos: positions of its nodes.
        results: (step, time, name, components, {node from 0: values}).
        tags: numbers of the nodes.
        width: of a node number.
    """
    tags = range(1, len(pos) + 1) if tags is None else tags
    code = 1 if width == 10 else 0
    lines = ["    1C", "    1UUSER", f"    2C{len(pos):30d}{code:38d}"]
    lines += [f" -1{tag:{width}d}{numbers(p)}" for tag, p in zip(tags, pos, strict=True)]
    lines += [" -3", f"    3C{1:30d}{code:38d}", f" -1{1:{width}d}{kind:5d}{0:5d}{1:5d}"]
    per_line = 10 if width == 10 else 15
    for i in range(0, len(pos), per_line):
        lines.append(" -2" + "".join(f"{tag:{width}d}" for tag in list(tags)[i : i + per_line]))
    lines.append(" -3")
    for step, time, name, components, values in results:
        lines.append("    1PSTEP                         1           1           1")
        lines.append(
            f"  100CL  101{time:12.9f}{len(values):12d}{'':20s}{0:2d}{step:5d}{'':10s}{code:2d}"
        )
        lines.append(f" -4  {name:8s}{len(components):5d}    1")
        for i, component in enumerate(components, 1):
            worked_out = "    1ALL" if component == "ALL" else ""
            lines.append(f" -5  {component:8s}    1    2{i:5d}    0{worked_out}")
        for node, row in values.items():
            lines.append(f" -1{list(tags)[node]:{width}d}{numbers(row[:6])}")
            lines += [f" -2{'':{width}s}{numbers(row[i : i + 6])}" for i in range(6, len(row), 6)]
        lines.append(" -3")
    path.write_text("\n".join([*lines, " 9999", ""]))
    return path


@pytest.mark.parametrize("width", [5, 10])
@pytest.mark.parametrize("kind", CELLS)
def test_cells_of_frd(tmp_path, kind, width):
    cell_type, pos = CELLS[kind]
    data = read_mesh(frd(tmp_path / "a.frd", kind, pos, width=width))
    assert data.cell_types.tolist() == [cell_type]
    assert_at_places(data)
    assert len(data.pos) == len(pos)


def test_steps_and_fields_of_frd(tmp_path):
    """Numbers that touch, tags in any order, a field that some nodes lack, 7 components."""
    pos, tags = np.array(TETRA, float) * -1.5, [7, 3, 100, 20]
    moved = {i: [-0.125 * i, -2.0, 1e-9] for i in range(4)}
    stress = {i: [-1.0, i, 2, 3, 4, 5] for i in (0, 3)}
    long = {i: list(range(i, i + 7)) for i in range(4)}
    path = frd(
        tmp_path / "a.frd",
        3,
        pos,
        [
            (1, 0.5, "DISP", ("D1", "D2", "D3", "ALL"), moved),
            (1, 0.5, "STRESS", ("SXX", "SYY", "SZZ", "SXY", "SYZ", "SZX"), stress),
            (2, 1.0, "DISP", ("D1", "D2", "D3", "ALL"), {i: [9, 9, i] for i in range(4)}),
            (2, 1.0, "ZZ", tuple(f"Z{i}" for i in range(7)), long),
        ],
        tags,
    )
    data = read_mesh(path)
    np.testing.assert_array_equal(data.pos, pos)
    assert data.cells.tolist() == [[0, 1, 2, 3]]
    np.testing.assert_allclose(data.point_data["DISP"], list(moved.values()))
    assert data.point_data["STRESS"][[0, 3]].tolist() == list(map(list, stress.values()))
    assert data.point_data["STRESS"][[1, 2]].isnan().all()
    for step in (1, -1):
        last = read_mesh(path, step)
        assert last.point_data["DISP"][:, 2].tolist() == [0, 1, 2, 3]
        assert last.point_data["ZZ"].tolist() == list(long.values())
        assert "STRESS" not in last.point_data
    with pytest.raises(MeshError, match=r"a\.frd: has steps 0 to 1, got `step` 2"):
        read_mesh(path, 2)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (" 9999", "", "does not end with 9999"),
        (" -3\n    3C", "    3C", "is not closed"),
        ("           1\n -4", "           3\n -4", "results 'T' are binary"),
        (f"{1:38d}\n -1", f"{2:38d}\n -1", "binary"),
        ("-1.50000E+00", "-1.50000E-100", "characters, expected 49 for 3 numbers"),
        ("    1    2    1", "    1    2    1    0    1", "more than 0 numbers at a node"),
        (" -1         1    3", " -1         1   33", "unknown type 33"),
        ("         3         4", "         3        44", "node 44 outside of its block"),
        (" -1         2", " -1         1", "node number twice"),
        ("         4\n -3\n    1P", "\n -3\n    1P", "type 3 with 3 nodes, expected 4"),
    ],
)
def test_what_is_wrong_with_a_frd_is_named(tmp_path, old, new, message):
    path = frd(
        tmp_path / "a.frd",
        3,
        np.array(TETRA) * -1.5,
        [(1, 1, "T", ("T",), {i: [i] for i in range(4)})],
    )
    assert read_mesh(path).point_data["T"].tolist() == [0, 1, 2, 3]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(MeshError, match=rf"a\.frd: .*{message}"):
        read_mesh(path)


def test_a_frd_that_is_cut_anywhere_is_refused(tmp_path):
    path = frd(tmp_path / "a.frd", 3, TETRA, [(1, 1, "T", ("T",), {i: [i] for i in range(4)})])
    lines = path.read_text().splitlines()
    for count in range(1, len(lines) - 1):
        path.write_text("\n".join(lines[:count]) + "\n")
        with pytest.raises(MeshError, match=r"a\.frd"):
            read_mesh(path)


# --- SU2 -----------------------------------------------------------------------------------------

POINTS = "NPOIN= 4 4\n0 0 0\n1 0 1\n1 1 2\n0 1 3 % the last\n"
ELEMENTS = "NELEM= 2\n5 0 1 2 0\n5 0 2 3 1\n"
MARKERS = "NMARK= 2\nMARKER_TAG= inlet\nMARKER_ELEMS= 1\n3 0 3\nMARKER_TAG= Wall\n"
MARKERS += "MARKER_ELEMS= 2\n3 0 1\n3 1 2\n"


@pytest.mark.parametrize("parts", [(ELEMENTS, POINTS, MARKERS), (POINTS, MARKERS, ELEMENTS)])
def test_su2(tmp_path, parts):
    path = tmp_path / "a.su2"
    path.write_text("% made by hand\nNDIME= 2 % plane\n\n" + "".join(parts))
    data = read_mesh(path)
    assert data.pos.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert data.cells.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert data.point_data["inlet"].tolist() == [1, 0, 0, 1]
    assert data.point_data["Wall"].tolist() == [1, 1, 1, 0]
    store, _ = collect([path], tmp_path / "s.h5", targets=["Wall"], boundary="inlet", processes=0)
    assert store[0].boundary.tolist() == [1, 0, 0, 1]


def test_su2_as_gmsh_writes_it(tmp_path, gmsh_mesh):
    """Compared with meshio's reading of the same file."""
    path = gmsh_mesh("a.su2", quads=True)[0]
    data, other = read_mesh(path), meshio.read(path)
    np.testing.assert_array_equal(data.pos, other.points)
    flat = [c.tolist() for block in other.cells if block.type != "line" for c in block.data]
    assert sorted([n for n in c if n >= 0] for c in data.cells.tolist()) == sorted(flat)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("NDIME= 2", "NZONE= 2\nNDIME= 2", "has 2 zones"),
        ("NDIME= 2", "NDIME= 4", "NDIME is 4"),
        ("NDIME= 2\n", "", "lacks NDIME"),
        ("NPOIN= 4 4", "NPOIN= 7 7", "NPOIN declares 7 lines, which are not there"),
        ("NELEM= 2", "NELEM= 999999999", "declares 999,999,999 NELEM"),
        ("5 0 1 2 0", "5 0 1", "type 5 with 2 nodes, expected 3"),
        ("5 0 1 2 0", "22 0 1 2 3 1 2", "type 22, which SU2 does not have"),
        ("5 0 1 2 0", "5 0 1 9 0", "point at nodes 0 to 9, expected 0 to 3"),
        ("3 0 3", "3 0 8", "marker 'inlet' has the nodes 0 to 8"),
    ],
)
def test_what_is_wrong_with_a_su2_is_named(tmp_path, old, new, message):
    text = "NDIME= 2\n" + ELEMENTS + POINTS + MARKERS
    assert old in text
    (tmp_path / "a.su2").write_text(text.replace(old, new, 1))
    with pytest.raises(MeshError, match=rf"a\.su2: .*{message}"):
        read_mesh(tmp_path / "a.su2")


# --- MED and others ------------------------------------------------------------------------------


def test_versions_of_med(tmp_path):
    path = tmp_path / "a.med"
    meshio.Mesh(np.eye(3), [("triangle", [[0, 1, 2]])]).write(path)
    assert read_mesh(path).cells.tolist() == [[0, 1, 2]]
    path.rename(tmp_path / "b.rmed")
    assert read_mesh(tmp_path / "b.rmed").cells.tolist() == [[0, 1, 2]]
    path.write_bytes((tmp_path / "b.rmed").read_bytes())
    with h5py.File(path, "a") as file:
        file.copy("ENS_MAA/mesh", "ENS_MAA/other")
    with pytest.raises(MeshError, match=r"a\.med: holds 2 meshes, expected one"):
        read_mesh(path)
    with h5py.File(path, "a") as file:
        file["INFOS_GENERALES"].attrs["MAJ"], file["INFOS_GENERALES"].attrs["MIN"] = 2, 3
    with pytest.raises(
        MeshError, match=r"a\.med: is of MED version 2\.3, expected 3 or 4; convert"
    ):
        read_mesh(path)
    path.write_bytes(b"MED 2.1 " * 10)
    with pytest.raises(MeshError, match=r"a\.med: not an HDF5 file.*medimport"):
        read_mesh(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("part.STEP", "mesh it"),
        ("a.odb", "abaqus python"),
        ("a.plt", "Tecplot"),
        ("a.h5", r"\.xdmf beside it"),
        ("a.xyzw", "expected one of"),
    ],
)
def test_what_is_not_read_says_what_to_do(tmp_path, name, message):
    (tmp_path / name).write_text("something")
    with pytest.raises(MeshError, match=rf"{name}: .*{message}"):
        read_mesh(tmp_path / name)
