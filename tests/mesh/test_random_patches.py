"""Patches of neighbouring nodes: which are drawn, what comes along, what sums over them are."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch

from lrsa_geo.mesh import MeshData, Neighbourhoods, RandomPatches


def graph(num_nodes: int, num_edges: int, seed: int = 0) -> MeshData:
    """Nodes anywhere, directed edges between any of them, fields that tell the node."""
    draw = torch.Generator().manual_seed(seed)
    return MeshData(
        pos=torch.rand(num_nodes, 2, generator=draw, dtype=torch.float64),
        edge_index=torch.randint(num_nodes, (2, num_edges), generator=draw),
        y=torch.arange(num_nodes).double()[:, None],
        measure=torch.rand(num_nodes, generator=draw, dtype=torch.float64),
    )


def sources_of(edge_index: Tensor, nodes: set[int]) -> set[int]:
    return {i for i, j in edge_index.T.tolist() if j in nodes}


@given(
    st.integers(2, 60),
    st.integers(0, 120),
    st.integers(1, 20),
    st.integers(1, 8),
    st.integers(1, 3),
    st.integers(0, 99),
)
def test_all_edges_are_there_that_drawn_nodes_depend_on(nodes, edges, num, patch, hops, seed):
    data = graph(nodes, edges, seed)
    draw = RandomPatches(num, patch, hops, torch.Generator().manual_seed(seed))
    part = draw(data)
    assert part.validate()
    number = part.y[:, 0].long()
    drawn = set(number[~part.halo].tolist())
    if nodes <= num:
        assert not part.halo.any()
        assert len(drawn) == nodes
        return
    patches = min(num // min(patch, num), nodes // min(patch, num))
    assert len(drawn) == patches * min(patch, num)
    torch.testing.assert_close(part.pos, data.pos[number])
    reach, ring = [drawn], drawn
    for _ in range(hops):
        ring = sources_of(data.edge_index, ring) - set().union(*reach)
        reach.append(ring)
    assert set(number.tolist()) == set().union(*reach)
    reached = set().union(*reach[:-1])
    wanted = sorted(e for e in map(tuple, data.edge_index.T.tolist()) if e[1] in reached)
    assert sorted(map(tuple, number[part.edge_index].T.tolist())) == wanted
    torch.testing.assert_close(part.measure, data.measure[number] * nodes / len(drawn))
    assert data.num_nodes == nodes  # the graph itself is not changed
    assert "halo" not in data


def test_sums_over_drawn_nodes_are_in_the_mean_those_over_all():
    data = graph(41, 80)
    draw = RandomPatches(12, 4, 1, torch.Generator().manual_seed(0))
    exact = (data.measure * data.y[:, 0]).sum()
    sums, times = [], torch.zeros(41)
    for _ in range(4000):
        part = draw(data)
        sums.append((part.measure * part.y[:, 0])[~part.halo].sum())
        times[part.y[~part.halo, 0].long()] += 1
    sums = torch.stack(sums)
    assert abs(sums.mean() - exact) < 4 * sums.std() / 4000**0.5
    share = 12 / 41
    assert (times / 4000 - share).abs().max() < 5 * (share * (1 - share) / 4000) ** 0.5


def test_a_patch_is_a_place():
    """Of a fine grid the nodes of a patch are near each other, and its halo is small."""
    axis = torch.linspace(0, 1, 60)
    pos = torch.cartesian_prod(axis, axis)
    node = torch.arange(3600).reshape(60, 60)
    ends = [(node[1:], node[:-1]), (node[:, 1:], node[:, :-1])]
    pairs = torch.cat([torch.stack([a.reshape(-1), b.reshape(-1)]) for a, b in ends], dim=1)
    data = MeshData(pos=pos, edge_index=torch.cat([pairs, pairs.flip(0)], dim=1))
    draw = RandomPatches(64, 64, 1, torch.Generator().manual_seed(0))
    halos, spreads = [], []
    for _ in range(100):
        part = draw(data)
        halos.append(int(part.halo.sum()))
        middle = part.pos[~part.halo].median(0).values
        spreads.append(float((part.pos[~part.halo] - middle).norm(dim=1).median()))
    assert torch.tensor(halos).float().mean() < 64  # of a square of 8 x 8 it is 32
    assert torch.tensor(spreads).median() < 6 / 60


def test_nodes_at_one_place_are_patched_too():
    edge_index = torch.stack([torch.arange(99), torch.arange(1, 100)])
    data = MeshData(pos=torch.zeros(100, 3), edge_index=edge_index)
    part = RandomPatches(10, 5, 1)(data)
    assert int((~part.halo).sum()) == 10


def test_graphs_of_a_batch_are_drawn_from_one_by_one():
    batch = Batch.from_data_list([graph(30, 60, 1), graph(5, 8, 2)])
    part = RandomPatches(8, 4, 1)(batch)
    assert part.num_graphs == 2
    one, other = part.to_data_list()
    assert int((~one.halo).sum()) == 8
    assert other.num_nodes == 5
    assert not other.halo.any()
    source, target = part.edge_index
    assert torch.equal(part.batch[source], part.batch[target])


def test_memory_of_neighbourhoods_is_counted():
    data = graph(30, 60)
    assert Neighbourhoods(data.pos, data.edge_index).nbytes == 4 * 30 + 4 * 60 + 8 * 31


@pytest.mark.parametrize(
    ("sizes", "name"), [((0, 1, 1), "num_nodes"), ((4, 0, 1), "patch"), ((4, 2, 0), "hops")]
)
def test_sizes_below_one_are_refused(sizes, name):
    with pytest.raises(ValueError, match=f"`{name}` is 0, expected at least 1"):
        RandomPatches(*sizes)


def test_graphs_without_edges_are_refused():
    with pytest.raises(ValueError, match="no `edge_index`; RandomNodes"):
        RandomPatches(2, 1, 1)(MeshData(pos=torch.rand(5, 2)))
