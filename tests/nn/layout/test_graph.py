"""Layouts: however a batch is described, the answer is the same."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data

from lrsa_geo.nn import EdgeLayout, GeometryOperator, GraphLayout, LRSABlock, NodeLayout
from lrsa_geo.nn.layout import edges as edges_module


def batch_of(sizes: list[int]) -> Batch:
    torch.manual_seed(sum(sizes))
    graphs = []
    for n in sizes:
        edge_index = torch.randint(n, (2, 3 * n)) if n else torch.empty(2, 0, dtype=torch.long)
        graphs.append(Data(pos=torch.rand(n, 2), edge_index=edge_index, cond=torch.rand(1, 1)))
    return Batch.from_data_list(graphs)


def model() -> GeometryOperator:
    torch.manual_seed(0)
    sizes = {"channels": 8, "depth": 2, "heads": 2, "num_latents": 3}
    return GeometryOperator(0, 1, 2, cond_channels=1, local="MeshConv", **sizes)


@settings(deadline=None, max_examples=20)
@given(sizes=st.lists(st.integers(0, 12), min_size=1, max_size=6))
def test_every_description_of_a_batch_gives_the_same(sizes):
    batch, operator = batch_of(sizes), model()
    given = {"edge_index": batch.edge_index, "cond": batch.cond}
    expected = operator(None, batch.pos, ptr=batch.ptr, **given)
    ways = [
        operator(None, batch.pos, batch.batch, batch_size=len(sizes), **given),
        operator(None, batch.pos, batch.batch, ptr=batch.ptr, **given),
        operator(None, batch.pos, batch.batch, **given),  # cond says how many graphs there are
        operator(None, batch.pos, NodeLayout.of(batch.pos, ptr=batch.ptr), **given),
        operator(
            None,
            batch.pos,
            GraphLayout.of(batch.pos, ptr=batch.ptr, edge_index=batch.edge_index),
            cond=batch.cond,
        ),
    ]
    for way in ways:
        torch.testing.assert_close(way, expected)
    alone = [
        operator(None, one.pos, edge_index=one.edge_index, cond=one.cond)
        for one in batch.to_data_list()
        if one.num_nodes
    ]
    if alone:
        torch.testing.assert_close(torch.cat(alone), expected, atol=1e-5, rtol=1e-5)


def test_a_layout_moves_with_its_batch_and_groups_by_the_device():
    batch = batch_of([5, 400, 0, 7])
    measure = torch.rand(len(batch.pos))
    layout = GraphLayout.of(batch.pos, ptr=batch.ptr, edge_index=batch.edge_index, measure=measure)
    batch.layout = layout
    moved = batch.to("meta").layout
    assert moved.nodes.graph.device.type == moved.edges.weight.device.type == "meta"
    assert all(g.bias is None or g.bias.device.type == "meta" for g in moved.nodes.groups)
    assert moved.nodes.sizes == layout.nodes.sizes
    assert len(moved.nodes.groups) != len(layout.nodes.groups)  # a call costs something else there
    with pytest.raises(ValueError, match=r"`x` is on cpu, its NodeLayout on meta; move the layout"):
        moved.nodes.check(batch.pos.new_empty(len(measure), 2, device="cpu"))


def test_no_layer_builds_a_layout_in_a_step(monkeypatch):
    batch, operator = batch_of([5, 9]), model()
    layout = GraphLayout.of(batch.pos, ptr=batch.ptr, edge_index=batch.edge_index)

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a layout is built")

    monkeypatch.setattr(NodeLayout, "__init__", refuse)
    monkeypatch.setattr(EdgeLayout, "__init__", refuse)
    operator(None, batch.pos, layout, cond=batch.cond).sum().backward()


def test_passive_nodes_send_no_messages_of_any_convolution():
    torch.manual_seed(0)
    batch = batch_of([9, 6])
    measure = torch.ones(15)
    measure[3] = 0
    moved = batch.pos.clone()
    moved[3] += 0.3
    for local in ("MeshConv", "SAGEConv", "GATv2Conv"):
        sizes = {"channels": 8, "depth": 2, "heads": 2, "num_latents": 3}
        operator = GeometryOperator(0, 1, 2, local=local, **sizes)
        one, other = (
            operator(
                None,
                pos,
                GraphLayout.of(pos, ptr=batch.ptr, edge_index=batch.edge_index, measure=measure),
            )
            for pos in (batch.pos, moved)
        )
        others = torch.arange(15) != 3
        torch.testing.assert_close(one[others], other[others])
        assert not torch.allclose(one[3], other[3])


def test_edges_at_other_positions_are_those_edges_there():
    batch = batch_of([9])
    layout, pos = EdgeLayout(batch.edge_index, batch.pos), torch.rand(9, 2)
    expected, found = EdgeLayout(batch.edge_index, pos), layout.at(pos)
    for name in ("edge_index", "offset", "length", "weight", "edge_attr", "ptr"):
        torch.testing.assert_close(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("limit", [1, 7, 10**6])
def test_chunks_cover_every_node_and_edge_once(monkeypatch, limit):
    monkeypatch.setitem(edges_module.CHUNK_BYTES, "cpu", 4 * 3 * limit)
    torch.manual_seed(0)
    edge_index = torch.randint(20, (2, 60))
    edge_index = edge_index[:, edge_index[1] != 11]  # a node that nothing reaches
    layout = EdgeLayout(edge_index, torch.rand(20, 2))
    chunks = list(layout.chunks(3))
    assert [c.nodes.start for c in chunks[1:]] == [c.nodes.stop for c in chunks[:-1]]
    assert [c.edges.start for c in chunks[1:]] == [c.edges.stop for c in chunks[:-1]]
    assert (chunks[0].nodes.start, chunks[-1].nodes.stop) == (0, 20)
    assert (chunks[0].edges.start, chunks[-1].edges.stop) == (0, edge_index.shape[1])
    for chunk in chunks:
        one_node = chunk.nodes.stop - chunk.nodes.start == 1
        assert one_node or chunk.edges.stop - chunk.edges.start <= limit
        assert int(chunk.ptr[-1]) == chunk.edges.stop - chunk.edges.start


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ptr": torch.tensor([0, 3, 8])}, r"`ptr` has shape \[3\] and ends with \[8\].*0 to 9"),
        ({"ptr": torch.tensor([0, 5, 3, 9])}, "ascending from 0 to 9"),
        ({"ptr": torch.tensor([0, 9]), "batch_size": 2}, "`ptr` names 1 graphs, `batch_size` is 2"),
        (
            {"ptr": torch.tensor([0, 4, 9]), "batch": torch.arange(9) // 5},
            "`ptr` disagree on which",
        ),
        ({"batch": torch.arange(9), "batch_size": 2}, "`batch` names 9 graphs, expected 2"),
    ],
)
def test_descriptions_that_do_not_fit_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        NodeLayout.of(torch.zeros(9, 2), given.pop("batch", None), **given)


def test_what_a_layout_has_is_not_given_twice():
    batch = batch_of([4, 5])
    layout = GraphLayout.of(batch.pos, batch.batch, edge_index=batch.edge_index)
    with pytest.raises(ValueError, match=r"which has \['measure', 'edge_index'\] in it"):
        GraphLayout.of(batch.pos, layout, edge_index=batch.edge_index, measure=torch.ones(9))
    block = LRSABlock(8, 2, 3)
    x = torch.rand(9, 8)
    torch.testing.assert_close(block(x, layout), block(x, batch.batch))
