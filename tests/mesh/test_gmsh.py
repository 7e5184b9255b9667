"""Gmsh's physical groups, views and versions.

Kinds: groups of curves and surfaces at their nodes, by name; a cell in two groups, which formats
before 4 write twice; groups on some entities only; views with several steps, in another order than
the mesh, on a part of it; nodes with gaps in their numbers; what takes Gmsh's library without it;
groups of MED by name, and of UNV left out with a warning.
"""

import gmsh
import numpy as np
import pytest
import torch
from mesh_files import MSH2, in_any_order, measure

from lrsa_geo.data import collect
from lrsa_geo.mesh import MeshError, read_mesh
from lrsa_geo.mesh.formats import msh

VERSIONS = pytest.mark.parametrize(
    ("version", "binary"), [(2.2, 0), (2.2, 1), (4.0, 0), (4.1, 0), (4.1, 1)]
)


@pytest.fixture(scope="module")
def channel(tmp_path_factory):
    """A channel of area 2 in Gmsh, with an inlet at x = 0 and two overlapping groups inside."""
    folder = tmp_path_factory.mktemp("channel")
    gmsh.initialize(interruptible=False)
    gmsh.option.setNumber("General.Terminal", 0)
    gmsh.model.occ.addRectangle(0, 0, 0, 2, 1)
    gmsh.model.occ.synchronize()
    for dim, entities, number, name in (
        (1, [4], 7, "inlet"),
        (1, [1, 3], 8, "wall"),
        (2, [1], 5, "fluid"),
        (2, [1], 6, "all"),
    ):
        gmsh.model.addPhysicalGroup(dim, entities, number, name)
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.3)
    gmsh.model.mesh.generate(2)

    def write(version, binary):
        gmsh.option.setNumber("Mesh.MshFileVersion", version)
        gmsh.option.setNumber("Mesh.Binary", binary)
        gmsh.write(str(folder / "a.msh"))
        return folder / "a.msh"

    yield write
    gmsh.finalize()


@VERSIONS
def test_groups_reach_the_nodes_by_name(channel, version, binary):
    data = read_mesh(channel(version, binary))
    x, y = data.pos.T
    assert torch.equal(data.point_data["inlet"].bool(), x == 0)
    assert torch.equal(data.point_data["wall"].bool(), (y == 0) | (y == 1))
    assert data.point_data["fluid"].all()
    assert set(data.cell_data["gmsh:physical"][data.cell_types == 3].tolist()) <= {0, 7, 8}


@VERSIONS
def test_a_cell_in_two_groups_is_read_once(channel, version, binary):
    data = read_mesh(channel(version, binary))
    assert measure(data, 2) == pytest.approx(2.0)
    rows = data.cells[data.cell_types == 5].sort(1).values
    assert len(rows.unique(dim=0)) == len(rows)


@pytest.mark.parametrize("version", [2.2, 4.1])
def test_views_with_steps(channel, tmp_path, version):
    """A field with two steps, given in another order than that of the mesh, on half of it."""
    channel(version, 0)
    tags, pos, _ = gmsh.model.mesh.getNodes()
    x = pos.reshape(-1, 3)[:, 0]
    some = np.flatnonzero(x < 1)[::-1]
    view = gmsh.view.add("T")
    for step in range(2):
        values = (x[some] + 10 * step)[:, None]
        name = gmsh.model.getCurrent()
        gmsh.view.addModelData(view, step, name, "NodeData", tags[some], values, float(step))
    gmsh.option.setNumber("PostProcessing.SaveMesh", 1)
    gmsh.view.write(view, str(tmp_path / "a.msh"))
    gmsh.view.remove(view)
    for step, shift in ((0, 0), (1, 10), (-1, 10)):
        data = read_mesh(tmp_path / "a.msh", step)
        known = data.pos[:, 0] < 1
        torch.testing.assert_close(data.point_data["T"][known], data.pos[known, 0] + shift)
        assert data.point_data["T"][~known].isnan().all()
    with pytest.raises(MeshError, match=r"a\.msh.*steps 0 to 1, got `step` 2"):
        read_mesh(tmp_path / "a.msh", 2)


def test_gaps_in_the_numbers_of_nodes(tmp_path):
    text = MSH2.format(n=3, tag=1000).replace("1 2 3\n$EndE", "1 2 1000\n$EndE")
    field = '$NodeData\n1\n"T"\n1\n0.0\n3\n0\n1\n3\n1000 3.0\n1 1.0\n2 2.0\n$EndNodeData\n'
    (tmp_path / "a.msh").write_text(text + field)
    data = read_mesh(tmp_path / "a.msh")
    assert data.cells.tolist() == [[0, 1, 2]]
    assert data.point_data["T"].tolist() == [1, 2, 3]


def test_without_the_library_the_file_is_refused_with_the_way_out(tmp_path, monkeypatch):
    (tmp_path / "a.msh").write_text(MSH2.format(n=3, tag=3))
    monkeypatch.setattr(msh.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MeshError, match=r"a\.msh: .*pip install gmsh"):
        read_mesh(tmp_path / "a.msh")


def groups(folder, *names):
    """One square with groups of a corner, of edges that share one, and of the face."""
    is_alone = not gmsh.isInitialized()  # another fixture may have a model open
    if is_alone:
        gmsh.initialize(interruptible=False)
    for option, value in (("General.Terminal", 0), ("Mesh.Binary", 0), ("Mesh.SaveAll", 0)):
        gmsh.option.setNumber(option, value)
    gmsh.model.add("groups")
    square = gmsh.model.occ.addRectangle(0, 0, 0, 1, 1)
    gmsh.model.occ.synchronize()
    wanted = ((0, [1], "corner"), (1, [1], "bottom"), (1, [1, 2], "low é"), (2, [square], "plate"))
    for dim, entities, name in wanted:
        gmsh.model.addPhysicalGroup(dim, entities, name=name)
    gmsh.option.setNumber("Mesh.MeshSizeMax", 0.7)
    gmsh.model.mesh.generate(2)
    for name in names:
        gmsh.write(str(folder / name))
    gmsh.model.remove()
    if is_alone:
        gmsh.finalize()


def test_groups_of_med_are_those_of_msh(tmp_path):
    """The same model through meshio and through Gmsh, by where the nodes of each group lie."""
    groups(tmp_path, "a.msh", "a.med")
    one, other = read_mesh(tmp_path / "a.msh"), read_mesh(tmp_path / "a.med")
    assert len(one.pos) == len(other.pos)
    for name, count in (("corner", 1), ("bottom", None), ("low é", None), ("plate", len(one.pos))):
        places = [data.pos[data.point_data[name] == 1] for data in (one, other)]
        np.testing.assert_allclose(in_any_order(places[0]), in_any_order(places[1]))
        assert count is None or len(places[1]) == count
    assert (other.pos[other.point_data["bottom"] == 1][:, 1] == 0).all()
    store, _ = collect(
        [tmp_path / "a.med"], tmp_path / "s.h5", targets=["plate"], boundary="bottom", processes=0
    )
    assert torch.equal(store[0].boundary.bool(), store[0].pos[:, 1] == 0)


def test_unv_with_groups_is_read_without_them(tmp_path):
    """Gmsh writes them, and its process ends when it reads them."""
    groups(tmp_path, "a.unv", "a.msh")
    with pytest.warns(UserWarning, match=r"a\.unv: leaves out its groups; .*save it as \.med"):
        data = read_mesh(tmp_path / "a.unv")
    assert measure(data, 2) == pytest.approx(1)
    assert len(data.pos) == len(read_mesh(tmp_path / "a.msh").pos)
    text = (tmp_path / "a.unv").read_text()
    (tmp_path / "a.unv").write_text(text[: len(text) // 2])
    with pytest.raises(MeshError, match=r"a\.unv"):
        read_mesh(tmp_path / "a.unv")
