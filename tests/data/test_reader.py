"""How a mesh becomes a graph, and that the way travels."""

import json

import numpy as np
import pytest
import torch
from scipy.spatial import Delaunay

from lrsa_geo.data import GraphReader, MeshStore, collect, reader_for
from lrsa_geo.mesh import Field, MeshData, MeshError, read_mesh, write_mesh
from lrsa_geo.mesh.formats import READERS, Format, vtk_xml

READER = GraphReader(
    inputs=(Field("U", "m/s", ("x", "y")),),
    targets=(Field("p", "Pa"), Field("k")),
    cond=(Field("mach"),),
    boundary="patch",
    step=-1,
    dim=2,
)


def mesh(seed=0, far=0.0, dtype=torch.float64, **fields):
    """A triangulated square with one more node that no cell holds, and a field p."""
    pos = torch.from_numpy(np.random.default_rng(seed).random((20, 2)))
    cells = torch.from_numpy(Delaunay(pos.numpy()).simplices).int()
    pos = torch.cat([pos, torch.full((1, 2), 2.0)]) if fields.pop("lonely", False) else pos
    data = MeshData(pos=(pos + far).to(dtype), cells=cells)
    data.cell_types = torch.full((len(cells),), 5, dtype=torch.int8)
    data.point_data = {"p": torch.arange(len(pos)).float(), **fields}
    data.cell_data = {"k": torch.arange(len(cells)).float()}
    return data


def test_a_reader_goes_through_json():
    assert GraphReader.from_dict(json.loads(json.dumps(READER.to_dict()))) == READER
    assert GraphReader.from_dict(GraphReader().to_dict()) == GraphReader()


def test_a_reader_of_an_older_version_has_no_dimension():
    old = {key: value for key, value in READER.to_dict().items() if key != "dim"}
    assert GraphReader.from_dict(old) == GraphReader(**{**vars(READER), "dim": 0})
    assert GraphReader.from_dict({}) == GraphReader()


def test_a_store_brings_its_reader(tmp_path):
    for number in range(2):
        write_mesh(tmp_path / f"{number}.vtu", mesh(number))
    files = sorted(tmp_path.glob("*.vtu"))
    store, _ = collect(files, tmp_path / "s.h5", inputs=["p"], targets=["k [m]"], processes=0)
    reader = MeshStore(store.path).reader
    assert reader == reader_for(read_mesh(files[0]), ["p"], ["k [m]"])
    _, graph = reader.read(files[1])
    for array in set(store.arrays) - {"sample"}:
        assert torch.equal(graph[array], store[1][array])
    plain = MeshStore.write(tmp_path / "t.h5", [MeshData(pos=torch.rand(3, 2))], {})
    assert plain.reader is None


def test_file_0_is_read_once(tmp_path, monkeypatch):
    read = []

    def counted(path, step):
        read.append(path)
        return vtk_xml.read(path, step)

    monkeypatch.setitem(READERS, ".vtu", Format(counted))
    for number in range(3):
        write_mesh(tmp_path / f"{number}.vtu", mesh(number))
    files = sorted(tmp_path.glob("*.vtu"))
    collect(files, tmp_path / "s.h5", targets=["p"], processes=0)
    assert read == files


def test_a_file_of_another_dimension_is_refused_by_name(tmp_path):
    write_mesh(tmp_path / "a.vtu", mesh())
    solid = mesh()
    solid.pos = torch.cat([solid.pos, solid.pos[:, :1]], dim=1)
    write_mesh(tmp_path / "b.vtu", solid)
    files = [tmp_path / "a.vtu", tmp_path / "b.vtu"]
    with pytest.raises(MeshError, match=r"b\.vtu: positions have shape \[20, 3\].*\[N, 2\]"):
        collect(files, tmp_path / "s.h5", targets=["p"], processes=0)
    store, failures = collect(files, tmp_path / "s.h5", targets=["p"], processes=0, skip_bad=True)
    assert len(store) == len(failures) == 1


@pytest.mark.parametrize("far", [0.0, 5.2e6])
def test_positions_lose_nothing(tmp_path, far):
    """A mesh of 1 m at map coordinates: float32 has steps of half a metre there."""
    data = mesh(far=far)
    graph = reader_for(data, targets=["p"]).graph(data)
    assert torch.equal(graph.pos, data.pos)
    assert graph.measure.sum() == pytest.approx(
        float(mesh().pos.shape[0] > 0) * area(data), rel=1e-5
    )
    write_mesh(tmp_path / "a.vtu", data)
    store, _ = collect([tmp_path / "a.vtu"], tmp_path / "s.h5", targets=["p"], processes=0)
    assert torch.equal(store[0].pos, data.pos)
    for array in ("measure", "y"):
        assert store[0][array].dtype == torch.float32


def area(data):
    corner = data.pos[data.cells.long()]
    a, b = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    return float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).abs().sum() / 2)


@pytest.mark.parametrize("order", [(torch.float32, torch.float64), (torch.float64, torch.float32)])
def test_files_of_different_precision_share_the_higher(tmp_path, order):
    for number, dtype in enumerate(order):
        write_mesh(tmp_path / f"{number}.vtu", mesh(number, dtype=dtype))
    files = sorted(tmp_path.glob("*.vtu"))
    store, _ = collect(files, tmp_path / "s.h5", targets=["p"], processes=0)
    for number, dtype in enumerate(order):
        assert torch.equal(store[number].pos, mesh(number, dtype=dtype).pos.double())
    single, _ = collect(
        [file for file, dtype in zip(files, order, strict=True) if dtype == torch.float32],
        tmp_path / "t.h5",
        targets=["p"],
        processes=0,
    )
    assert single[0].pos.dtype == torch.float32


def test_a_node_of_no_cell_has_no_value_of_a_field_of_cells():
    data = mesh(lonely=True)
    graph = reader_for(data, targets=["k", "p"]).graph(data)
    assert graph.y[:, 0].isnan().nonzero().tolist() == [[20]]
    assert graph.y[:, 1].isfinite().all()
    with pytest.raises(MeshError, match=r"input 'k'.*no cell holds 1 of 21 nodes.*node 20"):
        reader_for(data, inputs=["k"]).graph(data)
    data.cell_data["k"][3] = torch.nan  # which is a fault, not a lack
    with pytest.raises(MeshError, match="field 'k' is NaN or infinite at 3 of 21 nodes"):
        reader_for(data, targets=["k"]).graph(data)
