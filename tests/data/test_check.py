"""Checks find what was broken on purpose, and nothing in sound data.

Kinds: values that are not finite, targets that are not known; nodes at one place, of no cell, that
hang; cells that own their nodes, are there twice, have no area, are turned; fields with a large
offset, constant, zero, of very unlike size, of any magnitude; one mesh in two parts of a split,
whatever its rounding. A kind is said once.
"""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from lrsa_geo.data import (
    Finding,
    MeshStore,
    Split,
    SplitConfig,
    check_store,
    geometry_keys,
    make_split,
)
from lrsa_geo.mesh import Field

FIELDS = {"y": (Field("p"),)}


def findings(tmp_path, *graphs: Data, split: Split | None = None) -> list[Finding]:
    store = MeshStore.write(tmp_path / "s.h5", [*graphs, square(), square(1.1)], FIELDS)
    return check_store(store, split)


def found_in(graph: Data, tmp_path) -> list[tuple[str, str, str]]:
    """Level, kind and example of what is found in one graph among sound ones."""
    listed = findings(tmp_path, graph)
    assert all(found.count == len(found.examples) == 1 for found in listed)
    return [(found.kind.level, found.kind.name, found.examples[0]) for found in listed]


def varied(graph: Data) -> Data:
    """With a target that varies about 0."""
    graph.y = torch.linspace(-1, 1, len(graph.pos))[:, None]
    return graph


def square(p: float = 1.0, shift: float = 0.0) -> Data:
    """Two triangles."""
    return Data(
        pos=torch.tensor([[0.0, 0], [1, 0], [1, 1], [0, 1]]) + shift,
        cells=torch.tensor([[0, 1, 2], [0, 2, 3]]),
        cell_types=torch.tensor([5, 5]),
        y=p * torch.linspace(-1, 1, 4)[:, None],
    )


def test_sound_data_has_no_findings(cells: MeshStore):
    split = make_split(cells, SplitConfig(test=0.2, by="geometry"))
    assert check_store(cells, split) == []


def test_not_a_number(tmp_path):
    bad = square()
    bad.y[2] = torch.inf
    assert found_in(bad, tmp_path) == [
        (
            "error",
            "values that are NaN or infinite",
            "graph 0: 'y' is NaN or infinite at 1 places, first in row 2",
        )
    ]


def test_a_missing_target_is_worth_a_look(tmp_path):
    partial = square()
    partial.y[2] = torch.nan
    ((level, kind, example),) = found_in(partial, tmp_path)
    assert (level, kind) == ("warning", "nodes without a target (NaN)")
    assert example == "graph 0: 1 nodes lack a target, first node 2"


def test_stray_and_doubled_nodes(tmp_path):
    bad = square()
    bad.pos = torch.cat([bad.pos, bad.pos[:1]])
    one, two = found_in(varied(bad), tmp_path)
    assert one[1] == "duplicate nodes, at exactly one place"
    assert "graph 0: 1 nodes lie exactly where another one does, such as nodes 0 and 4" in one[2]
    assert two[1] == "nodes of no cell"
    assert "1 nodes belong to no cell, the first is node 4" in two[2]


def test_a_kind_is_said_once_with_three_examples(tmp_path):
    bad = [square(shift=i) for i in range(5)]
    for i, graph in enumerate(bad):
        graph.pos = torch.cat([graph.pos, graph.pos[:1] + 1e-9 * i]).double()
        graph.pos[4] += 1e-9 * (i + 1)
        varied(graph)
    good = [square(), square(1.1)]
    for graph in good:
        graph.pos = graph.pos.double()
    store = MeshStore.write(tmp_path / "s.h5", [*bad, *good], FIELDS)
    nodes, stray = check_store(store)
    assert nodes.count == stray.count == 5
    assert [e.partition(":")[0] for e in nodes.examples] == ["graph 0", "graph 1", "graph 2"]
    assert "`data make --merge-nodes 1e-08`" in nodes.advice
    assert str(nodes).splitlines()[0] == ("warning: duplicate nodes, at nearly one place (5)")
    assert "    and 2 more" in str(nodes).splitlines()


def test_flat_and_inverted_cells(tmp_path):
    flat, inverted = square(), square()
    flat.cells[1] = torch.tensor([0, 2, 2])
    inverted.pos = torch.cat([inverted.pos, torch.tensor([[2.0, 0]])])
    inverted.cells = torch.tensor([[0, 1, 2], [0, 2, 3], [1, 2, 4]])
    inverted.cell_types = torch.tensor([5, 5, 5])
    found = {f.kind.name: f for f in findings(tmp_path, flat, varied(inverted))}
    assert "graph 0: 1 cells have no area" in found["cells without area or volume"].examples[0]
    assert found["cells without area or volume"].serious
    turned = found["cells numbered the other way round"].examples[0]
    assert "graph 1: 1 of 3 cells of VTK type 5 are inverted" in turned
    assert "cell 2" in turned


def test_inverted_tetrahedra(tmp_path):
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    cells = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 4], [1, 3, 2, 4]])
    data = varied(Data(pos=pos, cells=cells, cell_types=torch.full((3,), 10)))
    (found,) = check_store(MeshStore.write(tmp_path / "s.h5", [data], FIELDS))
    assert "1 of 3 cells of VTK type 10 are inverted" in found.examples[0]
    assert "the first is cell 2" in found.examples[0]


def test_an_outlier_among_many(tmp_path):
    graphs = [square(1 + 0.1 * i) for i in range(20)]
    far, unlike = sorted(findings(tmp_path, *graphs, square(1e6)), key=lambda f: f.kind.name)[::-1]
    assert far.kind.name == "values far beyond those of the other graphs"
    assert far.examples[0].startswith("graph 20: the largest |p| is 1e+06, in the median graph 1.")
    assert unlike.kind.name == "graphs of very unlike magnitude"
    assert unlike.examples[0].startswith("'p': is up to 1 on graph 0 and up to 1e+06 on graph 20")


@pytest.mark.parametrize("scale", [1e-25, 1.0, 1e25])
@pytest.mark.parametrize(
    ("values", "kind", "what"),
    [
        (lambda i, w: 101325 + 12 * w, "offset that dwarfs the variation", "8,400 times smaller"),
        (lambda i, w: 7 + 0 * w, "constant field", "is 7"),
        (lambda i, w: 0 * w, "constant field", "is 0 everywhere"),
        (
            lambda i, w: w * (i != 3),
            "field that is zero on some graphs",
            "1 of 8 graphs, .*graph 3",
        ),
        (
            lambda i, w: w if i else 0 * w + 1.4,
            "field that is constant on some",
            "1 of 8 .*graph 0",
        ),
        (lambda i, w: w * 10.0 ** (i / 2), "graphs of very unlike magnitude", "graph 0.*graph 7"),
        (lambda i, w: w + 3, None, ""),
        (lambda i, w: w * 10.0 ** (i / 4), None, ""),
    ],
)
def test_fields_that_training_cannot_use_well(tmp_path, values, kind, what, scale):
    """Wave of variance 1, its phase another one on each graph."""
    graphs = []
    for i in range(8):
        wave = np.sqrt(2) * torch.sin(2 * np.pi * (torch.arange(50).double() + i) / 50)
        y = (values(i, wave) * scale)[:, None]
        graphs.append(Data(pos=torch.rand(50, 2), y=y.float() if scale == 1 else y))
    store = MeshStore.write(tmp_path / "s.h5", graphs, FIELDS)
    found = check_store(store)
    if kind is None:
        assert found == []
        return
    (one,) = found
    assert one.kind.name.startswith(kind)
    if scale == 1 or "e" not in what:
        assert re.search(what.replace("is 7", f"is {7 * scale:.6g}".replace("+", r"\+")), str(one))


def test_an_offset_of_a_vector(tmp_path):
    """1,000 along y, a variation of 1 along x."""
    x = torch.linspace(-1, 1, 101)
    y = torch.stack([x / x.std(correction=0), torch.full_like(x, 1000)], 1)
    fields = {"y": (Field("v", components=("x", "y")),)}
    store = MeshStore.write(tmp_path / "s.h5", [Data(pos=torch.rand(101, 2), y=y)], fields)
    (found,) = check_store(store)
    assert found.examples == (
        "'v': has mean 1000 and varies by 1: errors relative to the field look 1,000 times smaller"
        " than they are",
    )


def test_one_mesh_in_two_parts_leaks(tmp_path):
    split = Split(train=[0, 1], val=[], test=[2, 3])
    graphs = [square(shift=5), square(shift=7)]
    assert findings(tmp_path, *graphs, split=split) == []
    split = Split(train=[0, 2], val=[], test=[3])
    (found,) = findings(tmp_path, *graphs, split=split)
    assert found.serious
    assert found.examples == (
        "'train' and 'test': 1 graphs of 'test' are on meshes of 'train', such as graph 3 on the"
        " mesh of graph 2",
    )


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
    found = {f.kind.name: f for f in findings(tmp_path, varied(apart), twice, varied(hanging))}
    own = found.pop("cells that own their nodes")
    assert own.examples == (
        "graph 0: 2 nodes lie exactly where another one does, such as nodes 0 and 3",
    )
    assert "--merge-nodes 0`" in own.advice
    repeated = found.pop("duplicated cells")
    assert repeated.serious
    assert "graph 1: 1 cells have the nodes of another cell, the first is" in repeated.examples[0]
    assert "cell 2" in repeated.examples[0]
    assert "graph 2: 1 nodes hang on an edge or face" in found.pop("hanging nodes").examples[0]
    assert not found


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
    (found,) = [f for f in check_store(store, split) if f.kind.name.startswith("meshes that are")]
    assert "1 graphs of 'test' are on meshes of 'train'" in found.examples[0]
