"""The bookkeeping between packed rows, dense places and groups of attention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.nn import NodeLayout
from lrsa_geo.nn.layout.groups import runs


@settings(deadline=None)
@given(batch=st.lists(st.integers(0, 6), min_size=1, max_size=300))
def test_pack_and_unpack_are_inverse_and_sort_by_graph(batch):
    batch = torch.tensor(batch)
    x = torch.randn(len(batch), 3)
    layout = NodeLayout.of(x, batch)
    rows = layout.pack(x)
    torch.testing.assert_close(layout.unpack(rows), x, atol=0, rtol=0)
    assert layout.sizes == tuple(torch.bincount(batch).tolist())
    assert (layout.graph == batch.sort().values).all()


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 500), min_size=1, max_size=20))
def test_groups_cover_every_row_once_and_pad_to_their_largest(sizes):
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    rows = torch.arange(float(len(batch))).view(-1, 1, 1)
    layout = NodeLayout([*sizes], like=rows)
    assert sum(group.num_graphs for group in layout.groups) == len(sizes)
    for group, part in zip(layout.groups, layout.split(rows), strict=True):
        padded = group.pad(part) if group.width else part.new_zeros(group.num_graphs, 1, 0, 1)
        assert padded.shape == (group.num_graphs, 1, group.width, 1)
        if group.rows:
            torch.testing.assert_close(group.unpad(padded), part, atol=0, rtol=0)


@given(
    sizes=st.lists(st.integers(0, 5000), min_size=1, max_size=40), call_cost=st.integers(0, 10_000)
)
def test_runs_pay_no_more_for_padding_than_for_calls(sizes, call_cost):
    found = runs(sizes, call_cost)
    assert [size for run in found for size in run] == sizes
    padding = sum(len(run) * max(run) - sum(run) for run in found)
    calls_saved = len(sizes) - len(found)
    assert padding <= call_cost * calls_saved


def test_graphs_of_one_size_share_a_call_without_padding():
    layout = NodeLayout([100] * 8, like=torch.zeros(1))
    assert len(layout.groups) == 1
    assert layout.groups[0].row_of_place is None
    assert layout.groups[0].bias is None


def test_a_very_large_graph_number_is_an_error_not_a_crash():
    with pytest.raises((ValueError, RuntimeError)):
        NodeLayout.of(torch.zeros(2, 3), torch.tensor([0, 10**15]))
