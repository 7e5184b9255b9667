"""Loss and errors: known values, invariances, and fields of any size, zero included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data

from lrsa_geo.data import Normalizer
from lrsa_geo.mesh import Field, grid_positions
from lrsa_geo.train import LOSSES, Objective, ObjectiveConfig, relative_l2

FIELDS = (Field("a"), Field("v", "m", ("x", "y")))
SCALAR = (Field("a"),)


def objective(fields=FIELDS, rms: Tensor | None = None, **config: object) -> Objective:
    normalizer = Normalizer(2, {"y": fields})
    if rms is not None:
        normalizer.y_rms.copy_(rms)
    return Objective(ObjectiveConfig(**config), fields, normalizer)


def batch(seed: int = 0, sizes=(16, 25, 9), fields=FIELDS) -> Batch:
    """Regular grids with values, edges and measures."""
    generator = torch.Generator().manual_seed(seed)
    graphs = []
    for size in sizes:
        side = round(size**0.5)
        width = sum(f.width for f in fields)
        edges = torch.arange(size - 1)
        graphs.append(
            Data(
                pos=grid_positions(side, size // side),
                y=torch.randn(size, width, generator=generator),
                measure=torch.rand(size, generator=generator) + 0.1,
                edge_index=torch.stack([edges, edges + 1]),
            )
        )
    return Batch.from_data_list(graphs)


def test_nodes_without_a_truth_count_neither_as_error_nor_in_the_gradient():
    fields = (Field("a"), Field("v", components=("x", "y")))
    truth = torch.tensor([[1.0, 2, 3], [torch.nan, 5, 6], [2, torch.nan, torch.nan]])
    guess = torch.tensor([[2.0, 2, 3], [9, 5, 7], [2, 9, 9]], requires_grad=True)
    errors = relative_l2(guess, truth, torch.zeros(3).long(), 1, fields)
    torch.testing.assert_close(errors, torch.tensor([[(1 / 5) ** 0.5, (1 / 74) ** 0.5]]))
    errors.sum().backward()
    assert guess.grad.isfinite().all()
    assert not guess.grad[truth.isnan()].any()


def test_relative_l2_by_hand():
    fields = (Field("a"), Field("v", "m", ("x", "y")))
    truth = torch.tensor([[3.0, 1, 0], [4, 0, 1], [2, 0, 0]])
    guess = truth + torch.tensor([[0.0, 1, 0], [5, 0, 1], [0, 0, 0]])
    errors = relative_l2(guess, truth, torch.tensor([0, 0, 1]), 2, fields)
    torch.testing.assert_close(errors, torch.tensor([[1.0, 1.0], [0, 0]]))


def test_the_gradient_of_a_perfect_prediction_is_finite():
    truth = torch.rand(5, 1)
    guess = truth.clone().requires_grad_()
    relative_l2(guess, truth, torch.zeros(5).long(), 1, (Field("a"),)).sum().backward()
    assert guess.grad.isfinite().all()


def test_the_usual_value_is_that_of_the_formula():
    graphs = batch()
    guess = graphs.y + 0.3 * torch.randn(graphs.y.shape, generator=torch.Generator().manual_seed(1))
    expected = []
    for graph, of_graph in zip(graphs.to_data_list(), guess.split([16, 25, 9]), strict=True):
        off = of_graph - graph.y
        expected.append([off[:, c].norm() / graph.y[:, c].norm() for c in (slice(1), slice(1, 3))])
    errors = objective().errors(guess, graphs)
    torch.testing.assert_close(errors, torch.tensor(expected), rtol=1e-6, atol=0)
    torch.testing.assert_close(objective().loss(guess, graphs), errors.mean(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("loss", LOSSES)
@given(exponent=st.floats(-25, 25), seed=st.integers(0, 99))
def test_units_do_not_matter(loss, exponent, seed):
    """A field of 1e-25 or 1e25 has the loss, and the scaled gradient, of one of order one."""
    scale = 10.0**exponent
    results = []
    for unit in (1.0, scale):
        graphs = batch(seed)
        graphs.y = graphs.y * unit
        of_unit = objective(rms=torch.full((2,), unit), loss=loss)
        of_unit.normalizer.y.scale.fill_(unit)
        noise = torch.randn(graphs.y.shape, generator=torch.Generator().manual_seed(seed))
        guess = (graphs.y + 0.1 * unit * noise).requires_grad_()
        value = of_unit.loss(guess, graphs)
        value.backward()
        results.append((value.detach(), guess.grad.double() * unit))
        assert guess.grad.isfinite().all()
    torch.testing.assert_close(results[0][0], results[1][0], rtol=1e-4, atol=0)
    torch.testing.assert_close(results[0][1], results[1][1], rtol=1e-3, atol=1e-6)


@given(exponent=st.integers(-25, 25))
def test_units_do_not_matter_without_statistics(exponent):
    truth = torch.randn(20, 1, generator=torch.Generator().manual_seed(0)) * 10.0**exponent
    errors = relative_l2(1.5 * truth, truth, torch.zeros(20).long(), 1, SCALAR)
    assert errors.item() == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_zero_field_is_measured_against_its_size_in_training(loss):
    graphs = batch(fields=SCALAR, sizes=(25,) * 4)
    graphs.y[graphs.batch == 3] = 0
    noise = 0.1 * torch.randn(graphs.y.shape, generator=torch.Generator().manual_seed(0))
    guess = (graphs.y + noise).requires_grad_()
    value = objective(SCALAR, loss=loss).loss(guess, graphs)
    assert value < 1
    value.backward()
    norms = torch.stack([guess.grad[graphs.batch == g].norm() for g in range(4)])
    assert norms.max() < 3 * norms.min()


def test_the_error_of_a_zero_field_by_hand():
    graph = torch.zeros(100).long()
    guess, zero = torch.full((100, 1), 0.3), torch.zeros(100, 1)
    assert relative_l2(guess, zero, graph, 1, SCALAR).item() == pytest.approx(0.3)
    rms = torch.tensor([6.0])
    assert relative_l2(guess, zero, graph, 1, SCALAR, rms=rms).item() == pytest.approx(0.05)
    noise = torch.full((100, 1), 1e-7)  # what a solver leaves of a zero
    assert relative_l2(guess, noise, graph, 1, SCALAR, rms=rms).item() == pytest.approx(0.05)


@pytest.mark.parametrize("loss", ["relative_l2", "mse", "l1"])
@given(seed=st.integers(0, 99))
def test_a_quadrature_does_not_see_where_the_nodes_are(loss, seed):
    """Two nodes of half the measure at one place count as one."""
    generator = torch.Generator().manual_seed(seed)
    graphs = batch(seed)
    guess = graphs.y + torch.randn(graphs.y.shape, generator=generator)
    twice = torch.randint(0, len(guess), (10,), generator=generator).unique()
    rows = torch.cat([torch.arange(len(guess)), twice])
    doubled = Batch(
        y=graphs.y[rows], batch=graphs.batch[rows], measure=graphs.measure[rows].clone()
    )
    doubled._num_graphs = 3
    doubled.measure[twice] /= 2
    doubled.measure[len(guess) :] /= 2
    weighted = objective(by_measure=True, loss=loss, error=loss)
    torch.testing.assert_close(
        weighted.errors(guess[rows], doubled), weighted.errors(guess, graphs), rtol=1e-4, atol=1e-6
    )
    torch.testing.assert_close(
        weighted.loss(guess[rows], doubled), weighted.loss(guess, graphs), rtol=1e-4, atol=1e-6
    )


def test_nodes_and_graphs_without_a_truth_do_not_count():
    graphs = batch()
    graphs.y[graphs.batch == 1, 0] = torch.nan
    guess = torch.randn(graphs.y.shape, generator=torch.Generator().manual_seed(0))
    errors = objective().errors(guess, graphs)
    assert errors.isnan().tolist() == [[False, False], [True, False], [False, False]]
    torch.testing.assert_close(objective().loss(guess, graphs), errors.nanmean())
    graphs.y[:] = torch.nan
    guess.requires_grad_()
    objective().loss(guess, graphs).backward()
    assert not guess.grad.any()


def test_weights_of_fields():
    graphs = batch()
    guess = torch.randn(graphs.y.shape, generator=torch.Generator().manual_seed(0))
    a, v = objective().errors(guess, graphs).mean(0)
    weighted = objective(field_weights={"v": 3.0})
    torch.testing.assert_close(weighted.loss(guess, graphs), (a + 3 * v) / 4)
    torch.testing.assert_close(weighted.errors(guess, graphs).mean(0), torch.stack([a, v]))


def test_mean_errors_of_normalised_targets_by_hand():
    graphs = batch(sizes=(2,), fields=SCALAR)
    graphs.y = torch.tensor([[1.0], [2]])
    for loss, expected in (
        ("mse", (1 + 9) / 2 / 4),
        ("l1", (1 + 3) / 2 / 2),
        ("huber", (0.5**2 / 2 + 1.5 - 0.5) / 2),  # errors of a half and of three halves
    ):
        of_two = objective(SCALAR, loss=loss, error=loss)
        of_two.normalizer.y.scale.fill_(2)
        guess = torch.tensor([[2.0], [5]])
        assert of_two.loss(guess, graphs).item() == pytest.approx(expected)
        assert of_two.errors(guess, graphs).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", ["relative_l2_gradient", "relative_l2_edges"])
def test_the_gradient_of_a_linear_error_on_a_linear_field(loss):
    """u = 2 x with the error x / 2: slopes are wrong by a quarter everywhere, an offset by none."""
    graphs = batch(sizes=(30, 25), fields=SCALAR)
    x = graphs.pos[:, :1]
    graphs.y = 2 * x
    parts = [
        objective(SCALAR, loss=loss, gradient_weight=weight).loss(graphs.y + x / 2 + 5, graphs)
        for weight in (0, 1, 2)
    ]
    torch.testing.assert_close(parts[1] - parts[0], torch.tensor(0.25), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(parts[2] - parts[0], torch.tensor(0.5), rtol=1e-4, atol=1e-4)


def test_grids_that_a_loader_keeps_are_those_that_the_loss_finds():
    gradient = objective(SCALAR, loss="relative_l2_gradient")
    graphs = batch(sizes=(30, 16), fields=SCALAR)
    guess = graphs.y.square()
    found = gradient.loss(guess, graphs)
    gradient.prepare(graphs)
    graphs.pos = torch.full_like(graphs.pos, torch.nan)  # nothing looks at them any more
    assert torch.equal(gradient.loss(guess, graphs), found)
    assert graphs.to("cpu").grids == graphs.clone().grids


def test_only_what_the_loss_looks_for_is_kept():
    """Training graphs may be drawn nodes, of which the reported error needs no grid."""
    graphs = batch(sizes=(30,), fields=SCALAR)
    graphs.pos[7] += 0.1
    objective(SCALAR, error="relative_l2_gradient").prepare(graphs)
    assert "grids" not in graphs
    with pytest.raises(ValueError, match="is no regular grid"):
        objective(SCALAR, loss="relative_l2_gradient").prepare(graphs)


def test_a_turned_grid_is_a_grid_and_a_mesh_is_none():
    gradient = objective(SCALAR, loss="relative_l2_gradient")
    graphs = batch(sizes=(30,), fields=SCALAR)
    guess = graphs.y + 0.1
    before = gradient.loss(guess, graphs)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]])
    graphs.pos = graphs.pos @ turn.T
    torch.testing.assert_close(gradient.loss(guess, graphs), before)
    graphs.pos[7] += 0.1
    with pytest.raises(ValueError, match=r"graph 0 of the batch is no regular grid.*_edges"):
        gradient.loss(guess, graphs)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"loss": "relativ_l2"}, "objective.loss is 'relativ_l2'.*did you mean 'relative_l2'"),
        ({"error": "rmse"}, "did you mean 'mse'"),
        ({"field_weights": {"b": 1.0}}, "objective.field_weights is 'b', expected one of a, v"),
        ({"field_weights": {"a": -1.0}}, "a is -1.0, expected 0 or more"),
        ({"field_weights": {"a": 0, "v": 0}}, "all are 0"),
    ],
)
def test_objectives_that_make_no_sense(config, message):
    with pytest.raises(ValueError, match=message):
        objective(**config)


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool])
def test_truth_of_whole_numbers(kind):
    """The errors were rounded to the type of the truth, and an error of 76 % was 0."""
    truth = torch.tensor([[3], [4], [0]]).to(kind)
    guess, one = torch.tensor([[1.0], [1.0], [9.0]]), torch.zeros(3).long()
    expected = relative_l2(guess, truth.float(), one, 1, SCALAR)
    torch.testing.assert_close(relative_l2(guess, truth, one, 1, SCALAR), expected)
