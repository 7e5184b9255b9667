"""What is written is read back bit by bit, here and in other programs."""

from pathlib import Path

import meshio
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, reject, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mesh_files import NODES_OF_TYPE, assert_same, assert_same_as_vtk, bits
from torch_geometric.data import Batch, Data

from lrsa_geo.mesh import MeshError, read_mesh, write_mesh
from lrsa_geo.mesh.checks import check_places

FLOATS = st.sampled_from([np.float32, np.float64])


@st.composite
def meshes(draw, types=tuple(NODES_OF_TYPE), one_type=False, shapes=((), (3,), (4,))):
    """A Data with random cells and fields, any bit pattern in the floats.

    Where random places of a quadratic cell happen to fit another order of its nodes, a file of it
    is refused when it is read (``test_second_order.py``): such draws are left out.
    """
    num_nodes = draw(st.integers(30, 40))
    dim = draw(st.sampled_from([2, 3]))
    dtype = draw(FLOATS)
    finite = st.floats(-1e3, 1e3, width=32)
    pos = draw(hnp.arrays(dtype, (num_nodes, dim), elements=finite, fill=finite))
    if dim == 3:
        pos[0, 2] = 1.0
    kinds = draw(st.lists(st.sampled_from(types), min_size=1, max_size=6))
    kinds = kinds[:1] * len(kinds) if one_type else kinds
    cells = np.full((len(kinds), max(NODES_OF_TYPE[k] for k in kinds)), -1, np.int32)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    for row, kind in enumerate(kinds):
        cells[row, : NODES_OF_TYPE[kind]] = rng.permutation(num_nodes)[: NODES_OF_TYPE[kind]]
    try:
        check_places(
            Path("drawn"),
            [(k, row[None, : NODES_OF_TYPE[k]]) for k, row in zip(kinds, cells, strict=True)],
            pos,
        )
    except MeshError:
        reject()
    names = st.text("abcé <>&\"'%0_.μ", min_size=1, max_size=6).filter(str.strip)

    def fields(rows):
        def values(shape):
            return hnp.arrays(draw(FLOATS), (rows, *shape), elements={"allow_nan": True})

        found = draw(st.dictionaries(names, st.sampled_from(shapes), max_size=2))
        return {name: torch.from_numpy(draw(values(shape))) for name, shape in found.items()}

    return Data(
        pos=torch.from_numpy(pos),
        cells=torch.from_numpy(cells),
        cell_types=torch.tensor(kinds, dtype=torch.int8),
        point_data=fields(num_nodes),
        cell_data=fields(len(kinds)),
    )


ROUND_TRIP = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.parametrize("suffix", [".vtu", ".vtk"])
@given(data=meshes())
@ROUND_TRIP
def test_round_trip_is_exact(tmp_path, suffix, data):
    write_mesh(tmp_path / f"a{suffix}", data)
    assert_same(read_mesh(tmp_path / f"a{suffix}"), data)


XDMF_TYPES = (5, 9, 10, 12, 13, 14, 22, 23, 24, 25, 26, 27, 28, 29)


@given(data=meshes(XDMF_TYPES, one_type=True, shapes=((), (3,))))
@ROUND_TRIP
def test_round_trip_of_xdmf_is_exact(tmp_path, data):
    write_mesh(tmp_path / "a.xdmf", data)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.xdmf", "a.xdmf.h5"]
    found = read_mesh(tmp_path / "a.xdmf")
    assert_same(found, data)


def test_round_trip_of_all_that_vtk_has(tmp_path, vtk_grid):
    """Polylines, strips and polygons, and all types of arrays, through a file of VTK and back."""
    vtk_grid.save(tmp_path / "a.vtu")
    write_mesh(tmp_path / "b.vtu", read_mesh(tmp_path / "a.vtu"))
    assert_same_as_vtk(read_mesh(tmp_path / "b.vtu"), vtk_grid)
    assert_same_as_vtk(
        read_mesh(tmp_path / "b.vtu"), pytest.importorskip("pyvista").read(tmp_path / "b.vtu")
    )


def test_xdmf_of_triangles_and_quads(tmp_path, gmsh_mesh):
    data = read_mesh(gmsh_mesh("mixed.msh", quads=True)[0])
    write_mesh(tmp_path / "a.xdmf", data)
    assert_same(read_mesh(tmp_path / "a.xdmf"), data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_prediction_opens_in_meshio_and_paraview(tmp_path, gmsh_mesh, dtype):
    """The road of the project: a file of Gmsh in, the same mesh with new fields out."""
    path, _ = gmsh_mesh("in.msh", order=2)
    data = read_mesh(path)
    generator = torch.Generator().manual_seed(0)
    fields = {
        "stress": torch.randn(data.num_nodes, generator=generator, dtype=dtype),
        "displacement": torch.randn(data.num_nodes, 2, generator=generator, dtype=dtype),
    }
    write_mesh(tmp_path / "out.vtu", data, fields)
    assert [p.name for p in tmp_path.iterdir()] == ["out.vtu"]
    wanted = torch.nn.functional.pad(fields["displacement"], (0, 1))
    again, other = read_mesh(tmp_path / "out.vtu"), meshio.read(tmp_path / "out.vtu")
    assert torch.equal(again.cells, data.cells)
    for point_data in (again.point_data, other.point_data):
        assert bits(point_data["stress"]) == bits(fields["stress"])
        assert bits(point_data["displacement"]) == bits(wanted)
        assert bits(point_data["gmsh:dim_tags"]) == bits(data.point_data["gmsh:dim_tags"])
    assert other.points.shape == (data.num_nodes, 3)
    assert not other.points[:, 2].any()
    pv = pytest.importorskip("pyvista")
    grid = pv.read(tmp_path / "out.vtu")
    assert_same_as_vtk(again, _flat(grid))
    assert bits(grid.point_data["displacement"]) == bits(wanted)


def _flat(grid):
    """The grid, with plane points as they are in a Data."""

    class Flat:
        points = np.ascontiguousarray(grid.points[:, :2])
        celltypes, cell_connectivity = grid.celltypes, grid.cell_connectivity
        point_data, cell_data = grid.point_data, grid.cell_data

    return Flat


@pytest.mark.parametrize("suffix", [".vtu", ".vtk", ".xdmf"])
def test_point_cloud_gets_a_vertex_for_every_node(tmp_path, suffix):
    data = Data(pos=torch.rand(5, 3))
    write_mesh(tmp_path / f"a{suffix}", data, {"T": torch.arange(5.0)})
    found = read_mesh(tmp_path / f"a{suffix}")
    assert found.cells.tolist() == [[i] for i in range(5)]
    assert bits(found.pos) == bits(data.pos)


def test_cells_without_types_are_guessed_or_refused(tmp_path):
    square = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]])
    data = Data(pos=square, cells=torch.tensor([[0, 1, 2], [0, 2, 3]]))
    write_mesh(tmp_path / "a.vtu", data, {"T": torch.arange(4)})
    assert read_mesh(tmp_path / "a.vtu").cell_types.tolist() == [5, 5]
    with pytest.raises(MeshError, match="cell_types"):
        write_mesh(tmp_path / "b.vtu", Data(pos=square, cells=torch.tensor([[0, 1, 2, 3, 0]])))


def test_read_meshes_make_a_batch(tmp_path):
    write_mesh(tmp_path / "a.vtu", Data(pos=torch.rand(4, 3)), {"T": torch.rand(4)})
    batch = Batch.from_data_list([read_mesh(tmp_path / "a.vtu")] * 2)
    assert batch.point_data["T"].shape == (8,)


@pytest.mark.parametrize("name", ["a.vtu", "a.xdmf"])
def test_failed_write_leaves_the_old_file(tmp_path, name):
    write_mesh(tmp_path / name, Data(pos=torch.rand(4, 3)))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(MeshError, match=f"{name}.*cannot be written.*complex"):
        write_mesh(tmp_path / name, Data(pos=torch.rand(4, 3)), {"z": torch.ones(4) * 1j})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"T": torch.ones(3)}, r"'T' has shape \[3\], expected 4 rows"),
        ({"T": torch.tensor(1.0)}, r"'T' has shape \[\], expected 4 rows"),
        ({"old": torch.ones(4)}, "already has a node field 'old'.*old_predicted"),
        ({"": torch.ones(4)}, "no printable name"),
        ({"a\nb": torch.ones(4)}, "no printable name"),
        ({"\udcff": torch.ones(4)}, "not UTF-8"),
    ],
)
def test_bad_fields_are_not_written(tmp_path, fields, message):
    data = Data(pos=torch.rand(4, 3), point_data={"old": torch.ones(4)})
    with pytest.raises(MeshError, match=message):
        write_mesh(tmp_path / "a.vtu", data, fields)
    assert not list(tmp_path.iterdir())


def test_bad_meshes_are_not_written(tmp_path):
    with pytest.raises(MeshError, match=r"\.stl.*expected one of \.vtu"):
        write_mesh(tmp_path / "a.stl", Data(pos=torch.rand(4, 3)))
    with pytest.raises(MeshError, match=r"\[4, 1\], expected"):
        write_mesh(tmp_path / "a.vtu", Data(pos=torch.rand(4, 1)))
    with pytest.raises(MeshError, match="nodes 0 to 9, expected 0 to 3"):
        write_mesh(tmp_path / "a.vtu", Data(pos=torch.rand(4, 2), cells=torch.tensor([[0, 1, 9]])))
    (tmp_path / "file").touch()
    with pytest.raises(MeshError, match=r"cannot be written.*(NotADirectory|FileExists)"):
        write_mesh(tmp_path / "file" / "a.vtu", Data(pos=torch.rand(4, 3)))
