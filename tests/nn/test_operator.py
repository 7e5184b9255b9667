"""The model: inputs it takes, and the promises of the layer kept through the whole stack."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lrsa_geo.nn import FourierEncoding, GeometryOperator, NodeLayout


def make(in_channels: int = 0, cond_channels: int = 0) -> GeometryOperator:
    torch.manual_seed(0)
    model = GeometryOperator(
        in_channels, 2, 3, channels=16, depth=2, heads=2, num_latents=4, cond_channels=cond_channels
    ).double()
    for parameter in model.parameters():  # some start at zero
        parameter.data += 0.1 * torch.randn_like(parameter)
    return model


@settings(max_examples=10, deadline=None)
@given(sizes=st.lists(st.integers(1, 60), min_size=1, max_size=5), seed=st.integers(0, 99))
def test_batch_order_and_companions_do_not_matter(sizes, seed):
    model = make(in_channels=1, cond_channels=2)
    generator = torch.Generator().manual_seed(seed)
    batch = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    pos = torch.rand(len(batch), 3, generator=generator, dtype=torch.float64)
    x = torch.rand(len(batch), 1, generator=generator, dtype=torch.float64)
    measure = torch.rand(len(batch), generator=generator, dtype=torch.float64)
    cond = torch.rand(len(sizes), 2, generator=generator, dtype=torch.float64)
    together = model(x, pos, batch, cond=cond, measure=measure)

    order = torch.randperm(len(batch), generator=generator)
    shuffled = model(x[order], pos[order], batch[order], cond=cond, measure=measure[order])
    torch.testing.assert_close(shuffled, together[order], atol=1e-10, rtol=0)
    for graph in range(len(sizes)):
        rows = batch == graph
        alone = model(x[rows], pos[rows], cond=cond[graph : graph + 1], measure=measure[rows])
        torch.testing.assert_close(alone, together[rows], atol=1e-10, rtol=0)


def test_a_layout_replaces_the_batch():
    model, pos = make(), torch.rand(9, 3, dtype=torch.float64)
    batch = torch.tensor([0] * 4 + [1] * 5)
    torch.testing.assert_close(model(None, pos, NodeLayout.of(pos, batch)), model(None, pos, batch))


def test_condition_and_features_are_used():
    model, pos = make(1, 2), torch.rand(9, 3, dtype=torch.float64)
    x, cond = torch.rand(9, 1, dtype=torch.float64), torch.rand(1, 2, dtype=torch.float64)
    y = model(x, pos, cond=cond)
    assert (y - model(x, pos, cond=cond + 1)).abs().max() > 1e-3
    assert (y - model(x + 1, pos, cond=cond)).abs().max() > 1e-3


def test_a_condition_starts_without_effect_and_reaches_every_block():
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 3, "heads": 2, "num_latents": 4}
    model = GeometryOperator(0, 2, 3, cond_channels=2, **sizes)
    pos, cond = torch.rand(9, 3), torch.rand(1, 2)
    torch.testing.assert_close(model(None, pos, cond=cond), model(None, pos, cond=cond + 1))
    modulations = model.condition(cond)
    assert [tuple(m.shape) for m in modulations] == [(1, 32)] * 4
    torch.nn.init.normal_(model.condition.to_modulations.weight, std=0.1)
    model(None, pos, cond=cond).square().sum().backward()
    per_block = model.condition.to_modulations.weight.grad.view(4, 32, 16).abs().sum((1, 2))
    assert (per_block > 0).all()


def test_fourier_encoding_is_positions_sines_and_cosines():
    encoded = FourierEncoding(1, 2)(torch.tensor([[0.25]]))
    half = 0.5**0.5
    torch.testing.assert_close(
        encoded, torch.tensor([[0.25, half, 1.0, half, 0.0]]), atol=1e-6, rtol=0
    )
    assert FourierEncoding(3, 0)(torch.ones(2, 3)).shape == (2, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"pos": (9, 2)}, r"`pos` has shape \[9, 2\], expected \[nodes, 3\]"),
        ({"x": None}, r"`x` is None, expected \[9, 1\]"),
        ({"x": (8, 1)}, r"`x` has shape \[8, 1\], expected \[9, 1\]"),
        ({"cond": None}, r"`cond` is None, expected \[1, 2\]"),
        ({"cond": (2, 2)}, r"`cond` is of shape \[2, 2\], expected \[1, 2\]"),
    ],
)
def test_bad_input_is_named(call, message):
    shapes = {"x": (9, 1), "pos": (9, 3), "cond": (1, 2)} | call
    given = {
        name: None if shape is None else torch.zeros(shape, dtype=torch.float64)
        for name, shape in shapes.items()
    }
    with pytest.raises(ValueError, match=message):
        make(1, 2)(given["x"], given["pos"], cond=given["cond"])


def test_inputs_of_another_precision_than_the_weights_are_named():
    """What promotes to that of the weights is taken, and so is what autocast casts."""
    model, x, pos = make(1).float(), torch.ones(9, 1), torch.rand(9, 3)
    assert model(x.long(), pos).dtype == model(x.half(), pos).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert copy.deepcopy(model).bfloat16()(x, pos).isfinite().all()
    with pytest.raises(
        ValueError, match=r"`x` is of torch\.float64 .* weights are of torch.float32"
    ):
        model(x.double(), pos)
    with pytest.raises(ValueError, match=r"`pos` of torch\.float64, but"):
        model(x, pos.double())


def test_a_condition_that_the_model_does_not_know_is_refused():
    with pytest.raises(ValueError, match="built with cond_channels=0"):
        make()(None, torch.zeros(9, 3, dtype=torch.float64), cond=torch.zeros(1, 1))


def test_reset_parameters_draws_again():
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4, "cond_channels": 1}
    model = GeometryOperator(1, 2, 3, **sizes)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for parameter in model.parameters():
        parameter.data.fill_(3.0)
    model.reset_parameters()
    for name, value in model.state_dict().items():
        expected = pytest.approx(float(before[name].std()), rel=0.5, abs=1e-6)
        assert float(value.std()) == expected, name
        assert not (value == 3).all(), name


def test_initial_output_is_of_order_one():
    """Depth does not blow up what goes in: the residual branches start scaled by depth."""
    torch.manual_seed(0)
    model = GeometryOperator(0, 1, 2, channels=64, depth=12, heads=4, num_latents=16)
    y = model(None, torch.rand(500, 2) * 2 - 1)
    assert 0.05 < y.std() < 3


def test_with_relative_positions_the_origin_does_not_matter():
    torch.manual_seed(0)
    sizes = {"channels": 16, "depth": 2, "heads": 2, "num_latents": 4, "local": "MeshConv"}
    model = GeometryOperator(0, 2, 2, relative_positions=True, **sizes).double()
    pos = torch.rand(11, 2, dtype=torch.float64)
    batch = torch.tensor([1, 0] * 5 + [0])
    edges = torch.tensor([[0, 2, 4, 1, 3], [2, 4, 0, 3, 1]])
    measure = torch.rand(11, dtype=torch.float64)
    measure[3] = 0  # a passive node moves nobody's centre
    given = {"edge_index": edges, "measure": measure}
    y = model(None, pos, batch, **given)
    shift = torch.tensor([[3.0, -7.0], [100.0, 0.5]], dtype=torch.float64)[batch]
    torch.testing.assert_close(model(None, pos + shift, batch, **given), y)
    without = torch.arange(11) != 3
    torch.testing.assert_close(
        model(
            None, pos[without], batch[without], edge_index=edges[:, :0], measure=measure[without]
        ),
        model(None, pos, batch, edge_index=edges[:, :0], measure=measure)[without],
    )
    model.relative_positions = False
    assert not torch.allclose(model(None, pos + shift, batch, **given), y)


@pytest.mark.parametrize("mixer", ["lrsa", "transolver"])
def test_blocks_that_are_worked_out_again_have_the_same_gradients(mixer):
    found = []
    for again in (False, True):
        torch.manual_seed(0)
        sizes = {"channels": 16, "depth": 3, "heads": 2, "num_latents": 4, "cond_channels": 1}
        model = GeometryOperator(
            1, 2, 3, **sizes, mixer=mixer, local="MeshConv", checkpoint=again
        ).double()
        x, pos = torch.randn(30, 1).double(), torch.rand(30, 3).double().requires_grad_()
        cond, batch = torch.ones(2, 1).double(), (torch.arange(30) > 12).long()
        edges = torch.tensor([[0, 3, 20, 29], [3, 1, 22, 13]])
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(
            lambda tensor, kept=kept: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
        ):
            y = model(x, pos, batch, cond=cond, edge_index=edges)
        gradients = torch.autograd.grad(y.square().sum(), [pos, *model.parameters()])
        found.append((y, gradients, sum(kept)))
    (y, gradients, kept), (same, again, of_again) = found
    torch.testing.assert_close(same, y, atol=0, rtol=0)
    torch.testing.assert_close(again, gradients, atol=1e-12, rtol=1e-12)
    assert of_again < 0.35 * kept
