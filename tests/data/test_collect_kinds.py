"""What collecting does with files that are not alike, and with fields that are not what they seem.

Kinds: z that is rounding; one file of another dimension, wherever it stands; a plane slice at a
constant z, and a tilted one; materials as input; names that are asked for twice; markers of the
boundary from cells (lines around faces); nodes merged when stores are made and when files are read.
"""

import meshio
import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from lrsa_geo.data import CondTable, GraphReader, MeshStore, collect
from lrsa_geo.mesh import MeshError

GRID = np.array([[x, y] for x in range(4) for y in range(4)], float)


def plate(path, z=0.0, seed=0, cells=(), tilt=0.0, **fields):
    """A plate of triangles, shaken inside."""
    inner = ((GRID > 0) & (GRID < 3)).all(1)
    pos = GRID + np.where(inner[:, None], 0.2 * np.random.default_rng(seed).random(GRID.shape), 0)
    pos = np.column_stack([pos, z + tilt * pos[:, 0]])
    triangles = Delaunay(pos[:, :2]).simplices
    blocks = [("triangle", triangles), *cells]
    data = {
        name: [values(pos[block].mean(1)) for _, block in blocks] for name, values in fields.items()
    }
    meshio.Mesh(pos, blocks, {"p": pos[:, 0]}, data).write(path)
    return path


def solid(path):
    pos = np.random.default_rng(0).random((20, 3))
    meshio.Mesh(pos, [("tetra", Delaunay(pos).simplices)], {"p": pos[:, 0]}).write(path)
    return path


def made(tmp_path, files, **options):
    return collect(files, tmp_path / "s.h5", **{"targets": ["p"], "processes": 0, **options})


def test_z_that_is_rounding_is_none(tmp_path):
    files = [plate(tmp_path / "a.vtu"), plate(tmp_path / "b.vtu", 1e-17 * np.arange(16))]
    store, _ = made(tmp_path, files)
    assert [data.pos.shape[1] for data in store] == [2, 2]
    assert "boundary" in store.arrays


@pytest.mark.parametrize("place", range(4))
def test_one_file_of_another_dimension_is_left_out(tmp_path, place):
    files = [plate(tmp_path / f"a{i}.vtu", seed=i) for i in range(3)]
    files.insert(place, solid(tmp_path / "odd.vtu"))
    with pytest.raises(MeshError, match=r"odd\.vtu: positions have shape \[20, 3\]"):
        made(tmp_path, files)
    store, failures = made(tmp_path, files, skip_bad=True)
    assert len(store) == 3
    assert [failure.index for failure in failures] == [place]


@pytest.mark.parametrize("tilt", [0.0, 1.0])
def test_a_plane_slice_keeps_its_boundary(tmp_path, tilt):
    store, _ = made(tmp_path, [plate(tmp_path / "a.vtu", 0.5, tilt=tilt)])
    rim = torch.from_numpy(((GRID == 0) | (GRID == 3)).any(1))
    assert torch.equal(store[0].boundary.bool(), rim)
    assert store[0].pos.shape[1] == 3


def test_materials_are_not_averaged(tmp_path):
    def kind(centre):
        return np.where(centre[:, 0] < 1.5, 1, 3).astype(np.int32)

    path = plate(tmp_path / "a.vtu", mat=kind)
    with pytest.raises(MeshError, match=r"a\.vtu: input 'mat'.*--inputs 'mat=1' 'mat=3'"):
        made(tmp_path, [path], inputs=["mat"])
    with pytest.raises(MeshError, match=r"a\.vtu: target 'mat'.*--targets 'mat=1' 'mat=3'"):
        made(tmp_path, [path], targets=["mat"])
    store, _ = made(tmp_path, [path], inputs=["mat=1", "mat=3", "mat=7"])
    x = store[0].x
    assert [f.name for f in store.fields["x"]] == ["mat=1", "mat=3", "mat=7"]
    torch.testing.assert_close(x[:, 0] + x[:, 1], torch.ones(16))
    assert torch.equal(x[store[0].pos[:, 0] < 0.5], torch.tensor([[1.0, 0, 0]] * 4))
    assert ((x > 0) & (x < 1)).any()
    assert store.reader.graph(store.reader.read(path)[0]).x.equal(x)


@pytest.mark.parametrize("size", [1e-45, 1e39])
@pytest.mark.parametrize("role", ["inputs", "targets"])
def test_sizes_that_float32_cannot_hold_are_refused(tmp_path, role, size):
    path = plate(tmp_path / "a.vtu", c=lambda centre: centre[:, 0] * size)
    with pytest.raises(MeshError, match=rf"a\.vtu: 'c' is up to .*{str(size)[-2:]} in size.*unit"):
        made(tmp_path, [path], **{role: ["c"]})


@pytest.mark.parametrize("number", [1.0, 2])
def test_numbers_of_one_material_or_of_no_kind_are_inputs(tmp_path, number):
    dtype = type(number)
    path = plate(tmp_path / "a.vtu", c=lambda centre: np.full(len(centre), number, dtype))
    store, _ = made(tmp_path, [path], inputs=["c"])
    assert store[0].x.unique().tolist() == [number]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": ["p", "p"]}, "target 'p' is asked for twice"),
        ({"targets": ["p [Pa]", "p [bar]"]}, "target 'p' is asked for twice"),
        ({"targets": ["p"], "inputs": ["c", "c"]}, "input 'c' is asked for twice"),
        ({"targets": ["p"], "inputs": ["p"]}, "'p' is an input and a target"),
        ({"targets": ["p", "p_error"]}, "'p_error' is what a prediction of 'p' is written as"),
        ({"targets": ["p"], "inputs": ["p_predicted"]}, "'p_predicted' is what a prediction of"),
    ],
)
def test_names_are_asked_for_once_and_are_not_those_of_results(tmp_path, options, message):
    path = tmp_path / "a.vtu"
    plate(path, **dict.fromkeys(("c", "p_predicted", "p_error"), lambda centre: centre[:, 0]))
    with pytest.raises(MeshError, match=message):
        collect([path], tmp_path / "s.h5", processes=0, **options)
    assert not (tmp_path / "s.h5").exists()


def test_markers_come_from_the_cells_on_the_boundary(tmp_path):
    """Lines at x = 0 are group 2, at y = 0 group 3; faces are group 9."""
    left = np.array([[i, i + 1] for i in range(3)])
    bottom = np.array([[4 * i, 4 * i + 4] for i in range(3)])

    def group(centre):
        faces = np.full(len(centre), 9)
        return np.where(centre[:, 0] == 0, 2, np.where(centre[:, 1] == 0, 3, faces))

    path = plate(tmp_path / "a.vtu", cells=[("line", left), ("line", bottom)], group=group)
    store, _ = made(tmp_path, [path], boundary="group")
    data = store[0]
    x, y = data.pos.T
    wanted = torch.where(x == 0, 2, torch.where(y == 0, 3, 0))
    assert torch.equal(data.boundary.long(), wanted)


def test_cells_that_disagree_cannot_mark(tmp_path):
    path = plate(tmp_path / "a.vtu", c=lambda centre: (centre[:, 0] > 1.5).astype(int))
    with pytest.raises(MeshError, match=r"a\.vtu: field 'c' differs between the cells"):
        made(tmp_path, [path], boundary="c")


def test_merging_travels_with_the_store(tmp_path):
    pos = np.array([[0.0, 0], [1, 0], [0, 1], [1, 0], [1, 1], [0, 1]])
    cells = [("triangle", np.arange(6).reshape(2, 3))]
    meshio.Mesh(np.pad(pos, ((0, 0), (0, 1))), cells, {"p": pos[:, 0]}).write(tmp_path / "a.vtu")
    store, _ = made(tmp_path, [tmp_path / "a.vtu"], merge_nodes=0.0)
    assert store[0].pos.shape == (4, 2)
    reader = MeshStore(tmp_path / "s.h5").reader
    assert reader.merge_nodes == 0.0
    assert GraphReader.from_dict(reader.to_dict()) == reader
    mesh, graph = reader.read(tmp_path / "a.vtu")
    assert len(mesh.pos) == len(graph.pos) == len(mesh.point_data["p"]) == 4


def test_a_row_for_several_files_is_refused_before_they_are_read(tmp_path):
    for i in range(2):
        (tmp_path / f"c{i}").mkdir()
    files = [plate(tmp_path / f"c{i}/mesh.vtu") for i in range(2)]
    with pytest.raises(MeshError, match=r"fits .*as well"):
        made(tmp_path, files, table=CondTable("t.csv", ("v",), {"mesh": (1.0,)}))


@pytest.mark.parametrize("unit", [1e25, 1e-25])
def test_areas_that_float32_cannot_hold_are_refused(tmp_path, unit):
    path = plate(tmp_path / "a.vtu")
    mesh = meshio.read(path)
    mesh.points = mesh.points * unit
    mesh.write(path)
    with pytest.raises(MeshError, match=r"a\.vtu: areas or volumes of its cells do not fit"):
        made(tmp_path, [path])
