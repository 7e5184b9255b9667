"""Message passing: the formula written out, invariances, gradients, and edges that are wrong."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, Data
from torch_geometric.nn import SAGEConv

from lrsa_geo.nn import EdgeLayout, GeometryOperator, LocalLayer, LRSABlock, MeshConv
from lrsa_geo.nn.layout import edges

sizes = st.tuples(st.integers(1, 30), st.integers(0, 120), st.integers(0, 99))


def graph(nodes: int, edges: int, seed: int = 0, channels: int = 6, dim: int = 2) -> Data:
    generator = torch.Generator().manual_seed(seed)

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    edge_index = torch.randint(nodes, (2, edges), generator=generator)
    data = Data(x=numbers(nodes, channels), pos=numbers(nodes, dim), edge_index=edge_index)
    data.measure = numbers(nodes).abs()
    return data


@pytest.fixture
def conv() -> MeshConv:
    torch.manual_seed(0)
    layer = MeshConv(6, 2).double()
    torch.nn.init.normal_(layer.length)  # so that it matters
    torch.nn.init.normal_(layer.ends.bias)
    return layer


def formula(conv: MeshConv, data: Data, measure: torch.Tensor | None = None) -> torch.Tensor:
    """Edge by edge, as in the docstring."""
    at_target, at_source = conv.ends.weight.chunk(2)
    bias_target, bias_source = conv.ends.bias.chunk(2)
    total = torch.zeros_like(data.x)
    weights = torch.zeros(len(data.x), dtype=data.x.dtype)
    for j, i in data.edge_index.T.tolist():
        step = data.pos[j] - data.pos[i]
        z = at_target @ data.x[i] + bias_target + at_source @ data.x[j] + bias_source
        z = z + conv.offset.weight @ step + conv.length * step.norm()
        w = 1.0 if measure is None else measure[j]
        total[i] = total[i] + w * z.relu()
        weights[i] += w
    mean = torch.where(weights[:, None] > 0, total / weights[:, None].clamp(min=1e-300), 0)
    return mean @ conv.out.weight.T


@settings(deadline=None, max_examples=40)
@given(size=sizes, weighted=st.booleans())
def test_the_formula(size, weighted):
    torch.manual_seed(1)
    conv = MeshConv(6, 2).double()
    torch.nn.init.normal_(conv.length)
    data = graph(*size)
    measure = data.measure if weighted else None
    layout = EdgeLayout(data.edge_index, data.pos, measure)
    torch.testing.assert_close(
        conv(data.x, data.pos, layout), formula(conv, data, measure), atol=1e-10, rtol=1e-10
    )


@settings(deadline=None, max_examples=20)
@given(size=sizes)
def test_order_of_edges_and_of_nodes_does_not_matter(size):
    torch.manual_seed(1)
    conv = MeshConv(6, 2).double()
    data = graph(*size)
    expected = conv(data.x, data.pos, data.edge_index)
    generator = torch.Generator().manual_seed(size[2])
    edges = torch.randperm(data.num_edges, generator=generator)
    found = conv(data.x, data.pos, data.edge_index[:, edges])
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    nodes = torch.randperm(len(data.x), generator=generator)
    renamed = torch.argsort(nodes)[data.edge_index]
    found = conv(data.x[nodes], data.pos[nodes], renamed)
    torch.testing.assert_close(found, expected[nodes], atol=1e-10, rtol=1e-10)


def test_chunks_of_any_size_give_the_same(conv, monkeypatch):
    data = graph(200, 1500)

    def run() -> list[torch.Tensor]:
        x = data.x.clone().requires_grad_()
        conv.zero_grad()
        y = conv(x, data.pos, data.edge_index)
        y.square().sum().backward()
        return [y.detach(), x.grad, *(p.grad.clone() for p in conv.parameters())]

    whole = run()
    monkeypatch.setitem(edges.CHUNK_BYTES, "cpu", 4 * 6 * 20)
    layout = EdgeLayout(data.edge_index, data.pos)
    assert sum(1 for _ in layout.chunks(6)) > 50
    for one, other in zip(run(), whole, strict=True):
        torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
def test_gradients(conv, weighted):
    data = graph(9, 30)
    layout = EdgeLayout(data.edge_index, data.pos, data.measure if weighted else None)
    names = [name for name, _ in conv.named_parameters()]

    def run(x: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        values = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(conv, values, (x, data.pos, layout))

    inputs = (data.x, *(p.detach() for p in conv.parameters()))
    assert torch.autograd.gradcheck(run, [x.clone().requires_grad_() for x in inputs])


def test_shifting_the_graph_changes_nothing(conv):
    data = graph(20, 80)
    moved = conv(data.x, data.pos + 3.7, data.edge_index)
    torch.testing.assert_close(moved, conv(data.x, data.pos, data.edge_index))


def test_a_graph_in_a_batch_is_as_alone(conv):
    graphs = [graph(9, 40, 1), graph(1, 0, 2), graph(14, 60, 3)]
    batch = Batch.from_data_list(graphs)
    together = conv(batch.x, batch.pos, batch.edge_index)
    alone = [conv(data.x, data.pos, data.edge_index) for data in graphs]
    torch.testing.assert_close(together, torch.cat(alone))


def test_a_passive_node_listens_and_is_not_heard(conv):
    data = graph(10, 60)
    data.measure[3] = 0
    x = data.x.clone()
    x[3] += 5
    before, after = (
        conv(values, data.pos, EdgeLayout(data.edge_index, data.pos, data.measure))
        for values in (data.x, x)
    )
    others = torch.arange(10) != 3
    assert torch.equal(before[others], after[others])
    assert not torch.allclose(before[3], after[3])


def test_nothing_of_the_size_of_the_edges_is_kept(conv):
    data = graph(50, 2000)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: saved.append(t.shape) or t, lambda t: t
    ):
        conv(data.x.requires_grad_(), data.pos, data.edge_index)
    assert max(shape[0] for shape in saved if shape) <= 50


@pytest.mark.parametrize(
    ("edge_index", "graph_of_node", "message"),
    [
        ([[0, 4], [1, 0]], None, r"`edge_index` points at nodes 0 to 4, expected 0 to 3"),
        ([[0, -1], [1, 0]], None, "points at nodes -1 to 1"),
        ([[0, 1], [1, 2]], [0, 0, 1, 1], "joins nodes of two graphs: edge 1 goes from node 1 to"),
        ([[0.5], [1]], None, r"expected \[2, E\] integers"),
        ([0, 1], None, r"has shape \[2\]"),
    ],
)
def test_edges_that_are_wrong(edge_index, graph_of_node, message):
    pos = torch.rand(4, 2)
    graph_of_node = None if graph_of_node is None else torch.tensor(graph_of_node)
    with pytest.raises(ValueError, match=message):
        EdgeLayout(torch.tensor(edge_index), pos, graph=graph_of_node)


# --- in the operator -----------------------------------------------------------------------------

ORDERS = ("local-first", "global-first", "parallel")


def hybrid(local_layer, order="local-first", **options) -> GeometryOperator:
    torch.manual_seed(0)
    sizes = {"channels": 8, "depth": 2, "heads": 2, "num_latents": 4}
    return GeometryOperator(6, 3, 2, **sizes, local=local_layer, order=order, **options).double()


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("kind", ["MeshConv", "SAGEConv", "GATv2Conv", SAGEConv(8, 8)])
def test_hybrids_do_not_depend_on_companions_or_numbering(kind, order):
    model = hybrid(kind, order)
    graphs = [graph(9, 40, 1), graph(1, 0, 2), graph(14, 60, 3)]
    batch = Batch.from_data_list(graphs)
    together = model(batch.x, batch.pos, batch.batch, edge_index=batch.edge_index)
    alone = [model(g.x, g.pos, edge_index=g.edge_index) for g in graphs]
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-10, rtol=1e-10)

    nodes = torch.randperm(batch.num_nodes, generator=torch.Generator().manual_seed(0))
    renamed = torch.argsort(nodes)[batch.edge_index]
    mixed = model(batch.x[nodes], batch.pos[nodes], batch.batch[nodes], edge_index=renamed)
    torch.testing.assert_close(mixed, together[nodes], atol=1e-10, rtol=1e-10)


def test_edges_matter_and_every_layer_has_its_own_weights():
    data = graph(9, 40)
    model = hybrid("MeshConv")
    one = model(data.x, data.pos, edge_index=data.edge_index)
    other = model(data.x, data.pos, edge_index=data.edge_index[:, 1:])
    assert not torch.allclose(one, other)
    first, second = (block.local.conv.ends.weight for block in model.blocks)
    assert not torch.equal(first, second)
    given = SAGEConv(8, 8)
    copies = [block.local.conv for block in hybrid(given).blocks]
    assert not torch.equal(copies[0].lin_l.weight, copies[1].lin_l.weight)


def test_convolutions_that_take_edge_features_get_them():
    model = hybrid("GATv2Conv")
    data = graph(9, 40)
    one = model(data.x, data.pos, edge_index=data.edge_index)
    assert model.blocks[0].local.conv.edge_dim == 3
    one.sum().backward()
    assert model.blocks[0].local.conv.lin_edge.weight.grad.abs().sum() > 0


def test_message_passing_in_some_of_the_blocks():
    data = graph(9, 40)
    model = hybrid("MeshConv", local_blocks=(-1,))
    assert [block.local is not None for block in model.blocks] == [False, True]
    one = model(data.x, data.pos, edge_index=data.edge_index)
    other = model(data.x, data.pos, edge_index=data.edge_index[:, 1:])
    assert not torch.allclose(one, other)
    everywhere = hybrid("MeshConv", local_blocks=(0, 1))
    torch.testing.assert_close(
        everywhere(data.x, data.pos, edge_index=data.edge_index),
        hybrid("MeshConv")(data.x, data.pos, edge_index=data.edge_index),
    )


def test_passive_nodes_in_the_hybrid():
    model = hybrid("MeshConv")
    data = graph(12, 60)
    data.measure[7] = 0
    x = data.x.clone()
    x[7] += 5
    before, after = (
        model(values, data.pos, edge_index=data.edge_index, measure=data.measure)
        for values in (data.x, x)
    )
    others = torch.arange(12) != 7
    torch.testing.assert_close(before[others], after[others], atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"local_layer": "NoConv"}, "`local` is 'NoConv', expected 'MeshConv', 'GridConv' or a"),
        ({"local_layer": "Linear"}, "expected 'MeshConv', 'GridConv' or a convolution"),
        ({"local_layer": "NNConv"}, "needs more than channels"),
        ({"local_layer": SAGEConv(8, 9)}, "`local` maps 8 channels to 9, expected 8 each"),
        ({"local_layer": SAGEConv(8, 8), "local_options": {"aggr": "max"}}, "would be lost"),
        ({"local_layer": "MeshConv", "local_options": {"width": 3}}, "names width, which MeshConv"),
        ({"local_layer": "MeshConv", "order": "last"}, "`order` is 'last', expected one of"),
        ({"local_layer": "MeshConv", "local_blocks": (2,)}, "`local_blocks` names block 2 of 2"),
        ({"local_layer": "MeshConv", "local_blocks": ()}, "`local_blocks` names no block"),
    ],
)
def test_local_layers_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=message):
        hybrid(**options)


def test_a_block_says_where_its_edges_go():
    block = LRSABlock(8, heads=2, num_latents=4, local=LocalLayer("MeshConv", 8, 2))
    with pytest.raises(ValueError, match="needs edges: give them to `mix`"):
        block(torch.rand(5, 8))


def test_missing_edges_say_what_makes_them():
    data = graph(4, 6)
    with pytest.raises(ValueError, match=r"`edge_index` is None.*CellsToEdges"):
        hybrid("MeshConv")(data.x, data.pos)
    batch, edges = torch.tensor([0, 0, 1, 1]), torch.tensor([[0], [2]])
    with pytest.raises(ValueError, match="joins nodes of two graphs"):
        hybrid("MeshConv")(data.x, data.pos, batch, edge_index=edges)
