"""MeshStore: what goes in comes out, bit for bit, and nothing is ever half there."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader
from torch_geometric.data import Data

from lrsa_geo.data import MeshStore, StoreError, describe
from lrsa_geo.mesh import CellsToEdges, Field

FIELDS = {
    "x": (Field("temperature", "K"),),
    "y": (Field("pressure", "Pa"), Field("velocity", "m/s", ("x", "y"))),
    "cond": (Field("mach"),),
}


def graph(nodes: int, cells: int = 2, edges: int = 3, seed: int = 0, dtype=torch.float32) -> Data:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=dtype)

    def indices(*shape: int) -> torch.Tensor:
        return torch.randint(max(nodes, 1), shape, generator=generator)

    return Data(
        pos=numbers(nodes, 2),
        x=numbers(nodes, 1),
        y=numbers(nodes, 3),
        measure=numbers(nodes).abs(),
        boundary=torch.ones(nodes, dtype=torch.int8),
        cells=indices(cells if nodes else 0, 3).int(),
        edge_index=indices(2, edges if nodes else 0),
        edge_attr=numbers(edges if nodes else 0, 2),
        cond=numbers(1, 1),
        sample=torch.tensor([seed]),
    )


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    sizes=st.lists(
        st.tuples(st.integers(0, 300), st.integers(0, 50), st.integers(0, 50)),
        min_size=1,
        max_size=6,
    ),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_what_is_written_is_read_bit_for_bit(tmp_path, sizes, dtype):
    graphs = [graph(*size, seed=i, dtype=dtype) for i, size in enumerate(sizes)]
    store = MeshStore.write(tmp_path / "s.h5", graphs, FIELDS, {"by": "a test"})
    assert len(store) == len(graphs)
    assert store.fields == FIELDS
    assert store.provenance == {"by": "a test"}
    assert store.num_nodes.tolist() == [nodes for nodes, _, _ in sizes]
    for i, expected in enumerate(graphs):
        found = store[i]
        assert set(found.keys()) - {"num_nodes"} == set(expected.keys())
        for array in expected.keys():  # noqa: SIM118
            assert found[array].dtype == expected[array].dtype, array
            assert torch.equal(found[array], expected[array]), array
    assert torch.equal(store[-1].pos, graphs[-1].pos)
    store.verify()


def test_large_graphs_are_written_in_several_pieces(tmp_path):
    graphs = [graph(200_000, seed=i) for i in range(8)]
    store = MeshStore.write(tmp_path / "s.h5", iter(graphs), FIELDS)
    assert all(torch.equal(store[i].y, graphs[i].y) for i in range(8))


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_open_the_file_for_themselves(tmp_path, context):
    graphs = [graph(50 + i, seed=i) for i in range(20)]
    store = MeshStore.write(tmp_path / "s.h5", graphs, FIELDS)
    store[0]  # the parent has it open
    loader = DataLoader(store, batch_size=None, num_workers=2, multiprocessing_context=context)
    found = {int(data.sample): data.pos for data in loader}
    assert all(torch.equal(found[i], graphs[i].pos) for i in range(20))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "s.h5"
    MeshStore.write(path, [graph(5)], FIELDS)

    def breaks():
        yield graph(6)
        raise RuntimeError("the solver broke")

    with pytest.raises(RuntimeError, match="the solver broke"):
        MeshStore.write(path, breaks(), FIELDS)
    assert [file.name for file in tmp_path.iterdir()] == ["s.h5"]
    assert MeshStore(path).num_nodes.tolist() == [5]


def test_a_changed_byte_is_noticed(tmp_path):
    store = MeshStore.write(tmp_path / "s.h5", [graph(5)], FIELDS)
    with h5py.File(tmp_path / "s.h5", "r+") as file:
        file["node/y"][3, 1] += 1e-3
    with pytest.raises(StoreError, match=r"s\.h5: contents have SHA-256 .* make it again"):
        store.verify()


def changed(**arrays: object) -> Data:
    data = graph(5)
    for name, value in arrays.items():
        data[name] = value
    return data


@pytest.mark.parametrize(
    ("graphs", "message"),
    [
        ([], "no graph to write"),
        ([changed(pos=None)], "graph 0 has no 'pos'"),
        ([graph(5), changed(y=torch.zeros(4, 3))], r"graph 1: 'y' has shape \(4, 3\), expected 5"),
        ([changed(y=torch.zeros(5, 2))], r"'y' has shape \(5, 2\), but `fields` names 3 columns"),
        ([changed(cond=torch.zeros(2, 1))], r"'cond' has shape \(2, 1\), expected 1 rows"),
        ([changed(cells=torch.full((2, 3), 5))], "'cells' points at nodes 5 to 5, it has 5"),
        ([changed(edge_index=torch.full((2, 3), -1))], "'edge_index' points at nodes -1 to -1"),
        ([graph(5), changed(measure=None)], "graph 1 has arrays .* all graphs of a store"),
        ([changed(colour=torch.zeros(5))], r"a store keeps .*, not \['colour'\]"),
        (
            [graph(5), changed(pos=torch.zeros(5, 3))],
            "graph 1: 'pos' has rows of shape .3,., those before it of .2,.",
        ),
    ],
)
def test_bad_graphs_are_refused_and_nothing_is_written(tmp_path, graphs, message):
    with pytest.raises(StoreError, match=message):
        MeshStore.write(tmp_path / "s.h5", graphs, FIELDS)
    assert list(tmp_path.iterdir()) == []


def bad_file(path: Path, kind: str) -> None:
    if kind == "truncated":
        whole = path.with_name("whole.h5")
        MeshStore.write(whole, [graph(5000)], FIELDS)
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "pickle":
        path.write_bytes(pickle.dumps([1, 2]))
    elif kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a", "b")
    elif kind == "other HDF5":
        with h5py.File(path, "w") as file:
            file["a"] = np.zeros(3)
    elif kind == "newer":
        MeshStore.write(path, [graph(5)], FIELDS)
        with h5py.File(path, "r+") as file:
            file.attrs["version"] = 99
    elif kind == "directory":
        path.mkdir()


@pytest.mark.parametrize(
    "kind",
    ["truncated", "empty", "pickle", "zip", "other HDF5", "newer", "directory", "missing"],
)
def test_what_is_no_store_is_refused_by_name(tmp_path, kind):
    path = tmp_path / "bad.h5"
    bad_file(path, kind)
    with pytest.raises(StoreError, match=r"bad\.h5: "):
        MeshStore(path)


def test_index_out_of_range(tmp_path):
    store = MeshStore.write(tmp_path / "s.h5", [graph(5)], FIELDS)
    with pytest.raises(IndexError, match="graph 1 of 1"):
        store[1]


def test_describe_tells_size_units_ranges_and_damage(tmp_path):
    data = graph(5)
    data.y[2, 1] = torch.nan
    text = describe(MeshStore.write(tmp_path / "s.h5", [data, graph(9)], FIELDS, {"seed": 3}))
    for part in ("2 graphs, 14 nodes (5 to 9", "velocity_x velocity_y", "m/s", "1 NaN", "seed: 3"):
        assert part in text


@pytest.mark.parametrize("compression", [None, "gzip"])
def test_known_forms_give_the_same_store(cells, tmp_path, compression):
    """Graphs whose sizes are known go into the file directly."""
    graphs = [CellsToEdges()(data) for data in cells]
    forms = [
        {
            key: (values.numpy().dtype, list(values.shape))
            for key, values in data.to_dict().items()
            if torch.is_tensor(values)
        }
        for data in graphs
    ]
    one = MeshStore.write(tmp_path / "a.h5", graphs, cells.fields, {}, compression)
    other = MeshStore.write(tmp_path / "b.h5", graphs, cells.fields, {}, compression, forms)
    other.verify()
    assert one.sha256 == other.sha256
    assert [file.name for file in sorted(tmp_path.iterdir())] == ["a.h5", "b.h5"]
    with pytest.raises(StoreError, match=r"has \d+ rows, expected \d+"):
        MeshStore.write(tmp_path / "c.h5", graphs[:-1], cells.fields, {}, None, forms)
    bad = [*graphs[:3], cells[3], *graphs[4:]]
    with pytest.raises(StoreError, match="graph 3 has arrays"):
        MeshStore.write(tmp_path / "c.h5", bad, cells.fields, {}, None, forms)
    assert not (tmp_path / "c.h5").exists()
