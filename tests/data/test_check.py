"""Checks find what was broken on purpose, and nothing in sound data; splits keep their promise."""

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
    check_store,
    fill_parts,
    geometry_keys,
    group_numbers,
    make_split,
    split_path,
    together,
)
from lrsa_geo.mesh import Field
from lrsa_geo.train import DataConfig, SplitConfig
from lrsa_geo.train.datamodule import split_of

FIELDS = {"y": (Field("p"),)}


def square(p: float = 1.0, shift: float = 0.0) -> Data:
    """Two triangles."""
    return Data(
        pos=torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]) + shift,
        cells=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        cell_types=torch.tensor([5, 5]),
        y=p * torch.ones(4, 1),
    )


def findings(tmp_path, *graphs: Data, split: Split | None = None) -> list[str]:
    store = MeshStore.write(tmp_path / "s.h5", [*graphs, square(), square(1.1)], FIELDS)
    return [str(finding) for finding in check_store(store, split)]


def test_sound_data_has_no_findings(cells: MeshStore):
    split = make_split(cells, "geometry", test=0.2)
    assert check_store(cells, split) == []


def test_not_a_number(tmp_path):
    bad = square()
    bad.y[2] = torch.inf
    (found,) = findings(tmp_path, bad)
    assert found == "error   graph 0: 'y' is NaN or infinite at 1 places, first in row 2"


def test_a_missing_target_is_worth_a_look(tmp_path):
    partial = square()
    partial.y[2] = torch.nan
    (found,) = findings(tmp_path, partial)
    assert found == "warning graph 0: 1 nodes lack a target (NaN), first node 2"


def test_stray_and_doubled_nodes(tmp_path):
    bad = square()
    bad.pos = torch.cat([bad.pos, bad.pos[:1]])
    bad.y = torch.ones(5, 1)
    one, two = findings(tmp_path, bad)
    assert "warning graph 0: 1 nodes lie exactly where another one does" in one
    assert "1 nodes belong to no cell, the first is node 4" in two


def test_flat_and_inverted_cells(tmp_path):
    flat, inverted = square(), square()
    flat.cells[1] = torch.tensor([0, 2, 2])
    inverted.pos = torch.cat([inverted.pos, torch.tensor([[2.0, 0]])])
    inverted.y = torch.ones(5, 1)
    inverted.cells = torch.tensor([[0, 1, 2], [0, 2, 3], [1, 2, 4]])
    inverted.cell_types = torch.tensor([5, 5, 5])
    found = findings(tmp_path, flat, inverted)
    assert any("error   graph 0: 1 cells have no area or volume" in what for what in found)
    assert any(
        "graph 1: 1 of 3 cells of VTK type 5 are inverted" in f and "cell 2" in f for f in found
    )


def test_inverted_tetrahedra(tmp_path):
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    cells = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4], [1, 3, 2, 4]])
    data = Data(pos=pos, cells=cells, cell_types=torch.full((3,), 10), y=torch.ones(5, 1))
    store = MeshStore.write(tmp_path / "s.h5", [data], FIELDS)
    (found,) = check_store(store)
    assert "1 of 3 cells of VTK type 10 are inverted" in found.what
    assert "the first is cell 2" in found.what


def test_an_outlier_among_many(tmp_path):
    graphs = [square(1 + 0.1 * i) for i in range(20)]
    (found,) = findings(tmp_path, *graphs, square(1e6))
    assert found.startswith("warning graph 20: the largest |p| is 1e+06, in the median graph 1.")


def test_one_mesh_in_two_parts_leaks(tmp_path):
    split = Split(train=[0, 1], val=[], test=[2, 3])
    graphs = [square(shift=5), square(shift=7)]
    assert findings(tmp_path, *graphs, split=split) == []
    split = Split(train=[0, 2], val=[], test=[3])
    (found,) = findings(tmp_path, *graphs, split=split)
    assert found.startswith("error   store: 1 graphs of 'test' are on meshes of 'train'")
    assert "graph 3 is on the mesh of graph 2" in found


def test_geometry_does_not_depend_on_the_order_of_nodes(tmp_path):
    order = torch.tensor([2, 0, 3, 1])
    other = square()
    other.pos = other.pos[order]
    other.cells = torch.argsort(order)[other.cells]
    store = MeshStore.write(tmp_path / "s.h5", [square(), other, square(shift=0.1)], FIELDS)
    first, second, third = geometry_keys(store)
    assert first == second != third


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
    split = make_split(store, by, 0.1, 0.3, seed)
    assert sorted(split.train + split.val + split.test) == list(range(len(graphs)))
    assert split.test
    assert split == make_split(store, by, 0.1, 0.3, seed)
    if by == "geometry":
        assert not any(finding.serious for finding in check_store(store, split))
    split.save(split_path(path))
    assert Split.load(split_path(path), len(graphs)) == split
    assert split_path(path).name == "s.split.json"


def test_the_largest_meshes_test(cells: MeshStore):
    split = make_split(cells, "nodes", 0.1, 0.2)
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
    ],
)
def test_splits_that_do_not_fit(tmp_path, text, message):
    (tmp_path / "s.split.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        Split.load(tmp_path / "s.split.json", 3)


def test_too_few_meshes_for_a_split(tmp_path):
    store = MeshStore.write(tmp_path / "s.h5", [square(), square()], FIELDS)
    with pytest.raises(ValueError, match="2 graphs in 1 groups are too few"):
        make_split(store, "geometry", 0, 0.5)
    with pytest.raises(ValueError, match="sum below 1"):
        make_split(store, test=1.5)


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
        make_split(cells, "group")
    graphs = []
    for number, data in enumerate(cells):
        data.group = torch.tensor([number // 5])
        graphs.append(data)
    store = MeshStore.write(tmp_path / "grouped.h5", graphs, cells.fields)
    split = make_split(store, "group", 0.2, 0.2)
    parts = [{i // 5 for i in part} for part in (split.train, split.val, split.test)]
    assert all(parts)
    assert not parts[2] & (parts[0] | parts[1])
    assert not parts[0] & parts[1]
    config = DataConfig(split=SplitConfig(0.6, 0.2, 0.2, group=True))
    again = split_of(config, len(store), group_numbers(store))
    parts = [{i // 5 for i in part} for part in (again.train, again.val, again.test)]
    assert all(parts)
    assert not parts[2] & (parts[0] | parts[1])
    assert not parts[0] & parts[1]
