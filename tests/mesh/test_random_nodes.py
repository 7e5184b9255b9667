"""A random part of the nodes: which ones, what they carry, and that sums stay what they are."""

from __future__ import annotations

import pytest
import torch
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


def test_sums_over_drawn_nodes_are_in_the_mean_those_over_all():
    data = square()
    draw = RandomNodes(10, torch.Generator().manual_seed(0))
    exact = (data.measure * data.y[:, 0]).sum()
    sums = []
    for _ in range(4000):
        part = draw(data)
        sums.append((part.measure * part.y[:, 0]).sum())
    sums = torch.stack(sums)
    assert abs(sums.mean() - exact) < 4 * sums.std() / 4000**0.5


@pytest.mark.parametrize("num_nodes", [12, 160])
def test_each_set_of_nodes_is_as_likely_as_any_other(num_nodes):
    """Pairs are drawn as often as they should, of small and of large meshes."""
    draw, count = RandomNodes(4, torch.Generator().manual_seed(0)), 20_000
    together = torch.zeros(num_nodes, num_nodes)
    for _ in range(count):
        drawn = draw.choose(num_nodes)
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
