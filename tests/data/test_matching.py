"""A store and a model that meet later, and cases outside of what was trained on.

Kinds of fault: columns taken by number (E fed as rho); fields in another order, with components in
another order, in another unit; a truth that is another field; fields that are missing; a mesh in mm
for a model in m; conditions, features and numbers of nodes that the training never saw.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.data import (
    Cases,
    MeshStore,
    MismatchError,
    Normalizer,
    Ranges,
    Statistics,
    StoreDataset,
    match_store,
)
from lrsa_geo.mesh import Field

RHO, E, P = Field("rho", "kg/m^3"), Field("E", "GPa"), Field("p", "Pa")
U = Field("u", "m", ("x", "y"))


def store_of(path: Path, fields: dict[str, tuple[Field, ...]], **values: list[float]) -> MeshStore:
    """Two graphs of two nodes; a column holds what is given for its name, plus the graph."""
    graphs = []
    for number in range(2):
        columns = {
            array: torch.tensor([[v + number for f in fs for v in values[f.name]]])
            for array, fs in fields.items()
        }
        data = Data(pos=torch.tensor([[0.0, 0.0], [1.0, 1.0 + number]]))
        for array, row in columns.items():
            data[array] = row if array == "cond" else row.expand(2, -1).clone()
        graphs.append(data)
    return MeshStore.write(path, graphs, fields)


def test_columns_are_found_by_name_reordered_and_converted(tmp_path):
    turned = Field("u", "mm", ("y", "x"))
    bar = Field("p", "bar")
    store = store_of(
        tmp_path / "s.h5",
        {"x": (E, RHO), "y": (turned, bar), "cond": (Field("T", "degC"), Field("M"))},
        E=[200.0],
        rho=[7800.0],
        u=[2000.0, 1000.0],
        p=[3.0],
        T=[20.0],
        M=[0.5],
    )
    wanted = {"x": (RHO,), "y": (P, U), "cond": (Field("M"), Field("T", "K"))}
    matched = match_store(store, wanted)
    assert matched.fields == wanted
    graph = matched[1]
    torch.testing.assert_close(graph.x, torch.tensor([[7801.0]] * 2))
    torch.testing.assert_close(graph.y, torch.tensor([[4e5, 1.001, 2.001]] * 2))
    torch.testing.assert_close(graph.cond, torch.tensor([[1.5, 294.15]]))
    torch.testing.assert_close(matched.arrays_of(1, ["y"])["y"], graph.y)
    torch.testing.assert_close(torch.from_numpy(matched.read("y"))[2:], graph.y)
    torch.testing.assert_close(StoreDataset(matched, arrays=["pos", "y"])[1].y, graph.y)
    assert store.fields["y"] == (turned, bar)
    assert float(store[1].y[0, 0]) == 2001


def test_nothing_to_do_is_the_store_itself(tmp_path):
    store = store_of(tmp_path / "s.h5", {"y": (P,)}, p=[1.0])
    assert match_store(store, {"y": (P,)}) is store


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"x": (Field("Rho", "kg/m^3"),)}, "no input 'Rho', .*it has rho; did you mean 'rho'"),
        ({"cond": (Field("M"),)}, "no condition 'M', .* it has none"),
        ({"y": (Field("p", "m"),)}, "target 'p' has the unit 'Pa', .* 'm': .*different things"),
        ({"y": (Field("p"),)}, "the unit 'Pa', the model was trained with '1'"),
        ({"y": (Field("p", "Pa", ("x", "y")),)}, "one component, .* components x, y"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(tmp_path, wanted, message):
    store = store_of(tmp_path / "s.h5", {"x": (RHO,), "y": (P,)}, rho=[1.0], p=[1.0])
    with pytest.raises(MismatchError, match=message) as caught:
        match_store(store, wanted)
    assert "s.h5" in str(caught.value)


def test_a_store_without_the_truth_can_be_predicted(tmp_path):
    store = store_of(tmp_path / "s.h5", {"x": (RHO,), "y": (E,)}, rho=[1.0], E=[1.0])
    matched = match_store(store, {"x": (RHO,), "y": (P,)}, truth=False)
    assert matched[0].get("y") is None
    assert "y" not in matched.arrays
    assert float(matched[0].x[0]) == 1


def a_case(**changes: object) -> Data:
    generator = torch.Generator().manual_seed(0)
    data = Data(
        pos=torch.rand(50, 2, generator=generator), x=torch.rand(50, 1, generator=generator)
    )
    data.cond = torch.tensor([[2.0, 7.0]])
    return data.update(changes)


@pytest.fixture
def ranges(tmp_path) -> Ranges:
    fields = {"x": (RHO,), "cond": (Field("M"), Field("c"))}
    graphs = [a_case(cond=torch.tensor([[m, 7.0]])) for m in (1.0, 2.0, 3.0)]
    far = a_case(cond=torch.tensor([[99.0, 7.0]]))  # of the test: not to be looked at
    store = MeshStore.write(tmp_path / "r.h5", [*graphs, far], fields)
    found = Ranges.of(Statistics.of_store(store, [0, 1, 2], fields))
    assert Ranges.from_dict(found.to_dict()) == found
    return found


def test_a_case_like_those_of_the_training_is_inside(ranges):
    assert ranges.outside(a_case()) == []
    assert ranges.outside(a_case(cond=torch.tensor([[3.0, 7.0]]))) == []
    assert ranges.outside(Data(pos=torch.empty(0, 2))) == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pos": a_case().pos * 1000}, ["1e+03 times as large", "mm for m"]),
        ({"pos": a_case().pos / 25.4}, ["0.0394 times", "mm for m"]),
        ({"pos": a_case().pos * 1.5}, ["its size is 1.4"]),
        ({"pos": a_case().pos + torch.tensor([0.0, 5.0])}, ["y is 5", "in training 0.0"]),
        ({"cond": torch.tensor([[3.5, 7.0]])}, ["M is 3.5, in training 1 to 3"]),
        ({"cond": torch.tensor([[2.0, 7.1]])}, ["c is 7.1, in training 7"]),
        ({"x": a_case().x + 5}, ["rho is 5"]),
        ({"pos": a_case().pos.repeat(2, 1), "x": a_case().x.repeat(2, 1)}, ["has 100 nodes"]),
    ],
)
def test_what_lies_outside_is_named_with_its_numbers(ranges, changes, words):
    (clause,) = ranges.outside(a_case(**changes))
    for word in words:
        assert word in clause


def test_where_positions_are_relative_the_place_does_not_matter(tmp_path):
    graph = Data(pos=a_case().pos, x=a_case().x)
    store = MeshStore.write(tmp_path / "r.h5", [graph], {"x": (RHO,)})
    ranges = Ranges.of(Statistics.of_store(store, [0], {}, relative_positions=True))
    assert ranges.outside(a_case(pos=a_case().pos + 1e6)) == []
    assert ranges.outside(a_case(pos=a_case().pos * 3)) != []


def test_a_case_whose_numbers_are_known_but_not_together(tmp_path):
    """Two conditions that were always equal: one low and the other high was never trained on."""
    fields = {"cond": (Field("M"), Field("c"))}
    pairs = [torch.full((1, 2), 1 + i / 10) for i in range(11)]
    graphs = [Data(pos=a_case().pos, cond=pair) for pair in pairs]
    store = MeshStore.write(tmp_path / "r.h5", graphs, fields)
    found = Ranges.of(Statistics.of_store(store, range(11), fields))
    for ranges in (found, Ranges.from_dict(json.loads(json.dumps(found.to_dict())))):
        assert ranges.outside(Data(pos=a_case().pos, cond=torch.tensor([[1.53, 1.53]]))) == []
        (clause,) = ranges.outside(Data(pos=a_case().pos, cond=torch.tensor([[1.1, 1.9]])))
        # Neighbours are 0.1 apart in both; the nearest, (1.5, 1.5), is 0.4 away in both.
        assert "not together" in clause
        assert "graph 5, is 4 times" in clause


def test_training_graphs_are_read_once(tmp_path, monkeypatch):
    graphs = [a_case() for _ in range(3)]
    fields = {"x": (RHO,), "cond": (Field("M"), Field("c"))}
    store = MeshStore.write(tmp_path / "r.h5", graphs, fields)
    read: list[int] = []
    arrays_of = MeshStore.arrays_of

    def counted(self, index, arrays):
        read.append(index)
        return arrays_of(self, index, arrays)

    monkeypatch.setattr(MeshStore, "arrays_of", counted)
    statistics = Statistics.of_store(store, [0, 2], fields)
    normalizer = Normalizer(2, fields)
    normalizer.take(statistics)
    assert Ranges.of(statistics).num_nodes == (50, 50)
    assert read == [0, 2]


def test_cases_that_are_all_alike_call_no_rounding_far(tmp_path):
    pos = a_case().pos.double() + 5e6  # map coordinates
    store = MeshStore.write(tmp_path / "r.h5", [Data(pos=pos.clone()) for _ in range(9)], {})
    ranges = Ranges.of(Statistics.of_store(store, range(9), {}))
    ranges = Ranges.from_dict(json.loads(json.dumps(ranges.to_dict())))
    assert ranges.outside(Data(pos=pos + 1e-3)) == []


@given(st.integers(0, 999))
@settings(deadline=None, max_examples=30)
def test_new_cases_of_one_distribution_are_rarely_far(seed):
    """Of conditions that fill a square evenly, fewer than one in a hundred."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(400, 2, generator=generator).double()
    cases = Cases.of(range(200), list(rows[:200]), relative_positions=False)
    assert sum(cases.how_far(row) != "" for row in rows[200:]) <= 2
    assert cases.nearest(rows[7]) == (7, 0.0)
    assert "times as far" in cases.how_far(torch.tensor([0.5, 2.0]).double())
