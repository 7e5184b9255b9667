"""Checks find what was broken on purpose, and nothing in sound data."""

from __future__ import annotations

import torch
from torch_geometric.data import Data

from lrsa_geo.data import (
    MeshStore,
    Split,
    SplitConfig,
    check_store,
    geometry_keys,
    make_split,
)
from lrsa_geo.mesh import Field

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
    split = make_split(cells, SplitConfig(test=0.2, by="geometry"))
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


def test_cells_that_do_not_meet(tmp_path):
    """Cells with nodes of their own, a cell that is there twice, a node that hangs on an edge."""
    apart, twice, hanging = square(), square(), square()
    apart.pos = torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]])
    apart.cells = torch.arange(6).reshape(2, 3)
    twice.cells = torch.tensor([[0, 1, 2], [0, 2, 3], [0, 1, 2]])
    twice.cell_types = torch.tensor([5, 5, 5])
    hanging.pos = torch.tensor([[0.0, 0], [2, 0], [1, 2], [0, -2], [2, -2], [1, 0]])
    hanging.cells = torch.tensor([[0, 1, 2], [3, 5, 0], [3, 4, 5], [4, 1, 5]])
    hanging.cell_types = torch.full((4,), 5)
    apart.y = hanging.y = torch.ones(6, 1)
    one, two, three = findings(tmp_path, apart, twice, hanging)
    assert "graph 0: 2 nodes lie exactly where another one does, such as nodes 0 and 3" in one
    assert "every cell has nodes of its own" in one
    assert "--merge-nodes 0" in one
    assert two.startswith("error   graph 1: 1 cells have the nodes of another cell")
    assert "the first is cell 2" in two
    assert "graph 2: 1 nodes hang on an edge of a neighbouring cell, the first is node 5" in three


def test_the_same_mesh_with_other_rounding(tmp_path):
    """float32, six digits of text, another order of nodes; and meshes that are others."""
    rng = torch.Generator().manual_seed(0)
    pos = torch.rand(40, 3, generator=rng, dtype=torch.float64) * 7 + 100
    cells = torch.arange(40).reshape(10, 4)

    def graph(pos):
        return Data(pos=pos, cells=cells, cell_types=torch.full((10,), 10), y=torch.ones(40, 1))

    text = torch.tensor([[float(f"{v:.7g}") for v in row] for row in pos.tolist()]).double()
    order = torch.randperm(40, generator=rng)
    same = [pos, pos.float().double(), text, pos[order], pos.float().double()[order]]
    moved = pos.clone()
    moved[3] += 0.01
    store = MeshStore.write(tmp_path / "s.h5", map(graph, [*same, moved, pos + 1]), FIELDS)
    assert list(geometry_keys(store)) == [0] * 5 + [5, 6]
    split = Split(train=[0, 5], val=[], test=[2, 6])
    (found,) = [f.what for f in check_store(store, split) if f.graph is None]
    assert found.startswith("1 graphs of 'test' are on meshes of 'train'")
