"""Series as examples of one step: what a step reads, and that stepping through one stays on it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.data import (
    Known,
    MeshStore,
    MismatchError,
    SeriesConfig,
    Stepping,
    StepView,
    StoreDataset,
    match_series,
    stepping_of,
)
from lrsa_geo.mesh import Field, MeshData

FIELDS = {
    "states": (Field("U", "m/s", ("x", "y")), Field("p", "Pa")),
    "x": (Field("age"),),
    "x_t": (Field("heat", "W"),),
    "cond": (Field("viscosity"),),
    "cond_t": (Field("inflow", "m/s"),),
}


def series(nodes: int, steps: int, seed: int = 0, *, moves: bool = True) -> MeshData:
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=draw)

    data = MeshData(
        pos=random(nodes, 2),
        x=random(nodes, 1),
        cond=random(1, 1),
        states=random(nodes, steps, 3),
        x_t=random(nodes, steps, 1),
        cond_t=random(steps, 1),
        times=torch.rand(steps, generator=draw, dtype=torch.float64).add(0.1).cumsum(0),
        boundary=torch.arange(nodes).remainder(3).to(torch.int8),
    )
    if moves:
        data.pos_t = random(nodes, steps, 2)
        data.pos = data.pos_t[:, 0].clone()
    return data


def store_of(folder: Path, *graphs: MeshData) -> MeshStore:
    return MeshStore.write(folder / "s.h5", graphs, FIELDS)


def view_of(store: MeshStore, ahead: int = 1, **config: object) -> StepView:
    asked = SeriesConfig(**config)
    return StepView(store, stepping_of(store, asked, range(len(store))), ahead)


def test_an_example_reads_the_past_and_what_is_known_of_the_step(tmp_path: Path) -> None:
    graph = series(5, 6)
    view = view_of(store_of(tmp_path, graph), history=2, feeds=["U"], prescribed={"p": [1]})
    assert len(view) == 4
    example = view[1]  # the step to number 3
    assert view.place(1) == (0, 3)
    states, known = graph.states, graph.x_t
    motion = graph.pos_t[:, 3] - graph.pos_t[:, 2]
    expected = [graph.x, known[:, 3], motion, states[:, 2, :2], states[:, 1, :2]]
    torch.testing.assert_close(example.x, torch.cat(expected, 1))
    assert torch.equal(example.pos, graph.pos_t[:, 2])
    assert torch.equal(example.y, states[:, 3])
    change = states[:, 3] - torch.cat([states[:, 2, :2], torch.zeros(5, 1)], 1)
    torch.testing.assert_close(example.change, change)
    dt = (graph.times[3] - graph.times[2]).float()
    torch.testing.assert_close(
        example.cond, torch.stack([graph.cond[0, 0], graph.cond_t[3, 0], dt])[None]
    )
    given_p = torch.where(graph.boundary == 1, states[:, 3, 2], torch.nan)
    torch.testing.assert_close(example.given[:, 2], given_p, equal_nan=True)
    assert example.given[:, :2].isnan().all()


@settings(max_examples=30, deadline=None)
@given(
    history=st.integers(1, 3),
    feeds=st.sampled_from([None, ["U"], ["p"]]),
    moves=st.booleans(),
    prescribed=st.sampled_from([{}, {"U": [0]}, {"U": [1, 2], "p": [0]}]),
    seed=st.integers(0, 99),
)
def test_true_states_lead_from_example_to_example(
    tmp_path_factory: pytest.TempPathFactory, history, feeds, moves, prescribed, seed
) -> None:
    """What `advance` makes of an example and the truth is the next example of the store."""
    store = store_of(tmp_path_factory.mktemp("s"), series(6, 7, seed, moves=moves))
    view = view_of(store, history=history, feeds=feeds, prescribed=prescribed)
    stepping = view.stepping
    for index in range(len(view) - 1):
        here, there = view[index], view[index + 1]
        width = len(stepping.known_x)
        start = 1
        known_width = there.x.shape[1] - start - history * len(stepping.fed_columns)
        known = Known(
            there.x[:, start : start + known_width], there.cond[:, 1:], there.get("given")
        )
        stepped = stepping.advance(here, here.y, known)
        torch.testing.assert_close(stepped.x, there.x)
        torch.testing.assert_close(stepped.pos, there.pos, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(stepped.cond, there.cond)
        if prescribed:
            torch.testing.assert_close(stepped.given, there.given, equal_nan=True)
        assert width == 1 + moves
        # The network's exact answer is the next state.
        torch.testing.assert_close(stepping.complete(here.change, here), here.y)


def test_later_steps_are_those_of_the_examples_after(tmp_path: Path) -> None:
    store = store_of(tmp_path, series(4, 7), series(3, 6, 1))
    one, three = view_of(store), view_of(store, ahead=3)
    known, states = 3, 3  # heat and motion
    assert len(one) == 6 + 5
    assert len(three) == 4 + 3
    for number in range(len(three)):
        graph, step = three.place(number)
        example = three[number]
        for k in (1, 2):
            after = one[one.example(graph, step + k)]
            start = (k - 1) * (states + known)
            assert torch.equal(example.later[:, start : start + states], after.y)
            assert torch.equal(
                example.later[:, start + states : start + states + known], after.x[:, 1 : 1 + known]
            )
            conds = example.later_cond.shape[1] // 2
            assert torch.equal(
                example.later_cond[:, (k - 1) * conds : k * conds], after.cond[:, 1:]
            )


def test_equal_steps_are_no_condition(tmp_path: Path) -> None:
    graph = series(4, 5)
    graph.times = torch.arange(5, dtype=torch.float64) * 0.25
    view = view_of(store_of(tmp_path, graph))
    assert view.stepping.time_step == 0.25
    assert view[0].cond.shape == (1, 2)


def test_a_time_is_a_condition_in_that_mode(tmp_path: Path) -> None:
    graph = series(4, 5, moves=False)
    view = view_of(store_of(tmp_path, graph), mode="time", history=1)
    assert len(view) == 4
    example = view[2]  # time 3
    torch.testing.assert_close(example.cond[0, -1], (graph.times[3] - graph.times[0]).float())
    torch.testing.assert_close(example.x[:, 2:], graph.states[:, 0])
    torch.testing.assert_close(example.change, graph.states[:, 3])


def test_no_state_need_be_read_in_that_mode(tmp_path: Path) -> None:
    graph = series(4, 5, moves=False)
    view = view_of(store_of(tmp_path, graph), mode="time", history=0)
    assert len(view) == 5
    for step in range(5):  # the first state is predicted, too
        example = view[step]
        assert torch.equal(example.change, graph.states[:, step])
        assert torch.equal(example.x, torch.cat([graph.x, graph.x_t[:, step]], dim=1))


def test_a_stepping_comes_back_from_json(tmp_path: Path) -> None:
    view = view_of(store_of(tmp_path, series(4, 5)), history=2, feeds=["p"], prescribed={"U": [1]})
    assert Stepping.from_dict(view.stepping.to_dict()) == view.stepping


def test_steps_of_a_series_are_not_kept_in_memory(tmp_path: Path) -> None:
    view = view_of(store_of(tmp_path, series(4, 5)))
    dataset = StoreDataset(view, arrays=["pos", "x", "y"], in_memory=True)
    for index in range(len(dataset)):
        dataset[index]
    assert not dataset._kept


def test_edges_are_made_once_for_a_series(tmp_path: Path) -> None:
    graph = series(4, 6, moves=False)
    graph.cells, graph.cell_types = torch.tensor([[0, 1, 2, 3]]), torch.tensor([9])
    dataset = StoreDataset(view_of(store_of(tmp_path, graph)), arrays=["pos", "x", "edge_index"])
    assert dataset[0].edge_index.shape == dataset[4].edge_index.shape == (2, 8)
    assert len(dataset._edges) == 1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"mode": "often"}, "series.mode is 'often'"),
        ({"history": 0}, "series.history is 0, expected 1"),
        ({"history": 5}, "shortest series .* has 5 steps"),
        ({"feeds": ["u"]}, "series.feeds names 'u', the states are U, p"),
        ({"prescribed": {"V": [1]}}, "series.prescribed names 'V'"),
        ({"unroll": 0}, "series.unroll is 0"),
        ({"unroll": []}, "series.unroll is"),
        ({"noise": -1.0}, "series.noise -1.0"),
        ({"mode": "time", "unroll": 2}, "no step follows another"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(tmp_path: Path, config, message) -> None:
    with pytest.raises(ValueError, match=message):
        view_of(store_of(tmp_path, series(4, 5)), **config)


def test_a_series_too_short_for_what_is_unrolled_is_refused(tmp_path: Path) -> None:
    store = store_of(tmp_path, series(4, 7), series(4, 3, 1))
    with pytest.raises(ValueError, match=r"series 1 has 3 steps, and an example takes 4"):
        view_of(store, ahead=3)


def test_a_steady_store_is_no_series(tmp_path: Path) -> None:
    steady = MeshStore.write(
        tmp_path / "y.h5",
        [MeshData(pos=torch.rand(3, 2), y=torch.rand(3, 1))],
        {"y": (Field("p"),)},
    )
    stepping = view_of(store_of(tmp_path, series(4, 5))).stepping
    with pytest.raises(MismatchError, match="its graphs are no series"):
        match_series(steady, stepping)


def test_what_is_known_of_a_step_is_what_its_example_reads(tmp_path: Path) -> None:
    view = view_of(store_of(tmp_path, series(5, 6)), history=2, prescribed={"p": [1]})
    for step in range(2, 6):
        example, known = view[view.example(0, step)], view.known(0, step)
        assert torch.equal(known.x_t, example.x[:, 1:4])  # heat and motion, behind the age
        assert torch.equal(known.cond_t, example.cond[:, 1:])
        torch.testing.assert_close(known.given, example.given, equal_nan=True)
