"""A random part of the nodes: which ones, what they carry, and that sums stay what they are."""

from __future__ import annotations

import pickle

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Batch

from lrsa_geo.mesh import CellsToEdges, MeshData, RandomNodes


def square(side: int = 5) -> MeshData:
    """A grid of triangles whose fields tell where a node is."""
    x, y = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    pos = torch.stack([x, y], dim=2).reshape(-1, 2).double()
    node = torch.arange(side * side).reshape(side, side)
    corners = [node[:-1, :-1], node[1:, :-1], node[:-1, 1:]]
    cells = torch.stack([c.reshape(-1) for c in corners], dim=1).int()
    data = MeshData(pos=pos, cells=cells, y=pos[:, :1] + 10 * pos[:, 1:])
    data.cell_types = torch.full((len(cells),), 5, dtype=torch.int8)
    data.measure = torch.rand(side * side, dtype=torch.float64)
    data.point_data = {"u": pos[:, 0].clone()}
    return CellsToEdges()(data)


def test_drawn_nodes_keep_what_is_theirs():
    data = square()
    edges = {tuple(e) for e in data.edge_index.T.tolist()}
    part = RandomNodes(9, torch.Generator().manual_seed(0))(data)
    assert part.num_nodes == len(part.pos) == 9
    assert part.validate()
    torch.testing.assert_close(part.y, part.pos[:, :1] + 10 * part.pos[:, 1:])
    torch.testing.assert_close(part.point_data["u"], part.pos[:, 0])
    number = (5 * part.pos[:, 0] + part.pos[:, 1]).long()
    assert (number.diff() > 0).all()  # in their order
    drawn = set(number.tolist())
    kept = {tuple(e) for e in number[part.edge_index].T.tolist()}
    assert kept == {(i, j) for i, j in edges if i in drawn and j in drawn}
    assert "cells" not in part
    assert data.num_nodes == 25  # the graph itself is not changed


@pytest.mark.parametrize(("side", "stratified"), [(5, True), (5, False), (12, True)])
def test_sums_over_drawn_nodes_are_in_the_mean_those_over_all(side, stratified):
    data = square(side)
    draw = RandomNodes(10, torch.Generator().manual_seed(0), stratified)
    exact = (data.measure * data.y[:, 0]).sum()
    sums = []
    for _ in range(4000):
        part = draw(data)
        sums.append((part.measure * part.y[:, 0]).sum())
    sums = torch.stack(sums)
    assert abs(sums.mean() - exact) < 4 * sums.std() / 4000**0.5


@pytest.mark.parametrize("num_nodes", [12, 160])
def test_not_stratified_each_set_of_nodes_is_as_likely_as_any_other(num_nodes):
    """Pairs are drawn as often as they should, of small and of large meshes."""
    generator, count = torch.Generator().manual_seed(0), 20_000
    draw, pos = RandomNodes(4, generator, stratified=False), torch.randn(num_nodes, 2)
    together = torch.zeros(num_nodes, num_nodes)
    for _ in range(count):
        drawn = draw.choose(num_nodes, pos.__getitem__)
        assert len(drawn) == 4
        assert (drawn.diff() > 0).all()
        together[drawn[:, None], drawn] += 1
    expected = count * 4 * 3 / (num_nodes * (num_nodes - 1))
    pairs = together[~torch.eye(num_nodes, dtype=torch.bool)]
    chi_square = ((pairs - expected).square() / expected).sum() / 2
    cells = len(pairs) / 2
    assert abs(chi_square - cells) < 6 * (2 * cells) ** 0.5
    assert (
        abs(together.diagonal() - count * 4 / num_nodes).max() < 6 * (count * 4 / num_nodes) ** 0.5
    )


@pytest.mark.parametrize("num_nodes", [5, 7, 32, 33, 200])
def test_stratified_each_node_is_as_likely_as_any_other(num_nodes):
    """Where N is no multiple of n, too, and where candidates are drawn first."""
    generator, count = torch.Generator().manual_seed(0), 4_000
    draw, pos = RandomNodes(4, generator), torch.randn(num_nodes, 3)
    times = torch.zeros(num_nodes)
    for _ in range(count):
        drawn = draw.choose(num_nodes, pos.__getitem__)
        assert len(drawn) == 4
        assert (drawn.diff() > 0).all()
        times[drawn] += 1
    share = 4 / num_nodes
    assert (times - count * share).abs().max() < 5 * (count * share * (1 - share)) ** 0.5


@given(
    num_nodes=st.integers(2, 400),
    share=st.floats(0, 1),
    dim=st.integers(1, 3),
    same=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_stratified_nodes_are_one_of_each_run(num_nodes, share, dim, same, seed):
    """So many, each once, in their order; points on a line or in one place do no harm."""
    generator = torch.Generator().manual_seed(seed)
    pos = torch.zeros(num_nodes, dim) if same else torch.randn(num_nodes, dim, generator=generator)
    drawn = 1 + int(share * (num_nodes - 2))
    nodes = RandomNodes(drawn, generator).choose(num_nodes, pos.__getitem__)
    assert len(nodes) == drawn
    assert (nodes.diff() > 0).all()
    if dim == 1 and not same and drawn > 2 and num_nodes <= 8 * drawn:
        rank = pos[:, 0].argsort().argsort()[nodes].sort().values
        run, disorder = -(-num_nodes // drawn), 7  # within a leaf of 8 nodes there is no order
        assert rank.diff().max() < 2 * (run + disorder)


def test_an_order_is_kept_as_long_as_the_positions_and_not_pickled():
    data, draw = square(), RandomNodes(9)
    draw(data)
    order = draw._order_of(data.pos)
    assert draw._order_of(data.pos) is order
    assert len(pickle.loads(pickle.dumps(draw))._orders) == 0
    data.pos[:, 0] = data.pos[:, 0].flip(0) ** 2  # in place: another order
    assert not torch.equal(draw._order_of(data.pos), order)
    del data
    assert len(draw._orders) == 0


@pytest.mark.parametrize(("num_nodes", "share"), [(400, 0.35), (4000, 0.8)])
def test_sums_over_stratified_nodes_scatter_less(num_nodes, share):
    """Of a smooth function; with candidates that are drawn first by a part of that."""
    pos = torch.rand(num_nodes, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    values = (3 * pos[:, 0]).sin() * pos[:, 1]

    def scatter(stratified: bool) -> float:
        draw = RandomNodes(100, torch.Generator().manual_seed(0), stratified)
        means = [values[draw.choose(num_nodes, pos.__getitem__)].mean() for _ in range(400)]
        return float(torch.stack(means).std())

    assert scatter(True) < share * scatter(False)


def test_every_call_draws_anew_and_small_graphs_stay():
    data, draw = square(), RandomNodes(9, torch.Generator().manual_seed(0))
    assert not torch.equal(draw(data).pos, draw(data).pos)
    small = RandomNodes(25)(data)
    assert torch.equal(small.pos, data.pos)
    assert "cells" in small


def test_in_a_batch_every_graph_has_its_own_nodes():
    batch = Batch.from_data_list([square(), square(4), square(6)])
    part = RandomNodes(9, torch.Generator().manual_seed(0))(batch)
    assert part.ptr.tolist() == [0, 9, 18, 27]
    source, target = part.batch[part.edge_index]
    assert torch.equal(source, target)


def test_a_count_below_one_is_refused():
    with pytest.raises(ValueError, match="`num_nodes` is 0, expected at least 1"):
        RandomNodes(0)
