"""Splits: every graph in one part, whatever the numbers; those of published figures stay."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.data import (
    MeshStore,
    Split,
    SplitConfig,
    check_store,
    fill_parts,
    make_split,
    split_in_order,
    split_path,
    together,
)
from lrsa_geo.mesh import Field

FIELDS = {"y": (Field("p"),)}


def square(shift: float = 0.0) -> Data:
    """Two triangles."""
    return Data(
        pos=torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]) + shift,
        cells=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        cell_types=torch.tensor([5, 5]),
        y=torch.ones(4, 1),
    )


@settings(deadline=None, max_examples=20)
@given(
    copies=st.lists(st.integers(1, 4), min_size=4, max_size=12),
    by=st.sampled_from(["random", "geometry", "nodes"]),
    seed=st.integers(0, 9),
)
def test_splits_cover_all_graphs_once(tmp_path_factory, copies, by, seed):
    graphs = [square(shift=3.0 * n) for n, times in enumerate(copies) for _ in range(times)]
    path = tmp_path_factory.mktemp("split") / "s.h5"
    store = MeshStore.write(path, graphs, FIELDS)
    split = make_split(store, SplitConfig(val=0.1, test=0.3, by=by, seed=seed))
    assert sorted(split.train + split.val + split.test) == list(range(len(graphs)))
    assert split.test
    assert split == make_split(store, SplitConfig(val=0.1, test=0.3, by=by, seed=seed))
    if by == "geometry":
        assert not any(finding.serious for finding in check_store(store, split))
    split.save(split_path(path))
    assert Split.load(split_path(path), len(graphs)) == split
    assert split_path(path).name == "s.split.json"


def test_the_largest_meshes_test(cells: MeshStore):
    split = make_split(cells, SplitConfig(None, 0.1, 0.2, "nodes"))
    sizes = cells.num_nodes
    assert sizes[split.test].min() >= sizes[split.val].max() >= sizes[split.train].max()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a readable split"),
        ('{"train": [0], "val": [], "test": [0]}', "a graph is in two parts"),
        ('{"train": [0], "val": [], "test": [9]}', "names the graphs 0 to 9, the store has 3"),
        ('{"train": [0]}', "not a readable split"),
        ("[1]", "not a readable split"),
        ('{"train": [0.7], "val": [], "test": [2]}', "'train' is no list of whole numbers"),
        ('{"train": [1e400], "val": [], "test": [2]}', "'train' is no list of whole numbers"),
        ('{"train": ["1"], "val": [], "test": [2]}', "'train' is no list of whole numbers"),
        ('{"train": [true], "val": [], "test": [2]}', "'train' is no list of whole numbers"),
        ('{"train": "01", "val": [], "test": [2]}', "'train' is no list of whole numbers"),
        ('{"train": [0], "val": {"1": 1}, "test": [2]}', "'val' is no list of whole numbers"),
        ('{"train": [0], "train": [1], "val": [], "test": [2]}', "a part is there twice"),
    ],
)
def test_splits_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "s.split.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Split.load(tmp_path / "s.split.json", 3)


def test_too_few_meshes_for_a_split(tmp_path):
    store = MeshStore.write(tmp_path / "s.h5", [square(), square()], FIELDS)
    with pytest.raises(ValueError, match="2 graphs in 1 groups are too few"):
        make_split(store, SplitConfig(None, 0, 0.5, "geometry"))


@given(sizes=st.lists(st.integers(1, 9), min_size=3, max_size=12), seed=st.integers(0, 9))
def test_whole_groups_fill_the_parts(sizes, seed):
    keys = np.repeat(np.arange(len(sizes)), sizes)
    order = np.random.default_rng(seed).permutation(len(keys))
    groups = together(order, keys.tolist())
    assert sorted(i for group in groups for i in group) == list(range(len(keys)))
    rest = [list(group) for group in groups]
    first, second = fill_parts(rest, [4, 2])
    kept = [i for group in rest for i in group]
    assert sorted([*first, *second, *kept]) == list(range(len(keys)))
    for one, other in ((first, second), (first, kept), (second, kept)):
        assert not set(keys[one]) & set(keys[other])
    assert len(first) >= 4 or not rest


def test_a_split_by_group_needs_groups(cells, tmp_path):
    with pytest.raises(ValueError, match="has no array 'group'"):
        make_split(cells, SplitConfig(by="group"))
    graphs = []
    for number, data in enumerate(cells):
        data.group = torch.tensor([number // 5])
        graphs.append(data)
    store = MeshStore.write(tmp_path / "grouped.h5", graphs, cells.fields)
    split = make_split(store, SplitConfig(None, 0.2, 0.2, "group"))
    parts = [{i // 5 for i in part} for part in (split.train, split.val, split.test)]
    assert all(parts)
    assert not parts[2] & (parts[0] | parts[1])
    assert not parts[0] & parts[1]


numbers = st.one_of(st.integers(0, 400), st.floats(0, 1))


@given(n=st.integers(1, 400), val=st.floats(0, 1), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_every_graph_is_in_one_part(n, val, share, seed):
    config = SplitConfig(None, val, share * (1 - val), seed=seed)
    counts = config.counts(n)
    assert sum(counts) == n
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).tolist()
    split = split_in_order(order, counts)
    assert sorted(split.train + split.val + split.test) == list(range(n))


@pytest.mark.parametrize("config", [SplitConfig(), SplitConfig(0.8, 0.05, 0.15)])
def test_the_usual_shares_of_any_number_of_graphs(config):
    for n in range(1, 401):
        train, val, test = config.counts(n)
        assert train + val + test == n
        assert train >= 1
        assert abs(test - 0.15 * n) <= 0.5
        assert abs(val - 0.05 * n) <= 0.5


@given(n=st.integers(1, 400), train=numbers, val=numbers, test=numbers)
def test_parts_never_overlap(n, train, val, test):
    try:
        counts = SplitConfig(train, val, test).counts(n)
    except ValueError:
        shares = sum(part for part in (train, val, test) if isinstance(part, float))
        assert shares > 1 or any(isinstance(part, int) for part in (train, val, test))
        return
    assert min(counts) >= 0
    assert sum(counts) <= n
    for wanted, count in zip((train, val, test), counts, strict=True):
        assert not isinstance(wanted, int) or count == wanted


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (SplitConfig(20, 5, 5), "asks for 20 training, 5 validation and 5 test graphs.* has 24"),
        (SplitConfig(-1, 0, 0), "split.train is -1, expected a count or a share"),
        (SplitConfig(test=1.5), "split.test is 1.5, expected a share of 0.0 to 1.0.* such as 2"),
        (SplitConfig(val=0.6, test=0.6), "lower the numbers"),
        (SplitConfig(val=float("nan")), "split.val is nan"),
    ],
)
def test_impossible_splits(config, message):
    with pytest.raises(ValueError, match=message):
        config.counts(24)


def test_one_is_a_graph_and_one_point_nought_is_all():
    assert SplitConfig(1, 0, 0).counts(24) == (1, 0, 0)
    assert SplitConfig(1.0, 0, 0).counts(24) == (24, 0, 0)
    assert SplitConfig(None, 0, 1.0).counts(24) == (0, 0, 24)
    assert str(Split([1, 2], [], [0])) == "2 training, no validation, 1 test graphs"


# What lrsa_geo 0.1 chose, from which the published figures are.
OLD_TRAIN = [4, 16, 21, 5, 11, 14, 39, 29, 17, 26, 2, 6, 20, 25, 24, 1, 15, 32, 28, 18, 9, 0, 10]
OLD_TRAIN += [19, 8, 36, 27, 7, 37, 38, 31, 30]
OLD_GROUPS = [11, 0, 33, 22, 14, 25, 36, 3, 39, 17, 6, 28, 29, 18, 7, 2, 24, 35, 13, 20, 9, 31, 1]
OLD_GROUPS += [12, 34, 23, 19, 8, 30]


def test_the_published_splits_stay(tmp_path):
    graphs = [
        Data(pos=torch.rand(2, 2), y=torch.rand(2, 1), group=torch.tensor([i * 7 % 11]))
        for i in range(40)
    ]
    store = MeshStore.write(tmp_path / "s.h5", graphs, {"y": (Field("p"),)})
    split = make_split(store, SplitConfig(32, 2, 6))
    assert split == Split(OLD_TRAIN, [35, 12], [3, 34, 33, 22, 23, 13])
    split = make_split(store, SplitConfig(32, 2, 6, "group"))
    assert split == Split(OLD_GROUPS, [21, 32, 10], [4, 26, 15, 37, 16, 5, 27, 38])
    split = make_split(store, SplitConfig(30, 4, 6, shuffle=False))
    assert split == Split(list(range(30)), list(range(30, 34)), list(range(34, 40)))
