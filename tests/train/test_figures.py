"""Figures that tell: what a test error is worth, whatever the size of the field and what is known.

Kinds of fault: an offset that hides the error; zero and constant fields, graphs of unlike size,
NaN without a word; targets known on other nodes for each field, or on no node; an error that
nothing is compared with; metrics.json that is no JSON; a mean over meshes that are not one mesh.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import Data

from lrsa_geo.cli.report import print_report
from lrsa_geo.data import MeshStore, SplitConfig
from lrsa_geo.mesh import Field
from lrsa_geo.train import DataConfig, ModelConfig, Surrogate, TrainConfig, TrainerConfig, train
from lrsa_geo.train.baselines import Baselines
from lrsa_geo.train.quantities import over_variation

TRIANGLES = torch.tensor([[0, 1, 2], [1, 3, 2]])


def config_of(store: MeshStore, **data: object) -> TrainConfig:
    return TrainConfig(
        data=DataConfig(str(store.path), split=SplitConfig(9, 0, 3, shuffle=False), **data),
        model=ModelConfig(8, 1, 2, 2, fourier_octaves=2, local=None),
        trainer=TrainerConfig(max_epochs=1, accelerator="cpu", enable_progress_bar=False),
    )


def report_of(path: Path, *fields: str, **columns: object) -> dict:
    """Train on 12 clouds of 30 nodes; a column is a function of the graph and x."""
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for number in range(12):
        pos = torch.rand(30, 2, generator=generator)
        y = torch.stack([columns[f](number, pos[:, 0]) for f in fields], 1)
        graphs.append(Data(pos=pos, y=y.float(), measure=torch.ones(30)))
    store = MeshStore.write(path / "s.h5", graphs, {"y": tuple(map(Field, fields))})
    return train(config_of(store), path / "run")


def strict(path: Path) -> dict:
    """JSON as its standard has it: no NaN, no Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


@given(
    st.integers(1, 3),
    st.floats(-1e6, 1e6),
    st.sampled_from([1e-25, 1e-6, 1.0, 1e20]),
    st.integers(0, 99),
)
def test_the_error_over_the_variation_does_not_see_offset_and_size(width, offset, size, seed):
    rng = np.random.default_rng(seed)
    truth, guess = (torch.from_numpy(rng.normal(size=(40, width))) for _ in range(2))
    expected = (guess - truth).norm() / (truth - truth.mean(0)).norm()
    found = over_variation((guess + offset) * size, (truth + offset) * size)
    assert found == pytest.approx(float(expected), rel=1e-6)
    mean = truth.mean(0).expand_as(truth)
    assert over_variation(mean * size, truth * size) == pytest.approx(1)


@pytest.mark.parametrize("value", [0.0, 0.1, 101325.0, 1e-30])
def test_a_constant_field_has_no_variation(value):
    truth = torch.full((20, 1), value, dtype=torch.float32)
    assert np.isnan(over_variation(truth + 1, truth))
    assert np.isnan(over_variation(truth[:0], truth[:0]))


def test_an_offset_is_named_and_does_not_hide_the_error(tmp_path, capsys):
    report = report_of(tmp_path, "p", p=lambda g, x: 101325 + (3 * x + g).sin())
    assert report["test"]["p"]["mean"] < 1e-4
    assert report["fields"]["p"]["error_over_variation"]["value"] > 0.1
    over = np.array(report["fields"]["p"]["error_over_variation"]["value"])
    assert report["r2"]["p"]["value"] <= 1 - over**2 + 1e-9  # Jensen
    (note,) = report["notes"]
    assert "times its variation on a graph" in note
    print_report(report | {"folder": "run"})
    assert "error / variation" in (said := capsys.readouterr()).out
    assert f"note: {note}" in said.err


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (lambda g, x: 0 * x, "zero on 3 of 3 test graphs"),
        (lambda g, x: 0 * x + 0.1 * g, "constant on 3 of 3 test graphs"),
        (lambda g, x: x.sin() * (g != 10), "zero on 1 of 3 test graphs"),
        (lambda g, x: (1 + x) * 10.0 ** (2 * g - 10), "relative errors count small ones"),
        (lambda g, x: x if g < 11 else x * torch.nan, "unknown on 1 of 3 test graphs"),
    ],
)
def test_fields_of_which_errors_say_little_are_named(tmp_path, column, words):
    report = report_of(tmp_path, "p", p=column)
    assert any(words in note for note in report["notes"])
    assert np.isfinite(report["test"]["p"]["mean"])
    assert strict(tmp_path / "run/metrics.json")["test"]["p"]["mean"] is not None


def test_fields_known_on_other_nodes_each_count_on_their_own(tmp_path):
    def left(graph: int, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x < 0.5, 1 + x, torch.nan)

    def right(graph: int, x: torch.Tensor) -> torch.Tensor:
        return torch.where(x >= 0.5, 10 + x, torch.nan)

    report = report_of(tmp_path, "left", "right", left=left, right=right)
    assert max(report["quantities"]["peak left"]["truth"]) < 1.5
    assert min(report["quantities"]["peak right"]["truth"]) > 10.5
    for name in ("left", "right"):
        assert np.isfinite(report["test"][name]["mean"])
        assert np.isfinite(report["fields"][name]["error_over_variation"]["value"])
        assert (tmp_path / f"run/pictures/{name}.png").exists()


def test_a_field_that_nobody_knows_in_the_test(tmp_path, capsys):
    report = report_of(
        tmp_path, "p", "q", p=lambda g, x: x, q=lambda g, x: x if g < 9 else x * torch.nan
    )
    metrics = strict(tmp_path / "run/metrics.json")
    assert metrics["test"]["q"] == {"mean": None, "median": None, "worst": None} | {
        "per_mesh": [None] * 3
    }
    assert metrics["quantities"]["peak q"]["truth"] == []
    assert not (tmp_path / "run/pictures/q.png").exists()
    print_report(report | {"folder": "run"})
    (line, *_) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("  q ")]
    assert line.split() == ["q", "-", "-", "-", "-", "-"]


def meshes(path: Path, one_mesh: bool) -> MeshStore:
    """y = c x, on one mesh or on meshes with other places of the nodes, c the condition."""
    generator = torch.Generator().manual_seed(0)
    graphs = []
    for number in range(12):
        places = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
        extra = torch.rand(1 if one_mesh else 1 + number, 2, generator=generator)
        pos = torch.cat([places, extra * 0 + 0.5 if one_mesh else extra])
        c = torch.tensor([[float(number)]])
        graphs.append(
            Data(pos=pos, y=c * pos[:, :1], cond=c, cells=TRIANGLES, measure=torch.ones(len(pos)))
        )
    return MeshStore.write(path / "s.h5", graphs, {"y": (Field("p"),), "cond": (Field("c"),)})


@pytest.mark.parametrize("one_mesh", [True, False])
def test_baselines_against_their_definitions(tmp_path, one_mesh):
    store = meshes(tmp_path, one_mesh)
    train_graphs, test_graphs = [0, 1, 2, 3, 4, 5, 6, 7, 8], [9, 10, 11]
    surrogate = Surrogate.for_training(
        ModelConfig(8, 1, 2, 2, fourier_octaves=2), store, train_graphs
    )
    found = Baselines(surrogate, store, train_graphs, test_graphs)
    assert found.by_node == one_mesh
    if one_mesh:
        expected = torch.stack([store[g].y for g in train_graphs]).mean(0)
        assert found.nearest(10) == 8  # the nearest condition
        torch.testing.assert_close(found.of_nearest(10), store[8].y)
    else:
        expected = (
            torch.cat([store[g].y for g in train_graphs]).mean().expand(len(store[10].pos), 1)
        )
        like, here = store[found.nearest(10)], store[10]
        rows = torch.cdist(here.pos, like.pos).argmin(1)
        torch.testing.assert_close(found.of_nearest(10), like.y[rows])
    torch.testing.assert_close(found.of_mean(10), expected)
    report = found.report(surrogate.objective())
    by_hand = [
        float((found.of_mean(g) - store[g].y).norm() / store[g].y.norm()) for g in test_graphs
    ]
    assert report["fields"]["p"]["training_mean"] == pytest.approx(np.mean(by_hand), rel=1e-5)
    assert report["test_graphs"] == 3


def test_the_nearest_case_of_a_training_case_is_itself(tmp_path):
    store = meshes(tmp_path, one_mesh=False)
    surrogate = Surrogate.for_training(ModelConfig(8, 1, 2, 2), store, range(9))
    found = Baselines(surrogate, store, list(range(9)), [0])
    assert [found.nearest(graph) for graph in range(9)] == list(range(9))
    torch.testing.assert_close(found.of_nearest(3), store[3].y)


def test_test_graphs_outside_of_the_training_are_named(tmp_path, capsys):
    report = train(config_of(meshes(tmp_path, one_mesh=True)), tmp_path / "run")
    assert report["outside_of_training"] == {
        graph: [f"c is {graph}, in training 0 to 8"] for graph in (9, 10, 11)
    }
    print_report(report)
    said = capsys.readouterr()
    assert "3 of 3 test graphs lie outside of the training" in said.err
    assert "by nearest training case" in said.out
