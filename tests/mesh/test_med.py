"""MED as Salome writes it.

Kinds: steps; fields of some kinds of cells, of some nodes (profiles), of whole numbers; families of
some kinds of cells; polygons and polyhedra; values at integration points and at the nodes of cells;
structured meshes, unknown cells, fields of cells that are not there.
"""

import h5py
import numpy as np
import pytest

from lrsa_geo.mesh import MeshError, read_mesh
from lrsa_geo.mesh.read import read_closely

ALL = "MED_NO_PROFILE_INTERNAL"
POS = np.array([[0.0, 0], [1, 0], [1, 1], [0, 1], [2, 0]])
QUADS, TRIANGLES, LINES = [[0, 1, 2, 3]], [[1, 4, 2]], [[0, 1], [1, 4]]


def columns(table):
    """One component after the other, as MED has them."""
    return np.asarray(table).T.reshape(-1)


def med(path, cells=(("QU4", QUADS), ("SE2", LINES), ("TR3", TRIANGLES)), pos=POS, families=()):
    with h5py.File(path, "w") as file:
        about = file.create_group("INFOS_GENERALES")
        about.attrs.update({"MAJ": 4, "MIN": 1, "REL": 0})
        whole = file.create_group("ENS_MAA/mesh")
        whole.attrs.update({"ESP": pos.shape[1], "DIM": 2, "TYP": 0})
        mesh = whole.create_group("one")
        mesh["NOE/COO"] = columns(pos)
        mesh["NOE/COO"].attrs["NBR"] = len(pos)
        for kind, nodes in cells:
            group = mesh.create_group(f"MAI/{kind}")
            group["NOD"] = columns(nodes) + 1
            group["NOD"].attrs["NBR"] = len(nodes)
        for kind, numbers in families:
            mesh[f"MAI/{kind}/FAM"] = np.array(numbers)
        file.create_group("FAS/mesh/ELEME")
    return path


def field(path, name, support, values, step=-1, profile=None, points=1):
    values = np.asarray(values)
    with h5py.File(path, "a") as file:
        group = file.require_group(f"CHA/{name}")
        group.attrs["NCO"] = values.shape[1] if values.ndim > 1 else 1
        one = group.require_group(f"step {step}")
        one.attrs.update({"NDT": step, "NOR": -1, "PDT": float(step)})
        part = one.require_group(f"{support}/{'some' if profile else ALL}")
        part.attrs.update({"NGA": points, "NBR": len(values)})
        part["CO"] = columns(values)
        if profile:
            file["PROFILS/some/PFL"] = np.array(profile)


def test_steps(tmp_path):
    """Also of a field that has no step, and of one that lacks a step."""
    path = med(tmp_path / "a.med")
    for step in (10, 2, 7):
        field(path, "u", "NOE", np.arange(10.0).reshape(5, 2) + step, step)
    field(path, "v", "NOE", np.arange(5.0), 7)
    field(path, "rho", "NOE", np.arange(5.0))
    for step, wanted in ((0, 2), (1, 7), (2, 10), (-1, 10)):
        data = read_mesh(path, step).point_data
        assert data["u"].tolist() == (np.arange(10.0).reshape(5, 2) + wanted).tolist()
        assert data["rho"].tolist() == [0, 1, 2, 3, 4]
        assert ("v" in data) == (wanted == 7)
    with pytest.raises(MeshError, match=r"a\.med: has the steps 0 to 2, got `step` 3"):
        read_mesh(path, 3)


def test_fields_and_families_of_some_cells(tmp_path):
    path = med(tmp_path / "a.med", families=[("TR3", [-7])])
    field(path, "c", "MAI.TR3", [[5.0, 6.0]])
    for kind, values in (("QU4", [3]), ("SE2", [4, 5]), ("TR3", [6])):
        field(path, "mat", f"MAI.{kind}", np.array(values, dtype=np.int32))
    data = read_mesh(path)
    assert data.cell_types.tolist() == [9, 3, 3, 5]
    assert data.cells[3].tolist() == [1, 4, 2, -1]
    assert data.cell_data["cell_tags"].tolist() == [0, 0, 0, -7]
    assert data.cell_data["c"][:3].isnan().all()
    assert data.cell_data["c"][3].tolist() == [5, 6]
    assert data.cell_data["mat"].tolist() == [3, 4, 5, 6]
    assert not data.cell_data["mat"].is_floating_point()


def test_fields_of_some_nodes(tmp_path):
    path = med(tmp_path / "a.med")
    field(path, "T", "NOE", [7.0, 8.0], profile=[5, 2])
    values = read_mesh(path).point_data["T"]
    assert values[[4, 1]].tolist() == [7, 8]
    assert values[[0, 2, 3]].isnan().all()


def test_several_values_in_a_cell_are_left_out(tmp_path):
    path = med(tmp_path / "a.med")
    field(path, "s", "MAI.TR3", np.arange(3.0), points=3)
    field(path, "t", "NOE.TR3", np.arange(3.0), points=3)
    left_out = read_closely(path).left_out
    for name in "st":
        assert any(f"field '{name}' is left out where cells have several" in s for s in left_out)
    with pytest.warns(UserWarning, match="is left out"):
        data = read_mesh(path)
    assert set(data.cell_data) == set(data.point_data) == set()


def test_polygons(tmp_path):
    path = med(tmp_path / "a.med", cells=())
    with h5py.File(path, "a") as file:
        group = file.create_group("ENS_MAA/mesh/one/MAI/POG1")
        group["NOD"], group["INN"] = np.array([1, 2, 3, 4, 2, 5, 3]), np.array([1, 5, 8])
    data = read_mesh(path)
    assert data.cell_types.tolist() == [7, 7]
    assert data.cells.tolist() == [[0, 1, 2, 3], [1, 4, 2, -1]]


def test_polyhedra(tmp_path):
    corners = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * 2.0
    path = med(tmp_path / "a.med", cells=(), pos=corners)
    faces = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]]
    with h5py.File(path, "a") as file:
        group = file.create_group("ENS_MAA/mesh/one/MAI/POE")
        group["NOD"] = np.array(faces).reshape(-1) + 1
        group["INN"], group["IFN"] = np.arange(7) * 4 + 1, np.array([1, 7])
    with pytest.warns(UserWarning, match="1 polyhedra are left out"):
        data = read_mesh(path)
    assert data.measure.tolist() == [1] * 8
    assert data.num_edges == 24


def test_what_is_not_read_is_named(tmp_path):
    path = med(tmp_path / "a.med")
    field(path, "c", "MAI.HE8", [1.0])
    with pytest.raises(MeshError, match=r"a\.med: field 'c' is of cells 'HE8', which the mesh"):
        read_mesh(path)
    path = med(tmp_path / "b.med", cells=[("QU4", QUADS), ("XX7", LINES)])
    with pytest.raises(MeshError, match=r"b\.med: has cells of the unknown kind 'XX7'"):
        read_mesh(path)
    with h5py.File(path, "a") as file:
        file["ENS_MAA/mesh"].attrs["TYP"] = 1
    with pytest.raises(MeshError, match=r"b\.med: holds a structured mesh.*buildUnstructured"):
        read_mesh(path)
