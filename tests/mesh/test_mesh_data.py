"""A mesh that batches: offsets, padding, round trips, names, and what is refused."""

import copy
import io
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.loader import DataLoader

from lrsa_geo.mesh import MeshData, MeshError, cell_to_node, node_to_cell, write_mesh
from lrsa_geo.mesh.cell_table import CellTable

NODES = {1: 1, 3: 2, 5: 3, 9: 4, 10: 4, 12: 8, 13: 6}  # VTK type -> nodes
PROPERTY = settings(max_examples=60, deadline=None)


@st.composite
def graphs(draw):
    """A graph with cells of mixed types, perhaps none, and perhaps padded beyond the widest."""
    num_nodes = draw(st.integers(8, 12))
    types = draw(st.lists(st.sampled_from(list(NODES)), max_size=4))
    width = max([NODES[t] for t in types]) + draw(st.integers(0, 1)) if types else 1
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    cells = torch.full((len(types), width), -1, dtype=torch.int32)
    for row, number in enumerate(types):
        order = torch.randperm(num_nodes, generator=generator)
        cells[row, : NODES[number]] = order[: NODES[number]].int()
    return MeshData(
        pos=torch.rand(num_nodes, 3, generator=generator),
        cells=cells,
        cell_types=torch.tensor(types, dtype=torch.int8),
        edge_index=torch.randint(0, num_nodes, (2, 7), generator=generator),
        point_data={name: torch.rand(num_nodes) for name in ("p", "index", "face", "batch")},
        cell_data={"edge_index": torch.rand(len(types), 2)},
    )


def same(one, other):
    """Two dictionaries of equal tensors."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    return one.dtype == other.dtype and torch.equal(one, other) if torch.is_tensor(one) else True


def offset(cells, nodes, width):
    """What batching means: nodes move up, padding stays, the table gets wider."""
    moved = torch.full((len(cells), width), -1, dtype=cells.dtype)
    moved[:, : cells.shape[1]] = torch.where(cells.plain() < 0, -1, cells.plain() + nodes)
    return moved


def check_batch(batch, wanted):
    width = max(graph.cells.shape[1] for graph in wanted)
    starts = [sum(graph.num_nodes for graph in wanted[:i]) for i in range(len(wanted))]
    tables = [offset(g.cells, n, width) for g, n in zip(wanted, starts, strict=True)]
    assert torch.equal(batch.cells.plain(), torch.cat(tables))
    assert batch.validate()
    for name in wanted[0].point_data:
        assert torch.equal(
            batch.point_data[name], torch.cat([graph.point_data[name] for graph in wanted])
        )
    found = batch.to_data_list()
    assert all(isinstance(graph, MeshData) for graph in found)
    assert all(same(a.to_dict(), b.to_dict()) for a, b in zip(found, wanted, strict=True))


@given(st.lists(graphs(), min_size=1, max_size=4))
@PROPERTY
def test_batching_moves_the_nodes_and_keeps_the_padding(wanted):
    batch = Batch.from_data_list(wanted)
    check_batch(batch, wanted)
    for other in (
        batch.clone(),
        batch.to("cpu", torch.float32),
        copy.copy(batch),
        copy.deepcopy(batch),
        batch.contiguous(),
        pickle.loads(pickle.dumps(batch)),
    ):
        check_batch(other, wanted)


@given(st.lists(graphs(), min_size=2, max_size=3))
@PROPERTY
def test_cells_of_a_batch_are_those_of_its_graphs(wanted):
    """What works on cells gives for a batch what it gives for each graph."""
    batch = Batch.from_data_list(wanted)
    values = torch.rand(len(batch.cells))
    parts = values.split([len(graph.cells) for graph in wanted])
    expected = [cell_to_node(graph, part) for graph, part in zip(wanted, parts, strict=True)]
    found = cell_to_node(batch, values)
    torch.testing.assert_close(found, torch.cat(expected), equal_nan=True)
    nodes = torch.rand(batch.num_nodes)
    expected = [
        node_to_cell(graph, part)
        for graph, part in zip(wanted, nodes.split([g.num_nodes for g in wanted]), strict=True)
    ]
    torch.testing.assert_close(node_to_cell(batch, nodes), torch.cat(expected))


def mixed(n=3):
    """Graphs with tables of 3, 4, 3, ... columns."""
    return [
        MeshData(
            pos=torch.rand(4 + i, 2),
            cells=torch.tensor([[0, 1, 2, -1], [0, 1, 2, 3]] if i % 2 else [[1, 2, 3]]),
            cell_types=torch.tensor([5, 9] if i % 2 else [5]).char(),
        )
        for i in range(n)
    ]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("same_width", [False, True])
def test_loaders_give_the_same_batches(workers, same_width):
    """In a worker PyG writes into shared memory of a size that it works out itself."""
    graphs = mixed(8)[:: 2 if same_width else 1]
    graphs = graphs[1:] + graphs[:1] if not same_width else graphs
    batches = list(DataLoader(graphs, batch_size=4, num_workers=workers))
    for start, batch in zip(range(0, len(graphs), 4), batches, strict=True):
        assert isinstance(batch.cells, CellTable)
        found = batch.to_data_list()
        for one, other in zip(found, graphs[start : start + 4], strict=True):
            assert same(one.to_dict(), other.to_dict())


def test_a_store_gives_meshes(cells):
    first = cells[0]
    assert isinstance(first, MeshData)
    assert isinstance(first.cells, CellTable)
    batch = next(iter(DataLoader(cells, batch_size=3, num_workers=1)))
    for number in range(3):
        assert same(batch[number].to_dict(), cells[number].to_dict())


def test_a_batch_of_meshes_can_be_written(tmp_path):
    from lrsa_geo.mesh import read_mesh

    batch = Batch.from_data_list(mixed())
    write_mesh(tmp_path / "a.vtu", batch)
    assert torch.equal(read_mesh(tmp_path / "a.vtu").cells, batch.cells.plain().int())


def test_a_plain_table_with_padding_is_refused():
    data = mixed(2)
    data[1]._store["cells"] = data[1].cells.plain()
    with pytest.raises(ValueError, match=r"`cells` of shape \[2, 4\].*plain tensor"):
        Batch.from_data_list(data)
    plain = Batch.from_data_list([Data.from_dict(data[1].to_dict())] * 2)
    with pytest.raises(MeshError, match="use `MeshData`"):
        node_to_cell(plain, torch.zeros(plain.num_nodes))
    with pytest.raises(TypeError, match="element 1"):  # of MeshData and Data, from torch
        Batch.from_data_list([mixed(1)[0], Data.from_dict(mixed(1)[0].to_dict())])
    with pytest.raises(TypeError, match="in place"):
        mixed(1)[0].cells.add_(1)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("table", ["point_data", "cell_data"])
def test_graphs_with_other_fields_are_refused(table, reverse):
    one, other = mixed(1) * 2
    one, other = copy.copy(one), copy.copy(other)
    rows = {"point_data": 4, "cell_data": 1}[table]
    one[table], other[table] = (
        {"p": torch.rand(rows)},
        {"p": torch.rand(rows), "T": torch.rand(rows)},
    )
    with pytest.raises(MeshError, match=rf"graph 1 has `cells`, `{table}` \['.*graph 0.*same"):
        Batch.from_data_list([other, one] if reverse else [one, other])


def test_a_graph_without_cells_among_meshes_is_refused():
    with pytest.raises((MeshError, KeyError), match="cells"):
        Batch.from_data_list([MeshData(pos=torch.rand(3, 2)), mixed(1)[0]])
    with pytest.raises((MeshError, KeyError), match="cells"):
        Batch.from_data_list([mixed(1)[0], MeshData(pos=torch.rand(3, 2))])


def test_anything_else_with_a_table_is_plain():
    cells = mixed(2)[1].cells
    for plain in (cells[0], cells[:, :2], cells >= 0, cells.int(), cells * 2, cells.sum()):
        assert type(plain) is torch.Tensor
    assert cells.numpy().tolist() == [[0, 1, 2, -1], [0, 1, 2, 3]]
    assert torch.rand(4, 2)[cells[1]].shape == (4, 2)
    assert torch.equal(cells, cells.plain())


def test_a_mesh_can_be_saved_as_plain_data():
    data = mixed(2)[1]
    file = io.BytesIO()
    torch.save(data.to_dict(), file)
    file.seek(0)
    loaded = MeshData.from_dict(torch.load(file, weights_only=True))
    assert isinstance(loaded.cells, CellTable)
    assert same(loaded.to_dict(), data.to_dict())


def test_passive_nodes_and_markers():
    data = mixed(1)[0]
    assert data.markers == []
    assert not data.is_passive.any()
    data.measure = torch.tensor([1.0, 0, 2, 3])
    data.passive = torch.tensor([False, False, True, False])
    data.boundary = torch.tensor([2, 0, 1, 2])
    assert data.is_passive.tolist() == [False, True, True, False]
    assert data.markers == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pos", torch.rand(4, 1), r"'pos' has shape \[4, 1\], expected \[N, 2\] or \[N, 3\]"),
        ("pos", None, "'pos' is missing"),
        ("x", torch.rand(5, 2), r"'x' has shape \[5, 2\], expected \[4, \*\]"),
        ("y", torch.rand(4), r"'y' has shape \[4\], expected \[4, \*\]"),
        ("measure", torch.rand(4, 1), r"'measure' has shape \[4, 1\], expected \[4\]"),
        ("cond", torch.rand(3), r"'cond' has shape \[3\], expected \[1, \*\]"),
        ("cells", torch.tensor([[0, 1, 9]]), "'cells' points at nodes 0 to 9, expected 0 to 3"),
        ("cell_types", torch.tensor([5, 5]), r"'cell_types' has shape \[2\], expected \[1\]"),
        ("cell_types", torch.tensor([99]), r"'cell_types' holds \[99\]"),
        ("edge_index", torch.zeros(3, 2).long(), r"'edge_index' has shape \[3, 2\], expected \[2"),
        ("edge_index", torch.tensor([[0], [4]]), "'edge_index' points at nodes 0 to 4"),
        ("point_data", {"p": torch.rand(3)}, r"'p' of `point_data` has shape \[3\], expected 4"),
        ("cell_data", {"p": torch.rand(2)}, r"'p' of `cell_data` has shape \[2\], expected 1"),
    ],
)
def test_validate_names_what_is_wrong(name, value, message):
    data = mixed(1)[0]
    assert data.validate()
    data[name] = value
    with pytest.raises(MeshError, match=message):
        data.validate()
    with pytest.warns(UserWarning, match=message):
        assert not data.validate(raise_on_error=False)
